"""The dry run: what would be asked, and what it costs, before a credit is spent."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from journeybatch.history import History
from journeybatch.packing import Sizing
from journeybatch.records import Price
from journeybatch.standing import Standing
from journeybatch.survey import Survey

if TYPE_CHECKING:
    import polars as pl


class Plan(msgspec.Struct, frozen=True):
    """What a run would do now.

    ``rows`` of the results, ``distinct`` prompts among them, ``reused`` of these already answered (or failed, or
    held in doubt: not asked again), ``requests`` to send when nothing fails, ``credits_min``–``credits_max`` what
    they cost, ``seconds_estimate`` (None without a measured latency), ``balance`` of the account in credits (None
    unless asked for), ``warnings`` and ``problems`` as text. ``wanted`` marks, per step, the rows that will be asked.
    """

    rows: int
    distinct: int
    reused: int
    requests: int
    credits_min: int
    credits_max: int
    seconds_estimate: float | None
    balance: int | None
    warnings: list[str]
    problems: list[str]
    wanted: list[pl.Series]

    @property
    def prompts(self) -> int:
        """How many prompts the requests carry."""
        return sum(int(wanted.sum()) for wanted in self.wanted)

    def json(self) -> dict[str, object]:
        """All but ``wanted``."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "wanted"}


def plan(
    surveyed: Survey,
    standing: Standing,
    prices: Sequence[Price],
    sizing: Sizing,
    *,
    concurrency: int,
    history: History,
) -> Plan:
    """The plan for a surveyed input whose steps cost ``prices``; pure."""
    counted = [count_packs(surveyed, step, wanted, sizing) for step, wanted in enumerate(standing.wanted)]
    requests = sum(counted)
    distinct = surveyed.keys.drop_nulls().n_unique()
    latency = typical_latency_s(history)
    return Plan(
        rows=surveyed.rows,
        distinct=distinct,
        reused=distinct - int(standing.wanted[0].sum()),
        requests=requests,
        credits_min=sum(number * price.least for number, price in zip(counted, prices, strict=True)),
        credits_max=sum(number * price.most for number, price in zip(counted, prices, strict=True)),
        seconds_estimate=None if latency is None else round(requests * latency / min(concurrency, requests or 1), 1),
        balance=None,
        warnings=[],
        problems=[f"row {problem.row}: {problem.message}" for problem in surveyed.problems],
        wanted=standing.wanted,
    )


def count_packs(surveyed: Survey, step: int, wanted: pl.Series, sizing: Sizing) -> int:
    """How many requests the wanted rows of a step take."""
    if sizing.limit.rows <= 1:
        return int(wanted.sum())
    return sum(1 for _ in sizing.packs(surveyed, step, ((at, None) for at in wanted.arg_true())))


def typical_latency_s(history: History) -> float | None:
    """The median latency in seconds of the last 1,000 answers, or None without any."""
    a = history.attempts
    recent = [a.latency_s[i] for i in range(len(a) - 1, max(-1, len(a) - 5000), -1) if a.offset[i] >= 0]
    return median(recent[:1000]) if recent else None
