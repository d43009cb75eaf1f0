"""An upstream that costs next to nothing, so that what is measured is the client.

A chat-completions endpoint on loopback: a bare ``asyncio.Protocol`` on uvloop that answers every
``POST /api/v1/chat/completions`` with the same completion, ``--latency`` seconds after its last byte came in;
anything else is a 404 at once. With ``--tail``, some take far longer: a lognormal of that sigma about the median
``--latency``, up to ``--cap``, one sequence for each ``--seed``. Prints ``{"base_url": …}`` when it listens and
``{"first_request_at": …}`` when the first of them comes in (epoch seconds), and ends when its stdin closes.
It understands HTTP/1.1 with ``Content-Length``, keep-alive and pipelining, and nothing more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import ssl
import sys
import time
from collections.abc import Callable, Iterator

import uvloop

BACKLOG = 8192
ASK = b"POST /api/v1/chat/completions "
LENGTH = b"\r\ncontent-length:"


def frame(status: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


COMPLETION = frame(
    "200 OK",
    {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": 1735689600,
        "model": "deepseek-chat-0324",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "billing: the customer was charged twice for one order, asks for the second amount "
                    "back and mentions that an earlier message about the same matter stayed without an answer.",
                    "refusal": None,
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 48, "completion_tokens": 37, "total_tokens": 85},
        "system_fingerprint": "fp_benchmark",
    },
)
NOT_FOUND = frame("404 Not Found", {"error": {"message": "not here", "type": "invalid_request_error", "code": None}})


class Connection(asyncio.Protocol):
    """One connection: requests in, one timer and one fixed answer each."""

    def __init__(self, draw: Callable[[], float], call_later: Callable[..., object]) -> None:
        self.draw = draw
        self.call_later = call_later
        self.pending = b""
        self.closed = False

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while (end := self.pending.find(b"\r\n\r\n")) >= 0:
            head = self.pending[:end]
            whole = end + 4 + content_length(head)
            if len(self.pending) < whole:
                return
            self.pending = self.pending[whole:]
            if not head.startswith(ASK):
                self.write(NOT_FOUND)
            elif (latency_s := self.draw()) > 0:
                self.call_later(latency_s, self.answer)
            else:
                self.write(COMPLETION)

    def answer(self) -> None:
        if not self.closed:  # by a client that was stopped meanwhile
            self.write(COMPLETION)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True


def content_length(head: bytes) -> int:
    lowered = head.lower()
    found = lowered.find(LENGTH)
    if found < 0:
        return 0
    return int(lowered[found + len(LENGTH) :].split(b"\r\n", 1)[0])


def latencies(latency_s: float, sigma: float, cap_s: float, seed: int) -> Iterator[float]:
    """How long one request after another takes. Whoever asks for the first one has a request: that is told."""
    print(json.dumps({"first_request_at": time.time()}), flush=True)
    dice = random.Random(seed)
    while sigma == 0:
        yield latency_s
    while True:
        yield min(cap_s, latency_s * dice.lognormvariate(0.0, sigma))


async def serve(draw: Callable[[], float], certificate: str | None, port: int = 0) -> None:
    loop = asyncio.get_running_loop()
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    server = await loop.create_server(
        lambda: Connection(draw, loop.call_later), "127.0.0.1", port, backlog=BACKLOG, ssl=tls
    )
    port = server.sockets[0].getsockname()[1]
    scheme = "http" if tls is None else "https"
    print(json.dumps({"base_url": f"{scheme}://127.0.0.1:{port}/api/v1"}), flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--latency", type=float, default=0.05, help="seconds from request to answer (0.05)")
    options.add_argument("--tail", type=float, default=0.0, help="the sigma of a lognormal latency (0: all the same)")
    options.add_argument("--cap", type=float, default=5.0, help="seconds that none takes longer than (5)")
    options.add_argument("--seed", type=int, default=7, help="of the latencies (7)")
    options.add_argument("--core", type=int, help="the processor core to stay on, where the system can")
    options.add_argument("--certificate", help="a PEM file with key and certificate: speak TLS")
    options.add_argument("--port", type=int, default=0, help="the port to listen at (0: any that is free)")
    given = options.parse_args()
    if given.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core})
    draw = latencies(given.latency, given.tail, given.cap, given.seed).__next__
    uvloop.run(serve(draw, given.certificate, given.port))


if __name__ == "__main__":
    main()
