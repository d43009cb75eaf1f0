"""A run is steered while it is at work: another concurrency, another cap.

``tune`` leaves a wish in the output directory. The process at work finds it within a second, writes it into the
journal, for it is a decision about money, and only then goes by it. What was chosen holds, through crashes, for the
rest of the run, unless the job itself says something else by then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import anyio
import msgspec

from journeybatch.concurrency import LARGEST
from journeybatch.entries import Tuned
from journeybatch.history import History
from journeybatch.replacement import replacement
from journeybatch.spec import JobSpec

_WISH = "tuning-"
EVERY_S = 0.25


class Tuning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run goes by: most requests in flight, and the cap in credits. In a wish, None leaves a value as it is;
    where it tells what is in force, ``credits`` of None means no cap."""

    concurrency: Annotated[int, msgspec.Meta(ge=1, le=LARGEST)] | None = None
    credits: Annotated[int, msgspec.Meta(ge=0, le=10**12)] | None = None

    def __str__(self) -> str:
        cap = "no cap" if self.credits is None else f"a cap of {self.credits} credits"
        return f"{self.concurrency} requests in flight at most, {cap}"


def in_force(spec: JobSpec, history: History, run: int) -> Tuning:
    """What run number ``run`` of a job goes by: the job's word, or what was chosen since, whichever is later."""
    concurrency, credits, chosen = spec.concurrency.most, spec.limits.credits, history.tuned
    if chosen is not None and chosen.run == run:
        concurrency = chosen.concurrency if chosen.job_concurrency == concurrency else concurrency
        credits = chosen.credits if chosen.job_credits == credits else credits
    return Tuning(concurrency, credits)


def chosen(wish: Tuning, spec: JobSpec, history: History, run: int) -> Tuned:
    """The entry that says what counts once ``wish`` is granted."""
    now, job = in_force(spec, history, run), (spec.concurrency.most, spec.limits.credits)
    credits = now.credits if wish.credits is None else wish.credits
    return Tuned(run, wish.concurrency or now.concurrency or job[0], credits, *job, time.time())


def leave(directory: Path, wish: Tuning) -> Path:
    """Leave a wish for the run at work in ``directory``; where it lies until it is granted. Raises OSError."""
    path = directory / f"{_WISH}{time.time_ns()}-{os.getpid()}.json"
    with replacement(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(wish))
    return path


def wishes(directory: Path) -> list[Path]:
    """Where the wishes lie that nobody has granted, the oldest first. Each is a file of its own, for two people may
    wish at once."""
    try:
        return sorted(path for path in directory.iterdir() if path.name.startswith(_WISH))
    except OSError:
        return []


def take_back(path: Path) -> bool:
    """Take away a wish; whether it was there."""
    try:
        path.unlink()
    except OSError:
        return False
    return True


async def heed(directory: Path, grant: Callable[[Tuning], Awaitable[None]]) -> None:
    """``grant`` every wish that is left in ``directory``, and then take it away: that is the answer. What was left
    there before is a wish to an earlier process, and counts no more; what is no wish is taken away as well."""
    for path in wishes(directory):
        take_back(path)
    while True:
        await anyio.sleep(EVERY_S)
        for path in wishes(directory):
            try:
                wish = msgspec.json.decode(path.read_bytes(), type=Tuning)
            except FileNotFoundError:
                continue
            except (OSError, msgspec.MsgspecError):
                take_back(path)
                continue
            await grant(wish)
            take_back(path)
