"""The whole product in virtual time: a clock that skips what is only waiting, a disk and a wall clock with moods."""

from __future__ import annotations

import contextlib
import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import anyio.to_thread
import trio
from trio.testing import MockClock

from journeybatch import accounted, api, commit, journal, lock, progress, tuning
from proofs.checker import Broken
from proofs.fate import HOUR, Fate
from proofs.recorder import Recorder
from proofs.world import World

DAY_S = 86_400.0
BEGINS_S = 1.8e9
"""When it is the first time (Unix seconds): the same seed is the same night, whatever the time."""


def run_virtually(job: dict[str, Any], options: dict[str, Any], seed: int) -> Any:
    """``api.run`` on trio's mock clock. Raises what it raises."""

    async def main() -> Any:
        with anyio.fail_after(100 * HOUR):  # a lost wake-up would let virtual time run up to here
            return await api.run_async(job, **options)

    trio._core._run._r.seed(seed)  # the order in which trio runs what is ready
    try:
        return anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    except BaseExceptionGroup as group:
        broken: BaseException | None = group.subgroup(Broken)
        if broken is None:
            raise
        while isinstance(broken, BaseExceptionGroup):
            broken = broken.exceptions[0]
        raise broken from None


class Wall:
    """What the wall clock has shown over all processes: the ``earliest`` and the ``latest`` (Unix seconds), what it
    showed ``last``, and the ``days`` that a book counts by which no day comes again."""

    def __init__(self) -> None:
        self.latest = self.last = 0.0
        self.earliest = math.inf
        self.days: set[int] = set()

    def show(self, now: float) -> float:
        self.earliest, self.latest = min(self.earliest, now), max(self.latest, now)
        self.days.add(int(self.latest // DAY_S))
        self.last = now
        return now


@contextlib.contextmanager
def virtual(
    world: World, fate: Fate, rng: random.Random, wall: Wall | None = None, *, quick: bool = False
) -> Iterator[None]:
    """A disk that takes virtual time to sync (no time where it is ``quick``), and a ``wall`` clock that jumps."""
    seen = wall or Wall()
    real, jumps = time.time, random.Random(rng.randrange(1 << 30))
    moods, watch = random.Random(rng.randrange(1 << 30)), [0.0]
    slow = 0.0 if quick else rng.choice((0.0, 0.0, 0.1))
    offset = [rng.choice((0.0, 0.0, 86_400.0, -86_400.0))]

    async def beside(deed: Any, *given: Any, **_: Any) -> Any:
        await anyio.sleep(jumps.choice((0.0, 0.001, 0.2)))
        return deed(*given)

    def clock() -> float:
        try:
            now = trio.current_time() if trio.lowlevel.in_trio_run() else 0.0
        except RuntimeError:
            now = 0.0
        if jumps.random() < 0.001:
            offset[0] += jumps.choice((-3600.0, 3600.0))
        return seen.show(BEGINS_S + now + offset[0])

    def stopwatch() -> float:
        """What syncs are timed with: some take longer than anybody wants to wait."""
        watch[0] += 0.02 * (moods.random() < slow)
        return watch[0]

    assert real is not clock
    with (
        Recorder(world.output, fate.disk).recording(),
        patch.object(accounted, "judge", fate.read),
        patch.object(anyio.to_thread, "run_sync", beside),
        patch.object(time, "time", clock),
        patch.object(commit, "perf_counter", stopwatch),
        patch.object(lock, "PAUSES_S", (0.0,)),
        patch.object(progress, "EVERY_S", 60.0),
        patch.object(tuning, "EVERY_S", 600.0),  # nobody has wishes, and looking for them fills hours of waiting
    ):
        yield


def bury(world: World) -> None:
    """Close the journals that a dead process left open, as the kernel does; its lock goes with them. All else is closed
    by the objects that own it, with them: to close it here, too, would be to close what has its number by then."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            path = Path(os.readlink(f"/proc/self/fd/{name}"))
            if path.is_relative_to(world.output) and path.name == journal.NAME:
                os.close(int(name))
