"""Replies: whatever a server says, it is a typed outcome, soon, at the right price, and nobody else's answer.

A grammar makes bodies and HTTP (``tongue``), with what goes wrong in them; a fuzzer that is led by coverage makes more
(``fuzzing``). What a body is worth has to agree with a second ``opinion``.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from journeybatch.answers import fields_contract, schema_contract, text_contract
from journeybatch.errors import ApiFailure
from journeybatch.items import token
from journeybatch.lane import Caps, Lane, Reply
from journeybatch.reading import Reader
from journeybatch.records import Completion
from journeybatch.transport import _unpacked
from journeybatch.turnstile import Turnstile
from journeybatch.verdict import ANSWERED, DECLINED, READABLE, REFUSED, UNFIT
from journeybatch.wire import judge
from proofs import fuzzing, tongue
from proofs.checker import Broken
from proofs.opinion import free, whole
from proofs.spread import spread

CORPUS = Path(__file__).parent / "corpus.jsonl"
"""Replies worth keeping, one JSON string of latin-1 a line."""
CAPS = Caps(64 * 2**10, 2**20)
SOON_S = 2.0
FRAMED = 8
"""One body in so many is also heard as HTTP, well-formed and spoilt."""
PIECE = 20_000
STATUSES = (*[200] * 20, 201, 302, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529, 599)
LABEL = {"label": ["yes", "no"], "score": "number?"}
SCHEMA = {"type": "object", "properties": {"label": {"type": "string", "pattern": r"^(\w+\s?)*$"}}}
READERS = tuple(map(Reader, (text_contract("response"), fields_contract(LABEL), schema_contract(SCHEMA))))
JOURNAL, KEYS = b"journal!", (b"a" * 16, b"b" * 16, b"c" * 16)
TOKENS = [token(JOURNAL, 1, key) for key in KEYS]


def corpus() -> list[bytes]:
    return [json.loads(line).encode("latin-1") for line in CORPUS.read_text().splitlines()]


# -- what must hold ----------------------------------------------------------------------------------------------------


def check_body(status: int, body: bytes, headers: dict[str, str] | None = None) -> str:
    """Judge and read a body in all ways. Returns what it is. Raises Broken, or whatever the product lets out."""
    completion = Completion(status, headers or {}, body, 0.1)
    try:
        reply = judge(completion)
    except ApiFailure as failure:
        return _check_failure(status, body, failure)
    text = whole(body)
    if not 200 <= status < 300 or text is None:
        raise Broken(f"HTTP {status} {body[:200]!r} was settled")
    if reply.text is not None and reply.text != text and not _surrogates(text):
        raise Broken(f"{body[:200]!r} says {text[:80]!r}, and was read as {reply.text[:80]!r}")
    for reader in READERS:
        for keys in (KEYS[:1], KEYS):
            _check_reading(reader, reply, keys)
    return "answered"


def _surrogates(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _check_failure(status: int, body: bytes, failure: ApiFailure) -> str:
    if 200 <= status < 300:
        if whole(body) is not None:
            raise Broken(f"{body[:200]!r} is whole, and was refused: {failure}")
        costless = False
    else:
        costless = free(status, body)
    if failure.charge != ("free" if costless else "unknown"):
        raise Broken(f"HTTP {status} {body[:200]!r} is {failure.charge}")
    dear = None
    try:
        judge(Completion(status, {}, body, 0.1), bills_errors=True)
    except ApiFailure as other:
        dear = other.charge
    if dear != "unknown":
        raise Broken(f"HTTP {status} {body[:200]!r} is {dear} where errors are billed")
    if failure.then not in ("retry", "pause", "stop", "reject") or len(str(failure)) > 500:
        raise Broken(f"HTTP {status}: {failure.then}: {failure}")
    return failure.kind


def _check_reading(reader: Reader, reply: Any, keys: tuple[bytes, ...]) -> None:
    verdicts = reader.read(reply, JOURNAL, 1, keys)
    if len(verdicts) != len(keys):
        raise Broken(f"{len(verdicts)} verdicts for {len(keys)} rows")
    for place, verdict in enumerate(verdicts):
        if len(keys) == 1 and not reader.contract.structured and verdict.code not in (ANSWERED, DECLINED, REFUSED):
            raise Broken(f"a text came to {verdict.code}")
        if len(keys) == 1 and verdict.code == UNFIT:
            raise Broken("a row alone came to what only packs come to")
        if verdict.code in READABLE:
            if len(keys) > 1 and TOKENS[place] not in (reply.text or ""):
                raise Broken(f"{reply.text[:200]!r} answers {TOKENS[place]}")
            if set(verdict.values) != set(reader.contract.columns()):
                raise Broken(f"{verdict.values} for {list(reader.contract.columns())}")


class _Wire(asyncio.Transport):
    """The lane's end of a connection whose bytes come from here."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.closed = False

    def write(self, data: Any) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


class Line:
    """Lanes without a network, one after the other: what is said to them, and what they make of it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.turnstile = Turnstile[Reply]()

    def close(self) -> None:
        self.socket.close()
        self.loop.close()

    def hear(self, data: bytes, rng: random.Random) -> tuple[Reply | None, Lane]:
        """What a lane makes of ``data``, in pieces, and then the end of the connection; and the lane."""
        return self.loop.run_until_complete(self._hear(data, rng))

    async def _hear(self, data: bytes, rng: random.Random) -> tuple[Reply | None, Lane]:
        lane, wire = Lane(CAPS, set(), self.turnstile), _Wire(self.socket)
        lane.connection_made(wire)
        waiting = lane.send(b"POST / HTTP/1.1\r\n\r\n")
        pieces = rng.choice((1, 1, 2, 5))
        cuts = sorted(rng.randint(0, len(data)) for _ in range(pieces - 1))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if not wire.closed and end > start:
                lane.data_received(data[start:end])
        rested = not lane.lost and waiting.done()
        if not wire.closed:
            lane.eof_received()
        for _ in range(3):
            await asyncio.sleep(0)
        if not waiting.done():
            raise Broken(f"{data[:200]!r}: the connection is over, and the exchange is not")
        if rested and not lane.lost:
            raise Broken("a lane lives on after its connection's end")
        lane.connection_lost(None)
        try:
            return waiting.result(), lane
        except httpx.TransportError:
            return None, lane


def check_http(line: Line, data: bytes, rng: random.Random) -> Reply | None:
    """What a lane and the unpacking make of any bytes. Raises Broken, or whatever the product lets out."""
    reply, _ = line.hear(data, rng)
    if reply is None:
        return None
    try:
        reply = _unpacked(reply, CAPS.body)
    except httpx.HTTPError:
        return None
    if not 200 <= reply.status <= 999 or len(reply.body) > CAPS.body:
        raise Broken(f"{data[:200]!r} is a reply of status {reply.status} and {len(reply.body)} bytes")
    return reply


def check_framed(line: Line, body: bytes, rng: random.Random) -> None:
    """A reply that is well-formed arrives as it was said, however it is cut into pieces."""
    data, status, expected = tongue.framed(body, rng)
    reply = check_http(line, data, rng)
    if expected is not None and (reply is None or (reply.status, reply.body) != (status, expected)):
        raise Broken(f"{data[:300]!r} arrived as {reply}")


@contextmanager
def _soon(seconds: int = 10) -> Iterator[None]:
    """Raises Broken in what does not end."""

    def late(*_: object) -> None:
        raise Broken("it does not end")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def said(rng: random.Random, kept: list[bytes]) -> bytes:
    """A body by the grammar, in half of the cases spoilt."""
    body = rng.choice(tongue.BODIES)(rng) if rng.random() < 0.9 else rng.choice(kept)
    for known, ours in zip(tongue.TOKENS, TOKENS, strict=True):
        body = body.replace(known.encode(), ours.encode())
    return tongue.spoil(body, rng, kept) if rng.random() < 0.5 else body


def say_all(numbers: range, seed: int) -> tuple[Counter[str], float]:
    """Say the bodies of these numbers. Returns what they came to, and the seconds of the slowest. Raises Broken with
    the seed of the first that fails."""
    ends, kept, line, slowest = Counter[str](), corpus(), Line(), 0.0
    try:
        for number in numbers:
            rng = random.Random(f"{seed}:{number}")
            began = time.perf_counter()
            try:
                with _soon():
                    body = said(rng, kept)
                    ends[check_body(rng.choice(STATUSES), body)] += 1
                    if number % FRAMED == 0:
                        check_framed(line, body, rng)
                        check_http(line, tongue.spoil(tongue.framed(body, rng)[0], rng, kept), rng)
            except Broken as broken:
                raise Broken(f"reply {seed}:{number}: {broken}") from None
            except Exception as error:
                raise Broken(f"reply {seed}:{number}: a bare {error!r}") from error
            slowest = max(slowest, time.perf_counter() - began)
    finally:
        line.close()
    return ends, slowest


def prove(bodies: int, seed: int, guided_s: float = 0.0) -> tuple[int, str]:
    """Say so many bodies, and let the fuzzer that is led by coverage say more for ``guided_s`` seconds meanwhile.
    Returns their number and a sentence. Raises Broken with the seed of the first that fails."""
    why = fuzzing.missing() if guided_s else ""
    with ThreadPoolExecutor(1) as beside:
        guided = beside.submit(fuzzing.guided, guided_s, seed) if guided_s and not why else None
        found = list(spread(say_all, range(bodies), PIECE, seed))
        ends = sum((each for each, _ in found), Counter[str]())
        slowest = max(each for _, each in found)
        tried, reached = guided.result() if guided else (0, 0)
    if slowest > SOON_S:
        raise Broken(f"seed {seed}: one body took {slowest:.1f} s")
    told = f"{ends['answered']:,} whole, the others {len(ends) - 1} kinds of failure; the slowest {slowest:.2f} s"
    if guided is None:
        return bodies, f"{told}; none led by coverage{f': {why}' if why else ''}"
    return bodies + tried, f"{told}; {tried:,} of them led by coverage, which reached {reached:,} features"
