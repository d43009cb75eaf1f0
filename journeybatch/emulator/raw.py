"""A small HTTP/1.1 server on asyncio streams, for what ASGI cannot do: resets, cuts at any byte, silence, refusals.

Keep-alive, Content-Length and chunked bodies both ways, nothing else of HTTP. Each plan is performed to the byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from journeybatch.emulator.behaviour import MAX_BODY, Emulator, is_loopback, misdirected, too_large
from journeybatch.emulator.shapes import Call, Reply, error_reply

BACKLOG = 4096
IDLE_S = 75.0
LINGER_S = 2.0
MAX_HEAD = 64 * 1024
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_GONE = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError)


class Unreadable(Exception):
    """The request cannot be read; ``reply`` is the last one on its connection."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Head:
    """A request's first line and headers, names in lower case."""

    method: str
    target: str
    version: str
    headers: dict[str, str]

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to use the connection again."""
        wish = self.headers.get("connection", "").lower()
        return "close" not in wish and (self.version == "HTTP/1.1" or "keep-alive" in wish)


def bind(port: int, *, shared: bool = False) -> socket.socket:
    """A socket bound to loopback, not listening yet; port 0 is a free one. ``shared``: the port may be bound again."""
    # Named TCP, or asyncio leaves Nagle's algorithm on and every second write waits 40 ms.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared and sys.platform == "darwin":  # Linux shares an address as long as at most one listens
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound


class RawServer:
    """Serves on a loopback port for as long as the context lasts. In a refused outage nobody listens there."""

    def __init__(self, emulator: Emulator, port: int = 0) -> None:
        self._emulator = emulator
        # Kept for good: while nobody listens, the port must not become some client's own end.
        self._reserve = bind(port, shared=True)
        self.port: int = self._reserve.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._idle: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.StreamReader] = set()  # of connections whose request has no whole answer yet

    async def __aenter__(self) -> Self:
        started = self._emulator.start(asyncio.get_running_loop().time())
        await self._listen()
        self._keeper = asyncio.create_task(self._keep_hours(started))
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = (self._keeper, *self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._leave()
        self._reserve.close()

    async def _listen(self) -> None:
        listener = bind(self.port, shared=True)
        self._server = await asyncio.start_server(self._welcome, sock=listener, limit=MAX_HEAD, backlog=BACKLOG)

    def _leave(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._idle):
            writer.transport.abort()

    async def _keep_hours(self, started: float) -> None:
        now = asyncio.get_running_loop().time
        closed = [outage for outage in self._emulator.faults.outages if outage.how == "refuse"]
        for outage in sorted(closed, key=lambda outage: outage.start_s):
            await asyncio.sleep(started + outage.start_s - now())
            self._leave()
            await asyncio.sleep(started + outage.end_s - now())
            await self._listen()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # start_server calls this in a task
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except _GONE:
            pass  # the client left, fell silent, or sent a head without end
        except RuntimeError:
            if not writer.transport.is_closing():  # uvloop's word for: the client left
                raise
        finally:
            self._tasks.discard(task)
            self._idle.discard(writer)
            self._asking.discard(reader)
            writer.close()

    def _in_flight(self) -> int:
        """Requests under way; who hung up waits no more."""
        return sum(not reader.at_eof() for reader in self._asking)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        alive = True
        while alive:
            self._idle.add(writer)
            async with asyncio.timeout(IDLE_S):
                start = await reader.readuntil(b"\r\n\r\n")
            self._idle.discard(writer)
            try:
                head = read_head(start)
                body = await read_body(head, reader, writer)
            except Unreadable as unreadable:
                writer.write(b"".join(frames(unreadable.reply, alive=False, chunked=False)))
                writer.write_eof()
                await _be_silent(LINGER_S, reader)  # closing on unread bytes would reset the answer away
                return
            self._asking.add(reader)
            call = Call(head.method, head.target, head.headers, body, self._in_flight())
            here = is_loopback(head.headers.get("host", ""))
            now = asyncio.get_running_loop().time()
            reply = self._emulator.answer(call, now) if here else misdirected()
            alive = await perform(reply, head, reader, writer) and head.keeps_alive
            self._asking.discard(reader)


def read_head(data: bytes) -> Head:
    """The head of a request. Raises Unreadable with a 400."""
    first, *lines = data.decode("latin-1").strip("\r\n").split("\r\n")
    words = first.split(" ")
    pairs = [line.partition(":") for line in lines]
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not all(colon for _, colon, _ in pairs):
        raise Unreadable(error_reply(400, "This is not an HTTP/1.1 request."))
    return Head(words[0], words[1], words[2], {name.lower(): value.strip() for name, _, value in pairs})


async def read_body(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The body of a request. Raises Unreadable with a 400, or a 413 beyond ``MAX_BODY``."""
    if head.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in head.headers.get("transfer-encoding", "").lower():
        return await _read_chunks(reader)
    length = _size(head.headers.get("content-length", "0"), 10)
    return await reader.readexactly(length)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := _size((await reader.readline()).decode("latin-1").partition(";")[0].strip(), 16):
        if len(body) + size > MAX_BODY:
            raise Unreadable(too_large())
        body += (await reader.readexactly(size + 2))[:-2]
    while (await reader.readline()).strip():
        pass  # trailers
    return bytes(body)


def _size(text: str, radix: int) -> int:
    digits = "0123456789abcdef"[:radix]
    if not text or len(text) > 16 or not all(digit in digits for digit in text.lower()):
        raise Unreadable(error_reply(400, "The length of the body is not a number."))
    size = int(text, radix)
    if size > MAX_BODY:
        raise Unreadable(too_large())
    return size


def frames(reply: Reply, *, alive: bool, chunked: bool) -> Iterator[bytes]:
    """The bytes of a reply: its head, then a piece for each chunk, as far as ``stop_at`` lets them go."""
    coding = "transfer-encoding: chunked" if chunked else f"content-length: {len(reply.body)}"
    lines = [f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, 'Error')}", coding]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    lines += [] if alive else ["connection: close"]
    yield ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    left = len(reply.body) if reply.stop_at is None else reply.stop_at
    for chunk in filter(None, reply.chunks):
        if left == 0:
            return
        piece, left = chunk[:left], max(0, left - len(chunk))
        end = b"\r\n" if len(piece) == len(chunk) else b""
        yield b"%x\r\n%b%b" % (len(chunk), piece, end) if chunked else piece
    if chunked and reply.end == "whole":
        yield b"0\r\n\r\n"


async def perform(reply: Reply, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Do what the plan says. False when the connection has come to its end."""
    if reply.delay_s:
        await asyncio.sleep(reply.delay_s)
    if reply.end == "hang":
        await _be_silent(reply.hang_s, reader)
        return False
    if reply.end == "refuse" or (reply.end == "reset" and reply.stop_at is None):
        _reset(writer)
        return False
    if reply.end == "reset":
        writer.transport.set_write_buffer_limits(high=0)  # drain then means: the kernel has it all
    pieces = frames(reply, alive=head.keeps_alive, chunked=reply.streamed and head.version == "HTTP/1.1")
    if reply.pause_s:
        for number, piece in enumerate(pieces):
            if number > 1:  # the head and the first chunk go together
                await asyncio.sleep(reply.pause_s)
            writer.write(piece)
            await writer.drain()
    else:
        writer.write(b"".join(pieces))
        await writer.drain()
    if reply.end == "reset":
        _reset(writer)
    return reply.end == "whole"


async def _be_silent(seconds: float | None, reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while await reader.read(MAX_HEAD):
                pass  # until the client gives up


def _reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)  # on, for no time at all: closing sends RST
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
