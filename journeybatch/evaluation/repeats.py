"""Several samples of each row: how much of the doubt comes from the rows, and how much from asking only so often."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from journeybatch.evaluation.numerics import np, numbers


class Components(msgspec.Struct, frozen=True):
    """The variance of scores in two parts. ``between``: of the rows' true means about each other. ``within``: of one
    sample about its row's true mean, on average. ``samples`` is the harmonic mean of the numbers of scored samples
    of the ``rows``, ``error`` the standard error of the mean as it was asked."""

    between: float
    within: float
    rows: int
    samples: float
    error: float

    def error_with(self, samples: float) -> float:
        """The standard error to be expected with another number of samples of the same rows: √((between + within /
        samples) / rows); with `math.inf` the part that only more rows make smaller."""
        return math.sqrt((self.between + self.within / samples) / self.rows)

    @property
    def gain(self) -> float:
        """By what share endless samples would shrink the standard error, 0 to 1: 0.05 means that more samples are
        hardly worth their credits, and that more rows are the way to be surer."""
        now = self.error_with(self.samples)
        return 1 - self.error_with(math.inf) / now if now > 0 else 0.0


def components(scores: Any) -> Components | None:
    """The parts of the variance of ``scores``, rows × samples with NaN for unscored ones (Miller 2024, "Adding Error
    Bars to Evals", arXiv:2411.00640; the estimators are those of a one-way analysis of variance, Searle,
    Casella, McCulloch 1992, Variance Components, ch. 3). None with fewer than two rows, or no row of two samples.
    Assumes that rows, and samples of a row, are independent. A ``between`` that comes out negative is 0."""
    table = numbers(scores)
    if table.ndim != 2:
        raise ValueError(f"expected rows × samples; found {table.ndim} dimensions")
    counts = np.sum(~np.isnan(table), axis=1)
    table, counts = table[counts > 0], counts[counts > 0]
    spare = int(np.sum(counts - 1))
    if len(table) < 2 or spare < 1:
        return None
    means = np.nansum(table, axis=1) / counts
    within = float(np.nansum((table - means[:, None]) ** 2)) / spare
    samples = 1 / float(np.mean(1 / counts))
    seen = float(np.var(means, ddof=1))
    between = max(0.0, seen - within / samples)
    return Components(between, within, len(table), samples, math.sqrt(seen / len(table)))
