"""Those who wait to be admitted: the most tried first, then in order of arrival.

No task of its own and no timer per waiter: while admission depends on the clock, one of the waiters keeps the
time for all; otherwise everybody sleeps until an outcome lets somebody in.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Protocol

import anyio

from journeybatch.errors import JourneybatchError


class Drained(JourneybatchError):
    """The run is being wound up: this request was not sent, and may be another time."""


class Door(Protocol):
    """What decides. ``due``: when the next one may enter (``inf``: not before something else happens)."""

    def due(self, now: float) -> float: ...
    def admit(self, now: float) -> int: ...
    def release(self, stamp: int) -> None: ...
    def probing(self) -> bool: ...


class Waiter:
    """One waiting request; ``stamp`` is its admission, 0 until then."""

    __slots__ = ("called", "stamp")

    def __init__(self) -> None:
        self.called = anyio.Event()
        self.stamp = 0


class Turns:
    """The waiting line in front of a ``Door``."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._order = itertools.count()
        self._line: list[tuple[int, int, Waiter]] = []
        self._keeper: Waiter | None = None
        self._alarm = 0.0
        self._closed: Callable[[], Exception] | None = None

    def __len__(self) -> int:
        return len(self._line)

    async def wait(self, attempt: int) -> int:
        """Wait for admission and return its stamp. Raises what ``close`` was given."""
        waiter = Waiter()
        place = (-attempt, next(self._order), waiter)
        insort(self._line, place)
        try:
            while not waiter.stamp:
                if self._closed:
                    raise self._closed()
                now = anyio.current_time()
                self._admit(now)
                if not waiter.stamp:
                    await self._sleep(waiter, self._door.due(now))
        except BaseException:
            if waiter.stamp:
                self._door.release(waiter.stamp)
            else:
                del self._line[bisect_left(self._line, place)]
            raise
        finally:
            self._appoint(anyio.current_time())
        return waiter.stamp

    def call(self, now: float) -> None:
        """Something changed: let in whoever may enter now."""
        if self._line:
            self._admit(now)
            self._appoint(now)

    def close(self, reason: Callable[[], Exception]) -> None:
        """Nobody enters any more; whoever waits, or comes to wait, raises ``reason()``."""
        self._closed = self._closed or reason
        for _, _, waiter in self._line:
            waiter.called.set()

    def _admit(self, now: float) -> None:
        while self._line and not self._closed and self._door.due(now) <= now:
            # A probe is the least tried request's: one that never works must not keep the breaker open.
            first = bisect_left(self._line, self._line[-1][:1]) if self._door.probing() else 0
            _, _, waiter = self._line.pop(first)
            waiter.stamp = self._door.admit(now)
            waiter.called.set()

    async def _sleep(self, waiter: Waiter, due: float) -> None:
        if self._keeper is not None or due == float("inf"):
            await waiter.called.wait()
        else:
            self._keeper, self._alarm = waiter, due
            try:
                with anyio.CancelScope(deadline=due):
                    await waiter.called.wait()
            finally:
                self._keeper = None
        if not waiter.stamp and not self._closed:
            waiter.called = anyio.Event()

    def _appoint(self, now: float) -> None:
        """See to it that somebody keeps the time, and the right one, while a time is what the line waits for."""
        if not self._line or self._closed:
            return
        due = self._door.due(now)
        if self._keeper is None:
            if due < float("inf"):
                self._line[0][2].called.set()
        elif due < self._alarm:
            self._keeper.called.set()
