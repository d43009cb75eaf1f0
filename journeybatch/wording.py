"""What is wrong with a job, in a user's words: what was expected, what was found, which key was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from journeybatch.sections import Section
from journeybatch.yamlfile import Key

Problem = tuple[tuple[Key, ...], str, bool]
"""Path into the data, message, and whether the message is about the key rather than the value."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_too_short": "text",
    "string_unicode": "text in Unicode",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "too_short": "a list that is not empty",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "invalid-json-value": "what JSON can hold",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number from {ge}",
    "less_than_equal": "a number up to {le}",
    "less_than": "a number below {lt}",
    "literal_error": "{expected}",
}
_SECRET = re.compile(
    r"(?:(?:journey|open)?_?(?:api|auth|access|secret|private)[-_]?)?"
    r"(?:key|token|secret|password|authorization|bearer|credentials?)",
    re.IGNORECASE,
)
NO_KEY = "{!r}: a key never stands in a job; set JOURNEYAPI_KEY, or name its place in api.key_env"
_SHORT = {"input": "a path or a mapping", "prompt": "text or a mapping", "api": "a name, a URL or a mapping"}
_PARAMETERS = {"temperature", "max_tokens", "top_p", "seed", "stop", "response_format", "reasoning_effort"}


def problem(kind: type[Section], error: Mapping[str, Any]) -> Problem:
    """One of pydantic's errors about a ``kind``."""
    trail, sort = tuple(error["loc"]), str(error["type"])
    context = error.get("ctx", {})
    if sort in ("extra_forbidden", "invalid_key"):
        return trail, _unknown(kind, trail), True
    if sort == "missing":
        return trail[:-1], f"{trail[-1]!r} is missing", False
    if sort == "value_error":
        message = str(context["error"])
    else:
        short = _SHORT.get(str(trail[0])) if sort == "model_type" and len(trail) == 1 else None
        message = f"expected {short or _EXPECTED.get(sort, str(error['msg'])).format(**context)}"
    told = trail[:1] == ("api",) or (sort == "value_error" and isinstance(error["input"], Mapping))
    if message.startswith("expected") and not told:  # what stands under api may be a key: never shown
        message = f"{message}, found {_found(error['input'])}"
    return trail, message, False


def is_echo(error: Mapping[str, Any]) -> bool:
    """Whether an error only repeats others: a list counts as too short when its items are wrong."""
    return error["type"] == "too_short" and len(error["input"]) >= int(error["ctx"]["min_length"])


def keys(kind: type[Section], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all keys of a ``kind``, through its sections and lists of sections."""
    for name, field in kind.model_fields.items():
        path = (*prefix, field.alias or name)
        yield path
        for section in _sections(field.annotation):
            yield from keys(section, path)


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _unknown(kind: type[Section], trail: tuple[Key, ...]) -> str:
    key = str(trail[-1])
    if is_secret(key):
        return NO_KEY.format(key)
    known, parent = list(keys(kind)), tuple[str, ...]()
    for step in trail[:-1]:  # but for numbers, and names that the user gave, such as a variant's
        if any(path[: len(parent) + 1] == (*parent, step) for path in known):
            parent = (*parent, str(step))
    here = [path[-1] for path in known if path[:-1] == parent]
    elsewhere = {path[-1]: ".".join(path) for path in reversed(known) if path[:-1] != parent}
    if near := difflib.get_close_matches(key, here, n=1, cutoff=0.7):
        return f"unknown key {key!r} (did you mean {near[0]!r}?)"
    if key in elsewhere or key in _PARAMETERS:
        return f"unknown key {key!r} (did you mean {elsewhere.get(key, f'parameters.{key}')!r}?)"
    if near := difflib.get_close_matches(key, here, n=1, cutoff=0.5):
        return f"unknown key {key!r} (did you mean {near[0]!r}?)"
    return f"unknown key {key!r}; known here: {', '.join(here)}"


def is_secret(key: str) -> bool:
    """Whether a value under ``key`` would be an API key."""
    return _SECRET.fullmatch(key) is not None


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "…")
    if isinstance(value, int | float):
        return repr(value) if abs(value) < 10**40 else "a huge number"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
