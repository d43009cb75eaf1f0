"""What travels between a run and its workers: requests out, replies back, many in one piece of bytes.

A worker gets what one attempt needs and nothing else: no row, no price, and never the key. Both ways it is MessagePack
of a fixed shape, so that no machine ever unpickles what another one's model wrote.
"""

from __future__ import annotations

import hmac

import msgspec

from journeybatch.errors import DiskFull
from journeybatch.records import Completion
from journeybatch.wire import lost


class Errand(msgspec.Struct, frozen=True):
    """What a worker is sent out with. ``key_env`` or ``key_file`` say where its own machine holds the key; ``nonce``
    is what it shows by that it has the same one. Times in seconds."""

    base_url: str
    auth: str
    emulated: bool
    key_env: str
    key_file: str | None
    timeout_s: float
    lease_s: float
    nonce: str


class Greeting(msgspec.Struct, frozen=True):
    """A worker's first word: where and what it is, and the ``problem`` that keeps it from its work, if there is one."""

    version: str
    host: str
    pid: int
    node: str = ""
    proof: str = ""
    problem: str | None = None


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """One attempt to make: the request's id, the attempt's number, the body to send."""

    request: int
    attempt: int
    body: bytes


class Delivered(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A reply came: as ``records.Completion`` has it."""

    request: int
    attempt: int
    status: int
    headers: dict[str, str]
    body: bytes
    latency_s: float


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """None came; ``sent`` where the whole request may have arrived."""

    request: int
    attempt: int
    kind: str
    message: str
    sent: bool


class Full(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """It was not made: the worker's machine is out of file descriptors."""

    request: int
    attempt: int
    message: str


Returned = Delivered | Failed | Full


class Haul(msgspec.Struct, frozen=True, array_like=True):
    """What a worker hands over: its replies up to the ``upto``-th that it ever had."""

    upto: int
    replies: list[Returned]


pack = msgspec.msgpack.Encoder().encode
_parcels = msgspec.msgpack.Decoder(list[Parcel])
_haul = msgspec.msgpack.Decoder(Haul)
_errand = msgspec.msgpack.Decoder(Errand)
_greeting = msgspec.msgpack.Decoder(Greeting)


def parcels_of(data: bytes) -> list[Parcel]:
    """What ``pack`` made of parcels. Raises msgspec.MsgspecError, like the others here, for anything else."""
    return _parcels.decode(data)


def haul_of(data: bytes) -> Haul:
    """What ``pack`` made of a haul."""
    return _haul.decode(data)


def errand_of(data: bytes) -> Errand:
    """What ``pack`` made of an errand."""
    return _errand.decode(data)


def greeting_of(data: bytes) -> Greeting:
    """What ``pack`` made of a greeting."""
    return _greeting.decode(data)


def proof_of(key: str, nonce: str) -> str:
    """What only who has the ``key`` can say to a ``nonce``; it tells nobody the key."""
    return hmac.new(key.encode(), nonce.encode(), "sha256").hexdigest()


def opened(reply: Returned) -> Completion:
    """What an attempt came to. Raises ApiFailure, DiskFull as the client on the worker did."""
    if isinstance(reply, Delivered):
        return Completion(reply.status, reply.headers, reply.body, reply.latency_s)
    if isinstance(reply, Failed):
        raise lost(reply.kind, reply.message, sent=reply.sent)
    raise DiskFull(reply.message)
