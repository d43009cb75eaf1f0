"""A good reply made bad: one function per fault, each from a value to a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

from journeybatch.emulator.faults import Draw, Faults
from journeybatch.emulator.shapes import Reply, error_object, event, events_reply, json_reply

HTML = (
    b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n"
    b"<body><h1>Bad Gateway</h1><p>The upstream did not answer.</p></body></html>\n"
)
DRIPS = 40  # pieces of a slow body


def damage(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    """The reply as the drawn fault leaves it; the reply itself where there is none."""
    return reply if draw.kind is None else _DAMAGES[draw.kind](reply, draw, faults)


def _truncate(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    return replace(reply, chunks=(reply.body[: max(1, _position(reply, draw))],))


def _stream_without_end(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    if not reply.streamed:
        return _truncate(reply, draw, faults)
    text = sum(1 for end in accumulate(map(len, reply.chunks)) if end <= reply.essential)
    return replace(reply, chunks=reply.chunks[: int(draw.where * text) + 1])


def _wrong_json(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    return Reply(200, (("content-type", "text/html"),), (HTML,))


def _empty_choices(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    if reply.streamed:
        chunk = event({"id": "chatcmpl-0", "object": "chat.completion.chunk", "choices": []})
        return events_reply((chunk, b"data: [DONE]\n\n"))
    return json_reply(200, {"id": "chatcmpl-0", "object": "chat.completion", "choices": []})


def _error_object(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    error = error_object("The upstream model failed.", "server_error", "upstream_error")
    return events_reply((event(error),)) if reply.streamed else json_reply(200, error)


def _empty_body(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    return replace(reply, chunks=(), streamed=False)


def _slow_body(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    body = reply.body
    size = -(-len(body) // DRIPS)
    drips = tuple(body[start : start + size] for start in range(0, len(body), size))
    return replace(reply, chunks=drips, pause_s=faults.slow_body_s / max(1, len(drips) - 1))


def _cut(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    return replace(reply, end="cut", stop_at=_position(reply, draw, faults.cut_at))


def _reset(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    if faults.reset_at is None and draw.where < 0.5:  # half of them before a single byte
        return replace(reply, end="reset", stop_at=None)
    second_half = replace(draw, where=abs(2 * draw.where - 1))
    return replace(reply, end="reset", stop_at=_position(reply, second_half, faults.reset_at))


def _hang(reply: Reply, draw: Draw, faults: Faults) -> Reply:
    return replace(reply, end="hang", hang_s=faults.hang_s)


def _position(reply: Reply, draw: Draw, fixed: int | None = None) -> int:
    """Where the body ends: always before what makes it whole, so that a lost answer is lost for certain."""
    return int(draw.where * reply.essential) if fixed is None else min(fixed, reply.essential - 1)


_DAMAGES: dict[str, Callable[[Reply, Draw, Faults], Reply]] = {
    "truncate": _truncate,
    "stream_without_end": _stream_without_end,
    "wrong_json": _wrong_json,
    "empty_choices": _empty_choices,
    "error_object": _error_object,
    "empty_body": _empty_body,
    "slow_body": _slow_body,
    "cut": _cut,
    "reset": _reset,
    "hang": _hang,
}
