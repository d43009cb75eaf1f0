"""All workers of a run: who gets the next request, and who takes the place of one that is gone.

Every place is kept by a task of its own: it asks for a worker, waits until that is there, lets its courier run, and
asks for another one when it is gone. Requests go to whoever has least to do, and those that come at the same time go
together: what a run can do in a second is bounded by its calls to workers, not by their number. Where nobody is there
requests wait, and after a while count as not sent, like those to an endpoint that cannot be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import msgspec

from journeybatch.courier import LINGER_S, Courier, Gone, Station, Unheard, Unposted
from journeybatch.errors import JobError
from journeybatch.excerpt import clean
from journeybatch.parcels import Greeting, greeting_of
from journeybatch.records import Completion, Request
from journeybatch.wire import lost

LEASE_S = 10.0
NOBODY_S = 60.0
"""How long a request waits for a worker when all are gone."""
LONGEST_LINGER_S = 0.2
SLOWEST_S = 30.0
"""The longest pause before another worker is asked for in the place of one that did not come."""
KEPT = 1000
"""How many workers are told of in the summary: the latest."""


class Worker(msgspec.Struct):
    """One worker as the summary tells of it; ``courier`` is there while it is at work."""

    number: int
    state: Literal["starting", "working", "gone", "refused"] = "starting"
    greeting: Greeting | None = None
    why: str | None = None
    courier: Courier | None = None

    def row(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        found, courier = self.greeting, self.courier
        return {
            "worker": self.number,
            "state": self.state,
            "host": found and found.host,
            "pid": found and found.pid,
            "sent": courier.sent if courier else 0,
            "in_flight": courier.in_flight if courier and self.state == "working" else 0,
            "answered": courier.answered if courier else 0,
            "failed": courier.failed if courier else 0,
            "in_doubt": courier.lost if courier else 0,
            "late": courier.late if courier else 0,
            "why": self.why,
        }


class Fleet:
    """``places`` workers, each got by ``hire``. ``check`` raises JobError for one that cannot be used; ``say`` tells
    the user. ``send`` is an innermost Send."""

    def __init__(
        self,
        hire: Callable[[], Station],
        places: int,
        *,
        check: Callable[[Greeting], None],
        say: Callable[[str], None],
        lease_s: float = LEASE_S,
    ) -> None:
        self._hire, self._places, self._check, self._say, self._lease_s = hire, places, check, say, lease_s
        self._workers: list[Worker] = []
        self._working: list[Courier] = []
        self._chosen: Courier | None = None
        self._in_flight = 0
        self._count = 0
        self._news = asyncio.Event()  # somebody is there, or it is known why not
        self._problem: JobError | None = None

    async def send(self, request: Request) -> Completion:
        """One attempt, by the worker that has least to do. Raises ApiFailure, DiskFull."""
        self._in_flight += 1
        try:
            while True:
                courier = self._choose() or await self._next()
                try:
                    return await courier.send(request)
                except Unposted:
                    continue
        finally:
            self._in_flight -= 1

    def rows(self) -> list[dict[str, Any]]:
        """What each worker did, the earliest first."""
        return [worker.row() for worker in self._workers]

    @asynccontextmanager
    async def at_work(self, patience_s: float, otherwise: Callable[[], str]) -> AsyncIterator[None]:
        """From the first worker's coming, within ``patience_s`` seconds, to the end of all.

        Raises JobError where none can be used, or none came; ``otherwise`` says why that may be.
        """
        # Tasks, and no task group: what ends the run must come through as itself.
        places = [asyncio.create_task(self._keep_place()) for _ in range(self._places)]
        try:
            with anyio.move_on_after(patience_s):
                await self._news.wait()
            if self._problem is not None:
                raise self._problem
            if not self._working:
                raise JobError(otherwise())
            yield
        finally:
            for courier in self._working:
                courier.close()
            for place in places:
                place.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait(places)
        for place in places:
            if not place.cancelled():
                place.result()  # a bug of ours, if it ended by itself

    def _choose(self) -> Courier | None:
        """Whose batch is about to leave, as long as that is no more than a fair share; else who has least to do."""
        chosen, fair = self._chosen, 1 + self._in_flight / max(1, len(self._working))
        if chosen is None or not chosen.loading or chosen.in_flight >= fair:
            chosen = self._chosen = min(self._working, key=_load, default=None)
        return chosen

    def _settle(self) -> None:
        """The number of workers has changed."""
        self._chosen = None
        for courier in self._working:
            courier.linger_s = min(LONGEST_LINGER_S, LINGER_S * len(self._working))

    async def _next(self) -> Courier:
        """The next worker to come."""
        self._news.clear()
        with anyio.move_on_after(NOBODY_S):
            while not self._working:
                await self._news.wait()
                self._news.clear()
        if not self._working:
            raise lost("connection", f"not sent: no worker is there, and none came in {NOBODY_S:.0f} s", sent=False)
        return min(self._working, key=_load)

    async def _keep_place(self) -> None:
        pause_s = 1.0
        while True:
            self._count += 1
            worker = Worker(self._count)
            self._workers = [*self._workers[1 - KEPT :], worker]
            station = self._hire()
            try:
                came = await self._serve(worker, station)
            finally:
                station.dismiss()
            pause_s = 1.0 if came else min(SLOWEST_S, 2 * pause_s)
            await anyio.sleep(pause_s)

    async def _serve(self, worker: Worker, station: Station) -> bool:
        """One worker's life, as far as it concerns us. Whether it came to work at all."""
        try:
            worker.greeting = greeting_of(await station.greet())
            self._check(worker.greeting)
        except (Gone, Unheard, JobError) as error:
            worker.state, worker.why = "refused" if isinstance(error, JobError) else "gone", clean(str(error))
            if worker.number <= self._places and not self._working:
                self._problem = error if isinstance(error, JobError) else JobError(f"no worker can start: {error}")
                self._news.set()
            else:
                self._say(f"worker {worker.number} cannot be used: {worker.why}")
            return False
        courier = worker.courier = Courier(station, self._lease_s)
        worker.state = "working"
        self._working.append(courier)
        self._settle()
        self._news.set()
        try:
            gone = await courier.run()
            worker.state, worker.why = "gone", clean(str(gone))
            self._say(f"worker {worker.number} on {worker.greeting.host} is gone: {worker.why}")
        finally:
            self._working.remove(courier)
            self._settle()
        return True


def _load(courier: Courier) -> int:
    return courier.in_flight
