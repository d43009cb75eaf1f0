"""How sure a mean score is: Wilson for shares of right answers, BCa for other scores, cluster-robust for both."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterable
from typing import Any

from journeybatch.evaluation import clusters
from journeybatch.evaluation.estimates import Estimate, Interval, Terms
from journeybatch.evaluation.numerics import Floats, Integers, np, numbers, stats

FEW_ROWS = 10
"""With fewer rows a bootstrap interval is too narrow: a t interval takes its place."""

MANY_ROWS = 5_000
"""With more rows the bootstrap has nothing to add to a t interval but waiting."""

_DEFAULT = Terms()
_BATCH = 2_000_000  # resampled scores in memory at once: 16 MB and as much for their indices


def estimate(scores: Any, groups: Iterable[Hashable] | None = None, terms: Terms = _DEFAULT) -> Estimate:
    """The mean of ``scores``, one for each row or rows × samples; NaN and null are unscored. A row with several
    samples counts once, with their mean (Miller 2024, arXiv:2411.00640, on resampling). The interval:

    - scores of 0 and 1, one a row: Wilson; with ``groups`` Wilson on as many rows as they are worth;
    - other scores: BCa bootstrap; with ``groups`` a cluster-robust t interval;
    - fewer than ``FEW_ROWS`` or more than ``MANY_ROWS`` other scores: a t interval;
    - all rows or all clusters alike: their error, 0, tells nothing. Scores from 0 to 1 get the Wilson interval, which
      is wide enough for any such score, since its variance is at most that of a share, m (1 − m). Others get none;
    - one row or one cluster: none, but for scores from 0 to 1 that stand alone.

    An interval is cut where the scores all lie from 0 to 1, and the mean always lies in it.
    """
    samples = numbers(scores)
    rows = per_row(samples)
    kept = ~np.isnan(rows)
    values, codes = rows[kept], number_kept(groups, kept)
    if not len(values):
        return Estimate(value=None, interval=None, error=None, rows=0, unscored=len(kept))
    found = clusters.mean(values, codes)
    return Estimate(
        value=math.fsum(values) / len(values),
        interval=_interval(values, codes, found, terms, samples.ndim == 1 and are_shares(values)),
        error=found.error if found else None,
        rows=len(values),
        unscored=int(np.sum(~kept)),
        clusters=None if codes is None else int(codes.max()) + 1,
    )


def per_row(samples: Floats) -> Floats:
    """Each row's mean over its scored samples, NaN where it has none. Raises ValueError for what is neither a column
    nor rows × samples."""
    if samples.ndim == 1:
        return samples
    if samples.ndim != 2:
        raise ValueError(f"expected a score for each row, or rows × samples; found {samples.ndim} dimensions")
    scored = np.sum(~np.isnan(samples), axis=1)
    return np.where(scored > 0, np.nansum(samples, axis=1) / np.maximum(scored, 1), np.nan)


def are_shares(values: Floats) -> bool:
    """Whether all scores are 0 or 1 (or unscored)."""
    return bool(np.isin(values[~np.isnan(values)], (0.0, 1.0)).all())


def number_kept(groups: Iterable[Hashable] | None, kept: Any) -> Integers | None:
    """The cluster numbers of the rows that are ``kept``; None where those stand alone."""
    codes = None if groups is None else clusters.number(groups, len(kept))
    if codes is None:
        return None
    compacted = clusters.compact(codes[kept])
    return compacted if len(compacted) and int(compacted.max()) + 1 < len(compacted) else None


def _interval(
    values: Floats, codes: Integers | None, found: clusters.Mean | None, terms: Terms, shares: bool
) -> Interval | None:
    bounds = (0.0, 1.0) if ((values >= 0) & (values <= 1)).all() else None
    units = len(values) if codes is None else int(codes.max()) + 1
    if codes is not None and found is None:
        return None
    if shares and codes is not None and found and np.ptp(values) > 0:
        return _clustered_share(found, len(values), terms.confidence)
    average = float(np.mean(values))
    if found is None or alike(found, values):
        return wilson(average * units, units, terms.confidence) if bounds else None
    if shares:
        return wilson(float(np.sum(values)), units, terms.confidence)
    made = bca(values, terms) if codes is None else clusters.interval(found, terms.confidence)
    return within(made, average, bounds)


def alike(found: clusters.Mean, values: Floats) -> bool:
    """Whether all rows, or all clusters, have the same mean but for rounding, so that the error tells nothing."""
    return found.error <= 1e-12 * float(np.max(np.abs(values)))


def within(interval: Interval | None, value: float, bounds: tuple[float, float] | None) -> Interval | None:
    """The interval widened to hold its estimate, which a bootstrap interval of few skewed scores may miss, and cut
    at the ``bounds`` of what it estimates."""
    if interval is None:
        return None
    low, high = min(interval.low, value), max(interval.high, value)
    if bounds:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Interval(low, high, interval.confidence, interval.method)


def wilson(successes: float, rows: float, confidence: float = 0.95, critical: float | None = None) -> Interval:
    """The score interval of a share (Wilson 1927, Journal of the American Statistical Association 22, 209-212), for
    independent rows. It never leaves 0 to 1 and has a width also where all rows are right. Counts need not be whole.
    ``critical`` takes the place of the normal quantile. Raises ValueError for counts that cannot be."""
    if not 0 <= successes <= rows or rows <= 0:
        raise ValueError(f"expected some rows of which none or more are right; found {successes} of {rows}")
    z = clusters.critical(confidence) if critical is None else critical
    share = successes / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    low, high = max(0.0, min(share, centre - reach)), min(1.0, max(share, centre + reach))
    return Interval(low, high, confidence, "Wilson")


def _clustered_share(found: clusters.Mean, rows: int, confidence: float) -> Interval:
    """Wilson on the number of independent rows that would have the error found, at most ``rows``, with the quantile
    of t (Korn, Graubard 1998, Survey Methodology 24, 193-201; Dean, Pagano 2015, Journal of Survey Statistics and
    Methodology 3, 484-503). A t interval of a share would be too short near 0 and 1, and leave them."""
    share = found.value
    worth = min(float(rows), share * (1 - share) / found.error**2) if found.error > 0 else float(rows)
    made = wilson(share * worth, worth, confidence, clusters.critical(confidence, found.freedom))
    return Interval(made.low, made.high, confidence, "Wilson, cluster-robust (CR2)")


def bca(values: Floats, terms: Terms = _DEFAULT) -> Interval | None:
    """The bias-corrected and accelerated bootstrap interval of a mean (Efron 1987, Journal of the American
    Statistical Association 82, 171-185), for independent rows; it follows the skew of the scores. Values are sorted
    first, so that the order of rows does not change it. None for fewer than two values or none that differ; a t
    interval below ``FEW_ROWS`` and above ``MANY_ROWS``."""
    found = clusters.mean(values) if len(values) > 1 else None
    if found is None or alike(found, values):
        return None
    if FEW_ROWS <= len(values) <= MANY_ROWS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # it says so in NaN as well
            made = stats.bootstrap(
                (np.sort(values),),
                np.mean,
                n_resamples=terms.resamples,
                batch=max(1, _BATCH // len(values)),
                confidence_level=terms.confidence,
                method="BCa",
                rng=np.random.default_rng(terms.seed),
            ).confidence_interval
        if math.isfinite(made.low) and math.isfinite(made.high):
            return Interval(float(made.low), float(made.high), terms.confidence, "BCa bootstrap")
    return clusters.interval(found, terms.confidence, clustered=False)
