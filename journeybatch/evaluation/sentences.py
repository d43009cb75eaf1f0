"""What a comparison found, in a sentence that anyone can read."""

from __future__ import annotations

import math

from journeybatch.evaluation.estimates import Comparison, Interval


def sentence(seen: Comparison) -> str:
    """One sentence, without a full stop, on a comparison: which is better, by how much and how sure that is; or that
    they cannot be told apart, and what would have been seen. Shares of right answers are told in points of 100."""
    if seen.difference is None:
        return f"{seen.variant} cannot be compared with {seen.baseline}: no row has a score from both"
    if seen.verdict != "undecided":
        return _decided(seen, seen.difference)
    parts = f"difference {_amount(seen, seen.difference)}"
    if seen.interval:
        parts += f", interval {_span(seen, seen.interval)}"
        if seen.interval.low > 0 or seen.interval.high < 0:
            parts += f", {_chance(seen)}"
    return f"{seen.variant} cannot be told from {seen.baseline} with these rows: {parts}; {_unseen(seen)}"


def _decided(seen: Comparison, difference: float) -> str:
    verb, more = "answers" if seen.shares else "scores", "more" if difference > 0 else "less"
    words = f"{seen.variant} {verb} {_amount(seen, abs(difference))} {more} than {seen.baseline}"
    if seen.interval:
        span = _span(seen, seen.interval, -1 if difference < 0 else 1)
        words += f", {100 * seen.interval.confidence:g} % interval {span}"
    return f"{words}, {_chance(seen)}"


def _unseen(seen: Comparison) -> str:
    if seen.detectable is not None:
        return f"differences under {_amount(seen, seen.detectable)} would not be seen here"
    units = seen.rows if seen.clusters is None else seen.clusters
    counted = f"{units} {'row' if seen.clusters is None else 'cluster'}{'' if units == 1 else 's'}"
    if units > 1 and not seen.wins and not seen.losses:
        return f"they score the same in all {counted}"
    return f"no difference would be seen with {counted}"


def _chance(seen: Comparison) -> str:
    p = seen.p_corrected
    said = "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.995 else "p = 1"
    return f"{said} after correction" if seen.family > 1 else said


def _span(seen: Comparison, interval: Interval, sign: int = 1) -> str:
    low, high = sorted((sign * interval.low, sign * interval.high))
    return f"{_number(seen, low)} to {_number(seen, high)}"


def _amount(seen: Comparison, value: float) -> str:
    return f"{_number(seen, value)} points" if seen.shares else _number(seen, value)


def _number(seen: Comparison, value: float) -> str:
    """Points with one decimal, other scores with three digits of the largest; points with more where all are small.
    All numbers of a sentence have the same decimals."""
    scale = 100 if seen.shares else 1
    ends = (seen.interval.low, seen.interval.high) if seen.interval else ()
    largest = scale * max(map(abs, (seen.difference or 0.0, seen.detectable or 0.0, *ends)))
    digits = -math.floor(math.log10(largest)) if largest else 0
    decimals = max(1, 1 + digits) if seen.shares else max(0, 2 + digits)
    text = f"{scale * value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")
