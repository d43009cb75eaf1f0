"""The dry run: what would be asked, and what it costs, before a credit is spent."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import msgspec

from journeybatch.history import History
from journeybatch.records import Price
from journeybatch.survey import Survey
from journeybatch.tally import tally

if TYPE_CHECKING:
    import polars as pl


class Checkpoint(msgspec.Struct, frozen=True):
    """What is already known, read once at the start: keys as Binary Series. ``held`` are keys in doubt that the job
    wants left alone."""

    answered: pl.Series
    failed: pl.Series
    held: pl.Series


class Plan(msgspec.Struct, frozen=True):
    """What a run would do now.

    ``rows`` in the input, ``distinct`` prompts among them, ``reused`` of these already answered (or failed, or
    held in doubt: not asked again), ``requests`` to send when nothing fails, ``credits_min``–``credits_max`` what
    they cost, ``seconds_estimate`` (None without a measured latency), ``balance`` of the account in credits (None
    unless asked for), ``warnings`` and ``problems`` as text. ``wanted`` marks the rows that will be asked.
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
    wanted: pl.Series

    def json(self) -> dict[str, object]:
        """All but ``wanted``."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "wanted"}


def checkpoint(history: History, *, retry_failed: bool, hold: bool) -> Checkpoint:
    """What ``history`` says need not be asked. ``retry_failed`` forgets failures, ``hold`` keeps doubts."""
    import polars as pl

    keys = tally(history)
    open_ = keys.filter(pl.col("answer").is_null())
    failed = [] if retry_failed else list(history.given_up)
    return Checkpoint(
        answered=keys.filter(pl.col("answer").is_not_null())["key"],
        failed=pl.Series("key", failed, dtype=pl.Binary),
        held=open_.filter(pl.col("doubt") & pl.lit(hold))["key"],
    )


def wanted(keys: pl.Series, known: Checkpoint) -> pl.Series:
    """Which rows are to be asked: the first row of every distinct key that nothing is known of."""
    import polars as pl

    skip = pl.concat([known.answered, known.failed, known.held]).unique()
    return keys.is_first_distinct() & keys.is_not_null() & ~keys.is_in(skip.implode())


def plan(surveyed: Survey, known: Checkpoint, price: Price, *, concurrency: int, history: History) -> Plan:
    """The plan for a surveyed input; pure."""
    mask = wanted(surveyed.keys, known)
    requests = int(mask.sum())
    distinct = surveyed.keys.drop_nulls().n_unique()
    latency = typical_latency_s(history)
    return Plan(
        rows=surveyed.rows,
        distinct=distinct,
        reused=distinct - requests,
        requests=requests,
        credits_min=requests * price.least,
        credits_max=requests * price.most,
        seconds_estimate=None if latency is None else round(requests * latency / min(concurrency, requests or 1), 1),
        balance=None,
        warnings=[],
        problems=[f"row {problem.row}: {problem.message}" for problem in surveyed.problems],
        wanted=mask,
    )


def typical_latency_s(history: History) -> float | None:
    """The median latency in seconds of the last 1,000 answers, or None without any."""
    a = history.attempts
    recent = [a.latency_s[i] for i in range(len(a) - 1, max(-1, len(a) - 5000), -1) if a.offset[i] >= 0]
    return median(recent[:1000]) if recent else None
