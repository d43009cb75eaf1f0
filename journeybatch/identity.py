"""The content key: what a row is known by.

A row is known by what would be asked: provider, model, result-affecting parameters, messages, and a label where
the same thing is asked again on purpose. Not by its position, file or date. Every part goes into BLAKE2b
(RFC 7693) behind its length, so that no two different rows can spell the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from journeybatch.records import Message

KEY_BYTES = 16
Key = Callable[[Sequence[Message], int], bytes]
"""What makes a 16-byte content key of messages and a label; label 0 is the ordinary case."""


def keys_for(provider: str, model: str, parameters: Mapping[str, Any]) -> Key:
    """The function that makes the keys of what one model is asked."""
    asked = json.dumps(_canonical(parameters), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    prefix = blake2b(digest_size=KEY_BYTES, person=b"journeybatch-1")
    for part in (provider, model, asked):
        _add(prefix, part)

    def key(messages: Sequence[Message], label: int = 0) -> bytes:
        parts = [label.to_bytes(8, "big")]
        for message in messages:
            content = message.content.encode("utf-8", "surrogatepass")
            parts.append(b"%d:%b%d:" % (len(message.role), message.role.encode(), len(content)))
            parts.append(content)
        digest = prefix.copy()
        digest.update(b"".join(parts))
        return digest.digest()

    return key


def labelled(key: bytes, label: str) -> bytes:
    """The key under which what ``key`` asks is asked once more on purpose, and never as an answer to ``key``."""
    return blake2b(key + label.encode(), digest_size=KEY_BYTES, person=b"journeybatch-lbl").digest()


def _add(digest: blake2b, part: str) -> None:
    data = part.encode("utf-8", "surrogatepass")
    digest.update(b"%d:" % len(data))
    digest.update(data)


def _canonical(value: Any) -> Any:
    """1.0 and 1 ask the same thing."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value
