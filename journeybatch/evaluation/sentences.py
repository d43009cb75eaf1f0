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
    parts = f"difference {_amount(seen.difference, seen.shares)}"
    if seen.interval:
        parts += f", interval {_span(seen.interval, 1, seen.shares)}"
        if seen.interval.low > 0 or seen.interval.high < 0:
            parts += f", {_chance(seen)}"
    return f"{seen.variant} cannot be told from {seen.baseline} with these rows: {parts}; {_unseen(seen)}"


def _decided(seen: Comparison, difference: float) -> str:
    sign = 1 if difference > 0 else -1
    verb = "answers" if seen.shares else "scores"
    words = f"{seen.variant} {verb} {_amount(abs(difference), seen.shares)} {'more' if sign > 0 else 'less'} than"
    words = f"{words} {seen.baseline}"
    if seen.interval:
        words += f", {100 * seen.interval.confidence:g} % interval {_span(seen.interval, sign, seen.shares)}"
    return f"{words}, {_chance(seen)}"


def _unseen(seen: Comparison) -> str:
    if seen.detectable is None:
        units = seen.rows if seen.clusters is None else seen.clusters
        counted = f"{units} {'row' if seen.clusters is None else 'cluster'}{'' if units == 1 else 's'}"
        if not seen.wins and not seen.losses:
            return f"they score the same in all {counted}" if units > 1 else f"{counted} cannot show a difference"
        return f"no difference would be seen with {counted}"
    return f"differences under {_amount(seen.detectable, seen.shares)} would not be seen here"


def _chance(seen: Comparison) -> str:
    p = seen.p_corrected
    said = "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.995 else "p = 1"
    return f"{said} after correction" if seen.family > 1 else said


def _span(interval: Interval, sign: int, shares: bool) -> str:
    low, high = sorted((sign * interval.low, sign * interval.high))
    return f"{_number(low, shares)} to {_number(high, shares)}"


def _amount(value: float, shares: bool) -> str:
    return f"{_number(value, shares)} points" if shares else _number(value, shares)


def _number(value: float, shares: bool) -> str:
    """Points with one decimal, other scores with three digits; more where that would read 0."""
    shown = 100 * value if shares else value
    decimals = 1 if shares else max(0, 2 - math.floor(math.log10(abs(shown)))) if shown else 0
    if shares and 0 < abs(shown) < 0.05:
        decimals = 1 - math.floor(math.log10(abs(shown)))
    if not shares:
        decimals = min(decimals, 12)
    text = f"{shown:.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")
