"""The deed: requests go out, replies come back, every end is written down. One task group, C lanes."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import anyio.abc
import httpx
import msgspec

from journeybatch.accounted import accounted, shortcoming
from journeybatch.client import Client, Endpoint
from journeybatch.entries import GivenUp
from journeybatch.errors import ApiFailure, RunStopped, TooManyFailures
from journeybatch.journal import Journal
from journeybatch.lanes import run_lanes
from journeybatch.ledger import Ledger
from journeybatch.limiter import Limiter, limited
from journeybatch.progress import Numbers, Screen, reported
from journeybatch.records import Request
from journeybatch.retry import retrying
from journeybatch.sections import Limits, Retry

GRACE_S = 8.0
BALANCE_S = 10.0
SIGNALS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)) if number)


class Terms(msgspec.Struct, frozen=True):
    """How requests are sent: what the spec says, and the seed's ``rng``."""

    concurrency: int
    limits: Limits
    retry: Retry
    bills_errors: bool
    rng: random.Random


class Ending(msgspec.Struct):
    """How dispatching ended: stopped for a reason, by a signal number, or neither; and the account's balances."""

    stop: RunStopped | None = None
    signal: int | None = None
    balance_before: int | None = None
    balance_after: int | None = None


class Dispatch:
    """One process's sending for one run. ``sharers`` maps a key to its number of rows, where that is not one."""

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        numbers: Numbers,
        terms: Terms,
        sharers: dict[bytes, int],
    ) -> None:
        per_minute = terms.limits.requests_per_minute
        self.journal, self.ledger, self.numbers, self.terms = journal, ledger, numbers, terms
        self.limiter = Limiter(terms.concurrency, requests_per_minute=per_minute, rng=terms.rng)
        self.ending = Ending()
        self._sharers = sharers
        self._over = False

    async def run(
        self,
        requests: Iterator[Request],
        client: Client,
        *,
        screen: Screen,
        keep: Callable[[], None],
        signals: bool,
    ) -> Ending:
        """Send ``requests`` until they, the money, the endpoint or the user's patience end. Never raises for these:
        the ``Ending`` says which."""
        stack = accounted(client.send, self.journal, self.ledger, bills_errors=self.terms.bills_errors)
        retry = self.terms.retry
        send = retrying(
            limited(stack, self.limiter), attempts=retry.attempts, on_unknown=retry.on_unknown, rng=self.terms.rng
        )

        async def work(request: Request) -> None:
            try:
                completion = await send(request)
            except ApiFailure as failure:
                self._failed(request, failure)
                return
            reply = completion.reply
            lack = shortcoming(reply) if reply else None
            if reply is not None and lack is not None:
                self._give_up(request, lack, reply.refusal or "")
            else:
                self._finish(request, answered=True)

        async with anyio.create_task_group() as background:
            background.start_soon(self.journal.keep_synced)
            if signals:
                await background.start(self._watch_signals, background.cancel_scope)
            keep()  # from here on no earlier run's summary may speak for this one, should it be killed
            self.ending.balance_before = await self._balance(client)
            keep()
            async with reported(self.numbers, self.ledger, self.limiter, screen, keep):
                try:
                    await run_lanes(requests, work, lanes=self.terms.concurrency, stop=lambda: self._over)
                except RunStopped as stop:
                    self.ending.stop = stop
            if self.ending.signal is None and self.ending.balance_before is not None:
                self.ending.balance_after = await self._balance(client)
            background.cancel_scope.cancel()
        return self.ending

    def _failed(self, request: Request, failure: ApiFailure) -> None:
        policy = self.terms.retry.on_unknown
        if failure.charge == "unknown" and failure.then != "reject" and policy == "hold":
            return  # its rows stay pending, in doubt
        in_doubt = failure.charge == "unknown" and failure.then != "reject" and policy == "fail"
        self._give_up(request, "in_doubt" if in_doubt else failure.kind, str(failure))

    def _give_up(self, request: Request, error: str, message: str) -> None:
        keys = b"".join(prompt.key for prompt in request.prompts)
        self.journal.write(GivenUp(keys, error, message, time.time()))
        self._finish(request, answered=False)
        limit, numbers = self.terms.limits.failures, self.numbers
        if limit.passed(numbers.failed_here, numbers.done_here):
            raise TooManyFailures(
                f"{numbers.failed_here} of {numbers.done_here} rows failed, over limits.failures ({limit}); "
                f"the last one with: {message}"
            )

    def _finish(self, request: Request, *, answered: bool) -> None:
        rows = sum(self._sharers.get(prompt.key, 1) for prompt in request.prompts)
        numbers = self.numbers
        numbers.done_here += rows
        if answered:
            numbers.answered += rows
            numbers.reused += rows - len(request.prompts)
        else:
            numbers.failed += rows
            numbers.failed_here += rows

    async def _balance(self, client: Client) -> int | None:
        """The account's balance, where it can be had quickly: it is worth knowing and never worth a stop."""
        with anyio.move_on_after(BALANCE_S):
            try:
                return await client.balance()
            except (ApiFailure, RunStopped):
                return None
        return None

    async def _watch_signals(
        self, scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """The first signal stops dispatching and gives what is in flight a grace; the second ends it at once."""
        async with anyio.create_task_group() as tasks:
            with anyio.open_signal_receiver(*SIGNALS) as arriving:
                task_status.started()
                async for number in arriving:
                    if self.ending.signal is not None:
                        scope.cancel()
                        return
                    self.ending.signal = int(number)
                    self._over = True
                    self.limiter.drain()
                    tasks.start_soon(_end_after, GRACE_S, scope)


async def _end_after(seconds: float, scope: anyio.CancelScope) -> None:
    await anyio.sleep(seconds)
    scope.cancel()


@asynccontextmanager
async def connected(
    endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None, timeout_s: float, proxy: str | None
) -> AsyncIterator[Client]:
    """A client over ``transport``, or over lanes of our own (through ``proxy``, over httpx's)."""
    from journeybatch.transport import LaneTransport

    if transport is None:
        transport = LaneTransport() if proxy is None else httpx.AsyncHTTPTransport(proxy=proxy, trust_env=False)
    async with AsyncExitStack() as stack:
        client = Client(transport, endpoint, timeout_s=timeout_s)
        stack.push_async_callback(client.aclose)
        yield client
