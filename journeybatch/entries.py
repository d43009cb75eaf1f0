"""What stands in a journal: one frozen value per kind of entry, and its bytes.

An attempt's life is ``Intent`` (before its first byte leaves) → ``Received`` (the raw reply, before anyone reads
it) → ``Settled`` (what it cost). An Intent without a Settled is *in doubt*. New fields go at the end of an
entry, with a default, so that older journals stay readable.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from journeybatch.errors import Charge


class Entry(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One entry. ``at`` is always Unix time in seconds."""


class Began(Entry, frozen=True, tag=1):
    """A process began or carried on run number ``run``; ``ask`` is JSON of everything that decides a key, ``reading``
    names the way in which replies are read (empty: as plain text)."""

    run: int
    job: str
    ask: str
    emulated: bool
    bills_errors: bool
    at: float
    reading: bytes = b""


class Intent(Entry, frozen=True, tag=2):
    """An attempt is about to be sent. ``keys`` are the 16-byte keys of its prompts, joined."""

    request: int
    attempt: int
    keys: bytes
    model: str
    least: int
    most: int
    at: float


class Received(Entry, frozen=True, tag=3):
    """A reply, raw. It repeats keys and price, so that it is of use even where its Intent was damaged."""

    request: int
    attempt: int
    keys: bytes
    status: int
    headers: dict[str, str]
    body: bytes
    latency_s: float
    at: float
    least: int = 0
    most: int = 0

    def intent(self) -> Intent:
        """What stood before it, but for the model."""
        return Intent(self.request, self.attempt, self.keys, "", self.least, self.most, self.at)


class Settled(Entry, frozen=True, tag=4):
    """What an attempt cost: certainly ``credits``, at most ``credits_max``; ``error`` is None for an answer.

    ``codes`` are the verdicts on its prompts (see ``verdict``), empty where ``error`` says it all; ``senses`` eight
    bytes each of what answers are compared by, empty where nothing is compared."""

    request: int
    attempt: int
    charge: Charge
    credits: int
    credits_max: int
    error: str | None
    message: str | None
    status: int | None
    latency_s: float
    codes: bytes = b""
    senses: bytes = b""


class GivenUp(Entry, frozen=True, tag=5):
    """The run will not ask these keys again: their rows failed."""

    keys: bytes
    error: str
    message: str
    at: float


class Finished(Entry, frozen=True, tag=6):
    """Every row of the run is answered or failed."""

    run: int
    at: float


class Reread(Entry, frozen=True, tag=7):
    """The reply whose frame stands at ``offset`` was read again, in the way that ``reading`` names."""

    offset: int
    reading: bytes
    codes: bytes
    senses: bytes = b""


class Split(Entry, frozen=True, tag=8):
    """A pack of so many ``rows`` came to nothing that is a row's own fault: its keys are asked in smaller ones."""

    keys: bytes
    rows: int


class Borrowed(Entry, frozen=True, tag=9):
    """A reply taken over, raw, from the journal with the id ``journal``, where it was paid for."""

    journal: bytes
    request: int
    attempt: int
    keys: bytes
    model: str
    status: int
    headers: dict[str, str]
    body: bytes
    latency_s: float
    at: float

    @property
    def mark(self) -> tuple[bytes, int, int]:
        """What the reply is known by. Copies of a directory that went on by themselves have one id, and the same
        numbers for other requests: their keys tell them apart."""
        return blake2b(self.journal + self.keys, digest_size=8).digest(), self.request, self.attempt

    def received(self) -> Received:
        """The reply as it stands in its own journal."""
        return Received(
            self.request, self.attempt, self.keys, self.status, self.headers, self.body, self.latency_s, self.at
        )


class Reopened(Entry, frozen=True, tag=10):
    """Whatever had failed until now may be asked again."""

    at: float


class Tried(Entry, frozen=True, tag=11):
    """The prompts ``keys`` are about to be asked under ``trials`` (as many keys), in packs of ``size``: to compare."""

    keys: bytes
    trials: bytes
    size: int


class Decided(Entry, frozen=True, tag=12):
    """``what`` a job was to decide by measurement (`pack`, `below`) came to ``value``; ``why`` is a sentence. It holds
    for what ``about`` names: a digest of all that it rests on."""

    what: str
    about: bytes
    value: float
    why: str
    at: float


class Delivered(Entry, frozen=True, tag=13):
    """The results file with the digest ``results`` has reached the sink that ``sink`` is the digest of."""

    sink: bytes
    results: bytes
    at: float


class Compacted(Entry, frozen=True, tag=14):
    """First in a file that took the place of the journal ``id``, and goes by that name still, without so many
    ``replies``: answers that had become too old."""

    id: bytes
    replies: int
    at: float


class Tuned(Entry, frozen=True, tag=15):
    """While run ``run`` was at work, somebody chose ``concurrency`` and the cap ``credits`` (None: no cap) for the rest
    of it. They hold as long as the job says what it said then, in ``job_concurrency`` and ``job_credits``."""

    run: int
    concurrency: int
    credits: int | None
    job_concurrency: int
    job_credits: int | None
    at: float


AnyEntry = (
    Began
    | Intent
    | Received
    | Settled
    | GivenUp
    | Finished
    | Reread
    | Split
    | Borrowed
    | Reopened
    | Tried
    | Decided
    | Delivered
    | Compacted
    | Tuned
)

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(AnyEntry).decode


def spelled(entry: AnyEntry) -> AnyEntry:
    """``entry`` with a question mark for each lone surrogate, which UTF-8, and so ``encode``, has no bytes for."""
    fields = {name: _spelled(value) for name, value in msgspec.structs.asdict(entry).items()}
    return msgspec.structs.replace(entry, **fields)


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {_spelled(name): _spelled(item) for name, item in value.items()}
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
