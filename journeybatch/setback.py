"""A failed attempt, as those look at it who decide what it means for all the others."""

from __future__ import annotations

from typing import NamedTuple

from journeybatch.errors import ApiFailure
from journeybatch.records import Request


class Setback(NamedTuple):
    """A failed attempt: its stamp, when it began and ended."""

    stamp: int
    request: Request
    failure: ApiFailure
    began: float
    now: float

    @property
    def throttled(self) -> bool:
        return self.failure.then == "pause"

    @property
    def unsent(self) -> bool:
        """Whether nothing left the machine: connection refused, DNS, TLS."""
        failure = self.failure
        return failure.then == "retry" and failure.charge == "free" and failure.status is None
