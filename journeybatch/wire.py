"""The endpoint's replies, JSON and SSE, and what an attempt's end means.

``judge`` and ``lost`` are the one place that says what an attempt may have cost. The endpoint does not document
what it bills on failure, so whatever may have been billed is ``unknown``; ``bills_errors`` turns every ``free``
answer with a status into ``unknown`` as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from journeybatch.errors import ApiFailure, Charge, Then
from journeybatch.excerpt import clean, excerpt
from journeybatch.records import Completion, Reply
from journeybatch.wish import WISHES, exhausted_s, retry_after_s

KEPT_HEADERS = frozenset(("content-type", "date", "location", *WISHES, "x-journeybatch-emulator", "x-request-id"))
"""The response headers that are journalled with a reply."""

_LONE = re.compile(r"\\u[dD][89a-fA-F]")
_SSE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry|):")
_MAX_INT64 = 2**63 - 1


@lru_cache(maxsize=256)
def kept_name(spelled: bytes) -> str | None:
    """The name under which a header is journalled; None for one that is not. A server always spells its own alike."""
    name = spelled.lower().decode("latin-1")
    return name if name in KEPT_HEADERS else None


# -- what an attempt's end means ------------------------------------------------------------------------------


def judge(completion: Completion, *, bills_errors: bool = False) -> Reply:
    """What a delivered reply says. A whole completion is settled, whatever it says.

    Raises:
        ApiFailure: the reply is no whole completion; carries what the attempt may have cost.
    """
    if not 200 <= completion.status < 300:
        raise _refused(completion, bills_errors)
    body = completion.body  # which knows better than the content type
    try:
        return _read_stream(body) if body[:1] != b"{" and _SSE.match(body) else _read_whole(body)
    except ApiFailure as failure:
        failure.status = completion.status
        raise


def lost(kind: str, message: str, *, sent: bool) -> ApiFailure:
    """The failure of an attempt that brought no reply; ``sent`` when the whole request may have arrived."""
    return ApiFailure(kind, message, charge="unknown" if sent else "free", then="retry")


def _refused(completion: Completion, bills_errors: bool) -> ApiFailure:
    status = completion.status
    error = _error_object(completion.body)
    wish = retry_after_s(completion.headers)
    kind, then, stop = _meaning(status, (error.get("code"), error.get("type")), wish is not None)
    patience = exhausted_s(completion.headers) if wish is None and then == "pause" else wish
    free = kind not in ("server_error", "timeout", "conflict")
    said = _complaint(error) or clean(completion.headers.get("location", "")) or excerpt(completion.body)
    message = f"HTTP {status}: {said}"
    charge: Charge = "free" if free and not bills_errors else "unknown"
    return ApiFailure(kind, message, charge=charge, then=then, status=status, stopped_by=stop, retry_after_s=patience)


def _meaning(status: int, codes: tuple[Any, Any], waits: bool) -> tuple[str, Then, str | None]:
    """(kind, then, stopped_by) of an answer that is not a 2xx."""
    if "insufficient_quota" in codes or (status == 402 and not waits):
        return "out_of_credits", "stop", "credits"
    if "model_not_found" in codes or status in (404, 405, 410, 501) or status < 400:
        return "endpoint", "stop", "endpoint"
    if status in (401, 403):
        return "unauthorized", "stop", "auth"
    if status in (402, 429):
        return "rate_limited", "pause", None
    if status in (503, 529):
        return "unavailable", "pause", None
    if status in (408, 425):
        return "timeout", "retry", None
    if status == 409:
        return "conflict", "retry", None
    if status >= 500:
        return "server_error", "retry", None
    return "rejected", "reject", None


def _broken(message: str, *, foreign: bool = False) -> ApiFailure:
    failure = ApiFailure("malformed", message, charge="unknown", then="retry", status=200)
    failure.foreign = foreign
    return failure


def _plain(body: bytes) -> Any:
    """The JSON value in ``body``; lone surrogates and invalid UTF-8 become U+FFFD rather than cost a reply."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    try:
        text = body.decode("utf-8", "replace").removeprefix("\ufeff")
        value = json.loads(text, parse_int=_whole_number)
        if not _LONE.search(text):
            return value
        again = json.dumps(value, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
        return json.loads(again.decode("utf-16-le", "replace"))
    except (ValueError, RecursionError, MemoryError):
        foreign = body.lstrip()[:1] not in (b"", b"{")  # rather than nothing at all, or an object that was cut short
        raise _broken(f"the reply is not JSON: {excerpt(body)}", foreign=foreign) from None


def _whole_number(digits: str) -> float:
    """Python refuses integers of thousands of digits; no reply is worth losing over one."""
    return int(digits) if len(digits) <= 100 else float(digits)


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Whole(msgspec.Struct):
    """A completion as nearly all of them are."""

    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    error: None = None


_decode_whole = msgspec.json.Decoder(_Whole).decode


def _read_whole(body: bytes) -> Reply:
    """What a body says; to read one as nearly all are costs a quarter of what any other does."""
    try:
        whole = _decode_whole(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _read_odd(body)
    choice, usage = whole.choices[0], whole.usage or {}
    text, refusal = choice.message.content, choice.message.refusal or None
    return Reply(
        text or (None if refusal else ""),
        refusal,
        choice.finish_reason or None,
        whole.id or None,
        whole.model or None,
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
    )


def _read_odd(body: bytes) -> Reply:
    data = _plain(body)
    if not isinstance(data, dict):
        raise _broken(f"the reply is JSON, but no object: {excerpt(body)}", foreign=True)
    if data.get("error"):
        raise _broken(f"the reply is an error: {_complaint(data['error']) or 'without a message'}")
    choice = _first(data.get("choices"))
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, dict):
        raise _broken(f"the reply has no choices: {excerpt(body)}", foreign="choices" not in data)
    return _reply(data, choice, _text(message.get("content")), _string(message.get("refusal")))


def _reply(data: dict[str, Any], choice: dict[str, Any], text: str | None, refusal: str | None) -> Reply:
    usage = _as_dict(data.get("usage"))
    return Reply(
        text=text or (None if refusal else ""),
        refusal=refusal,
        finish_reason=_string(choice.get("finish_reason")),
        upstream_id=_string(data.get("id")),
        upstream_model=_string(data.get("model")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


# -- server-sent events ---------------------------------------------------------------------------------------


def events(body: bytes) -> Iterator[str]:
    """The data of each event of an SSE body (HTML living standard, 9.2.6), comments and other fields skipped."""
    data: list[str] = []
    lines = re.split(r"\r\n|\n|\r", body.decode("utf-8", "replace").removeprefix("\ufeff"))
    for line in [*lines, ""]:  # a last event without its blank line counts: [DONE] often ends so
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            event, data = "\n".join(data), []
            if event:
                yield event


def _read_stream(body: bytes) -> Reply:
    head: dict[str, Any] = {}
    last: dict[str, Any] = {}
    texts: list[str] = []
    refusals: list[str] = []
    begun = ended = False
    for event in events(body):
        if event.strip() == "[DONE]":
            ended = True
            break
        try:
            chunk = _event(event)
        except ApiFailure:
            if ended:  # what follows the end cannot take the answer back
                break
            raise
        head |= {name: chunk[name] for name in ("id", "model", "usage") if chunk.get(name)}
        choice = _first(chunk.get("choices"))
        if choice is None:
            continue
        begun = True
        delta = _as_dict(choice.get("delta"))
        texts.append(_text(delta.get("content")) or "")
        refusals.append(_string(delta.get("refusal")) or "")
        if choice.get("finish_reason"):
            last, ended = choice, True
    if not (begun and ended):
        raise _broken("the stream ended before its answer did")
    refusal = "".join(refusals) or None
    return _reply(head, last, "".join(texts), refusal)


def _event(event: str) -> dict[str, Any]:
    chunk = _plain(event.encode("utf-8", "replace"))
    if not isinstance(chunk, dict) or chunk.get("error"):
        raise _broken(f"the stream broke off with: {clean(event)}")
    return chunk


def delta(event: str) -> str:
    """The text that one streamed event adds. Raises ApiFailure when it is an error or no JSON object."""
    choice = _first(_event(event).get("choices"))
    return (_text(_as_dict(choice.get("delta")).get("content")) or "") if choice else ""


# -- odds --------------------------------------------------------------------------------------------------


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        data = _plain(body)
    except ApiFailure:
        return {}
    error = data.get("error", data) if isinstance(data, dict) else {}
    return error if isinstance(error, dict) else {"message": error}


def _complaint(error: Any) -> str:
    """What an error says, as harmless text; empty when it says nothing."""
    said = [error.get(name) for name in ("message", "code", "type")] if isinstance(error, dict) else [error]
    return next((clean(text) for text in said if isinstance(text, str) and text), "")


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(choices: Any) -> dict[str, Any] | None:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _text(content: Any) -> str | None:
    """Content is a string; some compatible servers send a list of parts."""
    if isinstance(content, list):
        parts = [_as_dict(part).get("text") for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _MAX_INT64 else None
