"""An evaluation's statistics, top to bottom: every variant's mean, and every comparison, corrected as one family."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec

from journeybatch.evaluation.comparison import compare, correct
from journeybatch.evaluation.estimates import Comparison, Estimate, Terms
from journeybatch.evaluation.intervals import estimate
from journeybatch.evaluation.sentences import sentence

_DEFAULT = Terms()


class Findings(msgspec.Struct, frozen=True):
    """What the scores of one scorer say: an estimate for each variant, and the comparisons."""

    estimates: dict[str, Estimate]
    comparisons: tuple[Comparison, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Each comparison in plain words."""
        return tuple(map(sentence, self.comparisons))


def find(
    scores: Mapping[str, Any],
    baseline: str | None = None,
    groups: Sequence[Hashable] | None = None,
    terms: Terms = _DEFAULT,
) -> Findings:
    """Estimates and comparisons of the variants in ``scores``: name → a score for each row, or rows × samples, all in
    the order of the same rows. All others are compared with ``baseline``; without one every two are compared. Raises
    ValueError for a baseline that is not there, and for numbers of rows that differ."""
    if baseline is not None and baseline not in scores:
        raise ValueError(f"expected the baseline to be one of {', '.join(scores)}; found {baseline}")
    pairs = (
        list(combinations(scores, 2)) if baseline is None else [(baseline, name) for name in scores if name != baseline]
    )
    return Findings(
        {name: estimate(each, groups, terms) for name, each in scores.items()},
        correct([compare(pair, scores[pair[0]], scores[pair[1]], groups, terms) for pair in pairs]),
    )
