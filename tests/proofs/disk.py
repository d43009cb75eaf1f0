"""The N-th fault: every single call to the disk refused in turn, with every error a disk has, once or for good.

The run may end well (what it was refused did not matter), with exit 3 and `disk`, or before anything was sent. In any
case the next run, with the cause gone, carries on without help, and nothing was lost or bought twice.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from journeybatch import api
from journeybatch.errors import JourneybatchError
from proofs.checker import Broken
from proofs.power import folder, in_process, knowing
from proofs.recorder import Recorder
from proofs.world import World

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EFBIG", "EMFILE", "EROFS")
CALLS = ("open", "write", "fsync", "replace", "ftruncate", "mkdir", "unlink")


class Refusal(NamedTuple):
    """The ``number``-th ``call`` fails with ``error``, and if ``lasting`` all later ones, too."""

    call: str
    number: int
    error: str
    lasting: bool


class Grumpy:
    """Refuses what it was told to."""

    def __init__(self, refusal: Refusal | None) -> None:
        self.refusal, self.seen = refusal, Counter[str]()

    def __call__(self, call: str, path: str) -> None:
        self.seen[call] += 1
        refusal = self.refusal
        if refusal is None or refusal.call != call:
            return
        if self.seen[call] == refusal.number or (refusal.lasting and self.seen[call] > refusal.number):
            raise OSError(getattr(errno, refusal.error), f"told to: {refusal.error}", path)


def world_in(path: Path) -> World:
    path.mkdir()
    return World(path, 10, twins=1, concurrency=3)


def calls(path: Path) -> list[tuple[str, int]]:
    """All calls of a run that nobody refuses anything."""
    world, grumpy = world_in(path), Grumpy(None)
    with Recorder(world.output, grumpy).recording():
        assert api.run(world.job(), transport=knowing(world, latency_s=0.001).transport(), seed=1).exit_code == 0
    return [(call, number) for call in CALLS for number in range(1, grumpy.seen[call] + 1)]


def refuse(path: Path, refusal: Refusal) -> int | None:
    """Run a job that is refused something, and again without. Returns the first run's exit code (None: it could not
    begin). Raises Broken."""
    world = world_in(path)
    emulator, code = knowing(world, latency_s=0.001), None
    with Recorder(world.output, Grumpy(refusal)).recording():
        try:
            report = api.run(world.job(), transport=emulator.transport(), seed=1)
        except JourneybatchError as error:
            if emulator.billed:
                raise Broken(f"{refusal}: {error}, after {emulator.billed} credits") from None
        except Exception as error:
            raise Broken(f"{refusal}: a bare {error!r}") from error
        else:
            code = report.exit_code
            if code not in (0, 3) or (code == 3 and report.summary["stopped_by"] != "disk"):
                raise Broken(f"{refusal}: exit {code}, {report.summary['stopped_by']}: {report.message}")
    try:
        if code == 0:
            world.judge([record.as_json() for record in emulator.attempts])
    except (Broken, OSError) as broken:
        raise Broken(f"{refusal}: said to have ended well, but {broken}") from None
    again = api.run(world.job(), transport=emulator.transport(), seed=1)
    if again.exit_code != 0:
        raise Broken(f"{refusal}: the next run ends with {again.exit_code}: {again.message}")
    try:
        world.judge([record.as_json() for record in emulator.attempts])
    except Broken as broken:
        raise Broken(f"{refusal}: {broken}") from None
    if len(emulator.attempts) > world.distinct + world.keys["concurrency"]:
        raise Broken(f"{refusal}: {len(emulator.attempts)} requests for {world.distinct} rows")
    return code


def prove(share: float, seed: int) -> tuple[int, str]:
    """Try a share of all refusals. Returns their number and a sentence."""
    rng, ends = random.Random(seed), Counter[int | None]()
    with folder() as place, in_process():
        every = [
            Refusal(call, number, error, lasting)
            for call, number in calls(place / "calls")
            for error in ERRORS
            for lasting in (False, True)
        ]
        chosen = every if share >= 1 else rng.sample(every, max(1, round(share * len(every))))
        for place_, refusal in enumerate(chosen):
            ends[refuse(place / f"{place_}", refusal)] += 1
    said = f"{ends[3]} runs stopped, {ends[0]} ended well, {ends[None]} did not begin; all carried on"
    return len(chosen), f"{len(every)} refusals there are; {said}"
