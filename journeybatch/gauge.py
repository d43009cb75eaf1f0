"""How many requests a server can use at a time, found by asking it: the window of ``concurrency: auto``.

Two things tell. A server that refuses (429) says where its limit is. One that lets everybody wait says nothing, but
its latency does. By Little's law the rate of answers is the number in flight over the latency, so where twice as many
in flight bring no more answers, the latency has doubled, and all that was added is a queue. So the window is tried at
a size for some round trips and the rate of answers compared with that at the size before: the gradient of the latency
in the window, as in Netflix's concurrency-limits and Envoy's adaptive concurrency, but without a latency that has to
be remembered from better times: both sides of a comparison are minutes old at most.
"""

from __future__ import annotations

import math

from journeybatch.entries import Decided
from journeybatch.window import Window

FIRST = 8  # in flight at first
ROUNDS = 2  # round trips that a rate is taken over, after one in which the last size is still in flight
GAIN = 0.3  # of what the window grew by, so much must arrive as answers: under it, the rest is a queue
BOLD, SHY = 2.0, 1.05  # the largest and the smallest step, up and down
QUIET = 4  # rates taken before the next try, after a try that brought nothing
WORTH, MOST = 8.0, 20.0  # a refusal stops everybody for a while: so many times as long nothing is tried


class Gauge(Window):
    """A window that looks for its size between 1 and ``limit``.

    ``held`` is the size that has proven itself, None until one has. ``why`` tells what stopped its growth last.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.size = float(min(FIRST, limit))
        self.held: float | None = None
        self.why = "nothing stopped it"
        self._rate = 0.0  # answers per second at the size held
        self._step = BOLD
        self._down = True  # which way the last try went
        self._quiet = 0  # rates to take before the next try
        self._worth = WORTH
        self._until = -math.inf  # nothing is tried before
        self._refused_at: float | None = None  # when everybody began to wait
        self._seen = 0  # answers since the size was set
        self._since = 0.0  # when a rate began to be taken

    @property
    def found(self) -> Decided:
        """The size, and what it was that set it."""
        size = int(self.size)
        return Decided("concurrency", b"", size, f"the last size was {size} in flight: {self.why}", 0.0)

    def answered(self, now: float, in_flight: int) -> None:
        """One request was answered."""
        self._climb()
        if self.ramping or in_flight + 1 < int(self.size):  # it is not the window that holds requests back
            self._seen = 0
            return
        if self._refused_at is not None:
            self._until = now + self._worth * (now - self._refused_at)
            self._refused_at = None
        self._seen += 1
        first = math.ceil(self.size)
        if self._seen <= first:
            self._since = now
        elif self._seen >= (1 + ROUNDS) * first and now > self._since:
            self._judge((self._seen - first) / (now - self._since), now)
            self._seen = 0

    def resize(self, limit: int) -> None:
        """From now on at most ``limit``; whether more than so far are of use has yet to be found out."""
        self._limit = float(limit)
        self.size, self._seen = min(self.size, self._limit), 0
        if self.held is not None:
            self.held = min(self.held, self._limit)

    def shrink(self, now: float, in_flight: int) -> None:
        """The server throttled a request that came beside so many others: that is how many it bears."""
        as_before = self.held is not None and in_flight < self.held * SHY * SHY
        self._worth = min(MOST, 2 * self._worth) if as_before else WORTH
        trying = self.held is not None and self.size > self.held
        self.size = max(1.0, min(float(in_flight), self.size if trying else self.size * (2 - SHY)))
        self.held, self._step, self._down = None, SHY, True
        self.why = "the server refused more (429)"
        self._refused_at, self._seen = now, 0

    def _judge(self, rate: float, now: float) -> None:
        """Answers come at ``rate`` per second at the present size."""
        held = self.held
        if held is None or held == self.size:
            change = 1.0 if held is None else rate / self._rate
            self.held, self._rate = self.size, rate
            self._quiet -= 1
            if not 1 - GAIN < change < 1 / (1 - GAIN):  # then perhaps it is another size by now
                self._step = min(BOLD, change) if change > 1 else min(1 / change, self.size)
                self._try(down=change < 1)
            elif self._quiet < 0 and now >= self._until:
                self._try(down=not self._down)
        elif self._pays(rate, held):
            self.held, self._rate = self.size, rate
            self._step = min(BOLD, 1 + 3 * (self._step - 1))
            self._try(down=self._down)
        else:
            if not self._down:
                self.why = "more in flight brought no more answers"
            self.size, self._step, self._quiet = held, _shyer(self._step), QUIET

    def _pays(self, rate: float, held: float) -> bool:
        """Whether the size tried is better than the one held: a larger one brings more answers, a smaller one costs
        few."""
        gained = math.log(rate / self._rate)
        return gained > GAIN * math.log(self.size / held)

    def _try(self, *, down: bool) -> None:
        size = self.size / self._step if down else self.size * self._step
        size = min(size, self.size - 1) if down else max(size, self.size + 1)
        self.size, self._down = max(1.0, min(size, self._limit)), down
        if self.size == self.held:
            self._quiet = QUIET


def _shyer(step: float) -> float:
    return max(SHY, 1 + (step - 1) / 2)
