"""The fields of a structured answer: what a job file or a JSON Schema says about them, and what fits a column."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from journeybatch import repair, validity

Kind = Literal["string", "number", "integer", "boolean", "json"]

_READ: dict[str, Any] = {
    "string": repair.string,
    "number": repair.number,
    "integer": repair.integer,
    "boolean": repair.boolean,
    "json": lambda value: repair.string(repair.compact(value)),
}
_TYPES = ("string", "number", "integer", "boolean", "strings")
_KEYS = ("type", "choices", "minimum", "maximum", "description", "optional")
_MEANT = {"str": "string", "text": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "strings"}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_HOPS = 16  # references from one to the next, before they count as a circle


class Field(msgspec.Struct, frozen=True):
    """One column of a structured answer. ``many``: a list of them, with ``gaps``: null among them. ``closed``: only
    some values are possible."""

    name: str
    kind: Kind
    many: bool = False
    gaps: bool = False
    choices: tuple[str, ...] = ()
    closed: bool = False
    minimum: float | None = None
    maximum: float | None = None
    required: bool = True
    nullable: bool = False
    description: str = ""

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            each = f"one of {', '.join(map(repair.compact, self.choices))}"
            return f"a list, each {each}" if self.many else each
        if self.many:
            return f"a list of {self.kind}s"
        words = {"integer": "an integer", "boolean": "true or false", "json": "a JSON value"}
        noun = words.get(self.kind, f"a {self.kind}")
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            return f"{noun} from {low:.15g} to {high:.15g}"
        if low is not None:
            return f"{noun} of at least {low:.15g}"
        return noun if high is None else f"{noun} of at most {high:.15g}"

    def take(self, value: Any) -> Any:
        """The column's value for a JSON ``value`` other than null. ValueError when it does not fit."""
        if not self.many:
            return self._one(value)
        if type(value) is not list:
            raise ValueError("not a list")
        return [None if item is None and self.gaps else self._one(item) for item in value]

    def _one(self, value: Any) -> Any:
        found = _READ[self.kind](value)
        if self.choices:
            return repair.choose(found, self.choices)
        if (self.minimum is not None and found < self.minimum) or (self.maximum is not None and found > self.maximum):
            raise ValueError("out of range")
        return found


def fields_of(specs: Mapping[str, Any]) -> tuple[Field, ...]:
    """The fields that a job file describes. ValueError."""
    if not isinstance(specs, Mapping) or not specs:
        raise ValueError("fields: expected at least one field by name, found none")
    return tuple(_field(name, spec) for name, spec in specs.items())


def _field(name: Any, spec: Any) -> Field:
    _check_name(name)
    where = f"field {name!r}"
    if isinstance(spec, str):
        return _typed(name, {"type": spec})
    if isinstance(spec, list | tuple):
        return _typed(name, {"choices": spec})
    if not isinstance(spec, Mapping):
        raise ValueError(f"{where}: expected a type, a list of choices, or a mapping, found {spec!r:.60}")
    for key in spec:
        if key not in _KEYS:
            raise ValueError(f"{where}: unknown key {key!r:.60}{_nearest(key, _KEYS)}")
    return _typed(name, spec)


def _typed(name: str, spec: Mapping[str, Any]) -> Field:
    """The field that a checked mapping of ``_KEYS`` describes."""
    where = f"field {name!r}"
    word = spec.get("type", "string" if "choices" in spec else None)
    optional = spec.get("optional", False)
    if not isinstance(optional, bool):
        raise ValueError(f"{where}: optional is true or false, found {optional!r:.60}")
    if isinstance(word, str) and word.endswith("?"):
        word, optional = word[:-1], True
    if word not in _TYPES:
        if word is None:
            raise ValueError(f"{where}: expected a type ({', '.join(_TYPES)}) or choices, found neither")
        raise ValueError(f"{where}: unknown type {word!r:.60}{_nearest(word, _TYPES)}")
    if "choices" in spec and word != "string":
        raise ValueError(f"{where}: choices are strings; leave out type {word!r}")
    description = spec.get("description", "")
    if not isinstance(description, str):
        raise ValueError(f"{where}: description is a text, found {description!r:.60}")
    low, high = (_bound(where, word, key, spec.get(key)) for key in ("minimum", "maximum"))
    if low is not None and high is not None and low > high:
        raise ValueError(f"{where}: minimum {low:.15g} is above maximum {high:.15g}")
    return Field(
        name=name,
        kind="string" if word == "strings" else word,
        many=word == "strings",
        choices=_choices(where, spec["choices"]) if "choices" in spec else (),
        closed="choices" in spec or word in ("boolean", "integer"),
        minimum=low,
        maximum=high,
        required=not optional,
        nullable=optional,
        description=description,
    )


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"field {name!r:.60}: a name is a text that is not empty")
    if name.startswith("jb_"):
        raise ValueError(f"field {name!r:.60}: names that begin with jb_ are ours; choose another")
    if repair.string(name) != name:
        raise ValueError(f"field {name!r:.60}: a name is text that UTF-8 can hold")


def _choices(where: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list | tuple):
        raise ValueError(f"{where}: choices are a list, found {given!r:.60}")
    for choice in given:
        if not isinstance(choice, str) or not choice.strip() or repair.string(choice) != choice:
            raise ValueError(f"{where}: each choice is a text, found {choice!r:.60}; put it in quotes")
    if len(given) < 2 or len(set(given)) < len(given):
        raise ValueError(f"{where}: expected at least two choices, all different, found {list(given)!r:.100}")
    return tuple(given)


def _bound(where: str, word: str, key: str, value: Any) -> float | None:
    if value is None:
        return None
    if word not in ("number", "integer"):
        raise ValueError(f"{where}: {key} goes with number or integer, not with {word}")
    try:
        return repair.number(None if isinstance(value, str) else value)
    except ValueError:
        raise ValueError(f"{where}: {key} is a number, found {value!r:.60}") from None


def _nearest(word: Any, known: tuple[str, ...]) -> str:
    meant = _MEANT.get(str(word))
    near = [meant] if meant in known else difflib.get_close_matches(str(word), known)
    return f" (did you mean {near[0]!r}?)" if near else f"; known: {', '.join(known)}"


def fields_of_schema(schema: Mapping[str, Any]) -> tuple[tuple[Field, ...], str]:
    """The top-level properties of a JSON Schema (draft 2020-12), and its text without its id. ValueError."""
    try:
        root = json.loads(json.dumps(schema, allow_nan=False))
        _check_root(root)
        root.pop("$id", None)  # with it, local references would be resolved against an address
        try:
            validity.check(root)
        except ValueError as error:
            raise ValueError(f"schema: {error}") from None
        needed = frozenset(root.get("required", ()))
        fields = tuple(_property(name, part, root, needed) for name, part in root["properties"].items())
    except (TypeError, RecursionError):
        raise ValueError("schema: expected plain JSON data, not nested deeply") from None
    return fields, repair.string(repair.compact(root))


def _check_root(root: Any) -> None:
    if not isinstance(root, dict) or root.get("type") != "object" or not root.get("properties"):
        raise ValueError("schema: expected a JSON Schema of type object with at least one property")
    if str(root.get("$schema", _DIALECT)).rstrip("#") != _DIALECT:
        raise ValueError(f"schema: expected draft 2020-12, found {root['$schema']!r:.100}")


def _property(name: str, part: Any, root: Any, needed: frozenset[str]) -> Field:
    _check_name(name)
    plain, nullable = _plain(part, root)
    kind, gaps, many = _kind(plain), False, False
    if kind == "json" and plain.get("type") == "array":
        item, gaps = _plain(plain.get("items"), root)
        kind = _kind(item)
        many = kind != "json"
    values = plain.get("enum", [])
    strings = kind == "string" and not many
    return Field(
        name=name,
        kind=kind,
        many=many,
        gaps=gaps and many,
        choices=tuple(dict.fromkeys(filter(_is_text, values))) if strings else (),
        closed=not many and (bool(values) or kind in ("boolean", "integer")),
        required=name in needed,
        nullable=nullable or (kind == "json" and not many),
        description=str(plain.get("description", "")),
    )


def _plain(part: Any, root: Any) -> tuple[dict[str, Any], bool]:
    """A part of a schema with its references followed and null taken out, and whether it may be null."""
    nullable = False
    for _ in range(_HOPS):
        if not isinstance(part, dict):
            return {}, nullable
        beside = {key: value for key, value in part.items() if key not in ("$ref", "anyOf", "oneOf")}
        options = part.get("anyOf", part.get("oneOf"))
        if "$ref" in part:
            target = validity.pointed(root, part["$ref"])
            part = {**target, **beside} if isinstance(target, dict) else {}
        elif isinstance(options, list) and len(options) == 2 and {"type": "null"} in options:
            other = options[options[0] == {"type": "null"}]
            part, nullable = {**other, **beside} if isinstance(other, dict) else {}, True
        else:
            break
    values = part.get("enum", [part["const"]] if "const" in part else [])
    types = part.get("type", _types_of(values))
    types = [types] if isinstance(types, str) else types
    left = [name for name in types if name != "null"]
    return {**part, "type": left[0] if len(left) == 1 else None, "enum": values}, nullable or "null" in types


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _types_of(values: list[Any]) -> list[str]:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    return sorted({names.get(type(value), "object") for value in values})


def _kind(plain: dict[str, Any]) -> Kind:
    return next((kind for kind in get_args(Kind) if kind == plain.get("type")), "json")
