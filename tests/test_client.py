"""One attempt over HTTP: what is sent, what comes back, what a foreign exception means; and the key in none of it."""

from __future__ import annotations

import errno
import inspect
import json
import traceback

import anyio
import anyio.abc
import httpx
import pytest
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import client as module
from journeybatch.client import BODY_CAP, JOURNEYAPI, Client, Endpoint, translate
from journeybatch.errors import ApiFailure, DiskFull
from journeybatch.records import Completion, Message, Price, Prompt, Request
from journeybatch.transport import LaneTransport
from journeybatch.wire import judge

pytestmark = pytest.mark.anyio
KEY = '"sk-test/9"Zq\\+7=/end'
ESCAPED = json.dumps(KEY)[1:-1]
REQUEST = Request(7, "m", (Prompt(b"k" * 16, (Message("user", "x"),)),), b'{"model":"m","messages":[]}', Price(1, 1))
ENDPOINT = Endpoint("https://api.example/api/v1", KEY)
REPLY = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    if request.param == "asyncio":
        return "asyncio", {}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def virtual(anyio_backend):
    if anyio_backend[0] != "trio":
        pytest.skip("minutes pass in no time under trio's clock only")


@pytest.fixture
def left_early(anyio_backend):
    if anyio_backend[0] == "trio":
        pytest.skip("httpx leaves its own generators to the garbage collector, which trio calls an error")


class Body(httpx.AsyncByteStream):
    """A reply's body that comes in pieces, each after ``pause_s`` seconds, and may end in ``error``."""

    def __init__(self, *chunks, pause_s=0.0, error=None):
        self.chunks, self.pause_s, self.error, self.closed = chunks, pause_s, error, False

    async def __aiter__(self):
        for chunk in self.chunks:
            await anyio.sleep(self.pause_s)
            yield chunk
        if self.error is not None:
            raise self.error

    async def aclose(self):
        self.closed = True


class Peer(httpx.MockTransport):
    """Answers all alike and remembers what was asked."""

    def __init__(self, answer):
        self.requests, self.closed = [], False

        async def handle(request):
            self.requests.append(request)
            found = answer(request) if callable(answer) else answer
            if isinstance(found, BaseException):
                raise found
            return await found if inspect.isawaitable(found) else found

        super().__init__(handle)

    async def aclose(self):
        self.closed = True


def sending(answer, endpoint=ENDPOINT, **options):
    peer = Peer(answer)
    return Client(peer, endpoint, **options), peer


async def failure(answer, call="send", endpoint=ENDPOINT):
    client, _ = sending(answer, endpoint)
    with pytest.raises(ApiFailure) as raised:
        await (client.send(REQUEST) if call == "send" else getattr(client, call)())
    return raised.value


async def lines(client):
    return [line async for line in client.stream(REQUEST.body)]


# -- what is sent ---------------------------------------------------------------------------------------------


async def test_a_request_is_posted_as_it_stands_and_its_reply_comes_back_raw():
    body = b'\xff {"not": "read"}'
    client, peer = sending(httpx.Response(200, content=body, headers={"X-Request-Id": "r1", "Content-Type": "a/b"}))
    completion = await client.send(REQUEST)
    assert type(completion) is Completion
    assert (completion.status, completion.body, completion.reply) == (200, body, None)
    assert completion.headers == {"x-request-id": "r1", "content-type": "a/b"}
    assert completion.latency_s >= 0
    (sent,) = peer.requests
    assert (sent.method, str(sent.url)) == ("POST", "https://api.example/api/v1/chat/completions")
    assert sent.content == REQUEST.body
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.headers["host"] == "api.example"
    assert sent.headers["content-length"] == str(len(REQUEST.body))


async def test_a_slash_at_the_end_of_the_url_makes_no_second_one():
    client, peer = sending(httpx.Response(200, json={}), Endpoint("http://127.0.0.1:8000/v1//"))
    await client.send(REQUEST)
    await client.account()
    assert [str(sent.url) for sent in peer.requests] == [
        "http://127.0.0.1:8000/v1/chat/completions",
        "http://127.0.0.1:8000/v1/account",
    ]
    assert peer.requests[1].method == "GET"
    assert peer.requests[1].content == b""


@pytest.mark.parametrize(
    ("endpoint", "header"),
    [
        (Endpoint(JOURNEYAPI, KEY), KEY),
        (Endpoint(JOURNEYAPI, KEY, "raw"), KEY),
        (Endpoint(JOURNEYAPI, KEY, "bearer"), f"Bearer {KEY}"),
        (Endpoint(JOURNEYAPI, KEY, "none"), None),
        (Endpoint(JOURNEYAPI), None),
        (Endpoint(JOURNEYAPI, "", "bearer"), None),
    ],
)
async def test_the_key_goes_as_the_endpoint_wants_it(endpoint, header):
    client, peer = sending(httpx.Response(200, json={}), endpoint)
    await client.send(REQUEST)
    await client.account()
    await lines(client)
    assert [sent.headers.get("authorization") for sent in peer.requests] == [header] * 3


async def test_the_deadline_is_handed_to_the_transport():
    client, peer = sending(httpx.Response(200), timeout_s=12.0)
    await client.send(REQUEST)
    assert peer.requests[0].extensions["deadline_s"] == 12.0
    assert set(peer.requests[0].extensions["timeout"].values()) == {12.0}


async def test_cookies_are_neither_kept_nor_sent():
    client, peer = sending(lambda _: httpx.Response(200, headers={"Set-Cookie": "a=b", "Server": "x"}))
    first, _ = await client.send(REQUEST), await client.send(REQUEST)
    assert first.headers == {}
    assert "cookie" not in peer.requests[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status):
    client, peer = sending(lambda _: httpx.Response(status, headers={"Location": "https://else.example/"}))
    completion = await client.send(REQUEST)
    assert (completion.status, completion.headers) == (status, {"location": "https://else.example/"})
    for call in (client.account, lambda: lines(client)):
        with pytest.raises(ApiFailure) as raised:
            await call()
        assert (raised.value.stopped_by, raised.value.status) == ("endpoint", status)
    assert {sent.url.host for sent in peer.requests} == {"api.example"}
    assert len(peer.requests) == 3


async def test_the_transports_own_latency_goes_first():
    client, _ = sending(httpx.Response(200, extensions={"latency_s": 0.25}))
    assert (await client.send(REQUEST)).latency_s == 0.25


async def test_closing_the_client_closes_its_transport():
    client, peer = sending(httpx.Response(200))
    await client.aclose()
    assert peer.closed


# -- who answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "provider"),
    [
        (Endpoint(JOURNEYAPI), "journeyapi.co:443"),
        (Endpoint("https://JourneyAPI.co:443/other"), "journeyapi.co:443"),
        (Endpoint("http://journeyapi.co/api/v1"), "journeyapi.co:80"),
        (Endpoint("http://127.0.0.1:8000/v1"), "127.0.0.1:8000"),
        (Endpoint("http://127.0.0.1:8000/v1", emulated=True), "emulator"),
    ],
)
def test_a_provider_is_the_emulator_or_host_and_port(endpoint, provider):
    assert endpoint.provider == provider


# -- foreign exceptions ---------------------------------------------------------------------------------------

FREE = {
    httpx.ConnectError: "connection",
    httpx.ConnectTimeout: "timeout",
    httpx.InvalidURL: "connection",
    httpx.LocalProtocolError: "connection",
    httpx.PoolTimeout: "timeout",
    httpx.ProxyError: "connection",
    httpx.UnsupportedProtocol: "connection",
    httpx.WriteError: "connection",
    httpx.WriteTimeout: "timeout",
}
NOT_OURS = {httpx.CookieConflict}  # raised by looking into a cookie jar; there is none


def tree(*roots):
    return {each for root in roots for each in (root, *tree(*root.__subclasses__())) if each.__module__ == "httpx"}


HTTPX = {each for each in vars(httpx).values() if inspect.isclass(each) and issubclass(each, Exception)}
HTTPX |= tree(httpx.HTTPError, httpx.StreamError)
MAPPED = sorted(HTTPX - NOT_OURS, key=lambda kind: kind.__name__)


def made(kind, text="said"):
    """An exception of ``kind``, however many arguments it wants."""
    if kind is httpx.HTTPStatusError:
        request = httpx.Request("POST", "https://x/")
        return kind(text, request=request, response=httpx.Response(500, request=request))
    return kind(text) if list(inspect.signature(kind).parameters) else kind()


def test_the_walk_finds_the_whole_family():
    assert len(MAPPED) >= 27
    assert set(FREE) <= set(MAPPED)


@pytest.mark.parametrize("kind", MAPPED, ids=lambda kind: kind.__name__)
async def test_an_exception_of_httpx_is_free_only_where_nothing_whole_was_sent(kind):
    error = await failure(made(kind))
    late = "timeout" if issubclass(kind, httpx.TimeoutException) else "lost"
    assert error.kind == FREE.get(kind, late)
    assert error.charge == ("free" if kind in FREE else "unknown")
    assert (error.then, error.status, error.stopped_by) == ("retry", None, None)
    assert str(error)


@pytest.mark.parametrize("kind", MAPPED, ids=lambda kind: kind.__name__)
async def test_the_account_and_a_stream_map_exceptions_alike(kind):
    for call in ("account", "balance"):
        assert (await failure(made(kind), call)).charge == ("free" if kind in FREE else "unknown")
    client, _ = sending(made(kind))
    with pytest.raises(ApiFailure) as raised:
        await lines(client)
    assert raised.value.charge == ("free" if kind in FREE else "unknown")


@pytest.mark.parametrize("kind", [TimeoutError, ConnectionResetError, BrokenPipeError, OSError])
async def test_an_error_of_the_system_leaves_a_doubt(kind):
    error = await failure(kind("gone"))
    assert (error.charge, error.kind) == ("unknown", "timeout" if kind is TimeoutError else "lost")


async def test_an_exception_without_words_is_named():
    assert str(await failure(httpx.ReadError(""))) == "the connection broke off: ReadError"
    assert str(await failure(httpx.ReadError("a\x1b[2J\nb"))) == "the connection broke off: a b"


async def test_a_bug_of_ours_is_not_taken_for_the_networks():
    client, _ = sending(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        await client.send(REQUEST)


def caused(error, cause):
    error.__cause__ = cause
    return error


def in_context(error, context):
    error.__context__ = context
    return error


def no_descriptor(number):
    return OSError(number, "Too many open files")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda cause: cause,
        lambda cause: caused(httpx.ConnectError("failed"), cause),
        lambda cause: in_context(httpx.ConnectError("failed"), cause),
        lambda cause: caused(httpx.ConnectError("x"), caused(OSError("all failed"), cause)),
        lambda cause: caused(httpx.ConnectError("x"), ExceptionGroup("several", [OSError("refused"), cause])),
        lambda cause: caused(httpx.ConnectTimeout("x"), in_context(ExceptionGroup("a", [ValueError()]), cause)),
    ],
    ids=["itself", "cause", "context", "deep", "group", "beside a group"],
)
async def test_without_file_descriptors_the_run_stops_as_with_a_full_disk(wrap, number):
    client, _ = sending(wrap(no_descriptor(number)))
    for call in (client.send(REQUEST), client.account(), lines(client)):
        with pytest.raises(DiskFull, match="file descriptors"):
            await call


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ENOSPC, errno.EPIPE])
def test_another_errno_is_an_ordinary_failure(number):
    assert isinstance(translate(caused(httpx.ConnectError("x"), OSError(number, "x"))), ApiFailure)


# -- bodies, caps, deadlines ----------------------------------------------------------------------------------


async def test_a_body_in_pieces_comes_back_whole():
    body = Body(b"ab", b"", b"cd")
    client, _ = sending(httpx.Response(200, stream=body))
    assert (await client.send(REQUEST)).body == b"abcd"
    assert body.closed


@pytest.mark.parametrize("error", [httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), ConnectionResetError()])
async def test_a_body_that_breaks_off_is_a_doubt_and_is_closed(error):
    body = Body(b'{"cho', error=error)
    failed = await failure(httpx.Response(200, stream=body))
    assert (failed.kind, failed.charge) == ("lost", "unknown")
    assert body.closed


async def test_a_body_over_the_cap_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "BODY_CAP", 10)
    client, _ = sending(lambda _: httpx.Response(200, stream=Body(b"x" * 5, b"y" * 5)))
    assert len((await client.send(REQUEST)).body) == 10
    body = Body(b"x" * 5, b"x" * 5, b"x")
    failed = await failure(httpx.Response(200, stream=body))
    assert (failed.kind, failed.charge) == ("lost", "unknown")
    assert "over 10 bytes" in str(failed)
    assert body.closed
    assert BODY_CAP == 16 * 2**20


async def test_a_bomb_counts_as_what_it_unpacks_to(monkeypatch):
    import gzip

    monkeypatch.setattr(module, "BODY_CAP", 1000)
    bomb = Body(gzip.compress(bytes(100_000)))
    failed = await failure(httpx.Response(200, stream=bomb, headers={"Content-Encoding": "gzip"}))
    assert "over 1000 bytes" in str(failed)


async def test_a_body_that_cannot_be_unpacked_is_a_doubt(left_early):
    failed = await failure(httpx.Response(200, stream=Body(b"no gzip"), headers={"Content-Encoding": "gzip"}))
    assert (failed.kind, failed.charge) == ("lost", "unknown")


def drip(pause_s):
    return lambda _: httpx.Response(200, stream=Body(*[b"x\n"] * 100_000, pause_s=pause_s))


async def hang(_):
    await anyio.sleep_forever()


@pytest.mark.parametrize("answer", [hang, drip(1.0), drip(1e9)], ids=["silence", "a drip", "a hung body"])
async def test_an_attempt_ends_within_a_second_of_its_timeout(virtual, answer):
    client, _ = sending(answer, timeout_s=30.0)
    for call in (client.send(REQUEST), client.account(), lines(client)):
        began = anyio.current_time()
        with pytest.raises(ApiFailure) as raised:
            await call
        assert 30 <= anyio.current_time() - began <= 31
        assert (raised.value.kind, raised.value.charge) == ("timeout", "unknown")


async def test_a_slow_reply_within_its_time_is_a_reply(virtual):
    client, _ = sending(httpx.Response(200, stream=Body(*[b"x"] * 29, pause_s=1.0)), timeout_s=30.0)
    completion = await client.send(REQUEST)
    assert completion.body == b"x" * 29
    assert completion.latency_s == pytest.approx(29)


async def test_a_cancelled_attempt_closes_what_it_opened():
    body = Body(b"x", b"y", pause_s=3600.0)
    client, _ = sending(httpx.Response(200, stream=body))
    with anyio.move_on_after(0.05) as scope:
        await client.send(REQUEST)
    assert scope.cancelled_caught
    assert body.closed


# -- the account ----------------------------------------------------------------------------------------------

ACCOUNT = {"email": "a@b.example", "credits": 41, "plan": "free"}


async def test_the_account_is_what_the_endpoint_tells():
    client, _ = sending(lambda _: httpx.Response(200, json=ACCOUNT))
    assert await client.account() == ACCOUNT
    assert await client.balance() == 41


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_endpoint_without_accounts_has_none(status):
    client, _ = sending(lambda _: httpx.Response(status, json=ACCOUNT))
    assert await client.account() is None
    assert await client.balance() is None


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"<html>",
        b"{",
        b"\xff",
        b'{"a":"\xff"}',
        b"[" * 100000,
        b'{"credits":NaN}',
        b'{"credits":1e999}',
        b'{"credits":' + b"9" * 5000 + b"}",
        rb'{"a":"\ud800"}',
    ],
)
async def test_what_is_no_account_is_said_in_one_line_and_is_no_balance(body):
    client, _ = sending(lambda _: httpx.Response(200, content=body))
    with pytest.raises(ApiFailure, match=r"^/account answered, but with no account: .+$") as caught:
        await client.account()
    assert caught.value.stopped_by == "endpoint"
    assert await client.balance() is None


@pytest.mark.parametrize(
    ("credits", "balance"),
    [
        (0, 0),
        (-3, -3),
        (12.75, 12.75),
        (12.0, 12),
        (1e18, 10**18),
        (10**25, 10**25),
        (True, None),
        ("41", None),
        (None, None),
        ([41], None),
        ({"left": 41}, None),
    ],
)
async def test_a_balance_is_a_number_of_credits_or_none(credits, balance):
    client, _ = sending(lambda _: httpx.Response(200, json={"credits": credits}))
    assert await client.balance() == balance


async def test_an_account_without_credits_has_no_balance():
    client, _ = sending(lambda _: httpx.Response(200, json={"email": "a@b.example"}))
    assert await client.balance() is None


async def test_an_empty_success_is_no_account():
    client, _ = sending(lambda _: httpx.Response(204))
    assert await client.account() is None


@pytest.mark.parametrize(("status", "stopped_by"), [(401, "auth"), (403, "auth"), (402, "credits"), (302, "endpoint")])
async def test_an_account_refused_says_why(status, stopped_by):
    assert (await failure(httpx.Response(status), "account")).stopped_by == stopped_by
    assert (await failure(httpx.Response(500), "balance")).kind == "server_error"


# -- a stream -------------------------------------------------------------------------------------------------


async def test_a_stream_comes_line_by_line_as_it_arrives(virtual):
    client, _ = sending(httpx.Response(200, stream=Body(b"data: 1\n\nda", b"ta: 2\n", b"\n: x", pause_s=1.0)))
    began, seen = anyio.current_time(), []
    async for part in client.stream(REQUEST.body):
        seen.append((anyio.current_time() - began, part))
    assert seen == [(1.0, b"data: 1\n\n"), (2.0, b"data: 2\n"), (3.0, b"\n"), (3.0, b": x")]


async def test_no_byte_of_a_stream_is_lost_wherever_it_is_cut():
    whole = b"data: {}\r\n\r\n: ping\r\n\ndata: [DONE]"
    for cut in range(len(whole) + 1):
        client, _ = sending(httpx.Response(200, stream=Body(whole[:cut], whole[cut:])))
        assert b"".join(await lines(client)) == whole


@pytest.mark.parametrize(
    ("status", "stopped_by", "then"),
    [
        (401, "auth", "stop"),
        (404, "endpoint", "stop"),
        (429, None, "pause"),
        (400, None, "reject"),
        (502, None, "retry"),
    ],
)
async def test_a_stream_refused_says_why(status, stopped_by, then):
    client, _ = sending(httpx.Response(status, json={"error": {"message": f"No, {KEY}."}}))
    with pytest.raises(ApiFailure) as raised:
        await lines(client)
    assert (raised.value.status, raised.value.stopped_by, raised.value.then) == (status, stopped_by, then)
    assert str(raised.value) == f"HTTP {status}: No, ***."


async def test_a_stream_that_breaks_off_shows_what_came_and_then_fails():
    body = Body(b"data: 1\n", b"half", error=httpx.ReadError("reset"))
    client, _ = sending(httpx.Response(200, stream=body))
    seen = []
    with pytest.raises(ApiFailure, match="broke off: reset"):
        async for part in client.stream(REQUEST.body):
            seen.append(part)
    assert seen == [b"data: 1\n"]
    assert body.closed


async def test_a_stream_left_early_is_closed(left_early):
    body = Body(*[b"data: 1\n"] * 5)
    client, _ = sending(httpx.Response(200, stream=body))
    parts = client.stream(REQUEST.body)
    assert await anext(parts) == b"data: 1\n"
    await parts.aclose()
    assert body.closed


async def test_an_endless_stream_ends_at_the_cap(left_early, monkeypatch):
    monkeypatch.setattr(module, "BODY_CAP", 1000)
    client, _ = sending(httpx.Response(200, stream=Body(*[b": ping\n"] * 10_000)))
    with pytest.raises(ApiFailure, match="over 1000 bytes"):
        await lines(client)


# -- over a socket ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("transport", [LaneTransport, httpx.AsyncHTTPTransport])
async def test_over_a_socket_replies_come_whole_hangs_end_in_time_and_refusals_are_free(transport):
    body = json.dumps(REPLY | {"echo": KEY}).encode()

    async def serve(stream):
        async with stream:
            asked = b""
            while not asked.endswith(REQUEST.body):
                asked += await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
            if b" /hang/" in asked:
                await anyio.sleep_forever()
            await stream.send(body)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
    client = Client(transport(), Endpoint(url, KEY), timeout_s=5.0)
    hung = Client(transport(), Endpoint(f"{url}/hang", KEY), timeout_s=0.2)
    async with anyio.create_task_group() as serving:
        serving.start_soon(listener.serve, serve)
        completion = await client.send(REQUEST)
        assert (judge(completion).text, json.loads(completion.body)["echo"]) == ("Hello.", "***")
        assert 0 < completion.latency_s < 5
        assert b"".join(await lines(client)) == completion.body
        with anyio.fail_after(3), pytest.raises(ApiFailure) as raised:
            await hung.send(REQUEST)
        assert (raised.value.kind, raised.value.charge) == ("timeout", "unknown")
        serving.cancel_scope.cancel()
    await listener.aclose()
    await client.aclose()
    await hung.aclose()
    refused = Client(transport(), Endpoint(url, KEY), timeout_s=5.0)
    with pytest.raises(ApiFailure) as raised:
        await refused.send(REQUEST)
    assert (raised.value.kind, raised.value.charge) == ("connection", "free")
    await refused.aclose()


# -- the key --------------------------------------------------------------------------------------------------

HEX = "".join(f"\\u{ord(c):04x}" for c in KEY)
SPELLINGS = {
    "plain": KEY,
    "JSON": ESCAPED,
    "slashes escaped": ESCAPED.replace("/", "\\/"),
    "all in hex": HEX,
    "all in capital hex": HEX.upper().replace("\\U", "\\u"),
    "one letter in hex": ESCAPED.replace("s", "\\u0073", 1),
    "one slash escaped": ESCAPED.replace("/", "\\/", 1),
    "a quote in hex": ESCAPED.replace('\\"', "\\u0022"),
    "a plus in hex": ESCAPED.replace("+", "\\u002B").replace("/", "\\/"),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
async def test_an_echoed_key_is_blotted_out_in_every_spelling(spelling):
    body = f'{{"a":"{spelling}","b":["Bearer {spelling}{spelling}."]}}'.encode()
    client, _ = sending(httpx.Response(200, content=body, headers={"X-Request-Id": f"<{KEY}>", "Location": KEY}))
    completion = await client.send(REQUEST)
    assert completion.body == b'{"a":"***","b":["Bearer ******."]}'
    assert completion.headers["x-request-id"] == "<***>"
    assert completion.headers["location"] == "***"
    assert KEY not in repr(completion)


@pytest.mark.parametrize("key", ["/slash-first", '"quote-first', "\\backslash-first", "\\/\\/\\/\\/", "plainkey"])
@pytest.mark.parametrize("slash", ["/", "\\/"], ids=["as it is", "escaped"])
async def test_blotting_leaves_json_that_can_be_read(key, slash):
    body = b'{"a": "x %b y"}' % json.dumps(key)[1:-1].replace("/", slash).encode()
    client, _ = sending(httpx.Response(200, content=body), Endpoint(JOURNEYAPI, key))
    assert json.loads((await client.send(REQUEST)).body) == {"a": "x *** y"}


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40), st.data())
def test_no_key_survives_however_json_escapes_it(key, data):
    def spelled(c):
        ways = [f"\\u{ord(c):04x}", f"\\u{ord(c):04X}"]
        ways += [f"\\{c}"] if c in '"\\/' else []
        return data.draw(st.sampled_from([*ways, c] if c not in '"\\' else ways))

    hidden = json.dumps(key)[1:-1] if data.draw(st.booleans()) else "".join(map(spelled, key))
    body = f'{{"a": "x {hidden} y"}}'.encode()
    assert json.loads(body)["a"] == f"x {key} y"
    seen = []

    async def main():
        client, _ = sending(httpx.Response(200, content=body), Endpoint(JOURNEYAPI, key))
        seen.append((await client.send(REQUEST)).body)

    anyio.run(main)
    assert key not in json.loads(seen[0])["a"]


@pytest.mark.parametrize("split", range(len(KEY) + 1))
async def test_a_key_cut_by_the_border_of_two_chunks_is_blotted_out(split):
    whole, at = f"data: <{KEY}>\n\n".encode(), len("data: <") + split
    client, _ = sending(lambda _: httpx.Response(200, stream=Body(whole[:at], whole[at:])))
    assert b"".join(await lines(client)) == b"data: <***>\n\n"
    assert (await client.send(REQUEST)).body == b"data: <***>\n\n"


async def test_a_key_that_ends_a_stream_without_a_line_break_is_blotted_out():
    client, _ = sending(httpx.Response(200, stream=Body(*[bytes([byte]) for byte in KEY.encode()])))
    assert await lines(client) == [b"***"]


@pytest.mark.parametrize("kind", MAPPED, ids=lambda kind: kind.__name__)
async def test_no_exception_tells_the_key(kind):
    error = caused(made(kind, f"Illegal header value b'{KEY}'"), ValueError(KEY))
    client, _ = sending(error)
    for call in (client.send(REQUEST), client.account(), lines(client)):
        with pytest.raises(ApiFailure) as raised:
            await call
        assert KEY not in str(raised.value)
        assert KEY not in "".join(traceback.format_exception(raised.value))


async def test_a_refusal_that_quotes_the_key_does_not_pass_it_on():
    for call in ("account", "balance"):
        error = await failure(httpx.Response(401, json={"error": {"message": f"Wrong key: {KEY}"}}), call)
        assert str(error) == "HTTP 401: Wrong key: ***"
    client, _ = sending(httpx.Response(401, json={"error": {"message": f"Wrong key: {KEY}"}}))
    with pytest.raises(ApiFailure, match=r"Wrong key: \*\*\*$"):
        judge(await client.send(REQUEST))
    client, _ = sending(lambda _: httpx.Response(200, json={"email": KEY}))
    assert await client.account() == {"email": "***"}


def test_neither_endpoint_nor_client_shows_the_key():
    from rich.pretty import pretty_repr

    client = Client(httpx.MockTransport(lambda _: httpx.Response(200)), Endpoint(JOURNEYAPI, KEY, "bearer"))
    for value in (client, client.endpoint, client._headers, [client.endpoint]):
        for shown in (repr(value), str(value), f"{value}", pretty_repr(value)):
            assert KEY not in shown
            assert repr(KEY)[1:-1] not in shown
    assert JOURNEYAPI in repr(client.endpoint)


async def test_a_placeholder_is_no_secret():
    client, _ = sending(httpx.Response(200, content=b"x marks x"), Endpoint(JOURNEYAPI, "x"))
    assert (await client.send(REQUEST)).body == b"x marks x"


async def test_an_emulators_reply_is_left_alone():
    client, _ = sending(
        httpx.Response(200, content=b"emulator-key"), Endpoint(JOURNEYAPI, "emulator-key", emulated=True)
    )
    assert (await client.send(REQUEST)).body == b"emulator-key"


async def test_a_reply_without_the_key_is_left_byte_for_byte():
    body = json.dumps(REPLY).encode() + rb" \u0000 \u0073k sk-test\/9 \xff"
    client, _ = sending(httpx.Response(200, content=body))
    assert (await client.send(REQUEST)).body == body
