"""What a comparison on so many rows would show, before a credit is spent on it, and how many rows it takes.

Power is the chance of calling the better variant better. Everything here is for pairs: both variants answer the same
rows. ``alpha`` is the chance of a false call; for one of m comparisons it is alpha / m, which is where Holm begins.
"""

from __future__ import annotations

import math

from journeybatch.evaluation.clusters import critical
from journeybatch.evaluation.numerics import np, optimize, stats

MOST_ROWS = 10**9
"""What takes more rows is called impossible."""


def discordance(baseline: float, variant: float, correlation: float = 0.0) -> float:
    """The share of rows that only one of two variants answers right, from their accuracies and the ``correlation``
    (phi) of being right: p (1 − q) + q (1 − p) − 2 φ √(p (1 − p) q (1 − q)). Raises ValueError for accuracies
    outside 0 to 1, or a correlation that two such variants cannot have."""
    if not (0 <= baseline <= 1 and 0 <= variant <= 1):
        raise ValueError(f"accuracies lie between 0 and 1; found {baseline} and {variant}")
    spread = math.sqrt(baseline * (1 - baseline) * variant * (1 - variant))
    found = baseline * (1 - variant) + variant * (1 - baseline) - 2 * correlation * spread
    most = min(baseline + variant, 2 - baseline - variant)
    if not abs(baseline - variant) - 1e-9 <= found <= most + 1e-9:
        raise ValueError(f"variants right in {baseline} and {variant} of rows cannot correlate by {correlation}")
    return min(max(found, abs(baseline - variant)), most)


def mcnemar_power(rows: int, discordance: float, difference: float, alpha: float = 0.05) -> float:
    """The exact power of McNemar's exact test for ``difference`` in accuracy among ``rows`` independent rows, of
    which a share ``discordance`` is answered right by one variant only: the sum over the number of such rows, which
    is binomial (Duffy 1984, Biometrics 40, 1005-1015). A discordance below the difference is raised to it."""
    difference = abs(difference)
    discordance = min(1.0, max(discordance, difference))
    if discordance < 1e-12:
        return 0.0
    few, many = stats.binom.ppf([1e-9, 1 - 1e-9], rows, discordance)
    discordant = np.arange(int(few), int(many) + 1)
    least = stats.binom.isf(alpha / 2, discordant, 0.5)  # more wins than these are significant
    won = stats.binom.sf(least, discordant, (discordance + difference) / (2 * discordance))
    return float(np.sum(stats.binom.pmf(discordant, rows, discordance) * won))


def detectable_share(rows: int, discordance: float, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest difference in accuracy that McNemar's exact test shows with ``power`` on ``rows`` independent rows
    (one sample each); None where so few rows show none."""

    def missing(difference: float) -> float:
        return mcnemar_power(rows, discordance, difference, alpha) - power

    if rows < 1 or missing(1.0) < 0:
        return None
    return float(optimize.brentq(missing, 0.0, 1.0, xtol=1e-5)) if missing(0.0) < 0 else 0.0


def rows_for_share(difference: float, discordance: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """How many independent rows show a ``difference`` in accuracy with ``power``; None for none. Fewer may happen
    to do as well: the power of an exact test goes up in small teeth."""
    _check(difference, discordance)
    low, high = 0, 1
    while mcnemar_power(high, discordance, difference, alpha) < power:
        low, high = high, 2 * high
        if high > MOST_ROWS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = mcnemar_power(middle, discordance, difference, alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def detectable(error: float, freedom: float = math.inf, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference that is shown with ``power`` where its standard error is ``error``: (t of 1 − α/2 + t
    of power) × error (Bloom 1995, Evaluation Review 19, 547-556; Miller 2024, "Adding Error Bars to Evals",
    arXiv:2411.00640, on power). Assumes that the mean difference is near normal."""
    return (critical(1 - alpha, freedom) + float(stats.t.ppf(power, freedom))) * error


def error_at(rows: int, between: float, within: float = 0.0, samples: int = 1, design: float = 1.0) -> float:
    """The standard error of a mean difference at ``rows`` rows and ``samples`` samples: √((between + within /
    samples) × design / rows) (Miller 2024). ``between`` is the variance of the true difference over rows,
    ``within`` that of one sample's difference about it (the sum of both variants' own), ``design`` the design effect
    of clusters. For accuracies with one sample ``between`` may be discordance − difference², with ``within`` 0."""
    if rows < 1 or samples < 1:
        raise ValueError(f"expected one row and one sample or more; found {rows} and {samples}")
    return math.sqrt((between + within / samples) * design / rows)


def variances(accuracy: float, correlation: float, steadiness: float = 1.0) -> tuple[float, float]:
    """``between`` and ``within`` for ``error_at``, before anything is measured: of the difference of two variants of
    about this ``accuracy``. ``correlation`` is that of being right of the two on the same row, ``steadiness`` that of
    two samples of one of them (1: it answers alike each time): 2 p (1 − p) (steadiness − correlation), and
    2 p (1 − p) (1 − steadiness). Raises ValueError for what cannot be: two variants alike more than one with itself.
    """
    if not 0 <= accuracy <= 1 or not correlation <= steadiness <= 1:
        raise ValueError(
            f"expected an accuracy from 0 to 1 and correlation ≤ steadiness ≤ 1; found {accuracy}, {correlation} and "
            f"{steadiness}"
        )
    whole = 2 * accuracy * (1 - accuracy)
    return whole * (steadiness - correlation), whole * (1 - steadiness)


def rows_for(difference: float, error_of_one: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """How many rows show ``difference`` with ``power``: ((z of 1 − α/2 + z of power) × error / difference)², where
    ``error_of_one`` is ``error_at`` one row (Miller 2024). None for none."""
    _check(difference, error_of_one)
    rows = (detectable(error_of_one, math.inf, alpha, power) / abs(difference)) ** 2
    return None if rows > MOST_ROWS else max(1, math.ceil(rows - 1e-9))


def _check(difference: float, spread: float) -> None:
    if difference == 0 or spread < 0:
        raise ValueError(f"expected a difference other than 0, and a spread of 0 or more; found {difference}, {spread}")
