"""What the first requests tell: one goes alone before all others, another kind of server is not asked for long, and
rows rejected alike stop the run."""

from __future__ import annotations

from journeybatch.errors import ApiFailure, Outage, RunStopped, TooManyFailures, WrongEndpoint

ALIKE = 20  # rejections of one kind in a row that stop the run
FOREIGN = 3  # replies that are none, before the first that is one: it is another kind of server


class Canary:
    """The first request goes alone; ``landed`` once its end is known. After a reply of another kind of server (which a
    server of this kind may send once, when it is ill) the next one goes alone, too."""

    def __init__(self) -> None:
        self.landed = False
        self._stamp = 0
        self._foreign = 0

    @property
    def flying(self) -> bool:
        """Whether the others have to wait for it."""
        return bool(self._stamp) and not self.landed

    def fly(self, stamp: int) -> None:
        """An attempt starts; the first one is the canary."""
        self._stamp = self._stamp or stamp

    def failed(self, failure: ApiFailure, *, unsent: bool) -> RunStopped | None:
        """Its attempt failed. The reason to stop the run, if it is one."""
        if unsent:
            return Outage(f"the endpoint cannot be reached, nothing was sent: {failure}")
        if not failure.foreign:
            self.landed = True
            return None
        self._stamp, self._foreign = 0, self._foreign + 1
        if self._foreign < FOREIGN:
            return None
        return WrongEndpoint(f"this is no such API, or its base URL is another: {failure}")

    def lost(self, stamp: int) -> None:
        """The attempt was cancelled; the next one goes alone in its place."""
        if stamp == self._stamp and not self.landed:
            self._stamp = 0


class Rejections:
    """Rows rejected alike (same status, same kind) since the last success."""

    def __init__(self) -> None:
        self._last: tuple[int | None, str] | None = None
        self._times = 0

    def clear(self) -> None:
        """A request succeeded."""
        self._times = 0

    def another(self, failure: ApiFailure) -> TooManyFailures | None:
        """A row was rejected. The reason to stop if that makes 20 alike in a row."""
        this = failure.status, failure.kind
        self._times = self._times + 1 if this == self._last else 1
        self._last = this
        if self._times < ALIKE:
            return None
        return TooManyFailures(f"{ALIKE} rows in a row were rejected alike, the last one with: {failure}")
