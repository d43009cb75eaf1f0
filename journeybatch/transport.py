"""Bytes over connections: many small POSTs over O(1) lanes, behind httpx's transport interface.

``loops.py``, ``turnstile.py``, ``lane.py``, this, and what carries requests to workers (``outpost.py``, ``courier.py``,
``fleet.py``) are the only files that know asyncio. What an exchange raises says what it may have cost:

==================================================  =====================================  ============
end of the exchange                                 raises                                 may have cost
==================================================  =====================================  ============
request malformed (line break in a header, …)       LocalProtocolError, TypeError          nothing
neither http nor https                              UnsupportedProtocol                    nothing
name unknown, refused, TLS refused, closed or       ConnectError                           nothing
reset before the first byte of the request
deadline before the first byte of the request       ConnectTimeout                         nothing
closed or reset while bytes of the request were     WriteError                             nothing
still ours: the server cannot have all of it
deadline, the same                                  WriteTimeout                           nothing
connection reset after the request had left         ReadError                              unknown
deadline, the same                                  ReadTimeout                            unknown
closed before a whole reply, no valid HTTP,         RemoteProtocolError                    unknown
head or body over its cap, 101
compressed although we asked for identity, and      DecodingError                          unknown
broken or in a way we do not know
cancelled                                           CancelledError                         unknown
==================================================  =====================================  ============

After any of these, and after a whole reply that was not perfectly framed, the connection is closed, so that no
row can get another row's answer.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
import ssl
import zlib
from collections import defaultdict, deque
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

import httpx
import msgspec

from journeybatch.lane import CODING, Caps, Lane, Reply
from journeybatch.proxy import PORTS
from journeybatch.seal import Seal
from journeybatch.turnstile import Turnstile

Origin = tuple[str, str, int]

DIAL_S = 2.0  # per address while there is another one to try: a broken IPv6 must not eat the deadline
HEAD = re.compile(
    rb"(?!HEAD |CONNECT )[A-Z]+ [\x21-\x7e]+ HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [^\r\n\0]*\r\n)*"
)


class Target(NamedTuple):
    """Where requests go, and the ``head`` they share: all but the length of the body."""

    origin: Origin
    head: bytes

    @classmethod
    def of(cls, request: httpx.Request) -> Target:
        """Raises LocalProtocolError, UnsupportedProtocol."""
        return cls(_origin(request.url), _head(request))


class LaneTransport(httpx.AsyncBaseTransport):
    """Many small requests over O(1) LIFO lanes, one keep-alive HTTP/1.1 connection each. asyncio and uvloop only.

    The caller bounds concurrency: a request takes the lane that rested last, or opens one. ``body_cap`` and
    ``header_cap`` are bytes per reply, ``body_cap`` both as received and as decoded. A lane that rested longer
    than ``idle_s`` seconds is not used again: a stale connection is an ambiguous loss. ``verify`` defaults to
    httpx's own context. No HTTP/2, no proxies, no cookies, no redirects, no HEAD.
    """

    def __init__(
        self,
        *,
        verify: ssl.SSLContext | None = None,
        body_cap: int = 16 * 2**20,
        header_cap: int = 64 * 2**10,
        idle_s: float = 4.0,
    ) -> None:
        self._verify = verify
        self._caps = Caps(header_cap, body_cap)
        self._idle_s = idle_s
        self._resting: defaultdict[Origin, deque[Lane]] = defaultdict(deque)
        self._lanes: set[Lane] = set()  # every connection, resting or not
        self._turnstile = Turnstile[Reply]()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``, whose body must be bytes, and return the whole, decoded reply.

        ``request.extensions["deadline_s"]``: seconds for everything from the name look-up to the last byte;
        absent or None: no limit. Host, Content-Length and ``Accept-Encoding: identity`` are added where absent.
        The response's ``extensions["latency_s"]`` are the seconds from the first byte sent to the last received.
        Raises as the table above says; RuntimeError without a running asyncio loop or after ``aclose``.
        """
        body, target = _body(request), Target.of(request)
        return _Whole(await self.exchange(target, body, request.extensions.get("deadline_s")), request)

    async def exchange(self, target: Target, body: bytes, seconds: float | None) -> Reply:
        """The same without httpx's objects, for who sends to one ``target`` all night; ``seconds``: the deadline."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("LaneTransport runs on asyncio or uvloop only, not on trio or without a loop") from None
        if self._closed:
            raise RuntimeError("this transport is closed")
        if seconds is not None and seconds <= 0:
            raise httpx.ConnectTimeout("the deadline passed before anything was sent")
        origin, now = target.origin, loop.time()
        deadline = math.inf if seconds is None else now + seconds
        lane = self._rested(origin, now) or await self._opened(origin, None if seconds is None else deadline)
        try:
            reply = await lane.send(b"%bContent-Length: %d\r\n\r\n%b" % (target.head, len(body), body), deadline)
            if lane.coded:
                reply = _unpacked(reply, self._caps.body)
        except BaseException:
            lane.abort()
            raise
        self._rest(origin, lane, loop.time())
        return reply

    async def aclose(self) -> None:
        """Close every connection; exchanges under way end in an error."""
        self._closed = True
        for lane in list(self._lanes):
            lane.drop()
        self._resting.clear()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next turn

    def _rested(self, origin: Origin, now: float) -> Lane | None:
        """The lane that rested last, if it is still good."""
        resting = self._resting[origin]
        while resting:
            lane = resting.pop()
            if not lane.lost and now - lane.rested_at <= self._idle_s and lane.quiet():
                return lane
            lane.abort()
        return None

    def _rest(self, origin: Origin, lane: Lane, now: float) -> None:
        if lane.lost or self._closed:
            lane.abort()
            return
        lane.rested_at = now
        resting = self._resting[origin]
        resting.append(lane)
        while now - resting[0].rested_at > self._idle_s:  # the one that just came is young: this ends
            resting.popleft().abort()

    async def _opened(self, origin: Origin, deadline: float | None) -> Lane:
        scheme, host, port = origin
        seal = Seal(self._tls, host) if scheme == "https" else None
        lane = Lane(self._caps, self._lanes, self._turnstile, seal)
        try:
            async with asyncio.timeout_at(deadline):
                await _dial(lane, host, port)
                await lane.secured()
        except TimeoutError as error:
            lane.abort()
            raise httpx.ConnectTimeout(f"no connection to {host}:{port} in time") from error
        except (OSError, ValueError, OverflowError) as error:
            lane.abort()
            raise httpx.ConnectError(f"no connection to {host}:{port}: {error}") from error
        except BaseException:
            lane.abort()
            raise
        return lane

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = self._verify or httpx.create_ssl_context()  # reads a CA bundle: ten milliseconds, made when needed
        context.set_alpn_protocols(["http/1.1"])
        return context


class _Whole(httpx.Response):
    """A response whose body is here already."""

    def __init__(self, reply: Reply, request: httpx.Request) -> None:
        super().__init__(
            reply.status,
            headers=reply.headers,
            stream=httpx.ByteStream(reply.body),
            request=request,
            extensions={"latency_s": reply.latency_s},
        )
        self._whole = reply.body

    @property
    def content(self) -> bytes:
        return self._whole


def _origin(url: httpx.URL) -> Origin:
    scheme, host = url.scheme, url.raw_host.decode("ascii")
    if scheme not in PORTS or not host:
        raise httpx.UnsupportedProtocol(f"neither http:// nor https:// with a host: {scheme}://{host}")
    return scheme, host, url.port or PORTS[scheme]


async def _dial(lane: Lane, host: str, port: int) -> None:
    """Connect ``lane`` to the first address of ``host`` that answers; raises OSError."""
    loop = asyncio.get_running_loop()
    addresses = [str(found[4][0]) for found in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in addresses[:-1]:
        with suppress(OSError):  # a TimeoutError is one
            async with asyncio.timeout(DIAL_S):
                await loop.create_connection(lambda: lane, address, port)
                return
    await loop.create_connection(lambda: lane, addresses[-1], port)


def _body(request: httpx.Request) -> bytes:
    if not isinstance(request.stream, httpx.ByteStream):
        raise TypeError("LaneTransport sends bodies that are bytes, not streams: pass content=bytes")
    return b"".join(request.stream)


def _head(request: httpx.Request) -> bytes:
    """The request line and all headers but the body's length."""
    lines, names = [b"%b %b HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)], set()
    for name, value in request.headers.raw:
        lower = name.lower()
        names.add(lower)
        if lower != b"content-length":
            lines.append(b"%b: %b\r\n" % (name, value))
    if b"transfer-encoding" in names:
        raise httpx.LocalProtocolError("Transfer-Encoding: the body is sent with its length")
    if b"host" not in names:
        lines.insert(1, b"Host: %b\r\n" % request.url.netloc)
    if b"accept-encoding" not in names:
        lines.append(b"Accept-Encoding: identity\r\n")
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or not HEAD.fullmatch(head):
        raise httpx.LocalProtocolError("method, URL or a header holds what HTTP does not allow, or HEAD/CONNECT")
    return head


def _unpacked(reply: Reply, cap: int) -> Reply:
    """``reply`` with its body decoded, at most ``cap`` bytes of it."""
    codings = [value.strip().lower() for name, value in reply.headers if name.lower() == CODING]
    if not codings:
        return reply
    gone = (b"content-encoding", b"content-length")
    headers = [(name, value) for name, value in reply.headers if name.lower() not in gone]
    body = _decoded(reply.body, b",".join(codings), cap)
    return msgspec.structs.replace(reply, headers=headers, body=body)


def _decoded(body: bytes, coding: bytes, cap: int) -> bytes:
    """Unpack ``body``, stopping at ``cap`` bytes."""
    if coding == b"identity" or not body:
        return body
    if coding in (b"gzip", b"x-gzip"):
        window = 31
    elif coding == b"deflate":  # by the book with zlib's header; some servers leave it out
        window = 15 if body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0 else -15
    else:
        raise httpx.DecodingError(f"content-encoding {coding[:40]!r} was not asked for")
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(body, cap + 1)
    except zlib.error as error:
        raise httpx.DecodingError(f"broken {coding.decode()}: {error}") from error
    if len(plain) > cap:
        raise httpx.RemoteProtocolError(f"the reply's body is over {cap} bytes when decoded")
    if not stream.eof or stream.unused_data:
        raise httpx.DecodingError(f"broken {coding.decode()}: it ends too early or too late")
    return plain
