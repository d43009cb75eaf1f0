"""Structured answers: the form that a prompt asks for at its end, filled in; and a filled form made different or wrong.

A form is a few lines, one for each field, or a JSON Schema after them. Both become a JSON Schema here, so that there is
one way to fill them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from journeybatch.emulator.schemas import Voice, invent, plain
from journeybatch.emulator.shapes import Json

CONFIDENCE = "confidence"
"""The field in which a model says how sure it is."""

_FORM = re.compile(
    r'Reply with one JSON object[^\n]*\bfields:\n(?P<lines>(?:- "[^\n]*(?:\n|\Z))+)'
    r"(?:It must be valid under this JSON Schema: (?P<schema>[^\n]*))?\Z"
)
_RANGE = re.compile(
    r"(?:an integer|a number)(?: from (\S+) to (\S+?)| of at least (\S+?)| of at most (\S+?))?(?=[,.]? |,|$)"
)
_TYPED = {"an integer": "integer", "a number": "number", "true or false": "boolean", "a string": "string"}
_LISTED = re.compile(r"a list of (string|number|integer|boolean)s")
_NULL = re.compile(r", or null(?:\. |$)")
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The ``text`` that asks for it, and the JSON Schema of the object wanted."""

    text: str
    schema: Json

    def parts(self) -> Iterator[tuple[str, Json]]:
        """Each field with its schema, without those that say how sure the model is."""
        for name, part in self.schema["properties"].items():
            if name != CONFIDENCE:
                yield name, plain(part, self.schema)


def read_form(message: str) -> tuple[str, Form | None]:
    """The message without the form it ends in, and the form; None where it ends in none."""
    found = _FORM.search(message)
    form = _read(found[0], found["lines"], found["schema"]) if found else None
    return (message[: found.start()].removesuffix("\n\n"), form) if found and form else (message, None)


def form_of(schema: Json) -> Form:
    """The form of an object that a JSON Schema describes."""
    root = {"type": "object", **plain(schema, schema)}
    properties = root.get("properties")
    return Form("", {**root, "properties": properties if isinstance(properties, dict) else {}})


@lru_cache(maxsize=64)
def _read(text: str, lines: str, schema: str | None) -> Form | None:
    try:
        root = json.loads(schema) if schema else _schema(lines.strip("\n").split("\n"))
    except (ValueError, RecursionError):
        return None
    return Form(text, root) if isinstance(root, dict) and isinstance(root.get("properties"), dict) else None


def _schema(lines: list[str]) -> Json:
    properties = {}
    for line in lines:
        name, end = _decode(line, 2)
        properties[str(name)] = _part(line[end:].removeprefix(": "))
    return {"type": "object", "properties": properties}


def _part(told: str) -> Json:
    """The schema of a field that is told in words."""
    part, rest = _worded(told)
    return {"anyOf": [part, {"type": "null"}]} if _NULL.match(rest) else part


def _worded(told: str) -> tuple[Json, str]:
    many, one = told.removeprefix("a list, each "), "one of "
    if many.startswith(one):
        choices, rest = _choices(many.removeprefix(one))
        part: Json = {"enum": choices}
        return ({"type": "array", "items": part} if many != told else part), rest
    if found := _LISTED.match(told):
        return {"type": "array", "items": {"type": found[1]}}, told[found.end() :]
    if found := _RANGE.match(told):
        low, high = found[1] or found[3], found[2] or found[4]
        part = {"type": "integer" if told.startswith("an") else "number"}
        part |= {key: float(value) for key, value in (("minimum", low), ("maximum", high)) if value}
        return part, told[found.end() :]
    words = next((words for words in _TYPED if told.startswith(words)), "")
    return ({"type": _TYPED[words]} if words else {}), told[len(words) :]


def _choices(told: str) -> tuple[list[str], str]:
    choices, at = [], 0
    while told.startswith('"', at):
        choice, end = _decode(told, at)
        choices.append(choice)
        at = end + 2 * told.startswith(', "', end)
    return choices, told[end:]


def fill(form: Form, voice: Voice) -> Json:
    """An object that the form asks for."""
    return {
        name: invent(part, voice.about(name), form.schema, sure=name == CONFIDENCE)
        for name, part in form.schema["properties"].items()
    }


def differ(form: Form, filled: Json, voice: Voice) -> Json:
    """The form filled in otherwise: another value in the first field that takes only some, or else in the first that
    can be told apart. ``filled`` itself where nothing can."""
    parts = sorted(form.parts(), key=lambda part: not _is_closed(part[1]))
    for name, part in parts:
        options = part["enum"] if part.get("enum") else [True, False] if part.get("type") == "boolean" else []
        options = [*options, *(invent(part, voice.about(f"{name}{n}"), form.schema) for n in range(8))]
        other = next((value for value in options if value != filled.get(name)), filled.get(name))
        if other != filled.get(name):
            return {**filled, name: other}
    return filled


def spoil(form: Form, filled: Json) -> Json:
    """The form with a value that one of its fields cannot take; ``filled`` itself where all of them take anything."""
    for name, part in form.parts():
        if _is_closed(part) or part.get("type") == "number":
            return {**filled, name: "something in between"}
    return filled


def _is_closed(part: Json) -> bool:
    return bool(part.get("enum")) or part.get("type") in ("boolean", "integer")
