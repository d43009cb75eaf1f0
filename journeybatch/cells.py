"""What a prompt template gets to see of a table's cells.

Text, numbers and booleans pass as they are. Dates and times become ISO 8601 text, decimals plain decimal
text, durations Python's ``1 day, 2:00:00``. Lists and structs become ``Items`` and ``Fields``, which offer the
template their values and none of Python's methods, and print as JSON. A null has no value: asking for it gives
minijinja's "undefined".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from journeybatch.errors import TemplateError

_SCALARS = frozenset({str, int, float, bool})


class Items:
    """A list cell: indexable, iterable, and nothing else."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return (None if item is None else shown(item) for item in self._items)

    def __getitem__(self, index: int) -> Any:
        if (item := self._items[index]) is None:
            raise IndexError(index)  # minijinja's word for "undefined"
        return shown(item)

    def __str__(self) -> str:
        return json_text(self)


Sequence.register(Items)  # else minijinja cannot ask for its length


class Fields:
    """A struct cell, or the whole row: values by name, and nothing else."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __len__(self) -> int:
        return len(self._fields)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __getitem__(self, name: str) -> Any:
        if (field := self._fields[name]) is None:
            raise KeyError(name)
        return shown(field)

    def __str__(self) -> str:
        return json_text(self)


def shown(value: Any) -> Any:
    """A cell's value as the template sees it. Raises TemplateError for what no prompt can carry."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, list | tuple):
        return Items(value)
    if isinstance(value, dict):
        return Fields(value)
    return text_of(value)


def text_of(value: Any) -> str:
    """Text of a value that is neither text, number, boolean, list nor struct."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    raise TemplateError(f"a {type(value).__name__} cannot be put into a prompt; use text or numbers")


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON of a list or struct, non-ASCII characters as they are."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_jsonable)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Items):
        return list(value._items)
    if isinstance(value, Fields):
        return dict(value._fields)
    return text_of(value)
