"""How many requests may be in flight: fewer when the server throttles, more again while it answers.

Additive increase, multiplicative decrease, as TCP does it. After trouble there is a ramp as well: a few requests
try the water, and every success lets in two more, so that a server which is not back yet is asked a handful of times
and one that is gets the full window within a few round trips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from journeybatch.entries import Decided

SHRINK = 0.7
UNLIMITED = float("inf")


class Window:
    """A number of requests, ``1 <= size <= limit``; it starts at the limit, without a ramp."""

    def __init__(self, limit: int) -> None:
        self.size = float(limit)
        self._limit = float(limit)
        self._credit = UNLIMITED  # starts that the ramp still allows
        self._calm = 0.0  # rounds of successes since the server last throttled

    @property
    def found(self) -> Decided | None:
        """What size was found for it; none, where nobody looked for one."""
        return None

    @property
    def ramping(self) -> bool:
        return self._credit < UNLIMITED

    def admits(self, in_flight: int) -> bool:
        """Whether one more may start beside ``in_flight`` others."""
        return in_flight + 1 <= self.size and self._credit >= 1

    def start(self) -> None:
        """One request starts."""
        self._credit -= 1

    def failed(self) -> None:
        """One request was not answered; the ramp goes on all the same, with one at a time."""
        self._credit = max(1.0, self._credit)

    def answered(self, now: float, in_flight: int) -> None:
        """One request was answered at ``now``, and so many others were in flight."""
        if self._credit < UNLIMITED:
            self._climb()
        if self.size < self._limit:
            # The longer nothing was throttled the larger the steps: 1, 2, 3, … a round.
            self._calm += 1 / self.size
            self.size = min(self._limit, self.size + (1 + self._calm) / self.size)

    def shrink(self, now: float, in_flight: int) -> None:
        """The server throttled a request that had begun beside so many others in flight."""
        self.size = max(1.0, self.size * SHRINK)
        self._calm = 0.0

    def resize(self, limit: int) -> None:
        """From now on at most ``limit``; a window that was full is full again at once, without a ramp."""
        self.size = float(limit) if self.size >= self._limit else min(self.size, float(limit))
        self._limit = float(limit)

    def ramp(self, start: int) -> None:
        """Let in ``start`` requests and then two for every answer."""
        self._credit = float(start)

    def _climb(self) -> None:
        if self.ramping:
            self._credit = self._credit + 2 if self._credit + 2 < self.size else UNLIMITED
