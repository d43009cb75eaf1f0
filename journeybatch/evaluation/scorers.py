"""The scorers of a job: their names, their options, and what is wrong with them.

An item of ``eval.scorers`` is a name, or a mapping of one name to its argument or options, with common keys beside::

    - equals
    - contains: "yes"
    - number: {tolerance: 0.01}
      field: total
      weight: 2

A name may begin with ``not-``: 1 becomes 0 and 0 becomes 1. Without an argument the target is the row's, from the
evaluation's target column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from journeybatch.evaluation import choices, judge, numbers, sets, structured, text, usercode
from journeybatch.evaluation.score import Grade, each, each_of_any
from journeybatch.fields import Field

_TEXTS = ("string", "number", "integer", "boolean", "json")
_COMMON = ("field", "target", "weight", "name", "threshold")
_WORDS = {"float": "a number", "int": "a whole number", "str": "text", "bool": "true or false", "null": "nothing"}
_WORDS |= {"array": "a list", "object": "a mapping"}


class Kind(msgspec.Struct, frozen=True):
    """A scorer's ``options`` and the function that grades. ``short``: the option that a bare argument stands for.
    ``reads``: the kinds of field it can look at, ``lists`` among them. ``target``: whether it needs one; ``fixed``:
    whether an option ``value`` may take the target column's place. ``raw``: it always looks at the reply as it came;
    ``whole``: it does where the answer has several fields and none is named."""

    grade: Grade | None
    options: type[msgspec.Struct] = text.Plain
    short: str = "value"
    reads: tuple[str, ...] = _TEXTS
    lists: bool = False
    target: bool = True
    fixed: bool = True
    raw: bool = False
    whole: bool = False


KINDS: dict[str, Kind] = {
    "equals": Kind(each_of_any(text.equals)),
    "iequals": Kind(each_of_any(text.iequals)),
    "contains": Kind(each_of_any(text.contains)),
    "icontains": Kind(each_of_any(text.icontains)),
    "contains-any": Kind(each(sets.contains_any)),
    "contains-all": Kind(each(sets.contains_all)),
    "icontains-any": Kind(each(sets.icontains_any)),
    "icontains-all": Kind(each(sets.icontains_all)),
    "starts-with": Kind(each_of_any(text.starts_with)),
    "ends-with": Kind(each_of_any(text.ends_with)),
    "regex": Kind(text.search, text.Regex),
    "match": Kind(each_of_any(text.match), text.Match),
    "number": Kind(each_of_any(numbers.number), numbers.Number, reads=("string", "number", "integer")),
    "choice": Kind(choices.choice, choices.Choice, reads=("string",)),
    "f1": Kind(each_of_any(text.f1)),
    "exact-set": Kind(each(sets.exact_set), sets.Items, lists=True),
    "similar": Kind(each_of_any(text.similar), text.Likeness),
    "levenshtein": Kind(each_of_any(text.levenshtein), text.Distance, short="distance"),
    "is-json": Kind(each(structured.is_json), target=False, fixed=False, raw=True),
    "json-schema": Kind(
        each(structured.json_schema), structured.Schema, short="schema", target=False, fixed=False, raw=True
    ),
    "python": Kind(usercode.python, usercode.Source, short="call", lists=True, target=False, fixed=False, whole=True),
    "model-graded": Kind(None, judge.Judge, short="rubric", lists=True, target=False, fixed=False, whole=True),
}


class Scorer(msgspec.Struct, frozen=True):
    """One scorer of a job. ``kind`` is its name in ``KINDS``. ``value`` is a target given in the job, None for the
    row's, which stands in the column ``target`` (empty: the evaluation's). ``field``: which field of the answer it
    looks at (empty: the only one). With a ``threshold``, scores from there on count 1 and others 0. Where one has a
    ``weight``, those without weigh 1."""

    kind: str
    name: str
    negated: bool
    options: Any
    value: Any = None
    field: str = ""
    target: str = ""
    weight: float | None = None
    threshold: float | None = None

    @property
    def asks(self) -> bool:
        """Whether it asks a model, which costs credits."""
        return self.kind == "model-graded"

    @property
    def needs_target(self) -> bool:
        """Whether rows need a target for it."""
        return KINDS[self.kind].target and self.value is None


def parse(items: Any) -> tuple[Scorer, ...]:
    """The scorers that ``eval.scorers`` lists. ValueError names the scorer and says what was expected."""
    if not isinstance(items, list | tuple) or not items:
        raise ValueError("expected a list of scorers, such as [equals]")
    scorers = tuple(_scorer(item) for item in items)
    names = [scorer.name for scorer in scorers]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} stands twice; give each a name of its own, as in {{{name}: …, name: {name}-2}}")
    return scorers


def check_field(scorer: Scorer, fields: Sequence[Field]) -> str:
    """The answer's field that ``scorer`` looks at; empty for a reply's text. ``fields`` are the contract's, none for
    text. ValueError for a field that is not there, or that the scorer cannot work with."""
    kind, known = KINDS[scorer.kind], {field.name: field for field in fields}
    if not scorer.field and (kind.raw or not known or (kind.whole and len(known) > 1)):
        return ""
    if scorer.field and scorer.field not in known:
        told = _nearest(scorer.field, tuple(known)) if known else "; the answer is plain text"
        raise ValueError(f"{scorer.name}: the answer has no field {scorer.field!r}{told}")
    if kind.raw:
        raise ValueError(f"{scorer.name}: it looks at the whole reply; leave out field")
    if not scorer.field and len(known) > 1:
        raise ValueError(f"{scorer.name}: which field of the answer? Give one beside it: field: {next(iter(known))}")
    field = known[scorer.field or next(iter(known))]
    if (field.many and not kind.lists) or field.kind not in kind.reads:
        able = [name for name, other in KINDS.items() if field.kind in other.reads and (other.lists or not field.many)]
        what = "a list" if field.many else f"of type {field.kind}"
        raise ValueError(f"{scorer.name}: it cannot work with {field.name!r}, which is {what}; {', '.join(able)} can")
    return field.name


def _scorer(item: Any) -> Scorer:
    if isinstance(item, str):
        item = {item: None}
    if not isinstance(item, Mapping):
        raise ValueError(f"expected a scorer's name, or a mapping of one name to its options, found {item!r:.60}")
    names = [key for key in item if key not in _COMMON]
    if len(names) != 1:
        raise ValueError(f"expected one scorer in an item, found {', '.join(map(str, names)) or 'none'}")
    called = str(names[0])
    name = called.removeprefix("not-")
    if name not in KINDS:
        raise ValueError(f"there is no scorer {called!r:.60}{_nearest(name, tuple(KINDS), 'not-' * (name != called))}")
    try:
        value, options = _options(name, item[names[0]])
        common = _common(KINDS[name], item, value)
    except ValueError as error:
        raise ValueError(f"{called}: {error}") from None
    return Scorer(name, common.pop("name", called), name != called, options, value, **common)


def _common(kind: Kind, item: Mapping[str, Any], value: Any) -> dict[str, Any]:
    found = {key: item[key] for key in _COMMON if key in item}
    for key, given in found.items():
        if key in ("weight", "threshold"):
            fine = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
            if not fine or (key == "weight" and given <= 0):
                raise ValueError(f"{key}: expected a number{' above 0' * (key == 'weight')}, found {given!r:.60}")
        elif not isinstance(given, str) or not given.strip():
            raise ValueError(f"{key}: expected text, found {given!r:.60}")
    if "target" in found and (value is not None or kind.raw):
        raise ValueError("target: it has no use for the column; leave one of both out")
    return found


def _options(name: str, argument: Any) -> tuple[Any, Any]:
    """The target given in the job, or None, and the options, checked."""
    kind = KINDS[name]
    names = (*kind.options.__struct_fields__, *(("value",) if kind.fixed else ()))
    if name == "json-schema" and isinstance(argument, Mapping) and set(argument) != {"schema"}:
        argument = {"schema": argument}
    elif argument is None:
        argument = {}
    elif name in ("similar", "f1") and isinstance(argument, int | float):
        raise ValueError(f"a threshold stands beside it: {{{name}: {{}}, threshold: {argument}}}")
    elif not isinstance(argument, Mapping):
        argument = {kind.short: argument}
    given = dict(argument)
    for key in given:
        if key not in names:
            raise ValueError(_unknown(name, str(key), names))
    value = given.pop("value", None)
    if isinstance(value, Mapping) or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"value: expected text, a number or a list of them, found {value!r:.60}")
    if value == [] and name != "exact-set":
        raise ValueError("value: expected at least one, found an empty list")
    options = _converted(given, kind.options)
    if name == "regex" and value is not None:
        text.check_pattern(options, text.pattern_of(value))
    return value, options


def _converted(given: dict[str, Any], options: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.convert(given, options)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        if missing := re.search(r"required field `(\w+)`", message):
            raise ValueError(f"{missing[1]!r} is missing") from None
        if not path.strip("`."):
            raise ValueError(message) from None
        key = re.split(r"\W", path.strip("`."))[0]
        message = re.sub(r"`([^`]*)`", _in_words, message.partition(", got")[0])
        message = message.replace("Invalid enum value", "unexpected value")
        raise ValueError(f"{key}: {message[0].lower()}{message[1:]}, found {given.get(key)!r:.60}") from None


def _in_words(types: re.Match[str]) -> str:
    return " or ".join(_WORDS.get(word, word) for word in types[1].split(" | "))


def _unknown(name: str, key: str, names: tuple[str, ...]) -> str:
    if key in _COMMON:
        return f"{key!r} stands beside the scorer, not in it: {{{name}: {{…}}, {key}: …}}"
    return f"unknown option {key!r:.60}{_nearest(key, names) if names else '; it has none'}"


def _nearest(word: str, known: tuple[str, ...], prefix: str = "") -> str:
    near = get_close_matches(word.lower().replace("_", "-"), known, n=1) or get_close_matches(word, known, n=1)
    return f" (did you mean {prefix + near[0]!r}?)" if near else f"; known: {', '.join(known)}"
