"""n at a time, pulled, never queued."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import anyio

from journeybatch.errors import Outage, RunStopped
from journeybatch.records import Request
from journeybatch.turns import Drained


def _never() -> bool:
    return False


async def run_lanes(
    requests: Iterator[Request],
    work: Callable[[Request], Awaitable[None]],
    *,
    lanes: int,
    stop: Callable[[], bool] = _never,
) -> None:
    """Do ``work`` for every request, ``lanes`` at a time, until the iterator ends or ``stop()`` is true.

    Nothing is pulled before a lane is free for it. Work that ends in ``Drained`` ends its lane in peace. A
    ``RunStopped``, from ``work`` or the iterator, stops the pulling; what is in flight is paid for, so it may end
    before the first such stop is raised. But an ``Outage``, where nothing answers, and any other error cancel the
    other lanes and are raised as themselves; only different errors at once come as a group.
    """
    stops: list[RunStopped] = []

    async def lane() -> None:
        while not (stops or stop()):
            try:
                request = next(requests, None)
                if request is None:
                    return
                await work(request)
            except Drained:
                return
            except Outage:
                raise
            except RunStopped as reason:
                stops.append(reason)

    try:
        async with anyio.create_task_group() as group:
            for _ in range(lanes):
                group.start_soon(lane)
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
