"""The dry run: what would be asked, and what it costs, before a credit is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add, or_
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from journeybatch.asking import Step
from journeybatch.costs import Cost, Outlook, cost
from journeybatch.history import History
from journeybatch.packing import OPEN_PACKS, Sizing
from journeybatch.records import Price
from journeybatch.standing import Standing
from journeybatch.survey import Survey

if TYPE_CHECKING:
    import polars as pl

SEEN = 20
"""Rows that a model must be done with before its rate of climbing is taken for the next ones'."""

Asks = Sequence[tuple[Step, str, Price]]
"""The steps of one way of asking, with the model and what a request costs at each; the last has the strongest model."""
Counter = Callable[[int, "pl.Series"], int]


class Plan(msgspec.Struct, frozen=True):
    """What a run would do now.

    ``rows`` of the results, ``distinct`` prompts among them, ``reused`` of these already answered (or failed, or
    held in doubt: not asked again). ``requests`` to send and ``credits_min`` are the best case: nothing fails, prices
    are at their lower end and, in a cascade, no row climbs. ``credits_max`` is the worst case in which nothing fails:
    prices at their upper end, and all rows climb. ``credits_expected`` lies between, at the upper end of prices; None
    while it is not known how often rows climb. ``costs`` has the stages and the cases one by one.

    ``edited`` of the prompts to ask were answered under the spec that ran last. ``seconds_estimate`` is None
    without a measured latency, ``balance`` (credits of the account) unless asked for. ``warnings``, ``notes`` and
    ``problems`` are text. ``wanted`` marks, per step, the rows that will be asked first.
    """

    rows: int
    distinct: int
    reused: int
    requests: int
    credits_min: int
    credits_expected: int | None
    credits_max: int
    costs: Outlook
    seconds_estimate: float | None
    balance: int | None
    edited: int
    warnings: list[str]
    notes: list[str]
    problems: list[str]
    wanted: list[pl.Series]

    @property
    def prompts(self) -> int:
        """How many prompts are still to be asked."""
        return sum(int(wanted.sum()) for wanted in self.wanted)

    def json(self) -> dict[str, object]:
        """All but ``wanted``."""
        return {name: msgspec.to_builtins(getattr(self, name)) for name in self.__struct_fields__ if name != "wanted"}


def plan(
    surveyed: Survey, standing: Standing, ways: Sequence[Asks], sizing: Sizing, *, concurrency: int, history: History
) -> Plan:
    """The plan for a surveyed input that is asked in ``ways``; pure."""
    costs = foresee(surveyed, standing, ways, sizing)
    requests = costs.best.requests
    distinct = standing.distinct
    latency = typical_latency_s(history)
    return Plan(
        rows=surveyed.rows,
        distinct=distinct,
        reused=distinct - costs.after_reuse.requests,
        requests=requests,
        credits_min=costs.best.credits_min,
        credits_expected=costs.expected.credits_max if costs.expected else None,
        credits_max=costs.worst.credits_max,
        costs=costs,
        seconds_estimate=None if latency is None else round(requests * latency / min(concurrency, requests or 1), 1),
        balance=None,
        edited=0,
        warnings=[],
        notes=[],
        problems=[f"row {problem.row}: {problem.message}" for problem in surveyed.problems],
        wanted=standing.wanted,
    )


def foresee(surveyed: Survey, standing: Standing, ways: Sequence[Asks], sizing: Sizing) -> Outlook:
    """What the rest of a job costs when nothing fails, beside what it would cost otherwise."""
    if len(ways) == 1:
        return _foresee(surveyed, standing, ways[0], sizing, surveyed.rows)
    apart = [surveyed.by_way(rows) for rows in standing.stay], [surveyed.by_way(rows) for rows in standing.ahead]
    outlooks = []
    for way, asks in enumerate(ways):
        stay, ahead = ([rows[way] for rows in steps] for steps in apart)
        mine = msgspec.structs.replace(standing, stay=stay, ahead=ahead)
        outlooks.append(_foresee(surveyed, mine, asks, sizing, surveyed.rows // len(ways)))
    return reduce(add, outlooks)


def _foresee(surveyed: Survey, standing: Standing, asks: Asks, sizing: Sizing, rows_in_all: int) -> Outlook:
    """The same for one way of asking, whose rows are so many."""
    count = pack_counter(surveyed, sizing)
    strongest = asks[-1][2]
    going = reduce(or_, standing.ahead)  # every prompt that is still to be asked, once
    least, most = (requests_by_step(rows, count) for rows in (standing.stay, standing.ahead))
    shares = climbing(standing, [step.tier for step, _, _ in asks])
    return Outlook(
        naive=cost(rows_in_all, strongest),
        after_reuse=cost(int(going.sum()), strongest),
        after_packing=cost(count(len(asks) - 1, going), strongest),
        best=_sum(asks, least),
        expected=None
        if shares is None
        else _sum(asks, [low + share * (high - low) for low, high, share in zip(least, most, shares, strict=True)]),
        worst=_sum(asks, most),
    )


def pack_counter(surveyed: Survey, sizing: Sizing) -> Counter:
    """A function that says how many requests some rows take at a step. What it has counted it knows: in a fresh job
    a step's best case is its worst."""
    known: list[tuple[int, pl.Series, int]] = []

    def count(step: int, rows: pl.Series) -> int:
        if sizing.limit.rows <= 1 or not rows.any():
            return int(rows.sum())
        for other, mask, number in known:
            if other == step and mask.equals(rows):
                return number
        reckoned = _full_packs(surveyed, rows, sizing, step)
        packs = sizing.packs(surveyed, step, ((at, None) for at in rows.arg_true())) if reckoned is None else ()
        number = sum(1 for _ in packs) if reckoned is None else reckoned
        known.append((step, rows, number))
        return number

    return count


def _full_packs(surveyed: Survey, rows: pl.Series, sizing: Sizing, step: int) -> int | None:
    """The same, reckoned: where few kinds of prompts are to be packed and no pack can get too long, packs just fill up
    one after the other. None where it is not so simple."""
    import polars as pl

    if surveyed.extents is None or sizing.rooms or not (sizing.steps is None or step in sizing.steps):
        return None
    at = pl.int_range(len(rows), eager=True).filter(rows)
    each = surveyed.extents[at // surveyed.samples].with_columns(place=at % surveyed.width)
    longest = sizing.overhead + pl.col("head_characters").max() + sizing.limit.rows * pl.col("characters").max()
    fits, alone = each.select(longest < sizing.limit.characters, alone=pl.col("head").null_count()).row(0)
    kinds: list[int] = each.filter(pl.col("head").is_not_null()).group_by("head", "place").len()["len"].to_list()
    if not fits or len(kinds) > OPEN_PACKS:
        return None
    return int(alone) + sum(-(-number // sizing.limit.rows) for number in kinds)


def requests_by_step(asked: Sequence[pl.Series], count: Counter) -> list[int]:
    """How many requests each step takes, where ``asked`` marks its rows. Only rows that reach a step in the same round
    go together: those that have as many steps before it."""
    import polars as pl

    steps_before = pl.repeat(0, len(asked[0]), dtype=pl.Int32, eager=True)
    found = []
    for step, rows in enumerate(asked):
        rounds = steps_before.filter(rows).unique()
        found.append(sum(count(step, rows & (steps_before == number)) for number in rounds))
        steps_before += rows.cast(pl.Int32)
    return found


def climbing(standing: Standing, tiers: Sequence[int]) -> list[float] | None:
    """Per step, which share of the rows that could still climb to its model will, if they climb as often as rows did
    so far; None where fewer than ``SEEN`` rows tell how often."""
    coming, below = 0.0, 0
    shares: list[float] = []
    for tier in range(tiers[-1] + 1):
        staying = [rows for rows, of in zip(standing.stay, tiers, strict=True) if of == tier]
        shares += [coming / below if below else 0.0] * len(staying)
        here = int(reduce(or_, staying).sum())
        below += here
        coming += here
        if tier == tiers[-1] or not coming:
            continue
        climbed, done = standing.climbed[tier]
        if done < SEEN:
            return None
        coming *= climbed / done
    return shares


def _sum(asks: Asks, requests: Sequence[float]) -> Cost:
    """What ``requests`` per step cost; the sums are rounded, not their parts."""
    priced = [(number, price) for number, (_, _, price) in zip(requests, asks, strict=True)]
    return Cost(
        round(sum(requests)),
        round(sum(number * price.least for number, price in priced)),
        round(sum(number * price.most for number, price in priced)),
    )


def typical_latency_s(history: History) -> float | None:
    """The median latency in seconds of the last 1,000 answers, or None without any."""
    a = history.attempts
    recent = [a.latency_s[i] for i in range(len(a) - 1, max(-1, len(a) - 5000), -1) if a.offset[i] >= 0]
    return median(recent[:1000]) if recent else None
