"""The JSON body of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from journeybatch.records import Message

ITEM_TOKENS = 64
"""What a row of a packed reply may take at least: a one-word answer still needs its id and some JSON around it."""

_PER_ROW = ("max_tokens", "max_completion_tokens")


def encoder(model: str, parameters: Mapping[str, Any], stream: bool) -> Callable[..., bytes]:
    """A function from messages, and the number of rows they carry (1), to a request body. All but the messages is
    encoded once: it is the same for every row. ``max_tokens`` is per row: several rows get as many times that."""
    prefixes: dict[int, bytes] = {}
    encode = msgspec.json.Encoder().encode

    def prefix(rows: int) -> bytes:
        frozen = {"model": model, **_for_rows(parameters, rows)} | ({"stream": True} if stream else {})
        made = prefixes[rows] = msgspec.json.encode(frozen)[:-1] + b',"messages":'
        return made

    def body(messages: Sequence[Message], rows: int = 1) -> bytes:
        return (prefixes.get(rows) or prefix(rows)) + encode(messages) + b"}"

    return body


def _for_rows(parameters: Mapping[str, Any], rows: int) -> Mapping[str, Any]:
    if rows == 1:
        return parameters
    most = {name: rows * max(parameters[name], ITEM_TOKENS) for name in _PER_ROW if type(parameters.get(name)) is int}
    return {**parameters, **most}
