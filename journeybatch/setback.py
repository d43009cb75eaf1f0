"""A failed attempt, as those see it who decide about the next ones."""

from __future__ import annotations

from typing import NamedTuple

from journeybatch.errors import ApiFailure
from journeybatch.records import Request


class Setback(NamedTuple):
    """A failed attempt: its stamp, when it began and ended, and how many others were in flight when it began."""

    stamp: int
    request: Request
    failure: ApiFailure
    began: float
    beside: int
    now: float

    @property
    def throttled(self) -> bool:
        return self.failure.then == "pause"

    @property
    def unsent(self) -> bool:
        """Whether nothing left the machine: connection refused, DNS, TLS."""
        failure = self.failure
        return failure.then == "retry" and failure.charge == "free" and failure.status is None
