"""Whether paired differences could as well have the other sign: the test that assumes least."""

from __future__ import annotations

import math

from journeybatch.evaluation.estimates import Terms
from journeybatch.evaluation.numerics import Floats, np

_DEFAULT = Terms()
_BATCH = 1_000_000  # draws in memory at once: 8 MB


def sign_flip(differences: Floats, terms: Terms = _DEFAULT) -> float:
    """The two-sided p-value of "the two variants are exchangeable", against a difference of means (Fisher 1935, The
    Design of Experiments, section 21; Pitman 1937). Differences are those of rows, or sums over clusters. If the
    variants are exchangeable each has either sign with equal chance, independently of the others; p is the share of
    all signs whose sum is as far from 0 as the one seen. With few differences all signs are tried and p is exact;
    else ``terms.resamples`` are drawn and p is (hits + 1) / (draws + 1), which is never too small (Phipson, Smyth
    2010, Statistical Applications in Genetics and Molecular Biology 9, 39). For differences of −1, 0 and 1 this is
    McNemar's exact test. With fewer than 6 differences p cannot fall to 0.05.
    """
    moved = np.sort(np.abs(differences[differences != 0]))
    scale = float(moved.sum())
    if scale == 0:
        return 1.0
    limit = abs(math.fsum(differences)) - 1e-10 * scale  # sums that differ by rounding are the same
    if 2 ** len(moved) <= terms.resamples:
        bits = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        return float(np.mean(np.abs((2 * bits - 1) @ moved) >= limit))
    return (_hits(moved, limit, terms) + 1) / (terms.resamples + 1)


def _hits(moved: Floats, limit: float, terms: Terms) -> int:
    """How many draws of signs reach the limit. Scores are often few distinct values: of equal differences only the
    number of plus signs matters, which is binomial. Where most are distinct each draws its own sign, which is
    quicker."""
    sizes, counts = np.unique(moved, return_counts=True)
    single = 2 * len(sizes) > len(moved)
    if single:
        sizes, counts = moved, np.ones(len(moved), dtype=np.int64)
    rng = np.random.default_rng(terms.seed)
    hits, left = 0, terms.resamples
    while left:
        shape = min(left, max(1, _BATCH // len(sizes))), len(sizes)
        plus = rng.integers(0, 2, shape, dtype=np.int8) if single else rng.binomial(counts, 0.5, shape)
        hits += int(np.sum(np.abs(2 * (plus @ sizes) - counts @ sizes) >= limit))
        left -= shape[0]
    return hits
