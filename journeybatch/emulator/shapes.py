"""The reply as a value, and the JSON and SSE of OpenAI's chat API, as the emulator writes them.

Deliberately not shared with the client's own encoding: a mistake there would otherwise agree with itself.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
End = Literal["whole", "cut", "reset", "hang", "refuse"]
Headers = tuple[tuple[str, str], ...]

EPOCH = 1_774_321_742
"""``created`` counts from here: replies are the same on every day."""

SSE = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request: ``target`` with its query, header names in lower case; ``in_flight`` how many there are with it
    whose clients wait for an answer, None where nobody counts them."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    in_flight: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is to be sent, and how: both transports perform it.

    ``delay_s`` passes before the first byte, ``pause_s`` between chunks. ``streamed`` replies have no length in
    advance. ``essential`` is how many body bytes make the answer readable as whole. ``end`` other than ``whole``:
    ``cut`` closes the connection after ``stop_at`` body bytes; ``reset`` resets it there, or before the head
    when ``stop_at`` is None; ``hang`` sends nothing for ``hang_s`` seconds (None: ever) and then closes;
    ``refuse`` is a connection refused.
    """

    status: int
    headers: Headers
    chunks: tuple[bytes, ...]
    streamed: bool = False
    essential: int = 0
    delay_s: float = 0.0
    pause_s: float = 0.0
    end: End = "whole"
    stop_at: int | None = None
    hang_s: float | None = None

    @property
    def body(self) -> bytes:
        """All of the body, without transfer coding."""
        return b"".join(self.chunks)


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's whole answer, before it is written down as JSON or SSE."""

    id: str
    created: int
    model: str
    text: str
    finish_reason: str
    refused: bool
    usage: dict[str, int]


def encode(value: Json) -> bytes:
    """Compact JSON in UTF-8; escaped where UTF-8 cannot say it (lone surrogates come back as they were sent)."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def json_reply(status: int, value: Json, headers: Headers = ()) -> Reply:
    """A reply with a JSON body."""
    body = encode(value)
    return Reply(status, (("content-type", "application/json"), *headers), (body,), essential=len(body))


def error_object(message: str, kind: str, code: str | None = None, param: str | None = None) -> Json:
    """OpenAI's error shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_reply(status: int, message: str, code: str | None = None, param: str | None = None) -> Reply:
    """An error in OpenAI's shape, its type as OpenAI chooses it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    if status in (402, 429):
        kind = "insufficient_quota" if code == "insufficient_quota" else "requests"
    return json_reply(status, error_object(message, kind, code, param))


def retry_after(seconds: float) -> Headers:
    """``Retry-After`` in whole seconds, and ``retry-after-ms`` beside it where that says more."""
    whole = max(0, math.ceil(seconds))
    exact = (("retry-after-ms", str(math.ceil(seconds * 1000))),) if whole != seconds else ()
    return (("retry-after", str(whole)), *exact)


def completion_reply(answer: Answer) -> Reply:
    """The answer as one ``chat.completion`` object."""
    message: Json = {"role": "assistant", "content": None if answer.refused else answer.text}
    if answer.refused:
        message["refusal"] = answer.text
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return json_reply(200, _object(answer, "chat.completion", [choice]) | {"usage": answer.usage})


def stream_reply(answer: Answer, *, with_usage: bool) -> Reply:
    """The answer as server-sent events, a word each, ending with ``data: [DONE]``."""
    name = "refusal" if answer.refused else "content"
    deltas: list[Json] = [{"role": "assistant", "content": None if answer.refused else ""}]
    deltas += [{name: piece} for piece in re.findall(r"\S+\s*|\s+", answer.text)]
    events = [_chunk(answer, delta, None) for delta in deltas]
    essential = sum(map(len, events))  # a stream that breaks off before its finish_reason is no answer
    events.append(_chunk(answer, {}, answer.finish_reason))
    if with_usage:
        events.append(event(_object(answer, "chat.completion.chunk", []) | {"usage": answer.usage}))
    return events_reply((*events, b"data: [DONE]\n\n"), essential)


def events_reply(events: tuple[bytes, ...], essential: int = 0) -> Reply:
    """A reply of server-sent events."""
    headers = (("content-type", SSE), ("cache-control", "no-cache"))
    return Reply(200, headers, events, streamed=True, essential=essential)


def event(value: Json) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(value) + b"\n\n"


def _chunk(answer: Answer, delta: Json, finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return event(_object(answer, "chat.completion.chunk", [choice]))


def _object(answer: Answer, kind: str, choices: list[Json]) -> Json:
    return {
        "id": answer.id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "choices": choices,
    }
