"""Which failures deserve another attempt, and when."""

from __future__ import annotations

import random
from typing import Literal

import anyio
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from journeybatch.errors import ApiFailure
from journeybatch.records import Completion, Request, Send

BASE_S = 0.5
CAP_S = 30.0
LONGEST_WISH_S = 900.0  # what a server may ask for in Retry-After before we think it absurd

OnUnknown = Literal["retry", "hold", "fail"]


class Patience:
    """One request's attempts: how many of its failures counted, and how long to wait before the next."""

    def __init__(self, attempts: int, rng: random.Random) -> None:
        self._attempts = attempts
        self._rng = rng
        self._spent = 0

    def wait(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: exponential with full jitter, never less than the server asked for."""
        failure = _failure(state)
        if failure.then == "pause":
            return 0.0  # the limiter holds everyone back; waiting there, this request keeps its place in front
        jittered = self._rng.random() * min(CAP_S, BASE_S * 2.0**self._spent)
        return max(jittered, min(failure.retry_after_s or 0.0, LONGEST_WISH_S))

    def stop(self, state: RetryCallState) -> bool:
        """Whether the attempts are used up; asked once for every failure."""
        self._spent += _failure(state).counted
        return self._spent >= self._attempts


def retrying(send: Send, *, attempts: int, on_unknown: OnUnknown, rng: random.Random) -> Send:
    """``send``, tried again after failures that deserve it.

    At most ``attempts`` failures that count are borne (those with ``counted`` False are the endpoint's, not the
    request's); then the last ``ApiFailure`` is raised as it is. Each further attempt is the same request with
    ``attempt`` one higher. A failure that may have cost something is retried only if ``on_unknown`` is "retry".
    ``RunStopped``, rejections and cancellation pass through at once.
    """

    def deserves(error: BaseException) -> bool:
        return (
            isinstance(error, ApiFailure)
            and error.then in ("retry", "pause")
            and (error.charge != "unknown" or on_unknown == "retry")
        )

    async def sent_again(request: Request, failure: ApiFailure) -> Completion:
        patience = Patience(attempts, rng)
        number = request.attempt - 1

        async def attempt() -> Completion:
            nonlocal number
            number += 1
            if number == request.attempt:
                raise failure  # the first attempt is over; tenacity only has to hear how it ended
            return await send(msgspec.structs.replace(request, attempt=number))

        again = AsyncRetrying(
            sleep=anyio.sleep,
            stop=patience.stop,
            wait=patience.wait,
            retry=retry_if_exception(deserves),
            reraise=True,
        )
        return await again(attempt)

    async def patient(request: Request) -> Completion:
        # Entering tenacity costs 60 µs, so only those who need it do.
        try:
            return await send(request)
        except ApiFailure as first:
            if not deserves(first):
                raise
            failure = first
        return await sent_again(request, failure)

    return patient


def _failure(state: RetryCallState) -> ApiFailure:
    error = state.outcome and state.outcome.exception()
    if not isinstance(error, ApiFailure):  # only failures that deserve another attempt get this far
        raise TypeError(f"asked to wait after {error!r}")
    return error
