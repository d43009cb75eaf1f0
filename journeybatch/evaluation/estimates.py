"""What statistics find: intervals, estimates and comparisons, as frozen values, and the terms they are made on."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["better", "worse", "undecided"]


class Terms(msgspec.Struct, frozen=True):
    """On which terms intervals and tests are made. ``confidence`` is that of every interval, and a difference counts
    as real at a corrected p of at most 1 − ``confidence``. ``power`` is the chance wanted of seeing a real one.
    ``resamples`` are drawn from ``seed``: the same scores give the same figures. Raises ValueError for shares that
    are not between 0 and 1."""

    confidence: float = 0.95
    power: float = 0.8
    resamples: int = 9_999
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.confidence < 1 and 0 < self.power < 1):
            raise ValueError(
                f"confidence and power lie between 0 and 1, such as 0.95; found {self.confidence} and {self.power}"
            )
        if self.resamples < 100:
            raise ValueError(f"expected 100 resamples or more; found {self.resamples}")

    @property
    def alpha(self) -> float:
        """The chance of calling a difference real that is not: 1 − ``confidence``."""
        return 1 - self.confidence


class Interval(msgspec.Struct, frozen=True):
    """``low`` to ``high``, found by ``method``, at ``confidence``."""

    low: float
    high: float
    confidence: float
    method: str


class Estimate(msgspec.Struct, frozen=True):
    """A mean score over ``rows`` rows; ``unscored`` ones are left out and counted. ``clusters`` is None where rows
    stand alone. ``error`` is the standard error. What cannot be known is None, and ``interval`` is None where the
    scores do not tell how sure the mean is."""

    value: float | None
    interval: Interval | None
    error: float | None
    rows: int
    unscored: int
    clusters: int | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """``variant`` against ``baseline`` on the ``rows`` both have a score for; ``unscored`` ones are left out.

    ``difference`` is ``variant_mean`` − ``baseline_mean``, with its standard ``error`` and degrees of ``freedom``;
    ``interval`` is its own: it is not widened for the number of comparisons. ``p`` is the p-value of ``test``,
    ``p_corrected`` is corrected for the ``family`` of comparisons it is one of, and the verdict follows it. At the
    margin p and interval may disagree, for they come from different methods. ``wins``, ``losses`` and ``ties`` count
    rows where the variant scores more, less, the same. ``cohens_h`` is the effect size of two proportions (Cohen
    1988, Statistical Power Analysis, ch. 6: 0.2 is small, 0.5 medium, 0.8 large), None for other scores.
    ``detectable`` is the smallest difference that these rows show with probability ``power`` after correction, None
    where they show none. ``shares`` says that scores are shares of right answers, so that a difference can be told
    in percentage points.
    """

    baseline: str
    variant: str
    rows: int
    unscored: int
    clusters: int | None
    baseline_mean: float | None
    variant_mean: float | None
    difference: float | None
    interval: Interval | None
    error: float | None
    freedom: float | None
    wins: int
    losses: int
    ties: int
    cohens_h: float | None
    test: str
    p: float
    p_corrected: float
    family: int
    detectable: float | None
    shares: bool
    terms: Terms

    @property
    def verdict(self) -> Verdict:
        """Whether the variant is ``better`` or ``worse`` than the baseline, after correction, or ``undecided``."""
        if self.difference is None or self.p_corrected > self.terms.alpha or self.difference == 0:
            return "undecided"
        return "better" if self.difference > 0 else "worse"
