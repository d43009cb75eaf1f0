"""Requests per minute: when the next request may start.

Two rules, the later of both counts. The log of the last N starts makes the law exact: in any minute at most N
requests start. The even spacing keeps that from being N at once and then a minute of nothing.
"""

from __future__ import annotations

from collections import deque

# A quarter of a second over the minute: requests reach the wire a little after they were admitted, not all
# equally late, and the server's minute is counted at its own door.
MINUTE = 60.25

# How far the even spacing may catch up, in seconds, when a timer rang late.
LATENESS = 0.05


class Pace:
    """At most ``per_minute`` starts in any 60 seconds, evenly spaced."""

    def __init__(self, per_minute: int) -> None:
        self._spacing = MINUTE / per_minute
        self._next = float("-inf")
        self._starts: deque[float] = deque(maxlen=per_minute)

    def due(self) -> float:
        """The earliest time, in seconds of the loop's clock, at which the next request may start."""
        if len(self._starts) < (self._starts.maxlen or 0):
            return self._next
        return max(self._next, self._starts[0] + MINUTE)

    def start(self, now: float) -> None:
        """One request starts."""
        self._starts.append(now)
        self._next = max(self._next, now - LATENESS) + self._spacing
