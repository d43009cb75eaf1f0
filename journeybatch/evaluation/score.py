"""What one scorer says about one answer, and how cells are seen by scorers.

``value`` is 1 for right and 0 for wrong, or any finite number where a scorer grades. None is *unscored*: the row says
nothing about the answer (no target, no reply, a judge nobody can read), so it is left out and counted, never a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

SHOWN = 200
"""Most characters of an answer, or of a quotation, that a score repeats."""

Rows = Iterable[Mapping[str, Any]]
Grade = Callable[[Any, Sequence[Any], Sequence[Any], Rows], list["Score"]]
"""A scorer: its options, then answers, targets and rows, equally long; one Score for each. Answers and targets are
no nulls, but for the user's own scorers. Rows are read by few."""


class Score(msgspec.Struct, frozen=True):
    """``answer`` is what was found in the reply, shortened; ``explanation`` a short sentence, empty if all is said."""

    value: float | None
    answer: str | None = None
    explanation: str = ""


def unscored(why: str) -> Score:
    """No score, and why."""
    return Score(None, None, why)


def right_or_wrong(right: bool, answer: str, wrong: str = "") -> Score:
    """1, or 0 with the sentence that says what is ``wrong``."""
    return Score(1.0, shown(answer)) if right else Score(0.0, shown(answer), wrong)


def shown(text: str) -> str:
    """``text``, shortened to ``SHOWN`` characters."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def quoted(text: str) -> str:
    """``text`` for a sentence: in quotes, on one line, at most 60 characters of it."""
    text = " ".join(text[:600].split())
    return f"'{text}'" if len(text) <= 60 else f"'{text[:59]}…'"


def text_of(cell: Any) -> str:
    """A cell as text, without outer white space: true and false, 4.0 as 4, 0.1 + 0.2 as 0.3."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return format(cell, ".15g")
    if isinstance(cell, Decimal):
        return format(cell.normalize(), "f")
    return str(cell)


def alternatives(target: Any) -> list[Any]:
    """The answers that a target allows: the items of a list, or itself."""
    return [one for one in target if one is not None] if isinstance(target, list | tuple) else [target]


def each(grade: Callable[[Any, Any, Any], Score]) -> Grade:
    """A scorer of columns from a scorer of one answer."""
    return lambda options, answers, targets, rows: [
        grade(options, answer, target) for answer, target in zip(answers, targets, strict=True)
    ]


def each_of_any(grade: Callable[[Any, Any, Any], Score]) -> Grade:
    """The same where a target that is a list holds alternatives, as in Inspect: the best one counts."""

    def best(options: Any, answer: Any, target: Any) -> Score:
        found = unscored("the target is an empty list")
        for one in alternatives(target):
            score = grade(options, answer, one)
            if score.value is not None and score.value >= 1:
                return score
            if found.value is None or (score.value is not None and score.value > found.value):
                found = score
        return found

    return each(best)
