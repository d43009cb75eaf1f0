"""Quality against credits: which variants nobody should prefer another to, and what a right answer costs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import msgspec

from journeybatch.evaluation import clusters
from journeybatch.evaluation.estimates import Interval, Terms
from journeybatch.evaluation.intervals import estimate, number_kept, within
from journeybatch.evaluation.numerics import np, numbers

_DEFAULT = Terms()


class Price(msgspec.Struct, frozen=True):
    """Credits per right answer. ``value`` is None where nothing was right; ``interval.high`` is infinite where it may
    be that nothing ever is. ``credits`` were spent on the ``rows`` that have a score, of which ``right`` were."""

    value: float | None
    interval: Interval | None
    credits: float
    right: float
    rows: int


def pareto(variants: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """The variants, of (quality, credits), that no other beats: none has at least the quality for at most the credits
    and is better in one of them (Pareto 1906, Manuale di economia politica). In order of credits; equals stay
    together. It takes the figures as they are: two neighbours on the front may not differ beyond chance."""
    ordered = sorted(variants.items(), key=lambda item: (item[1][1], -item[1][0]))
    front: list[str] = []
    best, cost = -math.inf, -math.inf
    for name, (quality, credits) in ordered:
        if quality > best or (quality, credits) == (best, cost):
            front.append(name)
            best, cost = quality, credits
    return tuple(front)


def price_of_right(
    scores: Any, credits: Any, groups: Iterable[Hashable] | None = None, terms: Terms = _DEFAULT
) -> Price:
    """Credits per right answer, Σ credits / Σ scores, for scores from 0 to 1 and the credits of each row; rows
    without a score are left out, with their credits. Raises ValueError for other scores or negative credits.

    The interval is found for right answers per credit and turned over, so that it is sound where few are right and
    ends at infinity where none may be. Where each row costs the same, that is the interval of the mean score.
    Otherwise it is the t interval of a ratio of means by linearisation (Cochran 1977, Sampling Techniques, section
    6.3), cluster-robust with ``groups``; it minds that hard rows may cost more, as they do in a cascade. It assumes
    some tens of rows. Where nothing or everything is right, it is that of the mean score at the mean credits.
    """
    values, costs = numbers(scores), numbers(credits)
    if values.shape != costs.shape or values.ndim != 1:
        raise ValueError(f"expected the credits of each row; found {costs.shape} for {values.shape}")
    kept = ~np.isnan(values) & ~np.isnan(costs)
    values, costs = values[kept], costs[kept]
    if ((values < 0) | (values > 1)).any() or (costs < 0).any():
        raise ValueError("expected scores from 0 to 1 and credits of 0 or more")
    spent, right = math.fsum(costs), math.fsum(values)
    codes = number_kept(groups, kept)
    rate = _rate(values, costs, codes, terms) if spent > 0 else None
    value = spent / right if right > 0 else None
    return Price(value, rate and _turned(rate), spent, right, len(values))


def _rate(values: Any, costs: Any, codes: Any, terms: Terms) -> Interval | None:
    """The interval of right answers per credit."""
    average = float(np.mean(costs))
    if float(np.ptp(costs)) > 0 and float(np.ptp(values)) > 0:
        ratio = float(np.sum(values) / np.sum(costs))
        found = clusters.mean(ratio + (values - ratio * costs) / average, codes)
        if found is None:
            return None
        made = clusters.interval(found, terms.confidence, clustered=codes is not None)
        return within(made, ratio, (0.0, math.inf))
    seen = estimate(values, codes, terms).interval
    return seen and Interval(seen.low / average, seen.high / average, seen.confidence, seen.method)


def _turned(rate: Interval) -> Interval:
    low, high = (1 / end if end > 0 else math.inf for end in (rate.high, rate.low))
    return Interval(low, high, rate.confidence, rate.method)
