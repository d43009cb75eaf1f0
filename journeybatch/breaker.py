"""When to stop asking an endpoint that fails everybody, and when to try it again."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from journeybatch.records import Request

MEMORY_S = 30  # outcomes older than this say nothing about now
ENOUGH = 20  # attempts it takes to judge by
PROBE_S = 60.0
HOPELESS_S = 4 * 3600.0


@dataclass
class Streak:
    """Failures with no answer among them to anything that began after the first of them did.

    Answers to what began earlier do not end it: an endpoint that dies now still finishes what it had begun. Requests
    that had failed before it do not lengthen it: at a job's end those that always fail are all that is left.
    """

    first: int = 0  # the stamp of the first attempt that failed, 0 for none
    length: int = 0
    suspects: set[int] = field(default_factory=set)  # ids of the requests that failed


class Breaker:
    """Open means that requests wait, but for one probe a minute.

    It opens when of the requests first tried in the last 30 seconds, being at least 20, fewer than half succeeded,
    or after a streak of 20 failures. Whoever is ``overdue`` (still in flight long after such a failure would have
    come back) counts for the endpoint. One answer closes it. ``several`` is the number of different requests in a
    streak from which on a failure is taken for the endpoint's and not the request's own. Times are seconds of the
    loop's clock, handed in; stamps count attempts in the order they began.
    """

    def __init__(self, several: int) -> None:
        self.open = False
        self.systemic = False
        self.probe_at = 0.0
        self.streak = Streak()
        self._several = several
        self._opened_at = 0.0
        self._hurried = 0
        self._seconds: deque[list[int]] = deque()  # [second, answers, failures] of the last 30 s
        self._second_ends = -math.inf
        self._answers = self._failures = 0

    def answered(self, now: float, stamp: int, request: Request) -> None:
        """An attempt brought an answer, be it a refusal of the row: the endpoint works."""
        if self.open:
            self.open = False
            self._hurried = self._answers = self._failures = 0
            self._seconds.clear()
            self._second_ends = -math.inf
        if request.attempt == 1:
            if now >= self._second_ends:
                self._next_second(now)
            self._seconds[-1][1] += 1
            self._answers += 1
        if self.streak.first and stamp > self.streak.first:
            self.streak = Streak()
            self.systemic = False

    def failed(
        self, now: float, stamp: int, request: Request, *, overdue: int, throttled: bool = False, news: bool = True
    ) -> bool:
        """An attempt failed in a way that may befall any request. True when that opens the breaker.

        What was only ``throttled`` counts for the streak, not for the half: a server that answers as many as it
        can and turns the others away is not broken. If it is no ``news`` it only adds a suspect, else it counts
        double, since a pause went before it.
        """
        if self.open:
            return False
        first, streak = request.attempt == 1, self.streak
        if first and not throttled:
            if now >= self._second_ends:
                self._next_second(now)
            self._seconds[-1][2] += 1
            self._failures += 1
        streak.first = streak.first or stamp
        if first:
            streak.suspects.add(request.id)
        if news and request.id in streak.suspects:
            streak.length += 2 if throttled else 1
        in_a_row = overdue <= max(streak.length, len(streak.suspects))
        self.systemic = in_a_row and len(streak.suspects) >= self._several
        seen = self._answers + self._failures
        few = seen >= ENOUGH and 2 * (self._answers + overdue) < seen + overdue
        if few or (in_a_row and streak.length >= ENOUGH):
            self.open = True
            self._opened_at = now
            self.probe_at = now + PROBE_S
        return self.open

    def probe(self, now: float) -> None:
        """A probe starts; the next one is due in a minute whether or not this one comes back."""
        self.probe_at = now + PROBE_S

    def hurry(self, now: float, retry_after_s: float) -> None:
        """The server wishes to be asked again sooner than in a minute."""
        # Believed at 1, 2, 4, … s: who says "in a second" for three hours must not be asked ten thousand times.
        wish = now + max(retry_after_s, 2.0**self._hurried)
        if self.open and wish < self.probe_at:
            self.probe_at = wish
            self._hurried += 1

    def hopeless(self, now: float) -> bool:
        """Whether it has been open for four hours on end."""
        return self.open and now - self._opened_at >= HOPELESS_S

    def _next_second(self, now: float) -> None:
        second = math.floor(now)
        self._second_ends = second + 1.0
        while self._seconds and self._seconds[0][0] <= second - MEMORY_S:
            _, answers, failures = self._seconds.popleft()
            self._answers -= answers
            self._failures -= failures
        self._seconds.append([second, 0, 0])
