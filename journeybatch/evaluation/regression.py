"""How near numbers come to their targets: errors, the variance explained, and correlations."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from journeybatch.evaluation.numerics import np, numbers, stats


class Regression(msgspec.Struct, frozen=True):
    """``mae`` and ``rmse`` are in the targets' unit: the mean absolute error, and the root of the mean squared one.
    ``r2`` is 1 − Σ(target − answer)² / Σ(target − mean target)²: 0 for always answering the mean, below 0 for worse.
    ``pearson`` is the linear correlation, ``spearman`` that of ranks. Null where undefined: targets (for correlations
    also answers) that are all equal, fewer than two rows. ``unscored`` rows lack a target or an answer."""

    mae: float | None
    rmse: float | None
    r2: float | None
    pearson: float | None
    spearman: float | None
    rows: int
    unscored: int


def regress(targets: Any, answers: Any) -> Regression:
    """The figures of ``answers`` against ``targets``, row by row; NaN and null are unscored. Definitions: Hastie,
    Tibshirani, Friedman 2009, The Elements of Statistical Learning, ch. 3; Spearman 1904, American Journal of
    Psychology 15, 72-101. Raises ValueError where the numbers of rows differ or a number is infinite."""
    wanted, given = numbers(targets), numbers(answers)
    if wanted.shape != given.shape or wanted.ndim != 1:
        raise ValueError(f"expected an answer for each target; found {given.shape} for {wanted.shape}")
    kept = ~np.isnan(wanted) & ~np.isnan(given)
    wanted, given, unscored = wanted[kept], given[kept], int(np.sum(~kept))
    if not len(wanted):
        return Regression(None, None, None, None, None, 0, unscored)
    errors = given - wanted
    squares = float(np.sum(errors**2))
    varied = float(np.ptp(wanted)) > 0
    both = varied and float(np.ptp(given)) > 0
    return Regression(
        mae=float(np.mean(np.abs(errors))),
        rmse=math.sqrt(squares / len(wanted)),
        r2=1 - squares / float(np.sum((wanted - np.mean(wanted)) ** 2)) if varied else None,
        pearson=float(stats.pearsonr(wanted, given).statistic) if both else None,
        spearman=float(stats.spearmanr(wanted, given).statistic) if both else None,
        rows=len(wanted),
        unscored=unscored,
    )
