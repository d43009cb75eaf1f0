"""Figures out of a journal's history: how long replies took, how many came when, and what each run came to. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from journeybatch.attempts import BORROWED, CHARGES, SETTLED, UNSENT
from journeybatch.history import History
from journeybatch.verdict import READABLE

if TYPE_CHECKING:
    import polars as pl

_UNITS = ((180.0, "seconds", 1.0), (3 * 3600.0, "minutes", 60.0), (math.inf, "hours", 3600.0))


def attempts_of(history: History, run: int) -> pl.DataFrame:
    """What run number ``run`` sent, one line per attempt: ``model``, ``at`` and ``latency_s`` (Float64; null where no
    reply came), ``outcome``, ``credits``, ``credits_max`` and ``error``."""
    import polars as pl

    a = history.attempts
    sent = [i for i in range(len(a)) if a.run[i] == run and a.error[i] not in (BORROWED, UNSENT)]
    return pl.DataFrame(
        {
            "model": pl.Series([a.model[i] for i in sent], dtype=pl.String),
            "at": pl.Series([a.at[i] for i in sent], dtype=pl.Float64),
            "latency_s": pl.Series([a.latency_s[i] if a.offset[i] >= 0 else None for i in sent], dtype=pl.Float64),
            "outcome": pl.Series([CHARGES[a.charge[i]] for i in sent], dtype=pl.String),
            "credits": pl.Series([a.credits[i] for i in sent], dtype=pl.Int64),
            "credits_max": pl.Series([a.credits_max[i] for i in sent], dtype=pl.Int64),
            "error": pl.Series([a.error[i] for i in sent], dtype=pl.String),
        }
    )


def step(width: float, most: int) -> float:
    """The width of a bin: the least of 1, 2 or 5 times a power of ten that cuts ``width`` into ``most`` at most."""
    if width <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(width / most))
    return next(power * times for times in (1, 2, 5, 10) if width / (power * times) <= most + 1e-9)


def binned(values: pl.Series) -> list[tuple[float, float, int]]:
    """How many values lie in each bin, from the lowest to the highest, empty ones too; more bins for more values."""
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    width = step(high - low, _bins(len(values)))
    counts = dict((values / width).floor().cast(int).value_counts().iter_rows())
    places = range(min(counts), max(counts) + 1)
    return [(round(n * width, 9), round((n + 1) * width, 9), counts.get(n, 0)) for n in places]


def _bins(values: int) -> int:
    return min(50, max(8, round(2 * math.sqrt(values))))


class Over(msgspec.Struct, frozen=True):
    """Ends of attempts over time: the ``unit`` of time, the ``width`` of a bin in it, and per bin how many attempts
    brought a reply and how many failed."""

    unit: str
    width: float
    bins: list[tuple[float, float, int, int]]


def over_time(attempts: pl.DataFrame) -> Over | None:
    """When attempts ended, counted from when the first began; None where there are none."""
    import polars as pl

    ends = attempts.select(
        end=pl.col("at") + pl.col("latency_s").fill_null(0), reply=pl.col("outcome") == CHARGES[SETTLED]
    )
    if ends.is_empty():
        return None
    began = float(attempts["at"].min())  # type: ignore[arg-type]
    whole = float(ends["end"].max()) - began  # type: ignore[arg-type]
    unit, seconds = next((unit, seconds) for limit, unit, seconds in _UNITS if whole < limit)
    width = step(whole / seconds, _bins(attempts.height))
    counts = (
        ends.with_columns(place=((pl.col("end") - began) / seconds / width).floor().cast(pl.Int64).clip(0))
        .group_by("place")
        .agg(pl.col("reply").sum(), failed=(~pl.col("reply")).sum())
    )
    found = {place: (reply, failed) for place, reply, failed in counts.iter_rows()}
    bins = [
        (round(n * width, 9), round((n + 1) * width, 9), *found.get(n, (0, 0)))
        for n in range(max(found, default=0) + 1)
    ]
    return Over(unit, width, bins)


class Night(msgspec.Struct, frozen=True):
    """One run of a directory: when it began, its credits, and distinct prompts it asked and got an answer to."""

    number: int
    began_at: float
    spent: int
    unknown: int
    asked: int
    answered: int

    @property
    def failed(self) -> int:
        """Prompts that got no answer in this run."""
        return self.asked - self.answered


def nights(history: History) -> list[Night]:
    """All runs, oldest first."""
    a = history.attempts
    asked: dict[int, set[bytes]] = {run.number: set() for run in history.runs}
    answered: dict[int, set[bytes]] = {run.number: set() for run in history.runs}
    for i in range(len(a)):
        if a.error[i] in (BORROWED, UNSENT):
            continue
        keys = [history.trials.get(key, key) for key in a.keys_of(i)]
        asked[a.run[i]].update(keys)
        if a.charge[i] == SETTLED:
            read = zip(keys, a.codes(i), strict=True)
            answered[a.run[i]].update(key for key, code in read if code in READABLE)
    return [
        Night(run.number, run.began_at, run.spent, run.unknown, len(asked[run.number]), len(answered[run.number]))
        for run in history.runs
    ]
