"""The scorer ``choice``: which options of a multiple-choice question a reply picks.

Inspect's ``choice`` reads letters that its own solver asked for as "ANSWER: B". Ours reads what models write unasked;
a reply that picks two options where one is right is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from string import ascii_uppercase
from typing import Any

import msgspec

from journeybatch import repair
from journeybatch.evaluation.score import Rows, Score, text_of, unscored

_FEW = 10
_STRIPPED = re.compile(r"[*_`$]|\\(?:text|textbf|mathrm|mathbf)\b|\\[()\[\]]")
_SEPARATED = re.compile(r"[\s,;/&+()\[\].]+|\band\b", re.IGNORECASE)


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``options``: the options' texts, or the column that lists them; ``columns``: the columns that hold one each.
    Without either, letters from A to J are read. ``first``: the first option's number, where targets are numbers."""

    options: tuple[str | int | float, ...] | str = ()
    columns: tuple[str, ...] = ()
    first: int | None = None

    def __post_init__(self) -> None:
        if self.options and self.columns:
            raise ValueError("expected one of 'options' and 'columns'")
        if max(len(self.columns), len(self.options) if isinstance(self.options, tuple) else 0) > len(ascii_uppercase):
            raise ValueError("expected at most 26 options")

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that rows must have."""
        return (self.options,) if isinstance(self.options, str) else self.columns


def choice(options: Choice, answers: Sequence[Any], targets: Sequence[Any], rows: Rows) -> list[Score]:
    """The answer picks exactly the options of the target: a letter, several of them, or an option's text."""
    if not options.needs:
        texts = tuple(map(text_of, options.options))
        return [_score(options, texts, *pair) for pair in zip(answers, targets, strict=True)]
    listed = (_texts(options, row) for row in rows)
    return [_score(options, *each) for each in zip(listed, answers, targets, strict=True)]


def _texts(options: Choice, row: Mapping[str, Any]) -> tuple[str, ...]:
    cells: Any = [row[name] for name in options.columns]
    if isinstance(options.options, str):
        cells = row[options.options]
        if isinstance(cells, str):
            try:
                cells = repair.decode(cells)
            except (ValueError, RecursionError):
                cells = cells.splitlines()
    return tuple("" if cell is None else text_of(cell) for cell in cells) if isinstance(cells, list) else ()


def _score(options: Choice, texts: tuple[str, ...], answer: Any, target: Any) -> Score:
    wanted = _wanted(options, texts, target)
    if not wanted:
        return unscored(f"the target {text_of(target)!r:.60} is none of the options")
    said = picked(text_of(answer), texts)
    if not said:
        return Score(0.0, None, "no choice found")
    right = said == wanted
    return Score(float(right), ", ".join(sorted(said)), "" if right else f"expected {', '.join(sorted(wanted))}")


def _wanted(options: Choice, texts: tuple[str, ...], target: Any) -> frozenset[str]:
    if isinstance(target, list | tuple):
        each = [_wanted(options, texts, one) for one in target if one is not None]
        return frozenset().union(*each) if all(each) else frozenset()
    text = text_of(target)
    letters = _letters(texts)
    if options.first is not None and re.fullmatch(r"[0-9]{1,2}", text):
        place = int(text) - options.first
        return frozenset(letters[place]) if 0 <= place < len(letters) else frozenset()
    same = _named(text, texts)
    if len(same) == 1:
        return frozenset(same)
    found = {part.upper() for part in _SEPARATED.split(text) if part}
    return frozenset(found) if found <= set(letters) else frozenset()


def picked(reply: str, texts: tuple[str, ...] = ()) -> frozenset[str]:
    """The letters that a ``reply`` picks among options of these ``texts``; none where it cannot be told.

    Looked at in this order: \\boxed{B}, the last "answer is (B)" or "Answer: B", the last "B is correct" or
    "option B", a reply or last line that is or begins with a letter, an option's whole text, the one option whose
    text, or whose letter in brackets, stands in the reply.
    """
    text = _STRIPPED.sub("", reply).strip()
    letters = _letters(texts)
    folded = text.lower()
    for word, pattern in _patterns(letters):
        if word in folded and (said := _last(pattern, text)):
            return frozenset(re.findall(f"(?<![A-Za-z])[{letters}](?![A-Za-z])", said.upper()))
    if re.fullmatch(rf"[(\[]?[{letters}][).\]]?", end := text[text.rfind("\n") + 1 :].strip()):
        return frozenset(end.strip("()[]."))
    named = _named(text, texts) or _mentioned(text, texts)
    if len(named) == 1:
        return frozenset(named)
    bracketed = frozenset(re.findall(rf"\(([{letters}])\)", text))
    return bracketed if len(bracketed) == 1 else frozenset()


def _last(pattern: re.Pattern[str], text: str) -> str:
    found = ""
    for match in pattern.finditer(text):
        found = match["said"]
    return found


def _letters(texts: tuple[str, ...]) -> str:
    return ascii_uppercase[: len(texts) or _FEW]


@lru_cache(maxsize=64)
def _patterns(letters: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Patterns, each behind a word without which it need not be tried.

    Small letters, and A and I, which are words too, count only where something ends behind them.
    """
    sure = letters.replace("A", "").replace("I", "")
    alone = r"(?![A-Za-z'’])"
    joint = r"(?:,\s*(?:and|or)\b|,|&|/|\band\b|\bor\b)"
    one = (
        rf"(?:[{sure}]{alone}|A{alone}(?!\s+(?!(?:and|as|because|or|since|which)\b)[a-z])"
        rf"|[{letters}{letters.lower()}]{alone}(?=\s*(?:[).:,;!\]}}\n]|$)))"
    )
    other = rf"[(\[]?[{letters}]{alone}[)\]]?(?=\s*(?:[,.;&/\n]|(?:and|or)\b|$))"
    said = rf"(?P<said>[(\[]?{one}[)\]]?(?:\s*{joint}\s*{other})*)"
    called = r"(?:(?i:option|choice)\s*)?"
    patterns = (
        (r"\boxed", rf"\\boxed\s*\{{\s*\{{?{said}"),
        ("nswer", rf"\b[aA](?i:nswer)s?(?:\s+[a-z]{{1,20}}){{0,6}}?\s*(?:\bis|\bare|[:=])[:\s]*{called}{said}"),
        (" is ", rf"(?P<said>[(\[]?\b[{letters}]\b[)\]]?)\s+is\s+(?:the\s+)?(?:correct|right|best)\b"),
        ("", rf"\b(?i:option|choice)s?(?:\s+is)?\s*:?\s*{said}"),
        ("", rf"\A{said}[).:\]]?\s*\Z"),
        ("", rf"\A(?!.+\([{letters}]\))(?P<said>[(\[]?[{letters}](?:[).:\]]|\s*\n|\s*\Z))"),
    )
    return tuple((word, re.compile(pattern, re.MULTILINE)) for word, pattern in patterns)


def _named(text: str, texts: Iterable[str]) -> list[str]:
    """Letters of the options whose text is all of ``text``, but for case and closing punctuation."""
    plain = _bare(text)
    return [letter for letter, option in zip(ascii_uppercase, texts, strict=False) if option and _bare(option) == plain]


def _mentioned(text: str, texts: Iterable[str]) -> list[str]:
    """Letters of the options whose text stands in ``text``, but not within the longer text of another."""
    folded = text.casefold()
    found = {
        letter: bare
        for letter, option in zip(ascii_uppercase, texts, strict=False)
        if (bare := _bare(option)) and bare in folded and re.search(rf"(?<!\w){re.escape(bare)}(?!\w)", folded)
    }
    return [
        letter for letter, bare in found.items() if not any(bare != other and bare in other for other in found.values())
    ]


def _bare(text: str) -> str:
    return text.casefold().strip(" \t\n.!\"'")
