"""The deed: requests go out, replies come back, every end is written down. One task group, C lanes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import anyio
import anyio.lowlevel
import msgspec

from journeybatch.accounted import accounted
from journeybatch.attempts import FREE, UNKNOWN, Attempts
from journeybatch.canary import ALIKE
from journeybatch.client import Client
from journeybatch.concurrency import InFlight
from journeybatch.connection import balance_of
from journeybatch.deadline import GRACE_S as LAST_S
from journeybatch.ending import Ending
from journeybatch.entries import GivenUp, Split, Tuned
from journeybatch.errors import ApiFailure, DeadlinePassed, DiskFull, RunStopped, TooManyFailures
from journeybatch.farewell import end_after, watch_signals
from journeybatch.history import History
from journeybatch.journal import Journal
from journeybatch.lanes import Lanes, run_lanes
from journeybatch.ledger import Ledger
from journeybatch.limiter import Limiter, limited
from journeybatch.marker import keep_marked
from journeybatch.progress import Numbers, Screen, reported
from journeybatch.reading import PLAIN, Reader
from journeybatch.reconciliation import reconcile
from journeybatch.records import Request, Send
from journeybatch.retry import retrying
from journeybatch.sections import Limits, Retry
from journeybatch.tuning import Tuning, heed
from journeybatch.verdict import DECLINED, ERRORS, INVALID, MISSED, READABLE, REFUSED, UNFIT, Verdict

LATE_S = (0.0, 0.5, 1.5)
"""Waits before each reading of the balance at the end, as long as it lacks charges: 2 s in all."""

LOOK_S = 5.0
"""Between two looks at the clock on the wall, which may be set, or go on while the machine sleeps."""


class Terms(msgspec.Struct, frozen=True):
    """How requests are sent: what the spec says, the ``reader`` of replies, and the seed's ``rng``.

    ``asks_again``: what could not be read is asked again. ``climbs``: by model, but for the strongest, the verdicts
    after which a row is not done with.
    """

    concurrency: InFlight
    limits: Limits
    retry: Retry
    bills_errors: bool
    rng: random.Random
    reader: Reader = PLAIN
    asks_again: bool = False
    climbs: Mapping[str, frozenset[int]] = {}


class Dispatch:
    """One process's sending for one run. ``sharers`` maps a key to its number of rows, where that is not one.

    ``more`` tells that something which was asked is to be asked again, of the same model or of the next; ``rows``, once
    that many rows in a request proved too many for the endpoint, how many to try (None: no such news). While ``trial``
    is set, what is asked is asked to compare: no row is answered or fails by it. From ``until`` (Unix seconds) on
    nothing more is sent. ``chosen`` is the entry that says what counts once a wish is granted; without it, none is.
    Whoever wants to hear of attempts may ``observe`` them.
    """

    def __init__(
        self, journal: Journal, ledger: Ledger, numbers: Numbers, terms: Terms, sharers: dict[bytes, int]
    ) -> None:
        self.journal, self.ledger, self.numbers, self.terms = journal, ledger, numbers, terms
        self.lanes = Lanes(terms.concurrency.most)
        self.limiter = Limiter(terms.concurrency, requests_per_minute=terms.limits.requests_per_minute, rng=terms.rng)
        self.limiter.closing = ledger.close
        self.ending = Ending()
        self.more = False
        self.trial = False
        self.until: float | None = None
        self.chosen: Callable[[Tuning], Tuned] | None = None
        self.observe: Callable[[Send], Send] = lambda send: send
        self.rows: int | None = None
        self._too_large = 0  # packs rejected since the last success, in this round
        self._sharers = sharers
        self._over = False
        self._first = len(journal.history.attempts)
        self._began = (ledger.spent, ledger.unknown - _late(journal.history, time.time() - terms.retry.timeout_s))

    async def run(
        self,
        rounds: Iterator[Iterator[Request] | None],
        client: Client,
        *,
        screen: Screen,
        keep: Callable[[], None],
        signals: bool,
    ) -> Ending:
        """Send the requests of all ``rounds``, each begun when the one before is done, until they, the money, the
        endpoint or the user's patience end, and look at the account. In the place of a round, None lets everything
        else have its turn. Never raises for these: the ``Ending`` says which."""
        terms = self.terms
        stack = accounted(
            client.send,
            self.journal,
            self.ledger,
            reader=terms.reader,
            bills_errors=terms.bills_errors,
            transcript=self.ending.transcript,
        )
        retry, tried = terms.retry, limited(self.observe(stack), self.limiter)
        send = retrying(tried, attempts=retry.attempts, on_unknown=retry.on_unknown, rng=terms.rng)

        async def work(request: Request) -> None:
            try:
                completion = await send(request)
            except ApiFailure as failure:
                self._failed(request, failure)
                return
            self._too_large = 0
            if self.trial:
                return
            for prompt, verdict in zip(request.prompts, completion.verdicts, strict=True):
                self._read(request, prompt.key, verdict)

        async with anyio.create_task_group() as background:
            background.start_soon(self.journal.keep_synced)
            background.start_soon(keep_marked, self.journal)
            if self.chosen is not None:
                background.start_soon(heed, self.journal.path.parent, partial(self._tune, self.chosen, screen, keep))
            if signals:
                farewell = partial(watch_signals, self._wind_up, self.limiter)
                await background.start(farewell, screen, background.cancel_scope)
            if self.until is not None and (left_s := self.until - time.time()) > 0:
                background.start_soon(self._watch_clock, left_s, background.cancel_scope)
            elif self.until is not None:
                self._pass_deadline()
            keep()  # from here on no earlier run's summary may speak for this one, should it be killed
            async with reported(self.numbers, self.ledger, self.limiter, screen, keep):
                try:
                    for requests in rounds:
                        self._too_large = 0
                        if requests is None:
                            await anyio.lowlevel.checkpoint()
                        else:
                            await run_lanes(requests, work, lanes=self.lanes, stop=self._round_is_over)
                        if self._over:
                            break
                except RunStopped as stop:
                    self.ending.stop = stop
            if self.ending.signal is None:
                await self._reconcile(client)
            background.cancel_scope.cancel()
        self.ending.found = self.limiter.found
        return self.ending

    def _round_is_over(self) -> bool:
        return self._over or self._too_large >= ALIKE

    def _read(self, request: Request, key: bytes, verdict: Verdict) -> None:
        """Take in what a whole reply says to one prompt."""
        if verdict.code in (MISSED, UNFIT) or verdict.code in self.terms.climbs.get(request.model, ()):
            self.more = True
        elif verdict.code == INVALID and self.terms.asks_again:
            self.more = True
            self.numbers.invalid_here += 1
            self._check_failures(verdict.message)
        elif verdict.code in READABLE:
            self._finish(key, answered=True, refused=verdict.code == DECLINED)
        else:
            self._give_up([key], ERRORS[verdict.code], verdict.message)

    def _failed(self, request: Request, failure: ApiFailure) -> None:
        """Take in that a request came to nothing. What a pack could not have together is asked in smaller ones."""
        keys = [prompt.key for prompt in request.prompts]
        if self.trial:
            self.journal.write(Split(b"".join(keys), len(keys)))
            return
        policy = self.terms.retry.on_unknown
        in_doubt = failure.charge == "unknown" and failure.then != "reject"
        if in_doubt and policy == "hold":
            return  # its rows stay pending, in doubt
        if len(keys) > 1 and not (in_doubt and policy == "fail"):
            self.journal.write(Split(b"".join(keys), len(keys)))
            self.more = True
            if failure.then == "reject":
                self._too_large += 1
                if self._too_large == ALIKE:  # what is left of the round would fare no better
                    self.rows = len(keys) // 2
            return
        self._give_up(keys, "in_doubt" if in_doubt and policy == "fail" else failure.kind, str(failure))
        self.more = self.more or request.model in self.terms.climbs

    def _give_up(self, keys: list[bytes], error: str, message: str) -> None:
        self.journal.write(GivenUp(b"".join(keys), error, message, time.time()))
        for key in keys:
            self._finish(key, answered=False, refused=error == ERRORS[REFUSED])
        self._check_failures(message)

    def _check_failures(self, message: str) -> None:
        limit, numbers = self.terms.limits.failures, self.numbers
        failed, done = (count + numbers.invalid_here for count in (numbers.failed_here, numbers.done_here))
        if limit.passed(failed, done):
            raise TooManyFailures(
                f"{failed} of {done} rows failed, over limits.failures ({limit}); the last one with: {message}"
            )

    def _finish(self, key: bytes, *, answered: bool, refused: bool) -> None:
        rows = self._sharers.get(key, 1)
        numbers = self.numbers
        numbers.done_here += rows
        numbers.refused += rows * refused
        if answered:
            numbers.answered += rows
            numbers.reused += rows - 1
        else:
            numbers.failed += rows
            numbers.failed_here += rows

    async def _tune(
        self, chosen: Callable[[Tuning], Tuned], screen: Screen, keep: Callable[[], None], wish: Tuning
    ) -> None:
        """Grant a wish of the user's: it is written down for good, and then it counts."""
        if self._over:
            return
        entry = chosen(wish)
        try:
            self.journal.write(entry)
            await self.journal.durable()
        except DiskFull:
            return  # which stops the run
        self.limiter.resize(entry.concurrency)
        self.lanes.widen(entry.concurrency)
        self.ledger.recap(entry.credits)
        screen.line(f"tuned: {Tuning(entry.concurrency, entry.credits)}")
        keep()

    async def _reconcile(self, client: Client) -> None:
        """Compare what the account lost with what this process wrote into the ledger."""
        ending, ledger = self.ending, self.ledger
        spent, unknown = ledger.spent - self._began[0], ledger.unknown - self._began[1]
        models, free = _asked(self.journal.history.attempts, self._first)
        for pause_s in LATE_S:
            await anyio.sleep(pause_s)
            ending.balance_after = None if ending.balance_before is None else await balance_of(client)
            found = reconcile(
                ending.balance_before, ending.balance_after, spent, unknown, models=models or ("MODEL",), free=free
            )
            ending.reconciliation = found
            if found.verdict != "less":
                return

    def _wind_up(self, number: int) -> None:
        """A signal came: nothing new is sent."""
        self.ending.signal, self._over = number, True
        self.limiter.drain()

    async def _watch_clock(self, left_s: float, scope: anyio.CancelScope) -> None:
        """At the deadline dispatching stops; what is in flight is paid for and gets a grace."""
        while left_s > 0:
            await anyio.sleep(min(left_s, LOOK_S))
            left_s = (self.until or 0.0) - time.time()
        self._pass_deadline()
        await end_after(LAST_S, scope)

    def _pass_deadline(self) -> None:
        told = f"it is past limits.deadline ({self.terms.limits.deadline}); the next run carries on"
        self.ending.stop, self._over = DeadlinePassed(told), True
        self.limiter.drain()


def _asked(attempts: Attempts, first: int) -> tuple[tuple[str, ...], int]:
    """The models that attempts from number ``first`` on were sent to, and how many answers to these were free."""
    import polars as pl

    models: set[str] = set()
    free = 0
    for part in attempts.tables(first):
        models.update(part["model"].unique())
        free += part.filter(pl.col("charge") == FREE, pl.col("status") > 0).height
    return tuple(sorted(models)), free


def _late(history: History, since: float) -> int:
    """Credits that attempts in doubt may yet be charged, since a process before this one began them after ``since``
    (Unix seconds)."""
    a, credits = history.attempts, 0
    for i in range(len(a) - 1, -1, -1):
        if a.at[i] < since:
            break
        credits += a.credits_max[i] if a.charge[i] == UNKNOWN else 0
    return credits
