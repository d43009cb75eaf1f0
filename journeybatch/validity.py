"""JSON Schema (draft 2020-12): what is one, and what fits it.

Checked in Rust, because there a pattern that a reply makes to backtrack without end comes to one: most patterns are
matched in linear time, those with look-around or back-references within ``BACKTRACKS`` steps. What takes longer does
not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

BACKTRACKS = 100_000
"""About a millisecond."""


class Misfit(msgspec.Struct, frozen=True):
    """What does not fit: ``where`` in the value (names and places), and the schema's ``keyword`` with its ``value``."""

    where: tuple[str | int, ...]
    keyword: str
    value: Any


def check(root: Any) -> None:
    """Raise ValueError for plain JSON data that is no schema, or refers to anything outside itself."""
    from jsonschema_rs import ValidationError

    check_parts(root)  # first: what makes a validator fetches what it refers to
    try:
        _made(root)
    except ValidationError as error:
        where = "/".join(map(str, error.instance_path)) or "the whole"
        raise ValueError(f"{where} is not JSON Schema: {error.message:.150}") from None


def check_parts(root: Any) -> None:
    """Refuse references that could be fetched or that lead nowhere."""
    parts = [root]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            parts += part.values()
            for key in ("$ref", "$dynamicRef"):
                if isinstance(target := part.get(key), str):
                    pointed(root, target)
            if isinstance(part.get("$id"), str):
                raise ValueError("a part with an $id of its own is not supported; leave it out")


def pointed(root: Any, target: str) -> Any:
    """What a local reference points at (a JSON Pointer, RFC 6901, in a fragment), or True for an anchor. ValueError."""
    if not target.startswith("#"):
        raise ValueError(f"{target!r:.100} is outside the schema; only references that begin with # are read")
    if target[1:2] not in ("", "/"):
        return True
    from urllib.parse import unquote

    steps = [step.replace("~1", "/").replace("~0", "~") for step in unquote(target[2:]).split("/")]
    try:
        return _at(root, steps if target[1:] else ())
    except (KeyError, IndexError, ValueError, TypeError):
        raise ValueError(f"{target!r:.100} points at nothing") from None


def misfit(schema: str, value: Any) -> Misfit | None:
    """The first thing in ``value`` that does not fit ``schema`` (its JSON text, checked before); None where all does.
    ValueError for a value that JSON cannot hold."""
    root, validator = _validator(schema)
    error = next(validator.iter_errors(value), None)
    if error is None:
        return None
    keyword = str(error.schema_path[-1]) if error.schema_path else error.kind.name
    try:
        wanted = _at(root, error.schema_path)
    except (KeyError, IndexError, ValueError, TypeError):
        wanted = error.message[:150]
    return Misfit(tuple(error.instance_path), keyword, wanted)


@lru_cache(maxsize=64)
def _validator(schema: str) -> tuple[Any, Any]:
    root = msgspec.json.decode(schema)
    return root, _made(root)


def _made(root: Any) -> Any:
    from jsonschema_rs import Draft202012Validator, FancyRegexOptions

    return Draft202012Validator(root, pattern_options=FancyRegexOptions(backtrack_limit=BACKTRACKS))


def _at(root: Any, steps: Sequence[str | int]) -> Any:
    part = root
    for step in steps:
        part = part[int(step)] if isinstance(part, list) else part[step]
    return part
