"""Scorers of text: equality, parts of it, patterns, likeness.

Names are promptfoo's assertion types and, for ``match`` and ``f1``, Inspect's scorers. Unlike promptfoo, outer white
space never counts, neither the reply's nor the target's: a line break at a reply's end is no mistake. Answers that
are numbers equal a target that is the same number however it is written.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from journeybatch.evaluation.score import Rows, Score, alternatives, quoted, right_or_wrong, shown, text_of, unscored

_EDGE = string.punctuation + string.whitespace
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
MOST_WORK = 10**10
"""Characters of one text times those of the other, beyond which a distance is not computed: about a second."""


class Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No options."""


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``location``: where in the answer the target stands."""

    location: Literal["begin", "end", "any", "exact"] = "end"
    ignore_case: bool = True
    ignore_punctuation: bool = True


class Regex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a pattern is meant."""

    ignore_case: bool = False


class Likeness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts as alike."""

    ignore_case: bool = True


class Distance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``distance``: most insertions, deletions and substitutions; promptfoo's default."""

    distance: int = 5

    def __post_init__(self) -> None:
        if self.distance < 0:
            raise ValueError(f"distance: expected a number from 0, found {self.distance}")


def equals(_: Plain, answer: Any, target: Any) -> Score:
    """The answer is the target. promptfoo's also compares objects; ours compares text, numbers, true and false."""
    if isinstance(answer, bool):
        return _equal(text_of(answer), text_of(target).casefold())
    if isinstance(answer, int | float) or (isinstance(target, int | float | Decimal) and not isinstance(target, bool)):
        said, number = _decimal(answer), _decimal(target)
        right = number is not None and number == said
        return right_or_wrong(right, text_of(answer), f"expected {quoted(text_of(target))}")
    return _equal(text_of(answer), text_of(target))


def iequals(options: Plain, answer: Any, target: Any) -> Score:
    """``equals`` without case."""
    if isinstance(answer, str) and isinstance(target, str):
        return _equal(answer.strip(), target.strip(), fold=True)
    return equals(options, answer, target)


def _equal(answer: str, target: str, *, fold: bool = False) -> Score:
    right = answer.casefold() == target.casefold() if fold else answer == target
    return right_or_wrong(right, answer, f"expected {quoted(target)}")


def _decimal(cell: Any) -> Decimal | None:
    try:
        number = Decimal(text_of(cell))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def contains(_: Plain, answer: Any, target: Any) -> Score:
    """The target stands somewhere in the answer, as promptfoo's ``contains`` and Inspect's ``includes``."""
    text, part = text_of(answer), text_of(target)
    return right_or_wrong(part in text, text, f"{quoted(part)} is not in it")


def icontains(_: Plain, answer: Any, target: Any) -> Score:
    """``contains`` without case."""
    text, part = text_of(answer), text_of(target)
    return right_or_wrong(part.casefold() in text.casefold(), text, f"{quoted(part)} is not in it")


def starts_with(_: Plain, answer: Any, target: Any) -> Score:
    """The answer begins with the target."""
    text, part = text_of(answer), text_of(target)
    return right_or_wrong(text.startswith(part), text, f"it does not begin with {quoted(part)}")


def ends_with(_: Plain, answer: Any, target: Any) -> Score:
    """The answer ends with the target."""
    text, part = text_of(answer), text_of(target)
    return right_or_wrong(text.endswith(part), text, f"it does not end with {quoted(part)}")


def match(options: Match, answer: Any, target: Any) -> Score:
    """The target stands at the answer's end, beginning, anywhere, or is all of it, as Inspect's ``match``.

    Case and outer punctuation do not count unless asked for. Unlike Inspect's, a target does not match a part of a
    word or of a number: "5" is not at the end of "25". For numbers written in many ways there is ``number``.
    """
    text, part = text_of(answer), text_of(target)
    if options.ignore_case:
        text, part = text.casefold(), part.casefold()
    if options.ignore_punctuation:
        text, part = text.strip(_EDGE), part.strip(_EDGE)
    if not part:
        return unscored("the target is nothing but punctuation")
    right = {
        "exact": lambda: text == part,
        "begin": lambda: text.startswith(part) and _whole(text, 0, part),
        "end": lambda: text.endswith(part) and _whole(text, len(text) - len(part), part),
        "any": lambda: _anywhere(text, part),
    }[options.location]()
    return right_or_wrong(right, text_of(answer), f"expected {quoted(text_of(target))} ({options.location})")


def _anywhere(text: str, part: str) -> bool:
    at = text.find(part)
    while at >= 0:
        if _whole(text, at, part):
            return True
        at = text.find(part, at + 1)
    return False


def _whole(text: str, at: int, part: str) -> bool:
    """Whether ``part`` at ``at`` is not cut out of a word. Scripts without case, such as Chinese, have no spaces
    between words, so there nothing can be told."""
    end = at + len(part)
    return not (
        (at > 0 and _joins(text[at - 1]) and _joins(part[0]))
        or (end < len(text) and _joins(part[-1]) and _joins(text[end]))
    )


def _joins(letter: str) -> bool:
    return letter.isdecimal() or letter.lower() != letter.upper()


def search(options: Regex, answers: Sequence[Any], targets: Sequence[Any], rows: Rows) -> list[Score]:
    """The pattern, which is the target, is found somewhere in the answer; the score's answer is what it found.

    promptfoo uses JavaScript's engine. Ours is polars' (Rust's ``regex``), whose time grows only linearly with the
    text, so that no pattern can hang an evaluation; it has no look-around and no back-references.
    """
    import polars as pl

    texts, patterns = [text_of(answer) for answer in answers], [pattern_of(target) for target in targets]
    scores: list[Score] = [unscored("")] * len(texts)
    places: dict[str, list[int]] = {}
    for place, pattern in enumerate(patterns):
        places.setdefault(pattern, []).append(place)
    for pattern, where in places.items():
        try:
            found = pl.Series([texts[place] for place in where], dtype=pl.String).str.extract(
                _flagged(options, pattern), 0
            )
        except pl.exceptions.ComputeError as error:
            for place in where:
                scores[place] = unscored(f"{quoted(pattern)} is no regular expression: {_reason(error)}")
            continue
        missed = f"no match for {quoted(pattern)}"
        for place, part in zip(where, found, strict=True):
            scores[place] = Score(0.0, None, missed) if part is None else Score(1.0, shown(part))
    return scores


def pattern_of(target: Any) -> str:
    """A target as a pattern; of a list any may match."""
    parts = [text_of(one) for one in alternatives(target)]
    return parts[0] if len(parts) == 1 else "|".join(f"(?:{part})" for part in parts)


def check_pattern(options: Regex, pattern: str) -> None:
    """Raise ValueError for a pattern that polars' engine does not know."""
    import polars as pl

    try:
        pl.Series([""]).str.contains(_flagged(options, pattern))
    except pl.exceptions.ComputeError as error:
        raise ValueError(
            f"{quoted(pattern)} is no regular expression that runs in linear time: {_reason(error)}"
        ) from None


def _flagged(options: Regex, pattern: str) -> str:
    return f"(?i){pattern}" if options.ignore_case else pattern


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.startswith("error: ")]
    return lines[0].removeprefix("error: ") if lines else str(error).splitlines()[0]


def f1(_: Plain, answer: Any, target: Any) -> Score:
    """Token F1 as in SQuAD's official evaluation (Rajpurkar et al. 2016, arXiv:1606.05250): lower case, without
    punctuation and the articles a, an, the; tokens between white space, each as often as it occurs.

    promptfoo has no such assertion; Inspect's ``f1`` counts each token once and rounds to two places.
    """
    text = text_of(answer)
    said, wanted = _tokens(text), _tokens(text_of(target))
    if not said or not wanted:
        return Score(float(said == wanted), shown(text))
    common = sum((Counter(said) & Counter(wanted)).values())
    return Score(
        2 * common / (len(said) + len(wanted)), shown(text), f"{common} tokens of {len(wanted)} in {len(said)}"
    )


def _tokens(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def similar(options: Likeness, answer: Any, target: Any) -> Score:
    """How alike the letters are, 0 to 1: rapidfuzz's ratio, 1 − (insertions + deletions) / (length of both).

    promptfoo's ``similar`` compares meaning by embeddings, which needs a model; ours compares spelling.
    """
    from rapidfuzz.fuzz import ratio

    text, wanted = text_of(answer), text_of(target)
    if len(text) * len(wanted) > MOST_WORK:
        return unscored("the texts are too long to compare")
    if options.ignore_case:
        return Score(float(ratio(text.casefold(), wanted.casefold())) / 100, shown(text))
    return Score(float(ratio(text, wanted)) / 100, shown(text))


def levenshtein(options: Distance, answer: Any, target: Any) -> Score:
    """The answer becomes the target by at most ``distance`` edits of a letter, as in promptfoo."""
    from rapidfuzz.distance import Levenshtein

    text, wanted = text_of(answer), text_of(target)
    if min(len(text), len(wanted)) * (options.distance + 1) > MOST_WORK:
        return unscored("the texts are too long to compare")
    edits = Levenshtein.distance(text, wanted, score_cutoff=options.distance)
    return right_or_wrong(edits <= options.distance, text, f"more than {options.distance} edits from {quoted(wanted)}")
