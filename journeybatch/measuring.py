"""A price learned from the account's balance: a few tiny requests, and what each took.

It costs real credits. Two requests in a row that took the same whole number settle it: one alone may have met
somebody else's spending, or a charge that came late.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import pairwise

import anyio
import msgspec

from journeybatch import payload
from journeybatch.client import Client
from journeybatch.errors import STOPS, ApiFailure, JobError, Outage, RunStopped
from journeybatch.pricebook import Measurement
from journeybatch.reconciliation import Credits, lost_between, number
from journeybatch.records import Message, Price, Prompt, Request
from journeybatch.wire import judge

MOST_REQUESTS = 4
MOST_EACH = 5
"""What a request costs at most, by the endpoint's page."""

MOST_CREDITS = MOST_REQUESTS * MOST_EACH
PAUSES_S = (0.1, 0.2, 0.4, 0.6, 0.7)
"""Waits between readings of a balance that did not change yet; 2 s in all."""


class Measured(msgspec.Struct, frozen=True):
    """What came of it: ``credits`` a request, None if that could not be told. ``deltas`` are the credits that the
    balance lost with each of the ``requests``; ``message`` says all of it in a sentence."""

    model: str
    provider: str
    credits: int | None
    deltas: tuple[Credits, ...]
    requests: int
    message: str

    def measurement(self, today: date | None = None) -> Measurement:
        """What the price book keeps. Raises ValueError if there is no price."""
        if self.credits is None:
            raise ValueError(self.message)
        today = today or datetime.now(UTC).date()
        return Measurement(self.credits, today, self.provider.removesuffix(":443"), self.deltas)


async def measure(client: Client, model: str) -> Measured:
    """Send requests to ``model``, one at a time, until two in a row took the same whole number of 1 to 5 credits.

    At most 4 requests are sent, and none that might bring the account's loss over 20 credits.

    Raises:
        JobError: the endpoint tells no balance; nothing was sent.
        ApiFailure: the balance could not be asked for in the first place; nothing was sent.
        RunStopped: a request failed, or the balance after it; says what they may have cost.
    """
    before = await client.balance()
    if before is None:
        raise JobError(
            f"the price of {model} cannot be measured here: the endpoint does not tell the account's balance; "
            f"{_by_hand(model)}"
        )
    deltas: list[Credits] = []
    while _goes_on(deltas):
        after = await _charged(client, model, before, deltas)
        lost = lost_between(before, after)
        if after is None or lost is None:
            said = f"the endpoint told no balance after request {len(deltas) + 1}"
            return _measured(client, model, deltas, len(deltas) + 1, said)
        deltas.append(lost)
        before = after
    return _measured(client, model, deltas, len(deltas), "")


def learned(deltas: Sequence[Credits]) -> int | None:
    """The price by the last two ``deltas``, if they are the same whole number from 1 to 5."""
    one, other = deltas[-2:] if len(deltas) > 1 else (None, None)
    return one if isinstance(one, int) and one == other and 1 <= one <= MOST_EACH else None


def _goes_on(deltas: Sequence[Credits]) -> bool:
    """Whether one more request is needed, and can be paid for out of what was agreed to."""
    if learned(deltas) is not None or len(deltas) >= MOST_REQUESTS:
        return False
    likely = max([MOST_EACH, *deltas[-1:]])
    return sum(max(0, delta) for delta in deltas) + likely <= MOST_CREDITS


async def _charged(client: Client, model: str, before: Credits, deltas: Sequence[Credits]) -> Credits | None:
    """The balance after one more request. Raises RunStopped."""
    nth = len(deltas) + 1
    messages = (Message("user", f"Reply with the number {nth}."),)  # each its own: a cached reply might cost nothing
    body = payload.encoder(model, {}, False)(messages)
    request = Request(nth, model, (Prompt(bytes(16), messages),), body, Price(1, MOST_EACH))
    try:
        judge(await client.send(request))
    except ApiFailure as failure:
        cost = "cost nothing" if failure.charge == "free" else f"may have cost up to {MOST_EACH} credits"
        raise _stopped(failure, f"request {nth} to {model} failed ({failure}) and {cost}", deltas) from None
    try:
        return await _settled(client, before)
    except ApiFailure as failure:
        cost = f"request {nth} to {model} was answered and charged, but the balance cannot be read: {failure}"
        raise _stopped(failure, cost, deltas) from None


async def _settled(client: Client, before: Credits) -> Credits | None:
    """The balance as soon as it is another than ``before``, or as it is after 2 s. Raises ApiFailure."""
    reading: Credits | None = before
    failed: ApiFailure | None = None
    for pause_s in (0.0, *PAUSES_S):
        await anyio.sleep(pause_s)
        try:
            reading, failed = await client.balance(), None
        except ApiFailure as failure:
            failed = failure
            continue
        if reading is not None and reading != before:
            return reading
    if failed is not None:
        raise failed
    return reading


def _stopped(failure: ApiFailure, said: str, deltas: Sequence[Credits]) -> RunStopped:
    earlier = f"; the account lost {_listed(deltas)} credits with the requests before it" if deltas else ""
    return STOPS.get(failure.stopped_by or "", Outage)(f"the price was not measured: {said}{earlier}")


def _measured(client: Client, model: str, deltas: Sequence[Credits], requests: int, trouble: str) -> Measured:
    credits = None if trouble else learned(deltas)
    took = f"the account lost {_listed(deltas)} credits with {_count(len(deltas), 'request')}"
    if credits is not None:
        message = f"{model} costs {_count(credits, 'credit')} a request: {took}"
    else:
        why = trouble or f"{took}, {_why_not(deltas)}"
        message = f"the price of {model} could not be measured: {why}; {_by_hand(model)}"
    return Measured(model, client.endpoint.provider, credits, tuple(deltas), requests, message)


def _why_not(deltas: Sequence[Credits]) -> str:
    if not any(deltas):
        return "so it charges late, or not at all"
    if any(one == other for one, other in pairwise(deltas)):
        return f"which is no whole number from 1 to {MOST_EACH} twice in a row"
    return "never the same twice in a row, so somebody else may be using the account"


def _listed(deltas: Sequence[Credits]) -> str:
    return ", ".join(map(number, deltas))


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _by_hand(model: str) -> str:
    return f"give it by hand with `credits: {{{model}: N}}` in the job or your config"
