import contextlib
import json

import anyio
import httpx
import pytest
import trio.testing

from journeybatch.emulator import Emulator, Faults, Lognormal, Outage
from journeybatch.emulator.transport import EmulatorTransport

VIRTUAL = ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})
URL = "http://emulator/api/v1/chat/completions"


@pytest.fixture(params=[VIRTUAL, "asyncio"], ids=["virtual", "asyncio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def virtual_time(anyio_backend):
    if anyio_backend == "asyncio":
        pytest.skip("this would take real hours")


def ask(deadline_s=None, **fields):
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Name a river."}]} | fields
    extensions = {} if deadline_s is None else {"deadline_s": deadline_s}
    return httpx.Request("POST", URL, headers={"Authorization": "Bearer k"}, json=asked, extensions=extensions)


async def send(emulator, request):
    return await emulator.transport().handle_async_request(request)


@pytest.mark.anyio
async def test_a_response_comes_fully_read():
    emulator = Emulator()
    response = await send(emulator, ask())
    assert response.status_code == 200
    assert json.loads(response.content)["object"] == "chat.completion"
    assert response.headers["x-journeybatch-emulator"] == "1"
    assert emulator.attempts[0].credits == 3


@pytest.mark.anyio
async def test_it_serves_an_httpx_client_streams_included():
    async with httpx.AsyncClient(transport=Emulator().transport(), headers={"Authorization": "k"}) as client:
        plain = (await client.post(URL, json=json.loads(ask().content))).json()
        async with client.stream("POST", URL, json=json.loads(ask(stream=True).content)) as response:
            lines = [line async for line in response.aiter_lines() if line]
        account = (await client.get("http://emulator/api/v1/account")).json()
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == plain["choices"][0]["message"]["content"]
    assert account["credits"] == 1_000_000 - 6


@pytest.mark.anyio
async def test_an_hour_of_latency_passes_in_virtual_time(virtual_time):
    began = anyio.current_time()
    assert (await send(Emulator(latency_s=3600), ask())).status_code == 200
    assert anyio.current_time() - began == pytest.approx(3600)


@pytest.mark.anyio
async def test_a_slow_body_takes_its_time(virtual_time):
    began = anyio.current_time()
    response = await send(Emulator(latency_s=1, faults=Faults(slow_body=1.0, slow_body_s=8)), ask())
    assert response.json()["choices"]
    assert anyio.current_time() - began == pytest.approx(9)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "emulator",
    [
        Emulator(latency_s=50),
        Emulator(faults=Faults(hang=1.0)),
        Emulator(faults=Faults(hang=1.0, hang_s=50)),
        Emulator(faults=Faults(slow_body=1.0, slow_body_s=50)),
    ],
    ids=["latency", "hang", "long hang", "drip"],
)
async def test_the_exchange_ends_at_its_deadline(virtual_time, emulator):
    began = anyio.current_time()
    with pytest.raises(httpx.ReadTimeout):
        await send(emulator, ask(deadline_s=2))
    assert anyio.current_time() - began == pytest.approx(2)


@pytest.mark.anyio
async def test_a_hang_without_a_deadline_ends_with_the_caller(virtual_time):
    with anyio.move_on_after(100_000) as scope:
        await send(Emulator(faults=Faults(hang=1.0)), ask())
    assert scope.cancelled_caught


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("faults", "raised"),
    [
        (Faults(cut=1.0), httpx.RemoteProtocolError),
        (Faults(reset=1.0), httpx.ReadError),
        (Faults(hang=1.0, hang_s=0.01), httpx.RemoteProtocolError),
        (Faults(outages=(Outage(0, 9, "refuse"),)), httpx.ConnectError),
        (Faults(outages=(Outage(0, 9, "reset"),)), httpx.ReadError),
    ],
)
async def test_broken_connections_raise_what_a_network_would(faults, raised):
    emulator = Emulator(faults=faults)
    with pytest.raises(raised) as caught:
        await send(emulator, ask(stream=True))
    assert caught.value.request.url == URL
    assert len(emulator.attempts) == (0 if raised is httpx.ConnectError else 1)


@pytest.mark.anyio
async def test_an_outage_passes(virtual_time):
    emulator = Emulator(faults=Faults(outages=(Outage(10, 20, "refuse"),)))
    assert (await send(emulator, ask())).status_code == 200
    await anyio.sleep(10)
    with pytest.raises(httpx.ConnectError):
        await send(emulator, ask())
    await anyio.sleep(10)
    assert (await send(emulator, ask())).status_code == 200


@pytest.mark.anyio
async def test_a_seed_repeats_a_run(virtual_time):
    async def run(seed):
        faults = Faults(seed=seed, statuses={500: 0.2}, cut=0.2, latency=Lognormal(0.2, 1))
        emulator, times = Emulator(faults=faults), []
        for _ in range(40):
            began = anyio.current_time()
            with contextlib.suppress(httpx.HTTPError):
                await send(emulator, ask())
            times.append(round(anyio.current_time() - began, 6))
        return times, [record.fault for record in emulator.attempts], emulator.billed

    assert await run(1) == await run(1)
    assert await run(1) != await run(2)


def test_the_transport_is_offered_by_name():
    import journeybatch.emulator as emulator

    assert emulator.EmulatorTransport is EmulatorTransport
    with pytest.raises(AttributeError):
        emulator.Nothing  # noqa: B018
