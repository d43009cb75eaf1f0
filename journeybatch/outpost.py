"""A worker from within: it makes one attempt for each parcel it gets, over connections of its own.

It keeps no books. What it was given it tries once and hands the reply over until the run says that it has it. It works
on a lease: when nothing is heard of the run for too long while attempts are in flight, it ends itself, so that a worker
whom the run has given up does not stay at the server in secret.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

import httpx

from journeybatch import __version__
from journeybatch.client import Client, Endpoint
from journeybatch.endpoint import read_key
from journeybatch.errors import ApiFailure, DiskFull, MissingKey
from journeybatch.parcels import (
    Delivered,
    Failed,
    Full,
    Greeting,
    Haul,
    Parcel,
    Returned,
    errand_of,
    pack,
    parcels_of,
    proof_of,
)
from journeybatch.proxy import proxied
from journeybatch.records import Price, Request
from journeybatch.transport import LaneTransport

POLL_S = 1.0
"""How long a call waits for a reply before it goes home with none: it is the worker's pulse as well."""
HAUL_BYTES = 4 * 2**20
_FREE = Price(0, 0)  # the books are kept elsewhere


class Outpost:
    """One worker. ``environ`` is its machine's, and has the key where the errand does not name a file; ``end`` is what
    it does when its lease is over. All methods run in one asyncio loop."""

    def __init__(self, errand: bytes, environ: Mapping[str, str], end: Callable[[], None]) -> None:
        self.errand = errand_of(errand)
        self._environ, self._end = environ, end
        self._client: Client | None = None
        self._last = 0  # the number of the last batch that came
        self._first = 0  # the number of the first reply in the outbox
        self._outbox: deque[Returned] = deque()
        self._arrived = asyncio.Event()
        self._at_work: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._heard = 0.0

    async def greet(self) -> bytes:
        """A packed ``Greeting``; without a problem, the worker is ready."""
        host, pid = socket.gethostname(), os.getpid()
        errand = self.errand
        try:
            key = self._key()
        except MissingKey as error:
            return pack(Greeting(__version__, host, pid, self.node(), problem=str(error)))
        endpoint = Endpoint(errand.base_url, key, errand.auth, errand.emulated)
        proxy = proxied(httpx.URL(errand.base_url), self._environ)
        transport = LaneTransport() if proxy is None else httpx.AsyncHTTPTransport(proxy=proxy, trust_env=False)
        self._client = Client(transport, endpoint, timeout_s=errand.timeout_s)
        self._watching = self._watching or asyncio.create_task(self._watch())
        return pack(Greeting(__version__, host, pid, self.node(), proof_of(key, errand.nonce)))

    def node(self) -> str:
        """The name of the machine in the cluster; none without one."""
        return ""

    async def post(self, number: int, batch: bytes) -> None:
        """Take in the ``number``-th batch of packed parcels, once however often it comes."""
        self._heard = asyncio.get_running_loop().time()
        if number <= self._last:
            return
        self._last = number
        for parcel in parcels_of(batch):
            task = asyncio.create_task(self._attempt(parcel))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def take(self, seen: int, linger_s: float = 0.0) -> bytes:
        """A packed ``Haul`` of the replies after the ``seen``-th, ``linger_s`` seconds after there are any, so that
        they travel together; of none after a second. Those up to it are forgotten."""
        self._heard = asyncio.get_running_loop().time()
        while self._outbox and self._first < seen:
            self._outbox.popleft()
            self._first += 1
        if not self._outbox:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._arrived.wait()
                    await asyncio.sleep(linger_s)
        replies, size = [], 0
        for reply in self._outbox:
            replies.append(reply)
            size += len(reply.body) if isinstance(reply, Delivered) else 0
            if size > HAUL_BYTES:
                break
        return pack(Haul(self._first + len(replies), replies))

    async def aclose(self) -> None:
        """Let go of everything."""
        for task in (*self._at_work, *filter(None, [self._watching])):
            task.cancel()
        if self._client is not None:
            await self._client.aclose()

    def _key(self) -> str:
        errand = self.errand
        if errand.emulated:
            return "emulator"
        return "" if errand.auth == "none" else read_key(errand.key_env, errand.key_file, self._environ)

    async def _attempt(self, parcel: Parcel) -> None:
        assert self._client is not None, "greet comes first"  # noqa: S101
        request, attempt = parcel.request, parcel.attempt
        try:
            got = await self._client.send(Request(request, "", (), parcel.body, _FREE, attempt))
        except ApiFailure as failure:
            self._hand_over(Failed(request, attempt, failure.kind, str(failure), failure.charge != "free"))
        except DiskFull as full:
            self._hand_over(Full(request, attempt, f"{socket.gethostname()}: {full}"))
        except Exception as error:  # noqa: BLE001  whatever it was, the run must hear that this attempt is over
            self._hand_over(Failed(request, attempt, "worker", f"{type(error).__name__}: {error}", True))
        else:
            self._hand_over(Delivered(request, attempt, got.status, got.headers, got.body, got.latency_s))

    def _hand_over(self, reply: Returned) -> None:
        self._outbox.append(reply)
        self._arrived.set()

    async def _watch(self) -> None:
        loop, lease_s = asyncio.get_running_loop(), self.errand.lease_s
        while True:
            await asyncio.sleep(lease_s / 10)
            if self._at_work and loop.time() - self._heard > lease_s:
                self._end()
                return
