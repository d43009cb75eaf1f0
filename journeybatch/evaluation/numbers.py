"""The scorer ``number``: which number a reply comes to, and whether it is the target's.

Read are 1234, 1,234.50, 1'234, .5, 1.2e3, 1.2 × 10^3, 1/2, 2 1/2, ½, \\frac{1}{2}, with any minus sign, a currency
before and a unit behind, in bold, in LaTeX. Not read are numbers in words.

Inspect's nearest is ``match(numeric=True)``, which compares five digits of the last word that is a number; promptfoo
has none. Values are compared exactly, as fractions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import msgspec

from journeybatch.evaluation.score import Score, quoted, shown, text_of, unscored

_MOST_DIGITS = 400
_FORMS = str.maketrans("−－﹣‐‑０１２３４５６７８９．，％／", "-----0123456789.,%/", "\u200b\u2060")
_SPACES = "\u00a0\u2007\u2009\u202f"  # spaces that stand within a number
_VULGAR = dict(
    zip(
        "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞",
        ["1/2", "1/3", "2/3", "1/4", "3/4", "1/5", "2/5", "3/5", "4/5", "1/6", "5/6", "1/8", "3/8", "5/8", "7/8"],
        strict=True,
    )
)
_VULGAR_GLYPH = re.compile(f"(\\d?)([{''.join(_VULGAR)}])")
_LATEX = re.compile(r"\\[dt]?frac\s*\{\s*(\d{1,99})\s*\}\s*\{\s*(\d{1,99})\s*\}|\{,\}|\\[,!;](?=\d)|\\(?=[$%£€])")
_DASH = re.compile(r"(?<![\w)\]])–(?=[\d.$€£])")  # an en dash is a minus, unless it stands between two numbers
_SCALES: dict[str, Fraction | int] = {
    "%": Fraction(1, 100),
    "percent": Fraction(1, 100),
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_NUMBER = re.compile(
    r"(?<![\w./])(?:(?<![)\]])(?P<sign>-\s?|\+)(?=[\d.$€£¥₹]))?(?:[$€£¥₹]\s?)?(?P<inner>-)?"
    r"(?:(?P<whole>\d{1,99})\s+(?P<part>\d{1,99}/\d{1,99})(?![\d/])"
    r"|(?P<over>\d{1,99})\s?/\s?(?P<under>\d{1,99})(?![\d/]|\.\d)"
    r"|(?P<plain>(?:[1-9]\d{0,2}(?:[,'](?:\d{2},)*\d{3})++(?!\d)|\d++)(?:\.\d++)?(?!\.?\d)|\.\d++)"
    r"(?:[eE](?P<e>[+-]?\d{1,3})(?!\d)|\s?(?:×|\\times|\\cdot|[*x])\s?10(?:\^|\*\*)\{?(?P<ten>-?\d{1,3})\}?)?(?![eE][+-]?\d))"
    r"(?:\s?(?P<scale>%|(?i:percent|thousand|million|billion|trillion)\b))?",
    re.ASCII,
)
_MARKS = re.compile(r"\\boxed\s*\{|\banswer\b(?:[*_\s]*(?:is\b|=|:)|(?:\s+\w{1,20}){1,8}?\s+is\b)", re.IGNORECASE)
_CLAUSE = re.compile(
    r"[\n\s*_:]*((?:(?![.,]\s|;|\([a-z]|\b(?:as|because|for|if|since|so|when|where|which|with)\b)[^\n])*)",
    re.IGNORECASE,
)


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``tolerance``: how far the answer may be from the target, or, as "1%", how far in relation to it. ``marker``:
    the text after which the number stands; a reply without it is wrong. ``decimal``: the mark before decimals."""

    tolerance: float | str = 0.0
    marker: str = ""
    decimal: Literal[".", ","] = "."

    def __post_init__(self) -> None:
        self.allowed(Fraction(0))

    def allowed(self, target: Fraction) -> Fraction:
        """How far an answer may be from ``target``. ValueError for a tolerance that is none."""
        text = text_of(self.tolerance)
        share = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?%", text)
        if share:
            return Fraction(share[1]) / 100 * abs(target)
        if isinstance(self.tolerance, str) or not 0 <= self.tolerance < float("inf"):
            raise ValueError(f"tolerance: expected a number from 0, or a share like 1%, found {self.tolerance!r}")
        return Fraction(text)


class Found(msgspec.Struct, frozen=True):
    """A number as it stands in a text: its ``face``, and its ``value`` with a % or a million behind it."""

    text: str
    face: Fraction
    value: Fraction

    def distance(self, other: Found) -> Fraction:
        """How far two numbers are from each other. Where only one of them has a % or a million behind it, it may
        be part of the number or of the question: 60% is 60 and 0.6."""
        if (self.face == self.value) == (other.face == other.value):
            return abs(self.value - other.value)
        return min(abs(one - another) for one in (self.face, self.value) for another in (other.face, other.value))


def number(options: Number, answer: Any, target: Any) -> Score:
    """The answer's number is the target's. A reply's number is the first one after its last mark (``marker`` if
    given; otherwise \\boxed{, "answer:", "answer is", or #### in the last line), in a sum what is behind the last =;
    without such, the last number of all. The target may be such a text too ("… #### 42")."""
    wanted = only(options, target, needs_marker=False)
    if wanted is None:
        return unscored(f"the target {quoted(text_of(target))} holds no number")
    said = only(options, answer)
    if said is None:
        where = f" after {quoted(options.marker)}" if options.marker else ""
        return Score(0.0, None, f"no number{where}")
    if said.distance(wanted) <= options.allowed(wanted.value):
        return Score(1.0, shown(said.text))
    return Score(0.0, shown(said.text), f"expected {quoted(wanted.text)}")


def only(options: Number, cell: Any, *, needs_marker: bool = True) -> Found | None:
    """The one number that a cell comes to; None if it has none."""
    if isinstance(cell, bool):
        return None
    if isinstance(cell, int | float | Decimal):
        text = text_of(cell)
        try:
            return Found(text, value := Fraction(text), value)
        except ValueError:  # infinite, or not a number
            return None
    text = _plain(str(cell), options.decimal)
    if options.marker:
        mark = _plain(options.marker, options.decimal)
        at = max((match.end() for match in re.finditer(re.escape(mark), text, re.IGNORECASE)), default=None)
        if at is not None or needs_marker:
            return None if at is None else _first(text[at:])
    end = len(text)
    for start, at in _marks(text):
        if found := _first(text[at:end]):
            return found
        end = start  # nothing behind it
    return next(_numbers(text, backwards=True), None)


def _marks(text: str) -> list[tuple[int, int]]:
    """Where marks begin and end, the last one first. #### is one in the last line only: elsewhere it is a heading."""
    found = [match.span() for match in _MARKS.finditer(text)]
    at = text.rfind("####")
    if at >= 0 and "\n" not in text[at:].rstrip():
        found.append((at, at + 4))
    return sorted(found, reverse=True)


def _first(text: str) -> Found | None:
    """The first number of ``text``; if its first clause is a sum, the first one behind the clause's last =."""
    clause = _CLAUSE.match(text)
    _, equals, result = (clause[1] if clause else "").rpartition("=")
    return (next(_numbers(result), None) if equals else None) or next(_numbers(text), None)


def _numbers(text: str, *, backwards: bool = False) -> Iterator[Found]:
    """All numbers of a text in plain form, in order."""
    matches = _NUMBER.finditer(text)
    for match in reversed(list(matches)) if backwards else matches:
        if (face := _face(match)) is not None:
            scale = (match["scale"] or "").lower()
            value = face * _SCALES[scale] if scale else face
            yield Found(match[0].strip(), face, value)


def _face(match: re.Match[str]) -> Fraction | None:
    """The number that was matched; None for a division by zero, or digits beyond all use."""
    if match.end() - match.start() > _MOST_DIGITS:
        return None
    try:
        if match["whole"]:
            face = int(match["whole"]) + Fraction(match["part"])
        elif match["over"]:
            face = Fraction(int(match["over"]), int(match["under"]))
        else:
            plain = match["plain"].replace(",", "").replace("'", "")
            face = Fraction(plain) * Fraction(10) ** int(match["e"] or match["ten"] or 0)
    except ZeroDivisionError:
        return None
    return -face if "-" in (match["sign"] or "") or match["inner"] else face


def _plain(text: str, decimal: str) -> str:
    """``text`` with one form for each sign: minus, digits, separators, fractions."""
    text = text.translate(_FORMS)
    if decimal == ",":
        text = re.sub(f"(?<=\\d)[ {_SPACES}](?=\\d{{3}}(?!\\d))", "", text)
    if not text.isascii():
        text = re.sub(f"(?<=\\d)[{_SPACES}](?=\\d{{3}}(?!\\d))", ",", text)
        text = re.sub(r"(?<=\d)’(?=\d{3})", "'", text)
        text = _VULGAR_GLYPH.sub(lambda match: f"{match[1]} {_VULGAR[match[2]]}", text)
        text = _DASH.sub("-", text)
    if "\\" in text or "{" in text:
        text = _LATEX.sub(_unlatex, text)
    return text.translate(str.maketrans(".,", ",.")) if decimal == "," else text


def _unlatex(match: re.Match[str]) -> str:
    if match[1]:
        return f"{match[1]}/{match[2]}"
    return "," if match[0] == "{,}" else ""
