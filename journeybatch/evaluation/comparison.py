"""Two variants on the same rows: by how much one is better, how sure that is, and what would have been seen."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import msgspec

from journeybatch.evaluation import clusters, power
from journeybatch.evaluation.estimates import Comparison, Interval, Terms
from journeybatch.evaluation.intervals import alike, are_shares, bca, number_kept, per_row, wilson, within
from journeybatch.evaluation.numerics import Floats, Integers, np, numbers, stats
from journeybatch.evaluation.permutation import sign_flip

MCNEMAR = "McNemar, exact"
SIGN_FLIP = "paired permutation"
CLUSTERED = "paired permutation of clusters"

_DEFAULT = Terms()


def compare(
    names: tuple[str, str],
    baseline: Any,
    variant: Any,
    groups: Iterable[Hashable] | None = None,
    terms: Terms = _DEFAULT,
) -> Comparison:
    """The second of ``names`` against the first, row by row; scores as `intervals.estimate` takes them, in the same
    order. Raises ValueError where the numbers of rows differ.

    - Scores of 0 and 1, one a row: McNemar's exact test, and Newcombe's interval. The exact test is chosen before
      its mid-p variant because it never calls more differences real than alpha allows.
    - Other scores: sign-flip permutation, and the BCa bootstrap interval of the mean difference, which draws rows
      with both their scores.
    - With ``groups``: sign-flip of whole clusters, and the cluster-robust t interval.
    """
    before, after = numbers(baseline), numbers(variant)
    if len(before) != len(after):
        raise ValueError(f"{names[0]} has scores for {len(before)} rows, {names[1]} for {len(after)}")
    first, second = per_row(before), per_row(after)
    kept = ~np.isnan(first) & ~np.isnan(second)
    codes = number_kept(groups, kept)
    first, second = first[kept], second[kept]
    differences = np.round(second - first, 12)  # 2/3 − 1/3 is 1/3 − 0
    shares = are_shares(before) and are_shares(after)
    test = CLUSTERED if codes is not None else MCNEMAR if shares and before.ndim == after.ndim == 1 else SIGN_FLIP
    found = clusters.mean(differences, codes)
    means = _mean(first), _mean(second)
    p = _p_value(differences, codes, test, terms)
    seen = Comparison(
        baseline=names[0],
        variant=names[1],
        rows=len(differences),
        unscored=int(np.sum(~kept)),
        clusters=None if codes is None else int(codes.max()) + 1,
        baseline_mean=means[0],
        variant_mean=means[1],
        difference=_mean(differences),
        interval=_interval(first, second, codes, found, terms),
        error=found.error if found else None,
        freedom=found.freedom if found else None,
        wins=int(np.sum(differences > 0)),
        losses=int(np.sum(differences < 0)),
        ties=int(np.sum(differences == 0)),
        cohens_h=cohens_h(*means) if shares else None,
        test=test,
        p=p,
        p_corrected=p,
        family=1,
        detectable=None,
        shares=shares,
        terms=terms,
    )
    return msgspec.structs.replace(seen, detectable=_detectable(seen))


def correct(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons as one family: with p-values corrected so that the chance of calling even one difference real
    that is not stays below alpha, whatever their dependence (Holm 1979, Scandinavian Journal of Statistics 6,
    65-70), and what is detectable at alpha / family, the strictest step of it."""
    family = [
        msgspec.structs.replace(each, p_corrected=p, family=len(comparisons))
        for each, p in zip(comparisons, holm([each.p for each in comparisons]), strict=True)
    ]
    return tuple(msgspec.structs.replace(each, detectable=_detectable(each)) for each in family)


def holm(chances: Sequence[float]) -> list[float]:
    """The p-values times the number of those that are not smaller, none below a smaller one's, at most 1."""
    raw = np.asarray(chances, dtype=np.float64)
    order = np.argsort(raw)
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)))
    return list(map(float, corrected))


def cohens_h(baseline: float | None, variant: float | None) -> float | None:
    """2 asin √q − 2 asin √p: a difference of shares on a scale where it is equally hard to see everywhere (Cohen
    1988, Statistical Power Analysis, ch. 6)."""
    if baseline is None or variant is None:
        return None
    return 2 * (math.asin(math.sqrt(min(1.0, variant))) - math.asin(math.sqrt(min(1.0, baseline))))


def newcombe(both: float, baseline: float, variant: float, neither: float, confidence: float = 0.95) -> Interval:
    """The interval of a difference of paired shares, from the rows that ``both``, only one or ``neither`` of the two
    answers right (Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10): the Wilson limits of both shares,
    squared and added with their correlation. It has a width also where no row differs. Counts need not be whole."""
    rows = both + baseline + variant + neither
    p, q = min(1.0, (both + baseline) / rows), min(1.0, (both + variant) / rows)
    of_p, of_q = wilson(p * rows, rows, confidence), wilson(q * rows, rows, confidence)
    spread = (both + baseline) * (variant + neither) * (both + variant) * (baseline + neither)
    cross = both * neither - baseline * variant
    if cross > 0:
        cross = max(0.0, cross - rows / 2)
    phi = cross / math.sqrt(spread) if spread > 0 else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one + other * other - 2 * phi * one * other))

    low = q - p - reach(q - of_q.low, of_p.high - p)
    high = q - p + reach(of_q.high - q, p - of_p.low)
    return Interval(max(-1.0, low), min(1.0, high), confidence, "Newcombe, paired")


def _mean(values: Floats) -> float | None:
    return math.fsum(values) / len(values) if len(values) else None


def _p_value(differences: Floats, codes: Integers | None, test: str, terms: Terms) -> float:
    if test == MCNEMAR:
        wins, losses = int(np.sum(differences > 0)), int(np.sum(differences < 0))
        return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return sign_flip(differences if codes is None else np.round(np.bincount(codes, differences), 9), terms)


def _interval(
    first: Floats, second: Floats, codes: Integers | None, found: clusters.Mean | None, terms: Terms
) -> Interval | None:
    if not len(first) or (codes is not None and found is None):
        return None
    differences = np.round(second - first, 12)
    shares = are_shares(first) and are_shares(second)
    still = found is None or alike(found, np.concatenate([first, second]))
    units = len(differences) if codes is None else int(codes.max()) + 1
    if shares and (codes is None or still):  # with clusters that all agree, as many rows as there are clusters
        weight = units / len(first)
        lost, won = int(np.sum(differences < 0)), int(np.sum(differences > 0))
        both = int(np.sum(first)) - lost
        neither = len(first) - both - lost - won
        return newcombe(both * weight, lost * weight, won * weight, neither * weight, terms.confidence)
    if found is None or still:
        return None
    bounds = (-1.0, 1.0) if ((first >= 0) & (first <= 1) & (second >= 0) & (second <= 1)).all() else None
    made = _bootstrapped(differences, terms) if codes is None else clusters.interval(found, terms.confidence)
    return within(made, found.value, bounds)


def _bootstrapped(differences: Floats, terms: Terms) -> Interval | None:
    """BCa, such that exchanged variants have the same interval with the other sign, also under the same seed."""
    if math.fsum(differences) >= 0:
        return bca(differences, terms)
    made = bca(-differences, terms)
    return made and Interval(-made.high, -made.low, made.confidence, made.method)


def _detectable(seen: Comparison) -> float | None:
    alpha, wanted = seen.terms.alpha / seen.family, seen.terms.power
    if seen.test == MCNEMAR:
        return power.detectable_share(seen.rows, (seen.wins + seen.losses) / max(1, seen.rows), alpha, wanted)
    units = seen.rows if seen.clusters is None else seen.clusters
    if seen.error is None or seen.freedom is None or seen.error < 1e-12 or 2.0 ** (1 - units) > alpha:
        return None  # nothing is known of the spread, or no signs are rare enough
    return power.detectable(seen.error, seen.freedom, alpha, wanted)
