"""n at a time, pulled, never queued."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import anyio

from journeybatch.errors import Outage, RunStopped
from journeybatch.records import Request
from journeybatch.turns import Drained


class Lanes:
    """How many lanes there are, at least; more may be opened while they are at work."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._open: Callable[[], None] | None = None

    def widen(self, number: int) -> None:
        """From now on ``number`` lanes, if there are fewer: at once, where any are at work."""
        self.number = max(self.number, number)
        if self._open is not None:
            self._open()

    def begin(self, start: Callable[[], object]) -> None:
        """Call ``start`` for each lane there is, and for each that comes to be before the first one ends."""
        begun = 0

        def open_all() -> None:
            nonlocal begun
            while begun < self.number:
                begun += 1
                start()

        self._open = open_all
        open_all()

    def end(self) -> None:
        """A lane has ended: there is no more to pull, so no other one is opened."""
        self._open = None


def _never() -> bool:
    return False


async def run_lanes(
    requests: Iterator[Request],
    work: Callable[[Request], Awaitable[None]],
    *,
    lanes: int | Lanes,
    stop: Callable[[], bool] = _never,
) -> None:
    """Do ``work`` for every request, ``lanes`` at a time, until the iterator ends or ``stop()`` is true.

    Nothing is pulled before a lane is free for it. Work that ends in ``Drained`` ends its lane in peace. A
    ``RunStopped``, from ``work`` or the iterator, stops the pulling; what is in flight is paid for, so it may end
    before the first such stop is raised. But an ``Outage``, where nothing answers, and any other error cancel the
    other lanes and are raised as themselves; only different errors at once come as a group.
    """
    stops: list[RunStopped] = []
    lanes = Lanes(lanes) if isinstance(lanes, int) else lanes

    async def lane() -> None:
        try:
            while not (stops or stop()) and (request := next(requests, None)) is not None:
                await work(request)
        except Drained:
            pass
        except Outage:
            raise
        except RunStopped as reason:
            stops.append(reason)
        finally:
            lanes.end()

    try:
        async with anyio.create_task_group() as group:
            lanes.begin(lambda: group.start_soon(lane))
    except BaseExceptionGroup as errors:
        only = _only(errors)
        if only is None:
            raise
        raise only from only.__cause__  # the group around it says nothing more
    if stops:
        raise stops[0]


def _only(errors: BaseExceptionGroup[BaseException]) -> BaseException | None:
    leaves = list(_leaves(errors))
    alike = len(leaves) == 1 or all(isinstance(leaf, RunStopped) for leaf in leaves)
    return leaves[0] if alike else None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
