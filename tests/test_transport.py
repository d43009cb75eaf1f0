"""The lanes against a raw-socket adversary: what an exchange ends in, when, and what the next one sees of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
import ssl
import time
import tracemalloc
import zlib
from pathlib import Path

import httpx
import pytest
import trio
from adversary import Adversary, Peer, adversary, client_context, reply, server_context
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeybatch.lane import Lane
from journeybatch.transport import LaneTransport

pytestmark = pytest.mark.anyio
TLS = server_context()
MIB = 2**20


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def lanes():
    transport = LaneTransport(body_cap=MIB, verify=client_context())
    yield transport
    await transport.aclose()


async def post(lanes: LaneTransport, url: str, body: bytes = b"{}", deadline_s: float | None = 5.0, **headers: str):
    request = httpx.Request("POST", url, headers=headers, content=body, extensions={"deadline_s": deadline_s})
    return await lanes.handle_async_request(request)


async def echo(peer: Peer) -> None:
    """Answer every request with its own body."""
    while (request := await peer.request()) is not None:
        await peer.say(reply(request[1]))


def once(data: bytes, then: str = "wait"):
    """Answer the first request of each connection with ``data``, then ``wait``, ``close`` or ``reset``."""

    async def script(peer: Peer) -> None:
        if await peer.request() is None:
            return
        await peer.say(data)
        if then == "wait":
            await peer.gone()
        else:
            getattr(peer, then)()

    return script


def first_then_echo(data: bytes, then: str = "wait"):
    """The first connection misbehaves as ``once`` does, later ones answer as they should."""
    spoil = once(data, then)

    async def script(peer: Peer) -> None:
        await (spoil(peer) if peer.number == 0 else echo(peer))

    return script


async def settle(server: Adversary, connections: int) -> None:
    """Wait until the server has seen the client close all but ``connections``."""
    for _ in range(200):
        if server.open == connections:
            return
        await asyncio.sleep(0.005)
    assert server.open == connections


# What works


async def test_a_request_arrives_as_it_was_meant_and_its_reply_comes_back_as_httpx_knows_it(lanes):
    seen = []

    async def script(peer):
        seen.append(await peer.request())
        await peer.say(reply(b'{"a": 1}', b"Content-Type: application/json", b"X-Id: 7", status=b"201 Made"))

    async with adversary(script) as server:
        response = await post(lanes, server.url + "?q=1", b'{"x": 2}', Authorization="Bearer k")
        head, body = seen[0]
        lines = head.lower().split(b"\r\n")
        assert lines[0] == b"post /v1/chat?q=1 http/1.1" and body == b'{"x": 2}'
        assert lines.count(b"content-length: 8") == 1 and b"authorization: bearer k" in lines
        assert sum(line.startswith(b"host: 127.0.0.1:") for line in lines) == 1
        assert b"accept-encoding: identity" in lines
        assert response.status_code == 201 and response.json() == {"a": 1} and response.headers["x-id"] == "7"
        assert response.content == await response.aread() == b'{"a": 1}'
        assert 0 < response.extensions["latency_s"] < 5 and response.request.url.path == "/v1/chat"


async def test_host_length_and_encoding_are_added_to_a_request_that_has_none(lanes):
    seen = []

    async def script(peer):
        seen.append(await peer.request())
        await peer.say(reply(b"ok"))

    async with adversary(script) as server:
        request = httpx.Request("POST", server.url, stream=httpx.ByteStream(b"abc"))
        assert (await lanes.handle_async_request(request)).text == "ok"
        assert seen[0][0].startswith(b"POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1:") and seen[0][1] == b"abc"


async def test_the_caller_may_ask_for_another_encoding_and_state_the_host(lanes):
    seen = []

    async def script(peer):
        seen.append((await peer.request())[0])
        await peer.say(reply(b"ok"))

    async with adversary(script) as server:
        await post(lanes, server.url, **{"Accept-Encoding": "gzip", "Host": "elsewhere"})
        assert seen[0].lower().count(b"accept-encoding") == 1 and seen[0].lower().count(b"host:") == 1
        assert b"elsewhere" in seen[0]


async def test_httpx_clients_can_use_it_as_any_other_transport():
    async with (
        adversary(echo) as server,
        httpx.AsyncClient(transport=LaneTransport()) as client,
    ):
        response = await client.post(server.url, json={"a": [1]})
        assert response.json() == {"a": [1]} and response.elapsed.total_seconds() > 0


async def test_sequential_requests_share_one_connection(lanes):
    async with adversary(echo) as server:
        for n in range(20):
            assert (await post(lanes, server.url, b"%d" % n)).content == b"%d" % n
        assert server.connections == 1


async def test_errors_with_a_proper_frame_keep_the_connection(lanes):
    async def script(peer):
        while await peer.request() is not None:
            await peer.say(reply(b"slow down", status=b"429 Too Many"))

    async with adversary(script) as server:
        assert [(await post(lanes, server.url)).status_code for _ in range(3)] == [429] * 3
        assert server.connections == 1


async def test_parallel_requests_get_each_their_own_answer_over_no_more_connections_than_run_at_once(lanes):
    rng = random.Random(3)

    async def script(peer):
        while (request := await peer.request()) is not None:
            await asyncio.sleep(rng.random() * 0.004)
            data = reply(request[1])
            cut = rng.randrange(len(data))
            await peer.say(data[:cut])
            await asyncio.sleep(0)
            await peer.say(data[cut:])

    async with adversary(script) as server:
        rows = iter(range(400))

        async def work():
            for row in rows:
                assert (await post(lanes, server.url, b"row %d" % row)).content == b"row %d" % row

        await asyncio.gather(*(work() for _ in range(32)))
        assert server.connections <= 32


async def test_the_lane_that_rested_last_is_used_first(lanes):
    async def script(peer):
        while await peer.request() is not None:
            await peer.say(reply(b"%d" % peer.number))

    async with adversary(script) as server:
        await asyncio.gather(*(post(lanes, server.url) for _ in range(5)))
        last = {(await post(lanes, server.url)).content for _ in range(5)}
        assert len(last) == 1 and server.connections == 5


async def test_interim_replies_are_passed_over(lanes):
    async with adversary(
        once(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + reply(b"real"))
    ) as server:
        response = await post(lanes, server.url)
        assert (response.status_code, response.content) == (200, b"real") and "link" not in response.headers


async def test_chunked_replies_with_trailers_are_read_and_the_connection_is_kept(lanes):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"

    async def script(peer):
        while await peer.request() is not None:
            await peer.say(data)

    async with adversary(script) as server:
        for _ in range(2):
            response = await post(lanes, server.url)
            assert response.content == b"abcde" and "x-t" not in response.headers
        assert server.connections == 1


async def test_a_reply_that_ends_with_its_connection_is_whole(lanes):
    async with adversary(once(b"HTTP/1.0 200 OK\r\n\r\nold school", "close")) as server:
        for _ in range(2):
            assert (await post(lanes, server.url)).content == b"old school"
        assert server.connections == 2


async def test_empty_replies_are_replies(lanes):
    async with adversary(once(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        response = await post(lanes, server.url)
        assert (response.status_code, response.content) == (204, b"")


# What time does


async def test_a_drip_ends_with_the_deadline(lanes):
    async def script(peer):
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        await peer.drip(b"x" * 1000, 0.01)

    async with adversary(script) as server:
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            await post(lanes, server.url, deadline_s=0.15)
        assert 0.14 <= time.monotonic() - started < 5
        await settle(server, 0)


@pytest.mark.parametrize(("first_s", "second_s"), [(0.1, 0.3), (5.0, 0.3), (None, 0.3), (0.1, None)])
async def test_a_deadline_holds_for_its_own_exchange_and_not_for_others_on_the_connection(lanes, first_s, second_s):
    async def script(peer):
        await peer.request()
        await peer.say(reply(b"one"))
        await peer.request()
        await asyncio.sleep(0.6 if second_s is None else 5)
        await peer.say(reply(b"two"))

    async with adversary(script) as server:
        assert (await post(lanes, server.url, deadline_s=first_s)).content == b"one"
        started = time.monotonic()
        if second_s is None:
            assert (await post(lanes, server.url, deadline_s=None)).content == b"two"
        else:
            with pytest.raises(httpx.ReadTimeout):
                await post(lanes, server.url, deadline_s=second_s)
            assert second_s - 0.01 <= time.monotonic() - started < 4.9
        assert server.connections == 1


@pytest.mark.parametrize(
    ("head", "again"),
    [
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"e\r\n: keep-alive\n\n\r\n"),
    ],
    ids=["interim replies", "SSE comments"],
)
async def test_signs_of_life_without_end_do_not_move_the_deadline(lanes, head, again):
    async def script(peer):
        await peer.request()
        await peer.say(head)
        while True:
            await peer.say(again)
            await asyncio.sleep(0.01)

    async with adversary(script) as server:
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            await post(lanes, server.url, deadline_s=0.15)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_takes_no_more_bytes_cannot_have_the_request(lanes, scheme):
    async def script(peer):
        peer.writer.transport.pause_reading()
        await asyncio.sleep(60)

    async with adversary(script, TLS if scheme == "https" else None) as server:
        with pytest.raises(httpx.WriteTimeout):
            await post(lanes, server.url, b"x" * 40 * MIB, deadline_s=0.25)


async def test_a_stalled_tls_handshake_ends_with_the_deadline_and_costs_nothing(lanes):
    async with adversary(Peer.gone) as server:
        started = time.monotonic()
        with pytest.raises(httpx.ConnectTimeout):
            await post(lanes, server.url.replace("http", "https"), deadline_s=0.15)
        assert time.monotonic() - started < 5
        await settle(server, 0)


async def test_a_name_look_up_that_stalls_ends_with_the_deadline(lanes, monkeypatch):
    async def stall(*_args, **_kwargs):
        await asyncio.sleep(60)

    loop = asyncio.get_running_loop()
    if type(loop).__module__.startswith("uvloop"):
        pytest.skip("uvloop's methods cannot be replaced")
    monkeypatch.setattr(loop, "getaddrinfo", stall)
    with pytest.raises(httpx.ConnectTimeout):
        await post(lanes, "http://stalled.test/", deadline_s=0.1)


async def test_a_deadline_that_has_passed_sends_nothing(lanes):
    async with adversary(echo) as server:
        await post(lanes, server.url)
        with pytest.raises(httpx.ConnectTimeout):
            await post(lanes, server.url, deadline_s=0)
        assert (await post(lanes, server.url, b"fine")).content == b"fine"


# What breaks before the request has left


async def test_a_refused_connection_is_a_connect_error(lanes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(httpx.ConnectError) as caught:
        await post(lanes, f"http://127.0.0.1:{port}/")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("host", ["name.invalid", "x" * 70 + ".test", "127.0.0.1:99999"])
async def test_a_host_nobody_can_reach_is_a_connect_error(lanes, host):
    with pytest.raises((httpx.ConnectError, httpx.InvalidURL)):
        await post(lanes, f"http://{host}/")


@pytest.mark.parametrize("turn", [1, -1])
async def test_every_address_of_a_name_is_tried(lanes, monkeypatch, turn):
    addresses = [(socket.AF_INET6, 1, 6, "", ("::1", 0, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]

    async def found(*_args, **_kwargs):
        return addresses[::turn]

    loop = asyncio.get_running_loop()
    if not type(loop).__module__.startswith("uvloop"):  # whose methods cannot be replaced
        monkeypatch.setattr(loop, "getaddrinfo", found)
    async with adversary(echo) as server:  # it listens on 127.0.0.1 only
        assert (await post(lanes, server.url.replace("127.0.0.1", "localhost"), b"x")).content == b"x"


async def test_a_certificate_nobody_vouches_for_is_a_connect_error():
    lanes = LaneTransport(verify=ssl.create_default_context())
    async with adversary(echo, TLS) as server:
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            await post(lanes, server.url)
    await lanes.aclose()


async def test_a_server_that_does_not_speak_tls_is_a_connect_error(lanes):
    async def script(peer):
        await peer.reader.read(10)
        await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with adversary(script) as server:
        with pytest.raises(httpx.ConnectError):
            await post(lanes, server.url.replace("http", "https"))


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_server_that_leaves_during_the_handshake_is_a_connect_error(lanes, end):
    async def script(peer):
        await peer.reader.read(10)
        getattr(peer, end)()

    async with adversary(script) as server:
        with pytest.raises(httpx.ConnectError):
            await post(lanes, server.url.replace("http", "https"))


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_leaves_amid_the_request_cannot_have_it(lanes, scheme, end):
    async def script(peer):
        await peer.reader.read(1)
        peer.writer.transport.pause_reading()
        await asyncio.sleep(0.05)
        getattr(peer, end)()

    async with adversary(script, TLS if scheme == "https" else None) as server:
        with pytest.raises(httpx.WriteError):
            await post(lanes, server.url, b"x" * 40 * MIB)


async def test_a_write_error_says_that_the_server_cannot_have_the_request_and_is_right(lanes):
    """Sizes close in on what the kernel's buffers hold: one byte left with us is enough to tell."""
    got: asyncio.Queue[int] = asyncio.Queue()

    async def script(peer):
        transport = peer.writer.transport
        await peer.request()
        await peer.say(reply(b"now the other one"))
        transport.pause_reading()
        await late.wait()
        transport.resume_reading()
        got.put_nowait(len(await peer.reader.read()))

    async with adversary(script) as server:
        fits, too_large = 0, 16 * MIB
        while too_large - fits > 8192:
            late = asyncio.Event()
            size = (fits + too_large) // 2
            await post(lanes, server.url)
            with pytest.raises((httpx.WriteTimeout, httpx.ReadTimeout)) as caught:
                await post(lanes, server.url, b"x" * size, deadline_s=0.04)
            late.set()
            whole = await got.get() > size
            assert whole == (caught.type is httpx.ReadTimeout)
            fits, too_large = (size, too_large) if whole else (fits, size)


@pytest.mark.parametrize(
    ("end", "error"), [("close", httpx.RemoteProtocolError), ("reset", httpx.ReadError)], ids=["close", "reset"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_large_request_that_left_bit_by_bit_has_left(lanes, scheme, end, error):
    async def script(peer):
        for _ in range(2):
            assert len((await peer.request())[1]) == 20 * MIB
            await peer.say(reply(b"%d" % peer.number))
        await peer.request()
        getattr(peer, end)()

    async with adversary(script, TLS if scheme == "https" else None) as server:
        for _ in range(2):
            assert (await post(lanes, server.url, b"x" * 20 * MIB)).content == b"0"
        with pytest.raises(httpx.TransportError) as caught:
            await post(lanes, server.url, b"x" * 20 * MIB)
        assert caught.type is error


async def test_a_reset_that_the_write_meets_is_a_write_error(lanes, monkeypatch):
    """It came in after the lane was found quiet: here, because it is not asked."""
    reset = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.say(reply(b"ok"))
        await reset.wait()
        peer.reset()

    monkeypatch.setattr(Lane, "quiet", lambda _lane: True)
    async with adversary(script) as server:
        await post(lanes, server.url)
        reset.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the adversary has reset it, our side of the loop has not looked
        with pytest.raises(httpx.WriteError):
            await post(lanes, server.url)


async def test_an_early_answer_counts_but_its_connection_does_not(lanes):
    async def script(peer):
        if peer.number == 0:
            await peer.reader.readuntil(b"\r\n\r\n")
            peer.writer.transport.pause_reading()
            await peer.say(reply(b"too large", status=b"413 Too Large"))
            await asyncio.sleep(5)
        await echo(peer)

    async with adversary(script) as server:
        assert (await post(lanes, server.url, b"x" * 40 * MIB)).status_code == 413
        assert (await post(lanes, server.url, b"next")).content == b"next"
        assert server.connections == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "b\r\nEvil: 1"},
        {"X-A": "b\nc"},
        {"X-A": "b\rc"},
        {"X-A": "a\0b"},
        {"X A": "b"},
        {"X-A:b": "c"},
        {"": "x"},
    ],
)
async def test_a_header_that_would_become_two_is_refused_without_being_told(lanes, headers):
    async with adversary(echo) as server:
        with pytest.raises(httpx.LocalProtocolError) as caught:
            await post(lanes, server.url, Authorization="sk-secret", **headers)
        assert "Evil" not in str(caught.value) and "sk-secret" not in str(caught.value)
        assert server.connections == 0


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "GET /x HTTP/1.1\r\nX:"])
async def test_methods_that_frame_replies_otherwise_are_refused(lanes, method):
    with pytest.raises(httpx.LocalProtocolError):
        await lanes.handle_async_request(httpx.Request(method, "http://127.0.0.1:1/"))


async def test_bodies_that_are_not_bytes_are_refused(lanes):
    async def pieces():
        yield b"x"

    request = httpx.Request("POST", "http://127.0.0.1:1/", content=pieces())
    with pytest.raises(TypeError, match="bytes"):
        await lanes.handle_async_request(request)
    await request.aread()
    with pytest.raises(httpx.LocalProtocolError, match="Transfer-Encoding"):
        await lanes.handle_async_request(request)


async def test_other_schemes_are_refused(lanes):
    with pytest.raises(httpx.UnsupportedProtocol):
        await post(lanes, "ftp://127.0.0.1/")


# What breaks after it has left

BROKEN = {
    "closed before a word": (b"", "close", httpx.RemoteProtocolError),
    "closed amid the head": (b"HTTP/1.1 200 OK\r\nContent-Le", "close", httpx.RemoteProtocolError),
    "closed amid the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "close", httpx.RemoteProtocolError),
    "closed amid chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "close",
        httpx.RemoteProtocolError,
    ),
    "reset before a word": (b"", "reset", httpx.ReadError),
    "reset amid the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "reset", httpx.ReadError),
    "reset where the end would be the end": (b"HTTP/1.0 200 OK\r\n\r\nabc", "reset", httpx.ReadError),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "wait", httpx.RemoteProtocolError),
    "HTTP/2": (b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x80", "wait", httpx.RemoteProtocolError),
    "an upgrade": (
        b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "wait",
        httpx.RemoteProtocolError,
    ),
    "an upgrade nobody names": (b"HTTP/1.1 101 Switching\r\n\r\n", "wait", httpx.RemoteProtocolError),
    "no status": (b"HTTP/1.1 \r\n\r\n", "wait", httpx.RemoteProtocolError),
    "status 42": (b"HTTP/1.1 042 What\r\n\r\n", "wait", httpx.RemoteProtocolError),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "wait",
        httpx.RemoteProtocolError,
    ),
    "length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "wait",
        httpx.RemoteProtocolError,
    ),
    "a length below zero": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "wait", httpx.RemoteProtocolError),
    "a chunk without its size": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        "wait",
        httpx.RemoteProtocolError,
    ),
    "a chunk longer than its size": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        "wait",
        httpx.RemoteProtocolError,
    ),
    "an endless chunk size": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "wait",
        httpx.RemoteProtocolError,
    ),
}


@pytest.mark.parametrize(("data", "then", "error"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_reply_may_have_cost_something_and_the_next_request_is_not_told(lanes, data, then, error):
    async with adversary(first_then_echo(data, then)) as server:
        with pytest.raises(httpx.TransportError) as caught:
            await post(lanes, server.url)
        assert type(caught.value) is error
        assert (await post(lanes, server.url, b"next")).content == b"next"
        await settle(server, 1)


async def test_a_reset_right_after_accept_is_an_error_in_time(lanes):
    async def script(peer):
        peer.reset()

    async with adversary(script) as server:
        for _ in range(5):
            with pytest.raises((httpx.ConnectError, httpx.WriteError, httpx.ReadError)):
                await post(lanes, server.url)


async def test_a_fin_that_tls_did_not_announce_is_not_the_end_of_a_reply(lanes):
    async def script(peer):
        await peer.request()
        await peer.say(b"HTTP/1.0 200 OK\r\n\r\nhalf of it")
        if peer.number == 0:
            peer.writer.transport.abort()
        else:
            peer.close()

    async with adversary(script, TLS) as server:
        with pytest.raises(httpx.TransportError):
            await post(lanes, server.url)
        assert (await post(lanes, server.url)).content == b"half of it"


# What must not reach the next request

DIRTY = {
    "Connection: close": reply(b"ok", b"Connection: close"),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "bytes beyond the length": reply(b"ok") + b" and more",
    "a second reply nobody asked for": reply(b"ok") + reply(b"polluted"),
    "half of a second reply": reply(b"ok") + reply(b"polluted")[:20],
    "a line beyond the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx",
}


@pytest.mark.parametrize("data", DIRTY.values(), ids=DIRTY.keys())
async def test_a_whole_reply_on_a_dirty_connection_counts_but_its_connection_does_not(lanes, data):
    async with adversary(first_then_echo(data)) as server:
        assert (await post(lanes, server.url)).content == b"ok"
        assert (await post(lanes, server.url, b"next")).content == b"next"
        assert server.connections == 2
        await settle(server, 1)


async def test_http_1_0_may_keep_its_connection_if_it_says_so(lanes):
    async def script(peer):
        while await peer.request() is not None:
            await peer.say(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")

    async with adversary(script) as server:
        assert [(await post(lanes, server.url)).content for _ in range(2)] == [b"ok", b"ok"]
        assert server.connections == 1


@pytest.mark.parametrize("turns", [0, 1, 3], ids="{} turns of the loop later".format)
async def test_a_late_second_reply_is_nobodys_answer(lanes, turns):
    """The server says it when the first reply has been read, so that it waits in the kernel for the next request."""
    said = asyncio.Event()
    more = asyncio.Event()

    async def script(peer):
        if peer.number == 0:
            await peer.request()
            await peer.say(reply(b"ok"))
            await more.wait()
            await peer.say(reply(b"polluted"))
            said.set()
            await peer.gone()
        await echo(peer)

    async with adversary(script) as server:
        assert (await post(lanes, server.url)).content == b"ok"
        more.set()
        await said.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        assert (await post(lanes, server.url, b"next")).content == b"next"


async def test_a_connection_the_server_closed_while_it_rested_is_not_used(lanes):
    """Also when its FIN has only just come in: a request sent down there would be an ambiguous loss."""
    closing = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.say(reply(b"%d" % peer.number))
        await closing.wait()
        peer.close()

    async with adversary(script) as server:
        for number in range(3):
            assert (await post(lanes, server.url)).content == b"%d" % number
            closing.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            time.sleep(0.002)  # the kernel has it now, the loop has not looked
            closing.clear()


async def test_a_lane_that_rested_too_long_is_not_used():
    lanes = LaneTransport(idle_s=0.05)
    async with adversary(echo) as server:
        await asyncio.gather(*(post(lanes, server.url) for _ in range(4)))
        await asyncio.sleep(0.1)
        await post(lanes, server.url)
        assert server.connections == 5
        await settle(server, 1)
        await asyncio.gather(*(post(lanes, server.url) for _ in range(3)))
        await asyncio.sleep(0.03)
        for _ in range(10):
            await asyncio.sleep(0.01)
            await post(lanes, server.url)  # one lane is at work, so the ones below it are closed as they age
        await settle(server, 1)
    await lanes.aclose()


async def test_different_servers_never_share_a_lane(lanes):
    async with adversary(echo) as one, adversary(echo) as other, adversary(echo, TLS) as secure:
        for _ in range(3):
            for server in (one, other, secure):
                assert (await post(lanes, server.url, server.url.encode())).text == server.url
        assert (one.connections, other.connections, secure.connections) == (1, 1, 1)


# What is too much


async def test_endless_interim_replies_end_at_the_header_cap(lanes):
    async def script(peer):
        await peer.request()
        while True:
            await peer.say(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)

    async with adversary(script) as server:
        with pytest.raises(httpx.RemoteProtocolError, match="head is over"):
            await post(lanes, server.url, deadline_s=None)


@pytest.mark.parametrize("piece", [b"x" * 1000, b"X-A: 1\r\n" * 100, b" \t" * 500], ids=["one", "many", "blank"])
async def test_endless_headers_end_at_the_header_cap(lanes, piece):
    async def script(peer):
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nX-A:")
        while True:
            await peer.say(piece)

    async with adversary(script) as server:
        with pytest.raises(httpx.RemoteProtocolError, match=r"head is over|no valid HTTP"):
            await post(lanes, server.url, deadline_s=None)


@pytest.mark.parametrize(("size", "fits"), [(900, True), (1100, False)])
async def test_a_head_that_comes_with_its_body_is_measured_alone(size, fits):
    lanes = LaneTransport(header_cap=1000)
    async with adversary(once(reply(b"b" * 5000, b"X-A: " + b"a" * (size - 70)))) as server:
        if fits:
            assert len((await post(lanes, server.url)).content) == 5000
        else:
            with pytest.raises(httpx.RemoteProtocolError, match="head is over"):
                await post(lanes, server.url)
    await lanes.aclose()


async def test_a_body_may_be_as_large_as_the_cap_and_not_a_byte_larger(lanes):
    async def script(peer):
        while (request := await peer.request()) is not None:
            await peer.say(reply(b"x" * int(request[1])))

    async with adversary(script) as server:
        assert len((await post(lanes, server.url, b"%d" % MIB)).content) == MIB
        with pytest.raises(httpx.RemoteProtocolError, match="body is over"):
            await post(lanes, server.url, b"%d" % (MIB + 1))


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: 1\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX:", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000),
    ],
    ids=["chunks", "trailers", "one trailer", "a chunk extension", "until the end"],
)
async def test_bodies_without_end_end_at_the_cap(lanes, head, piece):
    async def script(peer):
        await peer.request()
        await peer.say(head)
        while True:
            await peer.say(piece)

    async with adversary(script) as server:
        with pytest.raises(httpx.RemoteProtocolError, match=r"body is over|no valid HTTP"):
            await post(lanes, server.url, deadline_s=None)
        await settle(server, 0)


# Encodings nobody asked for


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [(b"gzip", gzip.compress), (b"X-GZIP", gzip.compress), (b"deflate", zlib.compress), (b"deflate", raw_deflate)],
)
async def test_a_packed_reply_is_unpacked_and_its_headers_speak_of_the_result(lanes, coding, pack):
    body = json.dumps({"text": "ä" * 1000}).encode()
    async with adversary(once(reply(pack(body), b"Content-Encoding: " + coding, b"Vary: x"))) as server:
        response = await post(lanes, server.url)
        assert response.json() == {"text": "ä" * 1000} and response.headers["vary"] == "x"
        assert "content-encoding" not in response.headers and "content-length" not in response.headers
        assert await response.aread() == body


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"br", b"\x0b\x02\x80hello\x03"),
        (b"gzip, gzip", gzip.compress(gzip.compress(b"x"))),
        (b"gzip", b"not packed at all"),
        (b"gzip", gzip.compress(b"x" * 1000)[:-5]),
        (b"gzip", gzip.compress(b"x") + gzip.compress(b"y")),
        (b"deflate", b"\xff\xff\xff"),
    ],
    ids=["brotli", "twice", "not at all", "cut", "and more", "noise"],
)
async def test_what_cannot_be_unpacked_is_a_decoding_error(lanes, coding, body):
    async with adversary(first_then_echo(reply(body, b"Content-Encoding: " + coding))) as server:
        with pytest.raises(httpx.DecodingError):
            await post(lanes, server.url)
        assert (await post(lanes, server.url, b"next")).content == b"next"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compression_bomb_stops_at_the_cap(lanes, coding):
    bomb = (gzip.compress if coding == "gzip" else zlib.compress)(bytes(50 * MIB))
    assert len(bomb) < MIB
    async with adversary(once(reply(bomb, b"Content-Encoding: " + coding.encode()))) as server:
        tracemalloc.start()
        try:
            with pytest.raises(httpx.RemoteProtocolError, match="when decoded"):
                await post(lanes, server.url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 5 * MIB  # the packed body twice, the unpacked one while it is put together twice


# TLS


async def test_tls_carries_large_bodies_both_ways_over_one_connection(lanes):
    body = random.Random(1).randbytes(MIB)
    spoken = set()

    async def script(peer):
        spoken.add(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await echo(peer)

    async with adversary(script, TLS) as server:
        for _ in range(3):
            assert (await post(lanes, server.url, body)).content == body
        assert server.connections == 1 and spoken == {"http/1.1"}


async def test_tls_checks_the_name(lanes):
    async with adversary(echo, TLS) as server:
        assert (await post(lanes, server.url.replace("127.0.0.1", "localhost"), b"x")).content == b"x"
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate|hostname"):
            await post(lanes, server.url.replace("127.0.0.1", "127.1"))


async def test_parallel_tls_requests_get_each_their_own_answer(lanes):
    async with adversary(echo, TLS) as server:
        bodies = [b"row %d" % n for n in range(40)]
        replies = await asyncio.gather(*(post(lanes, server.url, body) for body in bodies))
        assert [response.content for response in replies] == bodies


# Cancellation and the end


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize(
    ("scheme", "total"),
    [("http", 1000), ("https", 200), pytest.param("http", 10_000, marks=pytest.mark.slow)],
)
async def test_thousands_of_cancellations_leave_nothing_behind(lanes, scheme, total):
    rng = random.Random(7)

    async def script(peer):
        while (request := await peer.request()) is not None:
            await asyncio.sleep(rng.random() * 0.002)
            await peer.say(reply(request[1]))

    async with adversary(script, TLS if scheme == "https" else None) as server:
        await post(lanes, server.url)
        tasks_before, descriptors_before = len(asyncio.all_tasks()), descriptors()

        async def cancelled(n):
            task = asyncio.ensure_future(post(lanes, server.url, b"%d" % n))
            await asyncio.sleep(rng.random() * 0.003)
            task.cancel()
            try:
                assert (await task).content == b"%d" % n
            except asyncio.CancelledError:
                return 1
            return 0

        stopped = 0
        for start in range(0, total, 50):
            stopped += sum(await asyncio.gather(*(cancelled(n) for n in range(start, start + 50))))
        assert total / 5 < stopped <= total
        bodies = [b"after %d" % n for n in range(50)]
        replies = await asyncio.gather(*(post(lanes, server.url, body) for body in bodies))
        assert [response.content for response in replies] == bodies
        await settle(server, len(lanes._lanes))
        await lanes.aclose()
        await settle(server, 0)
        assert len(asyncio.all_tasks()) <= tasks_before and descriptors() <= descriptors_before


async def test_a_cancelled_request_closes_its_connection(lanes):
    async with adversary(Peer.gone) as server:
        task = asyncio.ensure_future(post(lanes, server.url))
        await settle(server, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settle(server, 0)


async def test_a_closed_transport_ends_what_is_under_way_and_takes_nothing_more(lanes):
    async with adversary(Peer.gone) as server:
        task = asyncio.ensure_future(post(lanes, server.url))
        await settle(server, 1)
        await lanes.aclose()
        with pytest.raises(httpx.ReadError, match="closed"):
            await task
        with pytest.raises(RuntimeError, match="closed"):
            await post(lanes, server.url)
        await settle(server, 0)


def test_on_trio_it_says_what_it_needs():
    async def ask():
        await post(LaneTransport(), "http://127.0.0.1:1/")

    with pytest.raises(RuntimeError, match="asyncio or uvloop only"):
        trio.run(ask)


# Any bytes at all

PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 500 No\r\n",
        b"HTTP/1.1 100 Go\r\n",
        b"HTTP/1.1 304 Same\r\n",
        b"Content-Length: 4\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Content-Encoding: deflate\r\n",
        b"Connection: close\r\n",
        b"Upgrade: x\r\nConnection: upgrade\r\n",
        b"\r\n",
        b"\n",
        b"4\r\nabcd\r\n",
        b"0\r\n\r\n",
        b"abcd",
        gzip.compress(b"abcd"),
        b"\0\xff",
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces=st.lists(PIECES | st.binary(max_size=20), max_size=12), end=st.sampled_from(["close", "reset"]))
async def test_any_bytes_bring_a_response_or_a_transport_error_and_never_pollute_the_next(pieces, end):
    lanes = LaneTransport(body_cap=MIB)
    async with adversary(first_then_echo(b"".join(pieces), end)) as server:
        try:
            response = await post(lanes, server.url)
            assert 200 <= response.status_code <= 999
            assert isinstance(response.content, bytes)
        except (httpx.TransportError, httpx.DecodingError) as error:
            assert not isinstance(error, httpx.TimeoutException)
        assert (await post(lanes, server.url, b"next")).content == b"next"
    await lanes.aclose()
