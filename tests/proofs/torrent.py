"""An upstream for a million requests: bare HTTP on uvloop, answers that follow from the row, seeded faults, a bill.

It knows nothing of the package. Of every hundred different questions a few (``--faults``) meet trouble, once or twice
in a row and never thrice: a 500, seldom a 503, a reply that is no JSON, is cut off, or never comes as the connection is
reset. What was worked out is on the bill, also where its reply was spoilt on the way. A record has a fixed width, so
that the size of the file tells how many there are. Prints ``{"base_url": …}`` and ends with its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import uvloop

from proofs.world import CHEAP, answer

WIDTH = 64
LATENCY_S = 0.02
WRITTEN_S = 0.05
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
TEXT = re.compile(rb"thing \d+\.")
TROUBLE = ("500", "html", "cut", "reset", "500 and charged")
RARE = 200
"""One trouble in so many is a 503: each makes everybody pause, as it should, and so says nothing of speed."""


def framed(status: bytes, body: bytes, kind: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body


ERROR = b'{"error": {"message": "try again", "type": "server_error", "code": null}}'
LOST = framed(b"404 Not Found", b'{"error": {"message": "not here"}}')


class Torrent:
    """What all connections share: the draw of faults, and the bill."""

    def __init__(self, bill: BinaryIO, share: float, seed: int) -> None:
        self.bill, self.share, self.seed = bill, share, seed
        self.number, self.met = 0, Counter[bytes]()

    def trouble(self, text: bytes) -> str | None:
        """What befalls this request for a row: of the faulty ones the first, of a tenth of those also the second."""
        drawn = crc32(text, self.seed)
        if drawn >= self.share * 2**32:
            return None
        self.met[text] += 1
        again = crc32(text + b"?", self.seed)
        times = 2 if again % 10 == 0 else 1
        if self.met[text] > times:
            return None
        kind = again // 10 + self.met[text]
        return "503" if kind % RARE == 0 else TROUBLE[kind % len(TROUBLE)]

    def answer(self, body: bytes) -> tuple[bytes, bool]:
        """The bytes of a reply, and whether the connection breaks after them."""
        found = TEXT.search(body)
        if found is None:
            return LOST, False
        trouble = self.trouble(found[0])
        self.number += 1
        name = None if trouble else f"torrent-{self.number:09}"
        line = json.dumps({"id": name, "credits": int(trouble not in ("500", "503"))})
        self.bill.write(line.ljust(WIDTH - 1).encode() + b"\n")
        if trouble in ("500", "500 and charged"):
            return framed(b"500 Internal Server Error", ERROR), False
        if trouble == "503":
            return framed(b"503 Service Unavailable", ERROR), False
        if trouble == "html":
            return framed(b"200 OK", b"<html>busy</html>", b"text/html"), False
        if trouble == "reset":
            return b"", True
        message = {"role": "assistant", "content": answer(found[0].decode(), CHEAP)}
        whole = {
            "id": name or "torrent-cut",
            "model": "deepseek-chat-v3-0324",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
        }
        data = framed(b"200 OK", json.dumps(whole).encode())
        return (data[: len(data) - 20], True) if trouble == "cut" else (data, False)


class Connection(asyncio.Protocol):
    """One connection: a request at a time, and its reply after the latency."""

    def __init__(self, torrent: Torrent, loop: asyncio.AbstractEventLoop) -> None:
        self.torrent, self.loop, self.pending = torrent, loop, b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while (end := self.pending.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.pending, 0, end + 2)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.pending) < whole:
                return
            body, self.pending = self.pending[end + 4 : whole], self.pending[whole:]
            self.loop.call_later(LATENCY_S, self.reply, *self.torrent.answer(body))

    def reply(self, data: bytes, breaks: bool) -> None:
        if self.transport.is_closing():
            return  # nobody waits: the client was killed
        self.transport.write(data)
        if breaks:
            self.transport.close()


async def serve(torrent: Torrent) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(torrent, loop), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"base_url": f"http://127.0.0.1:{port}/api/v1"}), flush=True)
    ended = loop.run_in_executor(None, sys.stdin.buffer.read)
    while not (await asyncio.wait({ended}, timeout=WRITTEN_S))[0]:
        torrent.bill.flush()


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("bill", type=Path)
    given.add_argument("--faults", type=float, default=0.05, help="the share of rows that meet trouble")
    given.add_argument("--seed", type=int, default=1)
    told = given.parse_args()
    with told.bill.open("ab") as bill:
        uvloop.run(serve(Torrent(bill, told.faults, told.seed)))


if __name__ == "__main__":
    main()
