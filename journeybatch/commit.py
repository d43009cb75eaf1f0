"""Group commit (DeWitt et al. 1984): one sync of the disk serves everybody who waits for one.

A sync serves what was written before it began. Who is ready in the same turn of the event loop takes part in it, and
who comes while it is under way waits for the next, which begins when that one is done.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from time import perf_counter

import anyio.lowlevel
import anyio.to_thread

from journeybatch.loops import Bell, bell

QUICK_S = 0.005
"""A disk whose syncs take no longer is waited for in the event loop's own thread: to hand each to another thread takes
turns of the loop, in which replies come in, and they take longer than the sync does."""
BESIDE = 100
"""Syncs that are left to another thread after a slow one, before the disk is tried again."""


class GroupCommit:
    """Entries count from 0; those before ``synced`` survive a power cut. ``write`` gives all there are to the system
    and returns how many, ``sync`` makes these survive. Whatever the two raise is raised by who waits for them."""

    def __init__(self, synced: int, write: Callable[[], int], sync: Callable[[], Awaitable[None]]) -> None:
        self.synced = synced
        self._write, self._sync = write, sync
        self._upto: float = synced  # what the sync under way takes in
        self._under_way: Bell | None = None
        self._next: Bell | None = None

    async def reach(self, wanted: int) -> None:
        """Wait until the first ``wanted`` entries would survive a power cut."""
        while self.synced < wanted:
            if self._under_way is None:
                await self._commit()
            elif wanted <= self._upto:
                await self._under_way.wait()
            elif self._next is not None:
                await self._next.wait()
            else:
                await self._lead(self._under_way)

    async def _lead(self, before: Bell) -> None:
        """Wait until the sync ``before`` is done, to begin the next one, for all who come until then."""
        self._next = ours = bell()
        try:
            await before.wait()
        except BaseException:
            if self._next is ours:  # somebody else has to lead
                self._next = None
                ours.set()
            raise

    async def _commit(self) -> None:
        self._under_way = done = self._next or bell()
        self._next, self._upto = None, math.inf
        try:
            await anyio.lowlevel.checkpoint()  # whoever is ready now adds what is theirs
            self._upto = upto = self._write()
            await self._sync()
            self.synced = upto
        finally:
            self._under_way = None
            done.set()


class Syncs:
    """Calls that sync a file, made in the event loop's thread while they are quick, in another one while they are not:
    a disk that takes its time must hold up nobody but who waits for it. Raises what ``sync`` does."""

    def __init__(self, sync: Callable[[int], None]) -> None:
        self._sync = sync
        self._beside = 0

    async def __call__(self, fd: int) -> None:
        if self._beside:
            self._beside -= 1
            try:
                await anyio.to_thread.run_sync(self._sync, fd)
            except RuntimeError:  # no thread is to be had: everybody waits
                self._sync(fd)
            return
        began = perf_counter()
        self._sync(fd)
        if perf_counter() - began > QUICK_S:
            self._beside = BESIDE
