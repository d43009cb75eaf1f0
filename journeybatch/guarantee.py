"""A cascade's threshold with a guarantee: which cheap answers may stay.

A cascade asks a cheap model first and keeps its answer where a score is high enough (FrugalGPT, Chen, Zaharia, Zou
2023, arXiv:2305.05176). How high is enough is found here from labelled rows so that, with a stated confidence, the
final answers agree with the reference as often as asked for. The rule is Learn then Test (Angelopoulos, Bates,
Candès, Jordan, Lei 2021, arXiv:2110.01052) with fixed-sequence testing: each threshold is a hypothesis "the cascade
agrees less often than the target", tested exactly from the strictest threshold down; the first that cannot be rejected
ends it. So the chance of a threshold that misses the target is at most 1 − confidence, for any scores, good or bad.
BARGAIN (Zeighami and others 2025) treats the same question: cheap and costly models over tables, with guarantees.

What is guaranteed is agreement with the strongest model: a row that goes up agrees by definition, since its answer
is the strongest model's own. It is no statement about truth where that model errs. It holds if

- the labelled rows are a random sample of the job's rows, not chosen by score, place or difficulty,
- each labelled row is used once: neither doubled, nor used to make the score or the prompt,
- the grid of thresholds was fixed before any label was seen.

The test takes the labelled rows as independent draws. Drawn without replacement from a finite table, as they should
be, they tell more than that, and the test errs on the careful side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from journeybatch.agreement import chance, lower_bound, percent, rows_needed

_TERMS = (
    "This holds if the labelled rows are a random sample of the job's rows, each used once, and the thresholds to try "
    "were fixed before any label was seen; a row that goes up agrees by definition."
)


class Labelled(msgspec.Struct, frozen=True):
    """A row with a label: the cheap model's ``score`` (higher: surer; None or NaN: there is none), and whether its
    answer ``agrees`` with the reference."""

    score: float | None
    agrees: bool


class Threshold(msgspec.Struct, frozen=True):
    """Rows with a score ``below`` go up (infinite: all do). Of the ``rows`` labelled, ``accepted`` stay and
    ``agreeing`` of these agree. ``lower`` is the lower bound of the share of all final answers that agree, for this
    threshold by itself (1 where all go up): after a choice among several only the target is guaranteed. ``rule`` says
    all this, and what it rests on, in a few sentences."""

    below: float
    rows: int
    accepted: int
    agreeing: int
    lower: float
    rule: str


def accepts(score: float | None, below: float) -> bool:
    """Whether an answer stays: its score is a finite number and not ``below``. All others go up."""
    return score is not None and math.isfinite(score) and score >= below


def candidates(scores: Iterable[float | None], steps: int = 20) -> tuple[float, ...]:
    """A grid of at most ``steps`` thresholds, strictest first, with about as many rows between any two of them.

    ``scores`` are those of ALL the job's rows, labelled or not: no label has a say in it. The last of the grid accepts
    every row that has a score. Empty where none has. Raises ValueError for fewer than 1 step.
    """
    if steps < 1:
        raise ValueError(f"a grid of thresholds needs 1 step or more; found {steps}")
    ordered = sorted((score for score in scores if score is not None and math.isfinite(score)), reverse=True)
    places = {math.ceil(len(ordered) * step / steps) - 1 for step in range(1, steps + 1)} if ordered else set()
    return tuple(sorted({ordered[place] for place in places if place >= 0}, reverse=True))


def threshold(sample: Sequence[Labelled], target: float, confidence: float, grid: Iterable[float]) -> Threshold:
    """The lowest threshold of ``grid`` that is tested and passes: the final answers agree with the reference in at
    least ``target`` of the rows, with the given ``confidence``. Where none passes, everything goes up.

    Raises ValueError for an empty sample, a grid with values that are not finite, and shares outside of 0 to 1.
    """
    if not sample:
        raise ValueError("a guarantee needs labelled rows; found none: label a random sample of the job's rows")
    fewest = rows_needed(target, confidence)
    steps = sorted(set(grid), reverse=True)
    if not all(map(math.isfinite, steps)):
        raise ValueError(f"a grid of thresholds holds finite numbers only; found {steps}")
    rows = len(sample)
    rest = sorted((row.score, row.agrees) for row in sample if row.score is not None and math.isfinite(row.score))
    accepted = agreeing = 0
    below, kept, right = math.inf, 0, 0
    for step in steps:
        while rest and rest[-1][0] >= step:  # rows of one score go together
            accepted += 1
            agreeing += rest.pop()[1]
        if chance(rows - accepted + agreeing, rows, target) > 1 - confidence:
            break
        below, kept, right = step, accepted, agreeing
    asked = f"at least {100 * target:g} % of all final answers agree with the reference"
    asked += f", at {100 * confidence:g} % confidence"
    if math.isinf(below):
        few = f"; it takes {fewest} or more" if rows < fewest else ""
        rule = f"No threshold shows on {rows} labelled rows{few} that {asked}: every row goes up."
        return Threshold(below, rows, 0, 0, 1.0, rule)
    lower = lower_bound(rows - kept + right, rows, confidence)
    rule = f"Answers with a score of {below} or more stay, all others go up, so that {asked}. "
    rule += f"Of {rows} labelled rows {kept} stay and {right} of these agree "
    rule += f"(lower bound for all answers, by itself: {percent(lower)}). {_TERMS}"
    return Threshold(below, rows, kept, right, lower, rule)
