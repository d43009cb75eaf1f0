"""Scorers of structured replies: JSON, and JSON that fits a schema.

Strict, as promptfoo's ``is-json``: the whole reply is JSON, without a code fence or prose around it. They look at
the raw reply, also where its fields are read into columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from journeybatch import repair, validity
from journeybatch.errors import SpecError
from journeybatch.evaluation.score import Score, quoted, right_or_wrong, shown
from journeybatch.evaluation.text import Plain


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON Schema (draft 2020-12) as a mapping, or the file it stands in, relative to the job file."""

    schema: dict[str, Any] | str

    def __post_init__(self) -> None:
        if isinstance(self.schema, dict):
            check(self.schema)


class Checked(msgspec.Struct, frozen=True):
    """A schema ready to be checked against."""

    schema: str


def check(schema: Any) -> None:
    """Raise ValueError for what is no JSON Schema, or refers to anything outside itself."""
    if not isinstance(schema, Mapping):
        raise ValueError("expected a JSON Schema, which is a mapping")
    try:
        root = json.loads(json.dumps(schema, allow_nan=False))
    except (TypeError, RecursionError):
        raise ValueError("expected a JSON Schema of plain data, not nested deeply") from None
    validity.check(root)


def loaded(options: Schema, folder: Path) -> Checked:
    """The schema, read from its file if need be. Raises SpecError."""
    schema: Any = options.schema
    if isinstance(schema, str):
        path = folder / schema
        try:
            schema = json.loads(path.read_bytes())
            check(schema)
        except (OSError, ValueError, RecursionError) as error:
            raise SpecError(f"json-schema: {path}: expected a file with a JSON Schema ({error})") from None
    return Checked(json.dumps(schema))


def is_json(_: Plain, answer: Any, target: Any) -> Score:
    """The whole reply is JSON (RFC 8259): no NaN, no key twice with different values."""
    text = str(answer).strip()
    return right_or_wrong(_decoded(text) is not None, text, "it is no JSON")


def json_schema(options: Checked, answer: Any, target: Any) -> Score:
    """The whole reply is JSON that fits the schema; promptfoo's ``is-json`` with a value."""
    text = str(answer).strip()
    value = _decoded(text)
    if value is None:
        return Score(0.0, shown(text), "it is no JSON")
    try:
        found = validity.misfit(options.schema, value[0])
    except Exception:  # noqa: BLE001  whatever a schema trips over, the row is wrong and the evaluation goes on
        return Score(0.0, shown(text), "the schema cannot be checked on it")
    if found is None:
        return Score(1.0, shown(text))
    where = "".join(f"/{step}" for step in found.where) or "the whole"
    return Score(0.0, shown(text), f"{where}: {found.keyword} {quoted(repr(found.value))}")


def _decoded(text: str) -> tuple[Any] | None:
    try:
        return (repair.decode(text),)
    except (ValueError, RecursionError):
        return None
