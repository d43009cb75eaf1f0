"""Scorers of several things at once: any or all of some texts, and sets of items.

A target that is text is a list when it is written as one: JSON, or items between commas, with quotes around those
that hold a comma, as in promptfoo.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from journeybatch import repair
from journeybatch.evaluation.score import Score, quoted, right_or_wrong, shown, text_of, unscored
from journeybatch.evaluation.text import Plain

_BULLET = re.compile(r"^(?:[-*•–]|\(?\d{1,3}[.)])\s+")
_OUTER = " \t\r\n\"'`*_.;,"


class Items(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``separator``: what stands between items of a text. By default line breaks if there are any, else semicolons,
    else commas."""

    separator: str = ""
    ignore_case: bool = True


def contains_any(_: Plain, answer: Any, target: Any) -> Score:
    """At least one item of the target stands in the answer."""
    return _any(text_of(answer), _parts(target), text_of(answer))


def icontains_any(_: Plain, answer: Any, target: Any) -> Score:
    """``contains_any`` without case."""
    return _any(text_of(answer).casefold(), [part.casefold() for part in _parts(target)], text_of(answer))


def contains_all(_: Plain, answer: Any, target: Any) -> Score:
    """Every item of the target stands in the answer."""
    return _all(text_of(answer), _parts(target), text_of(answer))


def icontains_all(_: Plain, answer: Any, target: Any) -> Score:
    """``contains_all`` without case."""
    return _all(text_of(answer).casefold(), [part.casefold() for part in _parts(target)], text_of(answer))


def _any(text: str, parts: list[str], answer: str) -> Score:
    if not parts:
        return unscored("the target holds no items")
    return right_or_wrong(any(part in text for part in parts), answer, f"none of {_listed(parts)} is in it")


def _all(text: str, parts: list[str], answer: str) -> Score:
    if not parts:
        return unscored("the target holds no items")
    missing = [part for part in parts if part not in text]
    return right_or_wrong(not missing, answer, f"{_listed(missing)} not in it")


def _parts(target: Any) -> list[str]:
    if isinstance(target, list | tuple):
        return [part for item in target if item is not None and (part := text_of(item))]
    text = text_of(target)
    listed = _json_list(text)
    items = _between_commas(text) if listed is None else map(text_of, listed)
    return [item for item in items if item]


def _between_commas(text: str) -> list[str]:
    try:
        return [item.strip() for line in csv.reader(text.splitlines(), skipinitialspace=True) for item in line]
    except csv.Error:  # a field beyond the reader's limit
        return [item.strip() for item in text.split(",")]


def _json_list(text: str) -> list[Any] | None:
    """The items of a JSON list of plain values; None for any other text."""
    if not text.startswith("["):
        return None
    try:
        found = repair.decode(text)
    except (ValueError, RecursionError):
        return None
    plain = isinstance(found, list) and all(isinstance(item, str | int | float) for item in found)
    return found if plain else None


def exact_set(options: Items, answer: Any, target: Any) -> Score:
    """Answer and target hold the same items, in any order and however often. Neither promptfoo nor Inspect has it.

    Of a text, bullets, numbering, quotes, emphasis and closing punctuation around items do not count.
    """
    said, wanted = _items(options, answer), _items(options, target)
    missing, extra = sorted(wanted - said), sorted(said - wanted)
    told = [f"missing: {_listed(missing)}"] * bool(missing) + [f"too many: {_listed(extra)}"] * bool(extra)
    return Score(float(said == wanted), shown(", ".join(sorted(said))), "; ".join(told))


def _items(options: Items, cell: Any) -> set[str]:
    found: Iterable[Any]
    if isinstance(cell, list | tuple):
        found = [item for item in cell if item is not None]
    else:
        text = text_of(cell)
        listed = _json_list(text)
        separator = options.separator or ("\n" if "\n" in text else ";" if ";" in text else ",")
        found = text.split(separator) if listed is None else listed
    plain = (_BULLET.sub("", text_of(item)).strip(_OUTER) for item in found)
    return {item.casefold() if options.ignore_case else item for item in plain if item}


def _listed(items: list[str]) -> str:
    few = ", ".join(map(quoted, items[:3]))
    return few if len(items) <= 3 else f"{few} and {len(items) - 3} more"
