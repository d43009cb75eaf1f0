"""The run's side of one worker: requests travel to it in batches, replies come back in batches.

Whoever sends waits here for the reply to his own attempt. A reply nobody waits for is too late: the attempt was counted
as in doubt by then, and that stays so; what it says is not used, since the row may have been asked again.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from journeybatch.errors import WorkerLost
from journeybatch.outpost import POLL_S
from journeybatch.parcels import Delivered, Parcel, Returned, haul_of, opened, pack
from journeybatch.records import Completion, Request
from journeybatch.turnstile import Turnstile

BATCH_BYTES = 4 * 2**20
LINGER_S = 0.002
LONGEST_POST_LINGER_S = 0.01
"""How long what is to travel waits for company, with one worker and at most: a call costs as much as four rows."""
AGAIN_S = 0.5
"""How soon a worker that could not be reached is tried again."""


class Gone(Exception):
    """A worker is there no more; ``sure`` when its process is known to have ended, and its connections with it."""

    def __init__(self, message: str, *, sure: bool) -> None:
        super().__init__(message)
        self.sure = sure


class Unheard(Exception):
    """A worker could not be reached just now."""


class Unposted(Exception):
    """The worker was gone before the request left for it: another one can have it."""


class Station(Protocol):
    """A worker, as it is reached from here: ``outpost.Outpost`` says what the calls mean. Each may raise ``Gone`` or
    ``Unheard``."""

    async def greet(self) -> bytes:
        """Its first word, once it is there."""

    async def post(self, number: int, batch: bytes) -> None:
        """Hand it a batch."""

    async def take(self, seen: int, linger_s: float) -> bytes:
        """Take its replies."""

    def dismiss(self) -> None:
        """Make an end of it."""


class Courier:
    """All that is under way to and from one worker. ``lease_s`` is the worker's: after so many seconds of silence it
    has ended itself. ``linger_s`` is how long what travels waits for company: the more workers, the longer."""

    def __init__(self, station: Station, lease_s: float) -> None:
        self.sent = self.answered = self.failed = self.late = self.lost = 0
        self.linger_s = LINGER_S
        self._station, self._lease_s = station, lease_s
        self._waiting: dict[tuple[int, int], asyncio.Future[Returned]] = {}
        self._line: list[Parcel] = []
        self._posted: set[tuple[int, int]] = set()
        self._wanted = asyncio.Event()
        self._turnstile = Turnstile[Returned]()
        self._loop = asyncio.get_running_loop()
        self._heard = self._called = self._loop.time()
        self._gone: Gone | None = None

    @property
    def in_flight(self) -> int:
        """Attempts that are with the worker or on their way there."""
        return len(self._waiting)

    @property
    def loading(self) -> bool:
        """Whether a batch is about to leave, which has room for more."""
        return bool(self._line)

    async def send(self, request: Request) -> Completion:
        """One attempt, made by the worker. Raises what it raised there; WorkerLost; Unposted."""
        if self._gone is not None:
            raise Unposted
        name = (request.id, request.attempt)
        waiting: asyncio.Future[Returned] = self._loop.create_future()
        self._waiting[name] = waiting
        self._line.append(Parcel(*name, request.body))
        self._wanted.set()
        try:
            return opened(await waiting)
        finally:
            self._waiting.pop(name, None)
            self._posted.discard(name)

    async def run(self) -> Gone:
        """Carry both ways until the worker is gone: why."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._deliver())
                tasks.create_task(self._fetch())
        except* Gone as group:
            self._gone = next(error for error in group.exceptions if isinstance(error, Gone))
        assert self._gone is not None  # noqa: S101  nothing else ends the two
        self._give_up(self._gone)
        return self._gone

    def close(self) -> None:
        """The run is over: whoever still waits hears that it is in doubt."""
        self._gone = self._gone or Gone("the run has ended", sure=True)
        self._give_up(self._gone)

    async def _deliver(self) -> None:
        number = 0
        while True:
            await self._wanted.wait()
            await asyncio.sleep(min(self.linger_s, LONGEST_POST_LINGER_S))
            self._wanted.clear()
            number += 1
            batch = self._next_batch()
            if batch:
                await self._insist(number, pack(batch))

    def _next_batch(self) -> list[Parcel]:
        """What is wanted still, as much as travels well at a time."""
        batch, size, taken = [], 0, 0
        for parcel in self._line:
            taken += 1
            name = (parcel.request, parcel.attempt)
            if name in self._waiting:
                self._posted.add(name)
                batch.append(parcel)
                size += len(parcel.body)
            if size > BATCH_BYTES:
                self._wanted.set()
                break
        del self._line[:taken]
        self.sent += len(batch)
        return batch

    async def _insist(self, number: int, batch: bytes) -> None:
        """Post a batch until it is there. The worker takes it in once; it is given up when ``_fetch`` gives up."""
        while True:
            try:
                self._called = self._loop.time()
                await self._station.post(number, batch)
                return
            except Unheard:
                await asyncio.sleep(AGAIN_S)

    async def _fetch(self) -> None:
        seen = 0
        while True:
            self._called = self._loop.time()
            try:
                async with asyncio.timeout(POLL_S + self._lease_s):
                    haul = haul_of(await self._station.take(seen, self.linger_s))
            except (Unheard, TimeoutError) as error:
                if self._loop.time() - self._heard > self._lease_s:
                    raise Gone(f"nothing was heard of it for {self._lease_s:.0f} s", sure=False) from error
                await asyncio.sleep(AGAIN_S)
                continue
            self._heard, seen = self._loop.time(), haul.upto
            for reply in haul.replies:
                self._bring(reply)

    def _bring(self, reply: Returned) -> None:
        waiting = self._waiting.get((reply.request, reply.attempt))
        if waiting is None or waiting.done():
            self.late += 1
            return
        if isinstance(reply, Delivered):
            self.answered += 1
        else:
            self.failed += 1
        self._turnstile.admit(waiting, reply)

    def _give_up(self, gone: Gone) -> None:
        """What had not left can go elsewhere at once. What had is in doubt: but its place in the limits is free only
        when nothing of it can be at the server any more."""
        for name, waiting in self._waiting.items():
            if name not in self._posted and not waiting.done():
                waiting.set_exception(Unposted())
        fenced_s = 0.0 if gone.sure else max(0.0, self._called + self._lease_s - self._loop.time())
        if fenced_s:
            self._loop.call_later(fenced_s, self._doubt, gone)
        else:
            self._doubt(gone)

    def _doubt(self, gone: Gone) -> None:
        for name in list(self._posted):
            waiting = self._waiting.get(name)
            if waiting is not None and not waiting.done():
                self.lost += 1
                waiting.set_exception(WorkerLost(f"its worker is gone: {gone}"))
