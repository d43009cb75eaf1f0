"""A raw-socket adversary: a real TCP or TLS server that says exactly the bytes a test wants, when it wants.

It parses as little as it can, and shares no code with the client it is used against.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

# A throw-away certificate for localhost and 127.0.0.1, 2020-2120, made for these tests; it protects nothing.
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgemF3FEjrNxWxb0sd
bK4urAGC5PKFbNOKXTUCIZeHQlShRANCAARlR/3aC8MzIh3oZzNsGlATy7G9QOYI
Zq+piJvH/cgHujRR/Lvjgv/x/3BQuLLloYLuXMtQ9O0JaK1iymSMaTmS
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGVH/doLwzMiHehn
M2waUBPLsb1A5ghmr6mIm8f9yAe6NFH8u+OC//H/cFC4suWhgu5cy1D07QlorWLK
ZIxpOZKjXjBcMA8GA1UdEwEB/wQFMAMBAf8wGgYDVR0RBBMwEYIJbG9jYWxob3N0
hwR/AAABMB0GA1UdDgQWBBS//hvtInIGpcmGtt5NYLscIUV+IDAOBgNVHQ8BAf8E
BAMCAoQwCgYIKoZIzj0EAwIDSAAwRQIgM297yUgaCXwKsUQSkX5avxRpzz4y9pnn
LP1nQhyrvRkCIQC/PkUmQvuft8pfGx0Q1LkuaY9JcDFMdp5gzLwD7TEf9g==
-----END CERTIFICATE-----
"""


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "both.pem"
        file.write_text(KEY + CERTIFICATE)
        context.load_cert_chain(file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CERTIFICATE)


def reply(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A well-formed reply with its length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Peer:
    """The server's end of one connection; ``number`` counts connections from 0."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[bytes, bytes] | None:
        """The next request's head and body; None when the client has gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            return head, await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, every_s: float) -> None:
        for n in range(len(data)):
            await self.say(data[n : n + 1])
            await asyncio.sleep(every_s)

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with suppress(OSError):
            while await self.reader.read(1 << 16):
                pass

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


class Adversary:
    """What a test sees of the server: where it is, and how many connections came and are open."""

    def __init__(self, scheme: str, port: int) -> None:
        self.url = f"{scheme}://127.0.0.1:{port}/v1/chat"
        self.connections = 0
        self.open = 0
        self.requests: list[tuple[bytes, bytes]] = []


@asynccontextmanager
async def adversary(
    script: Callable[[Peer], Awaitable[object]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Adversary]:
    """Serve ``script`` for each connection, on a free port of 127.0.0.1."""
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(seen.connections, reader, writer)
        seen.connections += 1
        seen.open += 1
        writers.add(writer)
        try:
            with suppress(OSError):
                await script(peer)
        finally:
            seen.open -= 1
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls, backlog=4096)
    seen = Adversary("https" if tls else "http", server.sockets[0].getsockname()[1])
    try:
        yield seen
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)  # the transports close their sockets a turn later
