"""Rows that belong together: how much less they tell than as many rows that stand alone.

Questions about one text, or turns of one conversation, are answered well or badly together. The unit that was drawn
is then the cluster, and an error that takes rows for independent is too small, up to several times (Miller 2024,
"Adding Error Bars to Evals", arXiv:2411.00640).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import msgspec

from journeybatch.evaluation.estimates import Interval
from journeybatch.evaluation.numerics import Floats, Integers, np, stats


class Mean(msgspec.Struct, frozen=True):
    """A mean whose standard ``error`` holds for clustered rows, to be read from a t distribution with ``freedom``
    degrees of freedom. ``clusters`` were seen; ``correlation`` is that of two rows of one cluster."""

    value: float
    error: float
    freedom: float
    clusters: int
    correlation: float


def number(groups: Iterable[Hashable], rows: int) -> Integers | None:
    """The number of each row's cluster, from 0; None where no two rows share one. A row whose group is None stands
    alone. Raises ValueError unless there is a group for each of ``rows`` rows."""
    seen: dict[Hashable, int] = {}
    found = [seen.setdefault(object() if group is None else group, len(seen)) for group in groups]
    if len(found) != rows:
        raise ValueError(f"expected a group for each of {rows} rows; found {len(found)}")
    return np.asarray(found, dtype=np.int64) if len(seen) < rows else None


def compact(codes: Integers) -> Integers:
    """Cluster numbers without gaps, after rows were left out."""
    inverse: Integers = np.unique(codes, return_inverse=True)[1]
    return inverse


def mean(values: Floats, codes: Integers | None = None) -> Mean | None:
    """The mean and its cluster-robust error; None with fewer than two clusters. Without ``codes`` every row is a
    cluster of its own, and this is the textbook s / √n with n − 1 degrees of freedom.

    The error is CR2 (Bell, McCaffrey 2002, Survey Methodology 28, 169-182): without bias where rows are alike
    independent, and much less biased than plain sandwich errors where clusters are few. For a mean it is
    Σ S² / (1 − m/n) / n², with S the sum of a cluster's residuals and m its rows. The degrees of freedom are
    Satterthwaite's for rows of a cluster that correlate as they were seen to (Imbens, Kolesár 2016, Review of
    Economics and Statistics 98, 701-712). With clusters of one size they are the usual clusters − 1; with a few
    large ones they are fewer, where t with clusters − 1 would be too sure. Assumes that clusters were drawn
    independently.
    """
    if codes is None:
        codes = np.arange(len(values))
    sizes = np.bincount(codes).astype(np.float64)
    if len(sizes) < 2:
        return None
    average = float(np.mean(values))
    sums = np.bincount(codes, weights=values - average)
    error = float(np.sqrt(np.sum(sums**2 / (1 - sizes / len(values))))) / len(values)
    related = correlation(values, codes)
    return Mean(average, error, _freedom(sizes, related), len(sizes), related)


def _freedom(sizes: Floats, related: float) -> float:
    """tr(P)² / tr(P²), where P is the covariance of the clusters' shares in the variance: a diagonal and a matrix of
    rank two, so that no matrix of clusters × clusters is needed."""
    rows = sizes.sum()
    adjusted = sizes / np.sqrt(1 - sizes / rows)
    diagonal = (1 - related) * adjusted**2 / sizes + related * adjusted**2
    sides = np.column_stack([adjusted, adjusted * sizes])
    own = -(1 - related) / rows + related * np.sum(sizes**2) / rows**2
    core = np.array([[own, -related / rows], [-related / rows, 0.0]])
    inner = core @ (sides.T @ sides)
    trace = diagonal.sum() + np.trace(inner)
    square = (
        np.sum(diagonal**2) + 2 * np.trace(core @ (sides.T @ (diagonal[:, None] * sides))) + np.trace(inner @ inner)
    )
    return float(trace**2 / square)


def correlation(values: Floats, codes: Integers) -> float:
    """The correlation of two rows of one cluster, 0 to 1 (the ANOVA estimator: Donner 1986, International
    Statistical Review 54, 67-82). 0 where no cluster has two rows or all rows score the same; a negative estimate
    is 0 too."""
    sizes = np.bincount(codes).astype(np.float64)
    rows, clusters = len(values), len(sizes)
    if clusters in (1, rows):
        return 0.0
    means = np.bincount(codes, weights=values) / sizes
    between = float(np.sum(sizes * (means - np.mean(values)) ** 2)) / (clusters - 1)
    within = float(np.sum((values - means[codes]) ** 2)) / (rows - clusters)
    size = (rows - float(np.sum(sizes**2)) / rows) / (clusters - 1)
    whole = between + (size - 1) * within
    return min(1.0, max(0.0, (between - within) / whole)) if whole > 0 else 0.0


def design_effect(sizes: Iterable[float], related: float) -> float:
    """By how much clusters of these ``sizes`` multiply the variance of a mean whose rows correlate by ``related``
    within them: 1 + (Σm²/Σm − 1) × correlation (Kish 1965, Survey Sampling, section 5.4; for unequal sizes Eldridge,
    Ashby, Kerry 2006, International Journal of Epidemiology 35, 1292-1300). n rows tell as much as n / effect rows
    that stand alone."""
    each = np.asarray(list(sizes), dtype=np.float64)
    return float(1 + (np.sum(each**2) / np.sum(each) - 1) * related)


def interval(found: Mean, confidence: float, clustered: bool = True) -> Interval:
    """The t interval of a mean: symmetric, exact for normal scores, good for means of many clusters or rows."""
    reach = critical(confidence, found.freedom) * found.error
    method = "cluster-robust t (CR2)" if clustered else "t"
    return Interval(found.value - reach, found.value + reach, confidence, method)


def critical(confidence: float, freedom: float = np.inf) -> float:
    """The quantile of t with ``freedom`` degrees of freedom, of the normal distribution by default, that leaves half
    of 1 − ``confidence`` above it."""
    return float(stats.t.ppf((1 + confidence) / 2, freedom))
