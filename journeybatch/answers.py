"""What a reply is to become: columns with types, and how its text is read into them for nothing.

A contract is one column of text, or the fields of a JSON object. Reading forgives form (``repair`` says what) and
never guesses content: a text that was cut off, or that holds two different answers, is invalid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch import repair
from journeybatch.errors import JourneybatchError
from journeybatch.fields import Field, fields_of, fields_of_schema
from journeybatch.validity import misfit

if TYPE_CHECKING:
    import polars as pl

READING = 2
"""Raised whenever the same contract begins to read the same text differently."""

_ASK = "Reply with one JSON object and nothing else: no prose, no code fence. Its fields:\n"
_NONE = "expected one JSON object with the fields {}, found none"


class Invalid(JourneybatchError):
    """The text cannot be read by the contract; ``str`` is one sentence of at most 300 characters."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence if len(sentence) <= 300 else sentence[:299] + "…")


class Contract(msgspec.Struct, frozen=True):
    """How a reply's text becomes columns: the one named ``column``, or ``fields``, which a JSON ``schema`` (its
    text, empty for none) may narrow further."""

    column: str = ""
    fields: tuple[Field, ...] = ()
    schema: str = ""

    @property
    def structured(self) -> bool:
        """Whether a reply is a JSON object rather than any text."""
        return bool(self.fields)

    @property
    def identity(self) -> str:
        """All that decides whether and how a text is read, as canonical text."""
        if not self.structured:
            return "text"
        if self.schema:
            return json.dumps({"reading": READING, "schema": json.loads(self.schema)}, sort_keys=True)
        parts = []
        for field in sorted(self.fields, key=lambda field: field.name):
            part = msgspec.to_builtins(field)
            del part["description"]
            parts.append({**part, "choices": sorted(field.choices)})
        return json.dumps({"reading": READING, "fields": parts}, sort_keys=True)

    @property
    def instructions(self) -> str:
        """What is said to the model about the form of its answer; empty for plain text."""
        if not self.structured:
            return ""
        told = _ASK + "\n".join(map(_line, self.fields))
        return f"{told}\nIt must be valid under this JSON Schema: {self.schema}" if self.schema else told

    def columns(self) -> dict[str, pl.DataType]:
        """The columns, in order."""
        import polars as pl

        types = {"integer": pl.Int64(), "number": pl.Float64(), "boolean": pl.Boolean()}
        found: dict[str, pl.DataType] = {} if self.structured else {self.column: pl.String()}
        for field in self.fields:
            kind = types.get(field.kind, pl.String())
            found[field.name] = pl.List(kind) if field.many else kind
        return found

    def read(self, text: str) -> dict[str, Any]:
        """The values of ``text``, by column. Raises Invalid, and nothing else whatever the text."""
        if not self.structured:
            return {self.column: repair.string(text)}
        try:
            value = repair.decode(text)
        except (ValueError, RecursionError):
            return self._search(text)
        return self._fit(value) if type(value) is dict else self._search(text)

    def check(self, value: Any) -> dict[str, Any]:
        """The same for a reply that is decoded already: any JSON value for text, an object or its text for fields."""
        if value is None:
            raise Invalid("expected an answer, found null")
        if isinstance(value, str):
            return self.read(value)
        if self.structured:
            if not isinstance(value, dict):
                raise Invalid(_NONE.format(self._names()))
            return self._fit(value)
        try:
            return {self.column: repair.string(repair.compact(value))}
        except (ValueError, TypeError, RecursionError):
            raise Invalid("expected an answer, found a value that JSON cannot hold") from None

    def sense(self, values: Mapping[str, Any]) -> str:
        """A text that is the same for answers that say the same: a text without case, spacing and closing
        punctuation, or the fields that can take only some values, or all fields where there are none of these."""
        if not self.structured:
            words = " ".join(values[self.column].casefold().split())
            return words.rstrip(" .!;,") or words
        telling = [field.name for field in self.fields if field.closed] or [field.name for field in self.fields]
        return json.dumps({name: values[name] for name in telling}, sort_keys=True)

    def _names(self) -> str:
        return ", ".join(repr(field.name) for field in self.fields)

    def _search(self, text: str) -> dict[str, Any]:
        """The one answer that stands somewhere in ``text``; in a code fence rather than outside."""
        try:
            found = list(repair.chunks(repair.after_thinking(text)))
        except repair.Unreadable as error:
            raise Invalid(str(error)) from None
        why = Invalid(_NONE.format(self._names()))
        for fenced in (True, False):
            answers: dict[str, dict[str, Any]] = {}
            for chunk in found:
                if chunk.fenced == fenced:
                    why = self._collect(chunk.text, answers) or why
            if len(answers) > 1:
                raise Invalid("expected one answer, found several that differ")
            for answer in answers.values():
                return answer
        raise why

    def _collect(self, chunk: str, answers: dict[str, dict[str, Any]]) -> Invalid | None:
        """Put the answers of ``chunk`` into ``answers``, each once; return what is wrong with the last that is none.
        An object without any of the fields is not meant to be an answer."""
        why = None
        try:
            objects = _objects(chunk)
        except repair.Unreadable as error:
            return Invalid(str(error))
        for value in objects:
            if any(field.name in value for field in self.fields):
                try:
                    answer = self._fit(value)
                except Invalid as error:
                    why = error
                else:
                    answers[json.dumps(answer)] = answer
        return why

    def _fit(self, value: dict[str, Any]) -> dict[str, Any]:
        if self.schema:
            value = self._valid(value)
        found: dict[str, Any] = {}
        for field in self.fields:
            item = value.get(field.name)
            if item is None:
                _allow_none(field, value)
                found[field.name] = None
                continue
            try:
                found[field.name] = field.take(item)
            except (ValueError, TypeError, RecursionError):
                raise Invalid(f"field {field.name!r}: expected {field.expected}, found {_shown(item)}") from None
        return found

    def _valid(self, value: dict[str, Any]) -> dict[str, Any]:
        """``value`` with its fields coerced, which the schema then allows."""
        value = dict(value)
        for field in self.fields:
            item = value.get(field.name)
            if item is None:
                _allow_none(field, value)
                if not field.nullable:
                    value.pop(field.name, None)  # null for a field that may be absent means that it is
            elif field.kind != "json":
                with suppress(ValueError):
                    value[field.name] = field.take(item)
        try:
            found = misfit(self.schema, value)
        except Exception:  # noqa: BLE001  whatever a schema trips over, the row fails and not the run
            raise Invalid("expected an object that the schema can be checked on") from None
        if found is not None:
            where = f"field {'.'.join(map(str, found.where))!r}" if found.where else "the object"
            raise Invalid(f"{where}: expected what the schema asks for ({found.keyword}: {found.value!r})")
        return value


def _objects(chunk: str) -> list[dict[str, Any]]:
    """The object that ``chunk`` is, or the objects that it is a list of."""
    value: Any = None
    for decode in (repair.decode, repair.mend):
        try:
            value = decode(chunk)
            break
        except repair.Unreadable:
            raise
        except (ValueError, RecursionError):
            continue
    values = value if isinstance(value, list) else [value]
    return values if all(isinstance(item, dict) for item in values) else []


def _allow_none(field: Field, value: dict[str, Any]) -> None:
    """Raise Invalid where ``value`` lacks a ``field`` that it must have."""
    if field.required and not (field.nullable and field.name in value):
        found = "null" if field.name in value else "no such field"
        raise Invalid(f"field {field.name!r}: expected {field.expected}, found {found}")


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) > 10**40:
        return "a huge number"
    return repr(value if not isinstance(value, str) or len(value) <= 60 else value[:59] + "…")


def _line(field: Field) -> str:
    null = ", or null" if field.nullable and field.kind != "json" else ""
    told = f". {' '.join(field.description.split())}" if field.description else ""
    return f"- {repair.compact(field.name)}: {field.expected}{null}{told}"


def text_contract(column: str) -> Contract:
    """A reply's text as it stands, in one ``column``."""
    return Contract(column=column)


def fields_contract(fields: Mapping[str, Any]) -> Contract:
    """A JSON object with ``fields``, by name: a list of choices, a word for a type, or a mapping of both and more.
    ValueError says which field is wrong, and how."""
    return Contract(fields=fields_of(fields))


def schema_contract(schema: Mapping[str, Any]) -> Contract:
    """A JSON object that fits ``schema`` (draft 2020-12); its top-level properties are the columns. ValueError when
    it is no schema of an object with properties, or refers to anything outside itself."""
    fields, text = fields_of_schema(schema)
    return Contract(fields=fields, schema=text)
