"""What is forgiven in a reply: JSON written not quite as such, values not quite of their type. Nothing is guessed.

Text is repaired token by token: every key and value of the outcome stands in the text, whole and in its order, and
nothing of the text is left out but comments and commas without a sequel. What was cut off is never closed. All
scans are linear in the text. JSON is RFC 8259, but for constants (NaN), numbers beyond a double, and keys that
stand twice with different values, which are refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

MOST_CHUNKS = 1000
"""Most pieces of JSON that one reply is searched for."""

_INT64 = range(-(2**63), 2**63)
_EXACT = 2**53  # beyond it a double does not tell neighbouring integers apart
_LONE = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_THINKING = re.compile(r"\s*<(think|thinking)>")

# Possessive: a string that does not end fails at once. Runs are short: many chunks may begin in one.
# A single quote opens a string only where a key or value starts.
_DOUBLE = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SINGLE = r"(?<=[{\[,:\s])'[^'\\]*+(?:\\.[^'\\]*+)*+'"
_SMART = r"“[^“”]*+”"
_COMMENT = r"(?<!:)//[^\n]*|(?<=\s)\#\s[^\n]*|/\*.*?\*/"
_OUTSIDE = re.compile(r"```|\{|\[(?=\s*[{\[])")
_INSIDE = re.compile(rf'{_DOUBLE}|{_SINGLE}|{_SMART}|{_COMMENT}|(?P<cut>"|/\*)|(?P<brackets>[{{}}\[\]]{{1,64}}+)', re.S)
_TOKEN = re.compile(
    rf"(?P<double>{_DOUBLE})|(?P<quoted>{_SINGLE}|{_SMART})|(?P<comment>{_COMMENT})"
    r"|(?P<key>[^\W\d][\w$-]*+)(?=\s*:)|(?P<word>\w+)",
    re.S,
)
_TRAILING = re.compile(rf"({_DOUBLE})|,(?=\s*[}}\]])", re.S)
_ESCAPE = re.compile(r'\\.|"', re.S)
_WORDS = {"True": "true", "False": "false", "None": "null"}


class Unreadable(ValueError):
    """The text holds no JSON that can be read; ``str`` is a sentence."""


class Chunk(NamedTuple):
    """A balanced piece of a text that may be JSON, and whether it stands in a code fence."""

    text: str
    fenced: bool


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        for name, value in pairs:
            if compact(value) != compact(found[name]):
                raise Unreadable(f"expected each key once, found {name[:60]!r} twice with different values")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Unreadable("expected numbers that a double can hold")
    return number


def _constant(name: str) -> float:
    raise Unreadable(f"expected JSON, found {name}")


_HOOKS: dict[str, Any] = {"object_pairs_hook": _pairs, "parse_float": _finite, "parse_constant": _constant}
decode = json.JSONDecoder(**_HOOKS).decode
"""The value of a text that is JSON as a whole. ValueError, RecursionError."""
_decode_loosely = json.JSONDecoder(strict=False, **_HOOKS).decode  # line breaks may stand in strings


def compact(value: Any) -> str:
    """A JSON value as its shortest text. ValueError for what JSON cannot hold."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def mend(chunk: str) -> Any:
    """The value of a balanced ``chunk`` with trailing commas, comments, single or typographic quotes, keys without
    quotes, Python's constants, or line breaks in strings. ValueError, RecursionError."""
    return _decode_loosely(_TRAILING.sub(lambda match: match[1] or "", _TOKEN.sub(_rewrite, chunk)))


def _rewrite(token: re.Match[str]) -> str:
    text = token[0]
    match token.lastgroup:
        case "double":
            return _ESCAPE.sub(lambda part: "'" if part[0] == "\\'" else part[0], text)
        case "quoted":
            return f'"{_ESCAPE.sub(_requote, text[1:-1])}"'
        case "comment":
            return " "
        case "key":
            return f'"{text}"'
    return _WORDS.get(text, text)


def _requote(part: re.Match[str]) -> str:
    return {"\\'": "'", '"': '\\"'}.get(part[0], part[0])


def after_thinking(text: str) -> str:
    """``text`` without a leading ``<think>…</think>``. Unreadable when that does not end."""
    if (start := _THINKING.match(text)) is None:
        return text
    end = text.find(f"</{start[1]}>", start.end())
    if end < 0:
        raise Unreadable("expected an answer, found reasoning that was cut off")
    return text[end + len(start[1]) + 3 :]


def chunks(text: str) -> Iterator[Chunk]:
    """The outermost objects, and lists of such, that stand in ``text``. Unreadable when the last is cut off."""
    at, fenced, count = 0, False, 0
    while start := _OUTSIDE.search(text, at):
        if start[0] == "```":
            fenced, at = not fenced, start.end()
            continue
        at, whole = _end(text, start.start())
        if whole:
            count += 1
            if count > MOST_CHUNKS:
                raise Unreadable(f"expected one JSON object, found more than {MOST_CHUNKS}")
            yield Chunk(text[start.start() : at], fenced)


def _end(text: str, start: int) -> tuple[int, bool]:
    """Where the bracket at ``start`` is closed, and whether all brackets within are closed by their like."""
    expected: list[str] = []
    whole, at = True, start
    while found := _INSIDE.search(text, at):
        at = found.end()
        if found["cut"]:
            break
        for place, bracket in enumerate(found["brackets"] or "", found.start()):
            if bracket in "{[":
                expected.append("}" if bracket == "{" else "]")
                continue
            if bracket == expected[-1]:
                expected.pop()
            else:
                whole = False
                _unwind(expected, bracket)
            if not expected:
                return place + 1, whole
    raise Unreadable("expected one whole JSON object, found one that was cut off")


def _unwind(expected: list[str], bracket: str) -> None:
    """Drop what a brace closes without being asked; a stray ``]`` closes nothing."""
    while bracket == "}" and expected and expected.pop() != "}":
        pass


def string(value: Any) -> str:
    """A string as UTF-8 can hold it: a lone surrogate becomes U+FFFD. ValueError for anything else."""
    if type(value) is not str:
        raise ValueError("not a string")
    return value if value.isascii() else _LONE.sub("\ufffd", value)


def number(value: Any) -> float:
    """A number, or a string that is one in JSON's spelling ("0.8", not "1,234"). ValueError."""
    kind = type(value)
    if kind is float or kind is int or (kind is str and _NUMBER.fullmatch(value.strip())):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
        if math.isfinite(found):
            return found
    raise ValueError("not a number")


def integer(value: Any) -> int:
    """An integer of 64 bits; also 3.0, as long as a double is exact, and "3". ValueError."""
    if type(value) is str and (written := _NUMBER.fullmatch(value.strip())):
        value = float(value) if written[1] or written[2] else int(value)
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)
    if type(value) is int and value in _INT64:
        return value
    raise ValueError("not an integer of 64 bits")


def boolean(value: Any) -> bool:
    """True or false, or the word in any case. ValueError."""
    if type(value) is bool:
        return value
    if type(value) is str and (word := value.strip().casefold()) in ("true", "false"):
        return word == "true"
    raise ValueError("not true or false")


def choose(value: str, choices: Sequence[str]) -> str:
    """The one of ``choices`` that ``value`` is, or else is but for case and outer blanks. ValueError."""
    if value in choices:
        return value
    meant = value.strip().casefold()
    alike = [choice for choice in choices if choice.strip().casefold() == meant]
    if len(alike) != 1:
        raise ValueError("not a choice")
    return alike[0]
