"""One attempt's bookkeeping: reserve, intent, raw reply, settle.

The order is the promise. Credits are reserved before the intent is written, the intent is on the disk before the
first byte leaves, the raw reply is in the file before anybody reads it, and only then is the attempt settled. A
kill between any two of these leaves an attempt that is in doubt, never one that is forgotten.
"""

from __future__ import annotations

import time

from journeybatch.attempts import UNSENT
from journeybatch.entries import Intent, Received, Settled
from journeybatch.errors import ApiFailure, Charge, DiskFull
from journeybatch.journal import Journal
from journeybatch.ledger import Ledger
from journeybatch.reading import PLAIN, Reader, codes_of
from journeybatch.records import Completion, Request, Send
from journeybatch.transcript import Transcript
from journeybatch.verdict import ANSWERED, REFUSED, error_of
from journeybatch.wire import judge

_SAID_BY_ERROR = (bytes([ANSWERED]), bytes([REFUSED]))
"""Verdicts that need no code beside the settlement's error."""


def accounted(
    send: Send,
    journal: Journal,
    ledger: Ledger,
    *,
    reader: Reader = PLAIN,
    bills_errors: bool = False,
    transcript: Transcript | None = None,
) -> Send:
    """A Send that keeps the books of ``send``, attempt by attempt. Its completions carry their ``reply``, and what
    ``reader`` makes of it, which goes into a ``transcript`` as well.

    Raises what ``send`` raises; ``ApiFailure`` for a reply that is no whole completion; ``BudgetReached`` and
    ``DiskFull`` before anything was sent.
    """

    async def attempt(request: Request) -> Completion:
        day = await ledger.reserve(request.price)
        keys = [prompt.key for prompt in request.prompts]
        joined = b"".join(keys)
        try:
            journal.append(intent(request, joined))
            await journal.durable()
        except BaseException:
            settle(request, day, "free", (UNSENT, "stopped before it was sent"))
            raise
        try:
            completion = await send(request)
        except ApiFailure as failure:
            settle(request, day, failure.charge, (failure.kind, str(failure)))
            raise
        except DiskFull as full:  # no descriptor was left for a connection
            settle(request, day, "free", (UNSENT, str(full)))
            raise
        except BaseException:
            settle(request, day, "unknown", ("in_doubt", "stopped before its reply came"))
            raise
        return read(request, day, keys, received(request, joined, completion), completion)

    def read(request: Request, day: int, keys: list[bytes], entry: Received, completion: Completion) -> Completion:
        try:
            journal.write(entry)
            reply = judge(completion, bills_errors=bills_errors)
            verdicts = reader.read(reply, journal.history.id, request.id, keys)
        except ApiFailure as failure:
            settle(request, day, failure.charge, (failure.kind, str(failure)), completion)
            raise
        except BaseException:  # a bug of ours: the reply stays unsettled, and the next process reads it again
            ledger.settle(request.price, "unknown", day)
            raise
        index, found = journal.history.under_way(request.id, request.attempt), codes_of(verdicts)
        settle(request, day, "settled", (error_of(found[0]), None), completion, found)
        if transcript is not None:
            transcript.note(index, entry, reply, verdicts)
        status, headers, body, latency_s = completion.status, completion.headers, completion.body, completion.latency_s
        return Completion(status, headers, body, latency_s, reply, tuple(verdicts))

    def settle(
        request: Request,
        day: int,
        charge: Charge,
        why: tuple[str | None, str | None],
        completion: Completion | None = None,
        found: tuple[bytes, bytes] = (b"", b""),
    ) -> None:
        """``why``: the error's kind and its message, neither for an answer; ``found``: the codes and senses."""
        certain, most = ledger.settle(request.price, charge, day)
        status, latency_s = (completion.status, completion.latency_s) if completion else (None, 0.0)
        codes = b"" if found[0] in _SAID_BY_ERROR else found[0]
        journal.append(
            Settled(
                request.id,
                request.attempt,
                charge,
                certain,
                most,
                *why,
                status,
                latency_s,
                codes,
                found[1],
            )
        )

    return attempt


def intent(request: Request, keys: bytes) -> Intent:
    """The entry that goes before an attempt."""
    price = request.price
    return Intent(request.id, request.attempt, keys, request.model, price.least, price.most, time.time())


def received(request: Request, keys: bytes, completion: Completion) -> Received:
    """The entry of a raw reply."""
    return Received(
        request.id,
        request.attempt,
        keys,
        completion.status,
        completion.headers,
        completion.body,
        completion.latency_s,
        time.time(),
        request.price.least,
        request.price.most,
    )
