"""The machine's floor for HTTP/1.1 from Python: a protocol on uvloop that sends the same bodies and counts answers.

No product: nothing is checked but that the first answer is a 200 with a ``Content-Length``, nothing is kept, and a
connection that ends takes its request with it. ``python raw.py INPUT.csv OUTPUT.json BASE_URL C``
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

LENGTH = b"content-length:"


def requests(table: Path, url: str) -> Iterator[bytes]:
    parts = urlsplit(url)
    head = f"POST {parts.path}/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    with table.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            message = {"role": "user", "content": f"Classify this customer message: {row['text']}"}
            body = json.dumps({"model": "deepseek-chat", "messages": [message]}).encode()
            yield f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Lane(asyncio.Protocol):
    """One connection: the next request when the answer to the last one is whole."""

    def __init__(self, waiting: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self.waiting = waiting
        self.done = done
        self.answered = 0
        self.pending = b""

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self.transport = transport
        self.send()

    def send(self) -> None:
        request = next(self.waiting, None)
        if request is None:
            self.transport.close()
        else:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.pending += data
        end = self.pending.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.pending[:end].lower()
        length = int(head[head.index(LENGTH) + len(LENGTH) :].split(b"\r\n", 1)[0])
        if len(self.pending) >= end + 4 + length:
            if not self.answered and not head.startswith(b"http/1.1 200"):
                sys.exit(f"the upstream answered {head[:60]!r}")
            self.pending = self.pending[end + 4 + length :]
            self.answered += 1
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.done.set_result(None)


async def run(table: Path, base_url: str, concurrency: int) -> dict[str, float]:
    loop, parts = asyncio.get_running_loop(), urlsplit(base_url)
    waiting = iter(list(requests(table, base_url)))
    lanes = [Lane(waiting, loop.create_future()) for _ in range(concurrency)]
    began = time.perf_counter()
    for lane in lanes:
        await loop.create_connection(lambda lane=lane: lane, parts.hostname, parts.port)  # type: ignore[misc]
    await asyncio.gather(*(lane.done for lane in lanes))
    return {"answered": sum(lane.answered for lane in lanes), "sending_s": time.perf_counter() - began}


def main() -> None:
    table, target, base_url, concurrency = sys.argv[1:]
    told = uvloop.run(run(Path(table), base_url, int(concurrency)))
    Path(target).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
