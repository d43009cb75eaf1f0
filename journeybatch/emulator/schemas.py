"""A value for a JSON Schema (the common part of draft 2020-12), chosen by what a prompt says and by a digest.

``pattern``, ``not``, ``if`` and what else would need a search are not heeded.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

from journeybatch.emulator.replies import choose_label, compose_reply, find_labels
from journeybatch.emulator.shapes import Json

_DEEP = 4  # values within values, before what may be left out is left out
_ENDLESS = 8  # and before a schema counts as one that needs itself, which no value fits
_LONG = 10_000  # characters or items, where a schema wants at least more
_HOPS = 16  # references and alternatives from one to the next, before they count as a circle
_FORMATS = {
    "date": "2026-03-24",
    "time": "03:09:02Z",
    "date-time": "2026-03-24T03:09:02Z",
    "email": "you@emulator.localhost",
    "uri": "http://emulator.localhost/",
    "uuid": "7b7a4a52-3f0c-4d0e-9d5b-2f1c5a9e8d10",
}


@dataclass(frozen=True, slots=True)
class Voice:
    """What an answer follows from: the texts of a conversation, and a digest."""

    texts: list[str]
    digest: bytes

    def about(self, name: str) -> Voice:
        """The voice for one part of an answer."""
        return Voice(self.texts, hashlib.sha256(self.digest + name.encode("utf-8", "surrogatepass")).digest())

    def share(self) -> float:
        """A number from 0 to 1, without 1."""
        return int.from_bytes(self.digest[8:14], "big") / 2**48


def plain(part: Any, root: Json, hops: int = _HOPS) -> Json:
    """A schema with its references followed, its parts taken together and the first alternative taken that is not
    null."""
    for left in reversed(range(hops)):
        if not isinstance(part, dict):
            return {}
        beside = {key: value for key, value in part.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
        if "$ref" in part:
            part = {**_pointed(root, str(part["$ref"])), **beside}
        elif part.get("allOf"):
            part = _merge([*part["allOf"], {**part, "allOf": []}], root, left // 2)
        elif options := part.get("anyOf") or part.get("oneOf"):
            part = {**next((o for o in options if o != {"type": "null"}), {}), **beside}
        else:
            return beside
    return {}


def _pointed(root: Json, target: str) -> Json:
    part: Any = root
    for step in target.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        part = part.get(name) if isinstance(part, dict) else None
    return part if isinstance(part, dict) else {}


def _merge(parts: list[Any], root: Json, hops: int) -> Json:
    merged: Json = {}
    for part in (plain(part, root, hops) for part in parts):
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        merged |= part | ({"properties": properties} if properties else {})
    return merged


def invent(part: Any, voice: Voice, root: Json, *, sure: bool = False, depth: int = 0) -> Any:
    """A value that fits ``part`` of the schema ``root``; ``sure``: from the upper half of a number's range, which is 0
    to 1 unless it is told."""
    nullable = isinstance(part, dict) and {"type": "null"} in (part.get("anyOf") or part.get("oneOf") or ())
    if nullable and voice.digest[1] < 32:  # one in eight
        return None
    part = plain(part, root)
    if "const" in part:
        return part["const"]
    if part.get("enum"):
        return _choose(part["enum"], voice)
    kind = _kind(part)
    if kind == "object":
        return _object(part, voice, root, depth)
    if kind == "array":
        return _array(part, voice, root, depth)
    if kind in ("number", "integer"):
        return _number(part, voice.share(), sure=sure, whole=kind == "integer")
    return {"boolean": bool(voice.digest[0] % 2), "null": None}.get(kind, _text(part, voice))


def _kind(part: Json) -> str:
    told = part.get("type")
    if isinstance(told, list):
        told = next((kind for kind in told if kind != "null"), "null")
    return str(told or ("object" if "properties" in part else "array" if "items" in part else "string"))


def _choose(choices: list[Any], voice: Voice) -> Any:
    labels = [choice for choice in choices if isinstance(choice, str)]
    if labels:
        return choose_label(labels, find_labels(voice.texts)[1], voice.digest)
    return choices[voice.digest[0] % len(choices)]


def _object(part: Json, voice: Voice, root: Json, depth: int) -> Json:
    properties, needed = part.get("properties", {}), part.get("required", ())
    if depth >= _ENDLESS:
        return {}
    names = properties if depth < _DEEP else [name for name in properties if name in needed]
    return {name: invent(properties[name], voice.about(name), root, depth=depth + 1) for name in names}


def _array(part: Json, voice: Voice, root: Json, depth: int) -> list[Any]:
    least = min(int(part.get("minItems", 0)), _LONG)
    most = int(part.get("maxItems", least + 3))
    count = max(least, min(least + 1 + voice.digest[2] % 3, most)) if depth < _DEEP else least
    first, then = part.get("prefixItems", []), plain(part.get("items", {}), root)
    if then.get("enum") and not first:  # all of them different, as far as there are so many
        choices = then["enum"]
        start = choices.index(_choose(choices, voice))
        return [*choices[start:], *choices[:start]][: max(least, count)]
    values: list[Any] = []
    for n in range(4 * count if depth < _ENDLESS else 0):
        if len(values) == count:
            break
        value = invent(first[n] if n < len(first) else then, voice.about(str(n)), root, depth=depth + 1)
        if not part.get("uniqueItems") or value not in values:
            values.append(value)
    return values


def _number(part: Json, share: float, *, sure: bool, whole: bool) -> float:
    low, high = _bounds(part, sure=sure, whole=whole)
    if sure:
        low = (low + high) / 2
    step = part.get("multipleOf", 1 if whole else None)
    if step:
        first, last = math.ceil(low / step), math.floor(high / step)
        value = (first + int(share * (max(0, last - first) + 1))) * step
        return int(value) if whole else value
    value = low + share * (high - low)
    near = round(value, 2)
    return near if low < near < high else value


def _bounds(part: Json, *, sure: bool, whole: bool) -> tuple[float, float]:
    """The ends of a range, both of which may be taken. A range without one is 100 wide, that of a share 1."""
    gap = 1 if whole else 1e-6
    low, high = part.get("minimum"), part.get("maximum")
    if (above := part.get("exclusiveMinimum")) is not None:
        low = (math.floor(above) if whole else above) + gap
    if (below := part.get("exclusiveMaximum")) is not None:
        high = (math.ceil(below) if whole else below) - gap
    width = 1 if sure else 100
    if low is None:
        low = 0 if high is None or high >= 0 else high - width
    return low, low + width if high is None else high


def _text(part: Json, voice: Voice) -> str:
    if part.get("format") in _FORMATS:
        return _FORMATS[part["format"]]
    text = compose_reply(voice.texts, voice.digest)[: part.get("maxLength")]
    return text.ljust(min(int(part.get("minLength", 0)), _LONG), ".")
