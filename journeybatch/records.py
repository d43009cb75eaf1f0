"""The values that travel: Prompt, Request, Completion, Outcome; and the one call shape, Send.

All are frozen and slotted (msgspec): a run makes several per row, and only for what is in flight.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from journeybatch.verdict import Verdict

Role = Literal["system", "user", "assistant"]


class Message(msgspec.Struct, frozen=True):
    """One chat message, in the endpoint's own shape."""

    role: Role
    content: str


class Prompt(msgspec.Struct, frozen=True):
    """A rendered row: its messages and the 16-byte content key of what would be asked (promise 10)."""

    key: bytes
    messages: tuple[Message, ...]


class Price(msgspec.Struct, frozen=True):
    """Credits per request as the interval [at least, at most]; ``source`` says where it is from."""

    least: int
    most: int
    source: str = ""


class Request(msgspec.Struct, frozen=True):
    """One call, carrying one or several prompts.

    ``id`` is unique in the journal, ``body`` is the JSON that is sent, ``attempt`` counts from 1.
    """

    id: int
    model: str
    prompts: tuple[Prompt, ...]
    body: bytes
    price: Price
    attempt: int = 1


class Reply(msgspec.Struct, frozen=True):
    """What a whole completion says. ``text`` is None only where there is a ``refusal`` instead."""

    text: str | None
    refusal: str | None
    finish_reason: str | None
    upstream_id: str | None
    upstream_model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


class Completion(msgspec.Struct, frozen=True):
    """A delivered reply, raw. ``latency_s`` is seconds from the first byte sent to the last received;
    ``reply`` is what it says, once somebody has read it (and it is a whole completion), ``verdicts`` what that came
    to for each of the request's prompts."""

    status: int
    headers: dict[str, str]
    body: bytes
    latency_s: float
    reply: Reply | None = None
    verdicts: tuple[Verdict, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """The last word of a run on one prompt: answered, failed for good, or pending for a later run."""

    key: bytes
    status: Literal["answered", "failed", "pending"]
    error: str | None = None
    message: str | None = None


Send = Callable[[Request], Awaitable[Completion]]
"""Everything between a Request and a Completion. Raises ``errors.ApiFailure`` or ``errors.RunStopped``."""
