"""A second opinion on a reply: whether it is whole, what it says and whether it is free.

Said once more with the standard library and the table of docs/reliability.md, and nothing of the product.
"""

from __future__ import annotations

import json
import re
from typing import Any

FREE_4XX_BUT = (408, 409, 425)
FREE_5XX = (503, 529)


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= 100 else float(digits))
    except (ValueError, RecursionError):
        return None


def _choice(data: Any) -> dict[str, Any] | None:
    choices = data.get("choices") if isinstance(data, dict) else None
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def whole(body: bytes) -> str | None:
    """The text of a completion that is whole; None for anything else."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    if re.match(r"\s*(data|event|id|retry|):", text, re.ASCII):
        return _streamed(text)
    data = _value(text)
    choice = _choice(data)
    if choice is None or data.get("error") or not isinstance(message := choice.get("message"), dict):
        return None
    return _joined(message.get("content"))


def _joined(said: Any) -> str:
    if isinstance(said, list):
        parts = [part.get("text") for part in said if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return said if isinstance(said, str) else ""


def _streamed(text: str) -> str | None:
    said, begun, ended = "", False, False
    for block in re.split(r"(?:\r\n|\n|\r){2}", re.sub(r"\r\n|\r", "\n", text) + "\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:"))
        if not data:
            continue
        if data.strip() == "[DONE]":
            return said if begun else None
        chunk = _value(data)
        if not isinstance(chunk, dict) or chunk.get("error"):
            return said if begun and ended else None
        if (choice := _choice(chunk)) is not None:
            begun, ended = True, ended or bool(choice.get("finish_reason"))
            delta = choice.get("delta")
            said += _joined(delta.get("content")) if isinstance(delta, dict) else ""
    return said if begun and ended else None


def free(status: int, body: bytes) -> bool:
    """Whether a reply with such a status is free, by the table."""
    data = _value(body.decode("utf-8", "replace").removeprefix("\ufeff"))
    error = data.get("error", data) if isinstance(data, dict) else {}
    codes = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    if "insufficient_quota" in codes or "model_not_found" in codes:
        return True
    return status in FREE_5XX if status >= 500 else status not in FREE_4XX_BUT
