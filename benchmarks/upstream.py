"""An upstream that costs next to nothing, so that what is measured is the client.

A chat-completions endpoint on loopback: a bare ``asyncio.Protocol`` on uvloop that answers every
``POST /api/v1/chat/completions`` with the same completion, ``--latency`` seconds after its last byte came in;
anything else is a 404. Prints ``{"base_url": …}`` when it listens and ends when its stdin closes.
It understands HTTP/1.1 with ``Content-Length``, keep-alive and pipelining, and nothing more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import sys
from collections.abc import Callable

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

    def __init__(self, latency_s: float, call_later: Callable[..., object]) -> None:
        self.latency_s = latency_s
        self.call_later = call_later
        self.pending = b""

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
            self.answer(COMPLETION if head.startswith(ASK) else NOT_FOUND)

    def answer(self, reply: bytes) -> None:
        if self.latency_s > 0:
            self.call_later(self.latency_s, self.write, reply)
        else:
            self.write(reply)


def content_length(head: bytes) -> int:
    lowered = head.lower()
    found = lowered.find(LENGTH)
    if found < 0:
        return 0
    return int(lowered[found + len(LENGTH) :].split(b"\r\n", 1)[0])


async def serve(latency_s: float, certificate: str | None) -> None:
    loop = asyncio.get_running_loop()
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    server = await loop.create_server(
        lambda: Connection(latency_s, loop.call_later), "127.0.0.1", 0, backlog=BACKLOG, ssl=tls
    )
    port = server.sockets[0].getsockname()[1]
    scheme = "http" if tls is None else "https"
    print(json.dumps({"base_url": f"{scheme}://127.0.0.1:{port}/api/v1"}), flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--latency", type=float, default=0.05, help="seconds from request to answer (0.05)")
    options.add_argument("--core", type=int, help="the processor core to stay on, where the system can")
    options.add_argument("--certificate", help="a PEM file with key and certificate: speak TLS")
    given = options.parse_args()
    if given.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core})
    uvloop.run(serve(given.latency, given.certificate))


if __name__ == "__main__":
    main()
