import itertools
import json

import anyio
import httpx
import pytest

from journeybatch.emulator import Emulator, Faults, Outage
from journeybatch.emulator.raw import RawServer, Unreadable, frames, read_head
from journeybatch.emulator.shapes import Reply

BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Name a river."}]}).encode()
STREAM = BODY[:-1] + b', "stream": true}'


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param}


def request(body=BODY, *extra, version="1.1"):
    lines = [f"POST /api/v1/chat/completions HTTP/{version}", "Host: localhost", "Authorization: k", *extra]
    if not any(line.startswith("Transfer") for line in extra):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def exchange(port, data, within_s=2.0):
    """All bytes that come back, and how the connection ended: closed, reset, or left open for ``within_s``."""
    received = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(data)
        try:
            with anyio.fail_after(within_s):
                while True:
                    received += await stream.receive()
        except anyio.EndOfStream:
            return received, "closed"
        except anyio.BrokenResourceError:
            return received, "reset"
        except TimeoutError:
            return received, "open"


async def ask(faults, data, **fields):
    async with RawServer(Emulator(faults=faults, **fields)) as server:
        return await exchange(server.port, data)


@pytest.mark.anyio
async def test_a_connection_serves_many_requests_in_order():
    emulator = Emulator()
    async with RawServer(emulator) as server:
        received, how = await exchange(server.port, request() * 3 + b"\r\n" + request(STREAM))
    assert how == "open"
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 4
    assert received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert len(emulator.attempts) == 4


@pytest.mark.anyio
@pytest.mark.parametrize(
    "data", [request(BODY, "Connection: close"), request(version="1.0"), request(STREAM, version="1.0")]
)
async def test_a_client_that_wants_one_exchange_gets_one(data):
    received, how = await ask(Faults(), data)
    assert how == "closed"
    head, _, body = received.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head


@pytest.mark.anyio
async def test_a_body_may_come_in_chunks():
    chunked = (
        b"5\r\n" + BODY[:5] + b"\r\n" + b"%X;note=1\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
    )
    received, _ = await ask(Faults(), request(chunked, "Transfer-Encoding: chunked") + request())
    assert received.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.anyio
async def test_a_client_that_expects_to_be_asked_is_asked():
    received, _ = await ask(Faults(), request(BODY, "Expect: 100-continue"))
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET / HTTP/2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: 9999999999999999999999\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n", b"413"),
    ],
)
async def test_what_is_no_http_gets_an_answer_and_the_door(data, status):
    received, how = await ask(Faults(), data)
    assert received.startswith(b"HTTP/1.1 " + status)
    assert how == "closed"


@pytest.mark.anyio
async def test_a_head_without_end_is_hung_up_on():
    _, how = await ask(Faults(), b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 40_000)
    assert how in ("closed", "reset")


@pytest.mark.anyio
@pytest.mark.parametrize("byte", [0, 1, 17, 100])
@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_the_connection_ends_after_the_very_byte_it_was_told(kind, byte):
    emulator = Emulator(faults=Faults(**{kind: 1.0, f"{kind}_at": byte}))
    async with RawServer(emulator) as server:
        received, how = await exchange(server.port, request())
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert len(body) == byte
    assert how == {"cut": "closed", "reset": "reset"}[kind]
    assert (emulator.billed, emulator.attempts[0].fault) == (3, kind)


@pytest.mark.anyio
async def test_a_stream_is_cut_at_the_byte_within_its_chunk():
    received, how = await ask(Faults(cut=1.0, cut_at=300), request(STREAM))
    coded = received.partition(b"\r\n\r\n")[2]
    body = b""
    while coded:
        size, _, coded = coded.partition(b"\r\n")
        body, coded = body + coded[: int(size, 16)], coded[int(size, 16) + 2 :]
    assert (len(body), how) == (300, "closed")


@pytest.mark.anyio
async def test_half_of_all_resets_come_before_the_first_byte():
    async with RawServer(Emulator(faults=Faults(reset=1.0, seed=2))) as server:
        ends = [await exchange(server.port, request()) for _ in range(20)]
    assert {how for _, how in ends} == {"reset"}
    assert 3 < sum(received == b"" for received, _ in ends) < 17


@pytest.mark.anyio
async def test_a_hang_lasts_until_the_client_leaves_or_its_time_is_up():
    assert await ask(Faults(hang=1.0), request()) == (b"", "open")
    assert await ask(Faults(hang=1.0, hang_s=0.1), request()) == (b"", "closed")


@pytest.mark.anyio
async def test_nobody_listens_in_a_refused_outage_and_the_port_comes_back():
    emulator = Emulator(faults=Faults(outages=(Outage(0.5, 1.5, "refuse"),)))
    async with RawServer(emulator) as server:
        url = f"http://127.0.0.1:{server.port}/api/v1/chat/completions"
        seen = []
        async with httpx.AsyncClient(headers={"authorization": "k"}) as client:
            with anyio.fail_after(30):
                while not ("ConnectError" in seen and seen[-1] == 200):
                    try:
                        seen.append((await client.post(url, content=BODY)).status_code)
                    except httpx.ConnectError:
                        seen.append("ConnectError")
                    except (httpx.ReadError, httpx.RemoteProtocolError):
                        pass  # it was under way when the port closed
                    await anyio.sleep(0.02)
    assert [what for what, _ in itertools.groupby(seen)] == [200, "ConnectError", 200]
    assert len(emulator.attempts) == seen.count(200)


@pytest.mark.anyio
async def test_a_client_that_leaves_in_the_middle_harms_nobody():
    async with RawServer(Emulator(latency_s=0.05)) as server:
        for data in (request()[:40], request()[:-5], request(), b""):
            async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
                if data:
                    await stream.send(data)
        await anyio.sleep(0.2)
        received, _ = await exchange(server.port, request())
    assert received.startswith(b"HTTP/1.1 200 OK")


def test_a_head_is_read_with_its_names_in_lower_case():
    head = read_head(b"GET /x?y=1 HTTP/1.1\r\nHOST: a\r\nX-Odd:  b:c \r\n\r\n")
    assert (head.method, head.target, head.headers) == ("GET", "/x?y=1", {"host": "a", "x-odd": "b:c"})
    assert head.keeps_alive
    with pytest.raises(Unreadable):
        read_head(b"\r\n\r\n")


def test_an_unusual_status_has_a_line_as_well():
    assert next(frames(Reply(529, (), ()), alive=True, chunked=False)).startswith(b"HTTP/1.1 529 Error\r\n")
