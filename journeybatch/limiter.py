"""Who may send now: requests per minute, adaptive concurrency, pauses, the breaker, the canary.

Each of these is a noun of its own that decides; here they are asked in turn. Admission is a decision without waiting
whenever it can be; all waiting is in ``turns``. Every admission gets a stamp that counts up, which tells late news
from fresh: what began before the breaker last changed says nothing about now.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from journeybatch.breaker import Breaker
from journeybatch.canary import Canary, Rejections
from journeybatch.concurrency import InFlight
from journeybatch.entries import Decided
from journeybatch.errors import STOPS, ApiFailure, JourneybatchError, Outage, RunStopped, WorkerLost
from journeybatch.gauge import Gauge
from journeybatch.loops import clock
from journeybatch.pace import Pace
from journeybatch.pause import ABSURD_S, Pause
from journeybatch.records import Completion, Request, Send
from journeybatch.setback import Setback
from journeybatch.turns import Drained, Turns
from journeybatch.window import Window
from journeybatch.wish import exhausted_s

RAMP_FROM, RAMP_S = 2, 60.0  # starts after an outage, and how long a failure on that ramp is still blamed on it
FIRST_ROUND = 20  # starts after a canary that failed: what the breaker needs to judge by
NEVER = float("inf")


class Limiter:
    """Admission for one run, at most ``concurrency`` at a time. ``closing`` hears why nobody is let in any more."""

    def __init__(self, concurrency: InFlight, *, requests_per_minute: int | None = None, rng: random.Random) -> None:
        self._clock = clock()
        self._limit = concurrency.most
        self._window = Gauge(self._limit) if concurrency.auto else Window(self._limit)
        self._breaker = Breaker(several=max(3, min(8, self._limit)))
        self._pace = Pace(requests_per_minute) if requests_per_minute else None
        self._pause = Pause(rng)
        self._canary = Canary()
        self._rejections = Rejections()
        self._turns = Turns(self)
        self._begun: dict[int, tuple[float, int]] = {}  # in flight: stamp → when it began, beside how many others
        self._stamp = 0
        self._since = 0  # what began up to here is from before the breaker last changed
        self._fresh = 0  # in flight and begun later: only these fill the window; idle while the breaker is open
        self._succeeded = False
        self._ramp_until = 0.0
        self._closed = False
        self.closing: Callable[[Callable[[], Exception]], None] = lambda _: None
        self._free = False  # nothing but the window has to be asked

    @property
    def in_flight(self) -> int:
        """Attempts that were admitted and have not ended; exact at any time."""
        return len(self._begun)

    @property
    def window(self) -> int:
        """How many may be in flight now, from 1 to ``concurrency``."""
        return 1 if self._breaker.open else int(self._window.size)

    @property
    def open(self) -> bool:
        """Whether the breaker is: one probe a minute."""
        return self._breaker.open

    @property
    def paused_until(self) -> float | None:
        """The end of the pause, in seconds of the loop's clock; it may have passed."""
        return self._pause.until

    @property
    def found(self) -> Decided | None:
        """How many requests at a time the endpoint has turned out to have a use for, where that was looked for."""
        return self._window.found

    # -- the door

    def enter(self) -> int:
        """Admit one request if that needs no waiting: its stamp, or 0."""
        if self._free:
            if len(self._begun) >= self._limit or not self._window.admits(self._fresh):
                return 0
            return self._start(self._clock())
        if self._closed or len(self._turns):
            return 0
        now = self._clock()
        return self.admit(now) if self.due(now) <= now else 0

    async def turn(self, attempt: int) -> int:
        """Wait until a request on its ``attempt``-th attempt is admitted; its stamp.

        Raises ``Drained`` after ``drain``, and after the end of the run the ``RunStopped`` that ended it.
        """
        return await self._turns.wait(attempt)

    def due(self, now: float) -> float:
        """When the next request may start; ``inf`` when that hangs on an outcome and not on the clock."""
        if len(self._begun) >= self._limit or self._canary.flying:
            return NEVER
        start = now if self._pause.over(now) or self._pause.until is None else self._pause.until
        if self._breaker.open:
            start = max(start, self._breaker.probe_at)
        elif not self._window.admits(self._fresh):
            return NEVER
        return start if self._pace is None else max(start, self._pace.due())

    def admit(self, now: float) -> int:
        """One request starts; its stamp."""
        if self._pace is not None:
            self._pace.start(now)
        if self._breaker.open:
            self._breaker.probe(now)
        stamp = self._start(now)
        self._canary.fly(stamp)
        self._look()
        return stamp

    def probing(self) -> bool:
        """Whether the next one to start is a probe: nobody knows yet whether anybody is let in again."""
        return self._breaker.open or self._pause.fruitless

    def drain(self) -> None:
        """Admit nobody any more. Whoever waits, or comes, gets ``Drained``; what is in flight goes on."""
        self._close(Drained("not sent: the run is being wound up"))

    def resize(self, limit: int) -> None:
        """From now on at most ``limit`` in flight; what is beyond it may end."""
        self._limit = limit
        self._window.resize(limit)
        self._turns.call(self._clock())

    # -- how an attempt ends: one of these four, once

    def succeeded(self, stamp: int, request: Request, wish_s: float | None = None) -> None:
        """It brought a completion, and perhaps the news that for ``wish_s`` seconds no more requests are allowed."""
        now = self._clock()
        if wish_s:
            self._pause.extend(now + min(wish_s, ABSURD_S))
            self._look()
        self._leave(stamp)
        self._succeeded = True
        self._rejections.clear()
        self._answered(stamp, request, now)
        self._turns.call(now)

    def failed(self, stamp: int, request: Request, failure: ApiFailure) -> RunStopped | None:
        """It failed: the reason to stop the run, if it is one. May change the failure's ``then`` and ``counted``."""
        now = self._clock()
        stop = self._judge(Setback(stamp, request, failure, *self._leave(stamp), now))
        if stop is not None:
            self._close(stop)
        self._look()
        self._turns.call(now)
        return stop

    def halt(self, stamp: int, stop: RunStopped) -> None:
        """It ended the run; nobody is admitted from here on."""
        self._leave(stamp)
        self._close(stop)

    def release(self, stamp: int) -> None:
        """It ended without an outcome: cancelled, by an error of our own, or with the worker that made it."""
        self._leave(stamp)
        self._window.failed()
        self._canary.lost(stamp)
        self._turns.call(self._clock())

    # -- what it means

    def _judge(self, setback: Setback) -> RunStopped | None:
        failure = setback.failure
        if failure.status == 403 and self._succeeded:  # the key is good, it is this row that is refused
            failure.then = "reject"
        if failure.then == "stop":
            return STOPS[failure.stopped_by or "endpoint"](str(failure))
        if failure.then == "reject":
            self._answered(setback.stamp, setback.request, setback.now)
            return None if len(setback.request.prompts) > 1 else self._rejections.another(failure)
        if not self._canary.landed:
            stop = self._canary.failed(failure, unsent=setback.unsent)
            if stop is not None or not self._canary.landed:
                return stop
            self._window.ramp(FIRST_ROUND)
        self._window.failed()
        news = not setback.throttled or self._throttled(setback)
        if setback.stamp <= self._since:
            failure.counted = False
            return None
        return self._endured(setback, news)

    def _throttled(self, setback: Setback) -> bool:
        """Everybody pauses, and one at a time comes back. Whether that is news."""
        wish = setback.failure.retry_after_s
        news = self._pause.asked(setback.now, wish, setback.stamp, self._stamp)
        if news:
            self._window.ramp(1)
            if not self._breaker.open:
                self._window.shrink(setback.now, setback.beside)
        return news

    def _endured(self, setback: Setback, news: bool) -> RunStopped | None:
        """A failure that may befall any request: is it this one's own, the endpoint's, or the end?"""
        stamp, request, failure, _, _, now = setback
        overdue, breaker = self._overdue(setback), self._breaker
        opened = breaker.failed(now, stamp, request, overdue=overdue, throttled=setback.throttled, news=news)
        if failure.retry_after_s is not None:
            breaker.hurry(now, failure.retry_after_s)
        on_ramp = now < self._ramp_until and self._window.ramping
        failure.counted = not (setback.unsent or breaker.open or breaker.systemic or on_ramp)
        if opened:
            self._since = breaker.streak.first
            if not self._succeeded:
                return Outage(f"not one request has succeeded; the last one failed with: {failure}")
        if breaker.hopeless(now):
            return Outage(f"no answer in four hours; the last probe failed with: {failure}")
        return None

    def _overdue(self, setback: Setback) -> int:
        """How many began after the streak's first failure and have outlived what this one's failure took."""
        first = self._breaker.streak.first
        before = setback.now - 1.5 * (setback.now - setback.began)
        return sum(first < stamp and began < before for stamp, (began, _) in self._begun.items()) if first else 0

    def _answered(self, stamp: int, request: Request, now: float) -> None:
        """The endpoint works."""
        if not self._canary.landed:
            self._canary.landed = True
            self._look()
        self._pause.answered(stamp)
        if stamp > self._since:
            closes = self._breaker.open
            self._breaker.answered(now, stamp, request)
            if closes:
                self._revived(now)
        if self._pause.until is None or self._pause.over(now):
            self._window.answered(now, self._fresh)
        else:
            self._window.failed()  # what comes in while everybody pauses must not earn a rush after it

    def _revived(self, now: float) -> None:
        self._since, self._fresh = self._stamp, 0
        self._window.ramp(RAMP_FROM)
        self._ramp_until = now + RAMP_S
        self._look()

    # -- bookkeeping

    def _start(self, now: float) -> int:
        self._stamp += 1
        self._begun[self._stamp] = (now, self._fresh)
        self._fresh += 1
        self._window.start()
        return self._stamp

    def _leave(self, stamp: int) -> tuple[float, int]:
        if stamp > self._since:
            self._fresh -= 1
        return self._begun.pop(stamp)

    def _close(self, reason: JourneybatchError) -> None:
        self._closed = True
        self._look()
        self._turns.close(again := lambda: type(reason)(*reason.args))
        self.closing(again)

    def _look(self) -> None:
        quiet = self._pause.until is None and not self._breaker.open and self._pace is None
        self._free = quiet and self._canary.landed and not self._closed


def limited(send: Send, limiter: Limiter) -> Send:
    """``send``, admitted by ``limiter`` and telling it how it ended. Raises the ``ApiFailure`` of the attempt, or a
    ``RunStopped`` where the failure is a reason to stop."""

    async def admitted(request: Request) -> Completion:
        stamp = limiter.enter() or await limiter.turn(request.attempt)
        try:
            completion = await send(request)
        except WorkerLost:
            limiter.release(stamp)
            raise
        except ApiFailure as failure:
            if (stop := limiter.failed(stamp, request, failure)) is None:
                raise
            raise stop from failure
        except RunStopped as stop:
            limiter.halt(stamp, stop)
            raise
        except BaseException:
            limiter.release(stamp)
            raise
        limiter.succeeded(stamp, request, exhausted_s(completion.headers))
        return completion

    return admitted
