"""A grammar of what a server may say: completions, streams, errors, HTTP around them, and all that goes wrong.

Everything follows from the ``random.Random`` that is handed in.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Sequence
from typing import Any

Say = Callable[[random.Random], Any]
WORDS = (
    "",
    "yes",
    "no",
    "a b",
    "Grüße ☃",
    "😀",
    "\ud83d",
    "\x00",
    "I'm sorry, but I can't",
    "</think>",
    "{}",
    "[",
    "…",
)
NUMBERS = (0, 1, -1, 2**63, -(2**63) - 1, 10**90, 1.5, 1e308, float("inf"), float("nan"), True)
TOKENS = ("aaaaaa", "bbbbbb", "cccccc")
"""What stands for the tokens of a pack, until somebody knows better ones."""


def _word(rng: random.Random) -> str:
    return rng.choice(WORDS) * rng.choice((1, 1, 1, 2, 60))


def _odd(rng: random.Random, depth: int = 3) -> Any:
    """Any JSON value."""
    kind = rng.randrange(8 if depth else 4)
    if kind < 2:
        return _word(rng)
    if kind == 2:
        return rng.choice(NUMBERS)
    if kind == 3:
        return None
    if kind < 6:
        return [_odd(rng, depth - 1) for _ in range(rng.randrange(3))]
    return {_word(rng): _odd(rng, depth - 1) for _ in range(rng.randrange(3))}


def _maybe(rng: random.Random, usual: Any, odds: float = 0.06) -> Any:
    return _odd(rng) if rng.random() < odds else usual


def content(rng: random.Random) -> Any:
    """The text of an answer: prose, JSON of an answer's fields, a pack's items, with what models do to them."""
    kind = rng.randrange(6)
    if kind < 2:
        return _maybe(rng, _word(rng))
    fields = {"label": rng.choice(("yes", "no", "Yes ", "maybe")), "score": rng.choice((1, "0.5", None, 10**90))}
    if kind == 2:
        said: Any = fields
    else:
        names = [name for name in TOKENS for _ in range(rng.choice((0, 1, 1, 1, 2)))]
        rng.shuffle(names)
        items = [{"id": _maybe(rng, name), "answer": rng.choice((_word(rng), fields, None))} for name in names]
        said = rng.choice(({"answers": items}, items, dict.fromkeys(names, fields)))
    text = json.dumps(_maybe(rng, said, 0.02), ensure_ascii=rng.random() < 0.5)
    how = rng.randrange(8)
    if how == 0:
        text = f"Here you are:\n```json\n{text}\n```\nAnything else?"
    elif how == 1:
        text = text.replace('"', "'")
    elif how == 2:
        text = text.replace("}", ",}", 1)
    elif how == 3:
        text = text[: rng.randint(0, len(text))]
    elif how == 4:
        text = text * 2
    return text


def _completion(rng: random.Random) -> Any:
    message = {"role": "assistant", "content": content(rng)}
    if rng.random() < 0.1:
        message["refusal"] = _maybe(rng, _word(rng))
    choice = {"index": 0, "message": _maybe(rng, message), "finish_reason": _maybe(rng, rng.choice(("stop", "length")))}
    whole = {
        "id": _maybe(rng, "chatcmpl-1"),
        "model": _maybe(rng, "gpt-4o-2024-08-06"),
        "choices": _maybe(rng, [_maybe(rng, choice)]),
        "usage": _maybe(rng, {"prompt_tokens": _maybe(rng, 7), "completion_tokens": _maybe(rng, 3)}),
    }
    if rng.random() < 0.1:
        whole["error"] = _maybe(rng, {"message": _word(rng), "code": rng.choice(CODES), "type": _word(rng)}, 0.5)
    for name in [name for name in whole if rng.random() < 0.03]:
        del whole[name]
    return whole


CODES = ("insufficient_quota", "model_not_found", "rate_limit_exceeded", None, 7)


def _json(value: Any, rng: random.Random) -> bytes:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, None, 1)))
    return text.encode("utf-8", rng.choice(("replace", "surrogatepass")))


def completion(rng: random.Random) -> bytes:
    return _json(_completion(rng), rng)


def error(rng: random.Random) -> bytes:
    said = {"message": _word(rng), "code": rng.choice(CODES), "type": rng.choice((*CODES, "invalid_request_error"))}
    return _json(_maybe(rng, {"error": _maybe(rng, said)}), rng)


def stream(rng: random.Random) -> bytes:
    """Server-sent events."""
    text, chunks = str(content(rng)), []
    while text:
        size = rng.randint(1, max(1, len(text)))
        delta = _maybe(rng, {"content": _maybe(rng, text[:size], 0.02)}, 0.02)
        chunks.append({"id": "chatcmpl-1", "model": "gpt-4o", "choices": _maybe(rng, [{"delta": delta}], 0.03)})
        text = text[size:]
    chunks.append({"choices": [{"delta": {}, "finish_reason": _maybe(rng, "stop")}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    if rng.random() < 0.1:
        chunks.insert(rng.randrange(len(chunks)), {"error": {"message": _word(rng)}})
    lines = [f"data:{rng.choice(('', ' '))}".encode() + _json(chunk, rng).replace(b"\n", b" ") for chunk in chunks]
    if rng.random() < 0.8:
        lines.append(b"data: [DONE]")
    for _ in range(rng.choice((0, 0, 1, 3))):
        lines.insert(rng.randrange(len(lines) + 1), rng.choice((b": keep-alive", b"event: x", b"retry: 3", b"data:")))
    for _ in range(rng.choice((0, 0, 0, 1))):
        del lines[rng.randrange(len(lines))]
    end = rng.choice((b"\n\n", b"\r\n\r\n", b"\r\r", b"\n"))
    return rng.choice((b"", b"", b"\xef\xbb\xbf")) + end.join(lines) + rng.choice((end, b"", end))


def page(rng: random.Random) -> bytes:
    return rng.choice((b"", b"<html>busy</html>", b"null", b"[" * 5000, b'{"a":' * 3000, b"9" * 5000, b"\xff\xfe{}"))


BODIES: tuple[Callable[[random.Random], bytes], ...] = (completion, completion, completion, stream, stream, error, page)


def spoil(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """``data`` with a few bytes cut, changed, doubled, or taken from ``others``."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, size = rng.randint(0, len(data)), rng.choice((1, 1, 2, 8, 64))
        how = rng.randrange(6)
        if how == 0:
            data = data[:at]
        elif how == 1:
            data = data[:at] + data[at + size :]
        elif how == 2:
            data = data[:at] + rng.randbytes(size) + data[at + size :]
        elif how == 3:
            data = data[: at + size] + data[at:]
        elif how == 4 and others:
            other = rng.choice(others)
            cut = rng.randint(0, len(other))
            data = data[:at] + other[cut : cut + size] + data[at:]
        else:
            data = data[:at] + rng.choice(
                (b'"', b"\\", b"{", b"}", b"[", b"\n", b"\r", b"\x00", b"e9", b":", b",", b"\\u")
            )
            data += b"" if at % 2 else b"}"
    return data


# -- HTTP around a body ----------------------------------------------------------------------------------------------


def framed(body: bytes, rng: random.Random) -> tuple[bytes, int, bytes | None]:
    """A whole HTTP reply with ``body``: its bytes, its status, and the body that a client has to make of it (None where
    the end of the connection has to end it)."""
    status = rng.choice((200, 200, 200, 200, 201, 302, 400, 401, 408, 429, 500, 503, 599))
    head = [b"HTTP/1.1 %d %b" % (status, rng.choice((b"OK", b"", b"So what")))]
    head.append(rng.choice((b"Content-Type: application/json", b"content-type:text/event-stream", b"X:\ty ")))
    head += [b"Retry-After: %b" % rng.choice((b"1", b"-1", b"9" * 40, b"Wed, 21 Oct 2026 07:28:00 GMT", b"soon"))] * (
        rng.random() < 0.2
    )
    packed = rng.choice((None, None, None, b"gzip", b"deflate", b"identity", b"br"))
    data = {None: bytes, b"gzip": gzip.compress, b"deflate": zlib.compress}.get(packed, bytes)(body)
    if packed is not None:
        head.append(b"Content-Encoding: " + packed)
    expected = None if packed == b"br" and body else body
    first = b"HTTP/1.1 100 Continue\r\n\r\n" * rng.choice((0, 0, 0, 1, 2))
    how = rng.randrange(5)
    if how < 3:
        head.append(b"Content-Length: %d" % len(data))
        return first + b"\r\n".join(head) + b"\r\n\r\n" + data, status, expected
    if how == 3:
        head.append(b"Transfer-Encoding: chunked")
        return first + b"\r\n".join(head) + b"\r\n\r\n" + _chunked(data, rng), status, expected
    return first + b"\r\n".join(head) + b"\r\n\r\n" + data, status, None


def _chunked(data: bytes, rng: random.Random) -> bytes:
    said = []
    while data:
        size = rng.randint(1, len(data))
        said.append(b"%x%b\r\n%b\r\n" % (size, rng.choice((b"", b";a=b")), data[:size]))
        data = data[size:]
    return b"".join(said) + b"0\r\n" + rng.choice((b"", b"", b"X-Trailer: 1\r\n")) + b"\r\n"
