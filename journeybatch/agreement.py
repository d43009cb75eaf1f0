"""How far packed answers agree with those of rows asked singly, and how sure that is.

When two answers agree is a stated rule, not a judgement. It looks at words, not at meaning: two long texts that
differ only in a "not" agree. Who needs more asks for fields.

Bounds are exact (Clopper, Pearson 1934, Biometrika 26, 404-413). They take the compared rows as independent draws.
That is so where each pack gives one of its rows to the comparison. With more of one pack the bounds are too high as
far as rows of a pack fail together, so spread a trial over many packs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

LABEL_WORDS = 3
"""An answer of so many words or fewer is a label: it agrees only with its equal."""

_ENDINGS = " .,;:!?…。，！？"
_NUMBER = re.compile(r"(?<!\w)[-+−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:e[-+]?\d{1,4}(?!\d))?")
_FINE = 1e-15  # bounds are this close to the exact ones, and never above them but for rounding

Fields = Mapping[str, object]


class Trial(msgspec.Struct, frozen=True):
    """Packs of ``size`` rows were tried: ``agreed`` of ``of`` rows agree in every field with those asked singly.
    ``by_field`` holds (agreed, of) for each field."""

    size: int
    agreed: int
    of: int
    by_field: dict[str, tuple[int, int]] = {}


class Choice(msgspec.Struct, frozen=True):
    """Rows per request, the ``lower`` bound of their agreement (for this size by itself; 1 where rows go singly), a
    sentence that says ``why``, and the ``trials`` behind it by growing size."""

    size: int
    lower: float
    why: str
    trials: tuple[Trial, ...]


def similar(one: str, other: str) -> float:
    """How alike two answers are, 0 to 1, apart from case, runs of white space and closing punctuation. In this order:

    1. Equal texts: 1.
    2. One of them has at most ``LABEL_WORDS`` words (as text without spaces has): 0.
    3. Both have numbers and the last ones differ in value: 0. "1,000" is 1000, "42.0" is 42, "50%" is 50.
    4. Otherwise rapidfuzz's `token_sort_ratio` / 100, which disregards the order of words."""
    one, other = _plain(one), _plain(other)
    if one == other:
        return 1.0
    if min(len(one.split()), len(other.split())) <= LABEL_WORDS:
        return 0.0
    last = _last_number(one), _last_number(other)
    if None not in last and last[0] != last[1]:
        return 0.0
    from rapidfuzz.fuzz import token_sort_ratio

    return float(token_sort_ratio(one, other)) / 100


def agrees(one: str, other: str, threshold: float = 0.8) -> bool:
    """Whether two answers are ``similar`` by at least ``threshold``."""
    return similar(one, other) >= threshold


def _plain(text: str) -> str:
    text = " ".join(text.casefold().split())
    return text.rstrip(_ENDINGS) or text


def _last_number(text: str) -> Decimal | None:
    last = _NUMBER.findall(text)[-1:]
    return Decimal(last[0].replace(",", "").replace("−", "-")) if last else None


def compare(size: int, pairs: Iterable[tuple[Fields, Fields | None]], threshold: float = 0.8) -> Trial:
    """The trial of packs of ``size`` rows. ``pairs`` hold, for each row, the fields of its single answer and of its
    packed one (None: the pack left it out). Texts agree as ``agrees`` says, other values if equal; a field that the
    packed answer lacks is null. A row agrees if all fields of its single answer do.
    """
    agreed = of = 0
    by_field: dict[str, tuple[int, int]] = {}
    for single, packed in pairs:
        same = {f: packed is not None and _same(value, packed.get(f), threshold) for f, value in single.items()}
        for field, yes in same.items():
            before = by_field.get(field, (0, 0))
            by_field[field] = (before[0] + yes, before[1] + 1)
        agreed += packed is not None and all(same.values())
        of += 1
    return Trial(size, agreed, of, by_field)


def _same(one: object, other: object, threshold: float) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return agrees(one, other, threshold)
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def chance(agreed: int, of: int, rate: float) -> float:
    """The probability of ``agreed`` or more of ``of`` independent rows, each of which agrees with probability
    ``rate``: the p-value of "the true rate is at most ``rate``". Raises ValueError as ``lower_bound`` does."""
    _check(agreed, of, rate)
    return 1.0 if agreed == 0 else min(1.0, math.exp(_log_tail(agreed, of, rate)))


def lower_bound(agreed: int, of: int, confidence: float = 0.95) -> float:
    """The exact one-sided lower bound of a rate of which ``agreed`` of ``of`` rows were seen; 0 where none were.
    Raises ValueError for counts that cannot be, and for a confidence (or rate, target) not between 0 and 1."""
    _check(agreed, of, confidence)
    if agreed in (0, of):
        return float((1 - confidence) ** (1 / of)) if agreed else 0.0
    wanted = math.log(1 - confidence)
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high and high - low > _FINE:
        low, high = (middle, high) if _log_tail(agreed, of, middle) <= wanted else (low, middle)
    return low


def interval(agreed: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval, half of the doubt at each side; (0, 1) where nothing was seen."""
    _check(agreed, of, confidence)
    side = (1 + confidence) / 2
    return lower_bound(agreed, of, side), 1 - lower_bound(of - agreed, of, side)


def rows_needed(target: float, confidence: float = 0.95) -> int:
    """The fewest rows that, if all of them agree, show a rate of at least ``target``: target^n ≤ 1 − confidence."""
    _check(0, 0, target, confidence)
    rows = max(1, math.floor(math.log(1 - confidence) / math.log(target)))  # at most the number sought
    while lower_bound(rows, rows, confidence) < target:
        rows += 1
    return rows


def _check(agreed: int, of: int, *shares: float) -> None:
    if not 0 <= agreed <= of:
        raise ValueError(f"expected some rows of which none or more agree; found {agreed} of {of}")
    if not all(0 < share < 1 for share in shares):
        raise ValueError(f"rates, targets and confidences lie between 0 and 1, such as 0.95; found {shares}")


def _log_tail(least: int, of: int, rate: float) -> float:
    """log P(X ≥ ``least``) for a binomial X: the first term by lgamma, the others by their ratio to it."""
    first = math.lgamma(of + 1) - math.lgamma(least + 1) - math.lgamma(of - least + 1)
    first += least * math.log(rate) + (of - least) * math.log1p(-rate)
    odds = rate / (1 - rate)
    term = total = 1.0
    for count in range(least, of):
        ratio = odds * (of - count) / (count + 1)
        term *= ratio
        total += term
        if ratio < 1 and term < total * (1 - ratio) * 1e-17:  # all that follow are less than rounding
            break
    return first + math.log(total)


def ladder(most: int) -> tuple[int, ...]:
    """Sizes to try, smallest first: 4, 8, 16 … up to ``most``; only ``most`` if that is 2 or 3, none below."""
    sizes = tuple(4 << step for step in range(most.bit_length()) if 4 << step <= most)
    return sizes or ((most,) if most > 1 else ())


def choose(trials: Sequence[Trial], agreement: float, confidence: float = 0.95) -> Choice:
    """The largest size such that it and all smaller ones tried have a lower bound of at least ``agreement``.
    The sizes are tested in an order fixed beforehand, from the smallest up, and the first that fails ends it. So
    the chance of choosing a size that agrees less than ``agreement`` is at most 1 − ``confidence``, without a
    correction for their number and also where trials share rows (Maurer, Hothorn, Lehmacher 1995; Wiens 2003).
    Raises ValueError for shares that are not between 0 and 1, and for two trials of one size.
    """
    _check(0, 0, agreement, confidence)
    tried = tuple(sorted(trials, key=lambda trial: trial.size))
    if len({trial.size for trial in tried}) < len(tried):
        raise ValueError("expected one trial for each size; found two of one size: put them together or drop one")
    best, bound, why, end = 1, 1.0, "1 row a request", "no larger size was tried"
    for trial in tried:
        lower = lower_bound(trial.agreed, trial.of, confidence)
        found = f"{trial.agreed} of {trial.of} answers agree with those asked singly, lower bound {percent(lower)}"
        if lower < agreement:
            fewest = rows_needed(agreement, confidence)
            more = f"; it takes {fewest} compared rows or more" if trial.of < fewest else ""
            end = f"{trial.size} do not show {100 * agreement:g} %: {found}{more}"
            break
        best, bound, why = trial.size, lower, f"{trial.size} rows a request: {found}"
    sure = f" (bounds at {100 * confidence:g} % confidence, rows taken as independent)" if tried else ""
    return Choice(best, bound, f"{why}; {end}{sure}", tried)


def percent(share: float) -> str:
    """A bound in words, rounded down to a tenth, so that a bound never looks better than it is."""
    return f"{math.floor(share * 1000 + 1e-9) / 10:g} %"
