import json
import os
import signal
import socket
import subprocess
import sys
import time

import anyio
import httpx
import openai
import pytest
from conftest import spawned

from journeybatch.emulator import Emulator, Faults, read_bill
from journeybatch.emulator.server import build_app, open_server

MESSAGES = [{"role": "user", "content": "Is this positive, negative or neutral? I love it."}]
RAW = Faults(cut=1e-12)  # as good as none, but served by the raw server
SERVE = """
import sys
from journeybatch.emulator import Emulator, Faults, serve
serve(Emulator(faults=Faults(cut=float(sys.argv[1])), bill=sys.argv[2] or None, latency_s=float(sys.argv[3])),
      until_stdin_closes=True)
"""


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=[Faults(), RAW], ids=["asgi", "raw"])
def plain(request):
    return request.param


def start(*, cut=0.0, bill="", latency_s=0.0, **options):
    command = [sys.executable, "-c", SERVE, str(cut), str(bill), str(latency_s)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
    return child, json.loads(child.stdout.readline())["base_url"]


def end(child):
    if child.poll() is None:
        child.kill()
    child.communicate()


@pytest.fixture(scope="module", params=[0.0, 1e-12], ids=["asgi", "raw"])
def served(request):
    child, base_url = start(cut=request.param)
    yield base_url
    end(child)


def test_the_official_sdk_works_unchanged(served):
    with openai.OpenAI(base_url=served, api_key="k", max_retries=0) as client:
        reply = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, temperature=0)
        assert reply.choices[0].message.content == "positive"
        assert reply.model == "gpt-4o-2024-08-06"
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        assert "gpt-4o" in [model.id for model in client.models.list()]


def test_the_official_sdk_streams(served):
    with openai.OpenAI(base_url=served, api_key="k", max_retries=0) as client:
        asked = {"model": "o3", "messages": [{"role": "user", "content": "Tell me about the sea."}]}
        whole = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.anyio
async def test_the_official_async_sdk_works_and_streams(plain):
    async with (
        open_server(Emulator(faults=plain)) as base_url,
        openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0) as client,
    ):
        reply = await client.chat.completions.create(model="qwen-turbo", messages=MESSAGES)
        stream = await client.chat.completions.create(model="qwen-turbo", messages=MESSAGES, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == reply.choices[0].message.content == "positive"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("asked", "raised"),
    [
        ({"model": "gpt-5"}, openai.NotFoundError),
        ({"model": "o3", "temperature": 1}, openai.BadRequestError),
        ({"messages": []}, openai.BadRequestError),
    ],
)
async def test_errors_become_the_sdks_own_exceptions(plain, asked, raised):
    async with (
        open_server(Emulator(faults=plain)) as base_url,
        openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0) as client,
    ):
        with pytest.raises(raised) as caught:
            await client.chat.completions.create(**{"model": "gpt-4o", "messages": MESSAGES, **asked})
    assert caught.value.body["message"]
    assert caught.value.request_id


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("emulator", "raised"),
    [
        (lambda: Emulator(key="other"), openai.AuthenticationError),
        (lambda: Emulator(credits=0), openai.APIStatusError),
        (lambda: Emulator(faults=Faults(statuses={429: 1.0})), openai.RateLimitError),
        (lambda: Emulator(faults=Faults(statuses={503: 1.0})), openai.InternalServerError),
        (lambda: Emulator(faults=Faults(statuses={422: 1.0})), openai.UnprocessableEntityError),
        (lambda: Emulator(faults=Faults(reset=1.0)), openai.APIConnectionError),
        (lambda: Emulator(faults=Faults(cut=1.0, cut_at=9)), openai.APIConnectionError),
        (lambda: Emulator(faults=Faults(hang=1.0)), openai.APITimeoutError),
    ],
)
async def test_faults_become_the_sdks_own_exceptions(emulator, raised):
    async with (
        open_server(emulator()) as base_url,
        openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0, timeout=1) as client,
    ):
        with pytest.raises(raised):
            await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


@pytest.mark.anyio
@pytest.mark.parametrize("bills_errors", [False, True])
@pytest.mark.parametrize("raw", [False, True])
async def test_over_the_wire_the_account_the_bill_and_the_attempts_agree(tmp_path, raw, bills_errors):
    fields = {"cut": 0.1, "reset": 0.1} if raw else {"truncate": 0.2}
    faults = Faults(statuses={500: 0.2}, **fields, seed=4, bills_errors=bills_errors)
    path = tmp_path / "bill.jsonl"
    answered = 0
    with Emulator(faults=faults, bill=path) as emulator:
        async with open_server(emulator) as url, httpx.AsyncClient(headers={"authorization": "k"}) as client:
            for _ in range(60):
                try:
                    reply = await client.post(f"{url}/chat/completions", json={"model": "o3", "messages": MESSAGES})
                    answered += reply.status_code == 200 and reply.text.endswith("}")
                except httpx.HTTPError:
                    pass
            bill = (await client.get(f"{url}/emulator/bill")).json()
            account = (await client.get(f"{url}/account")).json()
        counted = [record.fault for record in emulator.attempts]
    assert bill["attempts"] == [record.as_json() for record in read_bill(path)]
    assert bill["billed"] == 1_000_000 - account["credits"] == sum(record["credits"] for record in bill["attempts"])
    assert answered == counted.count(None)
    free = 0 if bills_errors else counted.count("500")
    assert counted.count("500") > 0
    assert bill["billed"] == 5 * (60 - free)


@pytest.mark.anyio
async def test_a_host_that_is_not_loopback_is_turned_away(plain):
    async with open_server(Emulator(faults=plain)) as url, httpx.AsyncClient() as client:
        for host, status in {"evil.example": 421, "localhost": 200, "127.0.0.1:1": 200}.items():
            reply = await client.get(f"{url}/emulator/bill", headers={"host": host})
            assert reply.status_code == status
        assert (await client.get(f"{url}/emulator/bill", headers={"host": "evil"})).json()["error"]["message"]


@pytest.mark.anyio
async def test_it_binds_to_one_loopback_address_only(plain):
    async with open_server(Emulator(faults=plain)) as url:
        port = int(url.split(":")[2].split("/")[0])
        async with await anyio.connect_tcp("127.0.0.1", port):
            pass
        with pytest.raises((OSError, TimeoutError)), anyio.fail_after(1):  # a server on every address would answer
            async with await anyio.connect_tcp("127.0.0.2", port):
                pass


@pytest.mark.anyio
async def test_latency_passes_before_the_answer(plain):
    async with open_server(Emulator(faults=plain, latency_s=0.2)) as url, httpx.AsyncClient() as client:
        began = time.monotonic()
        asked = {"model": "o3", "messages": MESSAGES}
        await client.post(f"{url}/chat/completions", json=asked, headers={"authorization": "k"})
        assert time.monotonic() - began > 0.19


@pytest.mark.anyio
@pytest.mark.parametrize("raw", [False, True])
async def test_a_slow_body_drips(raw):
    faults = Faults(slow_body=0.9, slow_body_s=0.4, cut=1e-12 if raw else 0, seed=1)
    async with open_server(Emulator(faults=faults)) as url, httpx.AsyncClient() as client:
        asked = {"model": "o3", "messages": MESSAGES}
        arrivals = []
        headers = {"authorization": "k"}
        async with client.stream("POST", f"{url}/chat/completions", json=asked, headers=headers) as response:
            body = b""
            async for piece in response.aiter_raw():
                arrivals.append(time.monotonic())
                body += piece
    assert json.loads(body)["choices"]
    assert len(arrivals) > 5
    assert arrivals[-1] - arrivals[0] > 0.3


@pytest.mark.anyio
async def test_a_body_without_bounds_is_cut_short(plain):
    async with open_server(Emulator(faults=plain)) as url, httpx.AsyncClient() as client:
        reply = await client.post(f"{url}/chat/completions", content=b"x" * (16 * 1024 * 1024 + 1))
        assert reply.status_code == 413
        assert (await client.get(f"{url}/emulator/bill")).json()["requests"] == 0


@pytest.mark.parametrize("cut", [0.0, 1e-12], ids=["asgi", "raw"])
@pytest.mark.parametrize("how", ["stdin", signal.SIGTERM, signal.SIGINT])
def test_the_child_ends_when_told(cut, how):
    child, base_url = start(cut=cut)
    try:
        with httpx.Client() as client:  # a connection that is kept alive must not keep the server
            assert client.get(f"{base_url}/emulator/bill").status_code == 200
            if how == "stdin":
                child.stdin.close()
            else:
                child.send_signal(how)
            assert child.wait(timeout=5) == 0
    finally:
        child.stdin.close()
        child.kill()
        child.wait()
        assert child.stdout.read() == b""
        child.stdout.close()


def test_the_bill_survives_kill_9(tmp_path):
    bill = tmp_path / "bill.jsonl"
    child, base_url = start(bill=bill)
    try:
        asked = {"model": "o3", "messages": MESSAGES}
        for _ in range(5):
            httpx.post(f"{base_url}/chat/completions", json=asked, headers={"authorization": "k"})
        os.kill(child.pid, signal.SIGKILL)
    finally:
        end(child)
    assert [record.credits for record in read_bill(bill)] == [5] * 5


def test_a_client_that_is_killed_while_it_waits_is_billed_all_the_same(tmp_path):
    bill = tmp_path / "bill.jsonl"
    child, base_url = start(bill=bill, latency_s=30)
    try:
        with pytest.raises(httpx.ReadTimeout):
            asked = {"model": "o3", "messages": MESSAGES}
            httpx.post(f"{base_url}/chat/completions", json=asked, headers={"authorization": "k"}, timeout=0.3)
    finally:
        end(child)
    assert [record.credits for record in read_bill(bill)] == [5]


@pytest.mark.anyio
async def test_a_port_that_is_taken_is_an_error(plain):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="already in use"):
        async with open_server(Emulator(faults=plain), taken.getsockname()[1]):
            pytest.fail("two servers on one port")


@pytest.mark.anyio
async def test_hundreds_of_connections_at_once_are_served(plain):
    emulator = Emulator(faults=plain, latency_s=0.1)
    async with open_server(emulator) as url:
        port = int(url.split(":")[2].split("/")[0])
        body = json.dumps({"model": "o3", "messages": MESSAGES}).encode()
        head = "POST /api/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: k\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

        async def once():
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(request)
                assert (await stream.receive()).startswith(b"HTTP/1.1 200")

        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(once)
        assert time.monotonic() - began < 5
    assert emulator.billed == 1500


def test_the_asgi_app_says_when_it_cannot_do_what_is_asked():
    with pytest.raises(ValueError, match="raw server"):
        build_app(Emulator(faults=Faults(reset=0.1)))


def test_prices_and_an_answer_key_can_be_given_on_the_command_line(tmp_path):
    key, bill = tmp_path / "key.csv", tmp_path / "bill.jsonl"
    key.write_text("question,answer\nTwo and two?,4\n")
    options = ("--price", "gpt-4o=7", "--price", "o3=9", "--answers", key, "--bill", bill, "--credits", 8)
    with spawned("emulate", "--port", 0, *options) as process, httpx.Client(headers={"authorization": "k"}) as client:
        url = json.loads(process.stdout.readline())["base_url"]
        asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Two and two? Be brief."}]}
        reply = client.post(f"{url}/chat/completions", json=asked).json()
        assert client.get(f"{url}/account").json()["credits"] == 1
    assert reply["choices"][0]["message"]["content"] == "4"
    assert [record.credits for record in read_bill(bill)] == [7]
