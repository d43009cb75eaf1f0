"""One keep-alive HTTP/1.1 connection: a request's bytes out, one whole reply in.

``Lane`` is an asyncio protocol around httptools' parser. TLS stands between it and a plain TCP transport, instead
of inside asyncio, because then ``pause_writing`` speaks of the kernel and of nothing else: whether a request left
this process whole decides whether it may have cost something.
"""

from __future__ import annotations

import asyncio
import math
import select
import socket
import time
from enum import IntEnum
from typing import Any, NamedTuple, cast

import httptools
import httpx
import msgspec

from journeybatch.seal import Seal
from journeybatch.turnstile import Turnstile

Headers = list[tuple[bytes, bytes]]


class Caps(NamedTuple):
    """The most bytes of one reply: all its head blocks together (1xx included), and its body."""

    head: int
    body: int


class Reply(msgspec.Struct, frozen=True):
    """One whole reply as it was framed. ``latency_s``: seconds from the first byte sent to the last received."""

    status: int
    headers: Headers
    body: bytes
    latency_s: float


class Stage(IntEnum):
    """How much of the present request the kernel has taken over."""

    NOTHING = 0
    PART = 1
    ALL = 2


_ALL = Stage.ALL  # an enumeration looks its names up at each use

CODING = b"content-encoding"
_AS_LONG = len(CODING)

LOST = (httpx.ConnectError, httpx.WriteError, httpx.ReadError)
LATE = (httpx.ConnectTimeout, httpx.WriteTimeout, httpx.ReadTimeout)


class Lane(asyncio.Protocol):
    """One connection that carries one exchange at a time and never outlives an anomaly.

    ``lost`` is final: the connection is closed or being closed. ``household`` holds the lane until then. ``coded``: the
    latest reply's body is compressed, or says so. Replies of all lanes go to their waiters through one ``turnstile``;
    errors do at once.
    """

    def __init__(self, caps: Caps, household: set[Lane], turnstile: Turnstile[Reply], seal: Seal | None = None) -> None:
        self.lost = False
        self.rested_at = 0.0
        self._caps = caps
        self._household = household
        self._turnstile = turnstile
        self._seal = seal
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._stage = Stage.NOTHING
        self._waiting: asyncio.Future[Any] | None = None
        self._sent_at = 0.0
        self._deadline = math.inf
        self._alarm: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._clear()

    def _clear(self) -> None:
        self._status, self._headers, self._body = 0, [], []  # type: tuple[int, Headers, list[bytes]]
        self._received = self._size = 0
        self._limit = self._caps.head
        self._final = self._whole = self._sound = self.coded = False

    # What the transport does with a lane

    async def secured(self) -> None:
        """Wait for the TLS handshake, if there is one. Raises ``httpx.ConnectError``."""
        if self.lost:
            raise httpx.ConnectError("the server closed the connection at once")
        if self._seal is not None and not self._seal.ready:
            self._waiting = self._loop.create_future()
            await self._waiting

    def send(self, request: bytes, deadline: float = math.inf) -> asyncio.Future[Reply]:
        """Hand over a whole request. The future brings its ``Reply``, or raises an ``httpx.TransportError``, also when
        it is past the ``deadline`` (seconds of the loop's clock)."""
        self._clear()
        self._deadline = deadline
        if deadline < self._rings_at:
            self._watch()
        waiting = self._waiting = self._loop.create_future()
        self._sent_at = time.perf_counter()
        transport: Any = self._transport
        self._stage = _ALL  # unless ``pause_writing`` says otherwise while ``write`` runs
        sealed = request if self._seal is None else self._seal.close(request)
        transport.write(sealed)
        if not sealed or transport.is_closing():  # TLS or the kernel refused it
            self._stage = Stage.PART
            self._fail(httpx.WriteError("the connection broke while the request was being sent"))
        return waiting

    def drop(self) -> None:
        """Close now; an exchange under way ends in an error."""
        self._fail(LOST[self._stage]("this transport was closed"))

    def quiet(self) -> bool:
        """Whether the kernel holds neither a byte nor a FIN for us: one would mean that this lane is no good."""
        return not self._poll.poll(0)

    def abort(self) -> None:
        """Close now, whatever is buffered. Can be called at any time, any number of times."""
        self.lost = True
        self._waiting = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._household.discard(self)  # here, for uvloop never calls ``connection_lost`` after a cancelled connect
        if self._transport is not None:
            self._transport.abort()

    # What asyncio tells a lane

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._household.add(self)
        self._transport.set_write_buffer_limits(high=0)  # one byte not taken by the kernel pauses us
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # A model may think for minutes; a probe a minute keeps NAT from forgetting a reply that is paid for.
        idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
        if idle is not None:
            sock.setsockopt(socket.IPPROTO_TCP, idle, 60)
        self._poll.register(sock.fileno(), select.POLLIN)
        if self._seal is not None:
            self._seal.open(b"")
            self._transport.write(self._seal.outgoing())

    def data_received(self, data: bytes) -> None:
        seal = self._seal
        if seal is None:
            self._read(data)
            return
        was_ready, plain = seal.ready, seal.open(data)
        if answer := seal.outgoing():
            cast(asyncio.Transport, self._transport).write(answer)
        if seal.ready and not was_ready and self._waiting is not None:
            self._waiting.set_result(None)
            self._waiting = None
        if plain:
            self._read(plain)
        if seal.error is not None:
            self._fail(self._ended(f"TLS failed: {seal.error}"))
        elif seal.ended:
            self.eof_received()

    def eof_received(self) -> None:
        if self._waiting is not None and self._ends_with_the_connection():
            self._whole, self._sound = True, False
            self._deliver()
        else:
            self._fail(self._ended("the server closed the connection before the reply was whole"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(LOST[self._stage](f"the connection was lost: {exc}") if exc else self._ended("connection lost"))
        del self._parser  # it holds us as we hold it

    def pause_writing(self) -> None:
        if self._stage is _ALL:
            self._stage = Stage.PART

    def resume_writing(self) -> None:
        if self._stage is Stage.PART:
            self._stage = _ALL

    # What the parser tells a lane

    def on_message_begin(self) -> None:
        if self._whole:
            raise httptools.HttpParserError("bytes after the reply")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._final:  # trailers say nothing we use
            self._headers.append((name, value))
            if len(name) == _AS_LONG and name.lower() == CODING:  # nearly none is as long
                self.coded = True

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status < 200:
            if self._status < 100 or self._status == 101:
                raise httptools.HttpParserError(f"status {self._status}")
            self._headers.clear()
            self.coded = False
            return
        self._final = True
        caps = self._caps
        if self._received <= caps.head or sum(len(n) + len(v) + 4 for n, v in self._headers) <= caps.head:
            self._limit = caps.head + caps.body

    def on_body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        if self._final:
            self._whole, self._sound = True, self._parser.should_keep_alive()

    # How an exchange ends

    def _watch(self) -> None:
        """Keep the deadline, where no alarm rings before it. To set a timer for each exchange would cost too much: one
        that was set for an earlier exchange is left alone, and looks again when it rings."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings_at = self._deadline
        self._alarm = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm, self._rings_at = None, math.inf
        if self._waiting is None:
            return
        if self._loop.time() >= self._deadline:
            self._fail(LATE[self._stage]("the deadline passed before the reply was whole"))
        elif self._deadline < math.inf:
            self._watch()

    def _read(self, data: bytes) -> None:
        if self._waiting is None:  # nobody asked: whatever this is, it must not become somebody's answer
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._whole:
                self._fail(httpx.RemoteProtocolError(f"no valid HTTP: {error.__context__ or error}"))
                return
            self._sound = False
        if self._received > self._limit or self._size > self._caps.body:
            part = "body" if self._final and self._limit > self._caps.head else "head"
            self._fail(httpx.RemoteProtocolError(f"the reply's {part} is over {getattr(self._caps, part)} bytes"))
        elif self._whole:
            self._deliver()

    def _deliver(self) -> None:
        latency_s = time.perf_counter() - self._sent_at
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        reply = Reply(self._status, self._headers, body, latency_s)
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            self._turnstile.admit(waiting, reply)
        if not self._sound or self._stage is not _ALL:
            self.abort()

    def _fail(self, error: httpx.TransportError) -> None:
        waiting = self._waiting
        self.abort()
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def _ended(self, message: str) -> httpx.TransportError:
        return httpx.RemoteProtocolError(message) if self._stage is _ALL else LOST[self._stage](message)

    def _ends_with_the_connection(self) -> bool:
        """Whether the end of the connection is this reply's proper end: neither length nor chunks were given."""
        framed = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers)
        return self._final and not framed and (self._seal is None or self._seal.ended)
