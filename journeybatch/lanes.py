"""n at a time, pulled, never queued."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import anyio

from journeybatch.errors import RunStopped
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

    Nothing is pulled before a lane is free for it. Work that ends in ``Drained`` ends its lane in peace. The first
    error cancels the other lanes and is raised as itself: a ``RunStopped`` (the first, should several meet), or
    whatever ``work`` or the iterator raised; only different errors at once come as a group.
    """

    async def lane() -> None:
        while not stop():
            request = next(requests, None)
            if request is None:
                return
            try:
                await work(request)
            except Drained:
                return

    try:
        async with anyio.create_task_group() as group:
            for _ in range(lanes):
                group.start_soon(lane)
    except BaseExceptionGroup as errors:
        only = _only(errors)
        if only is None:
            raise
        raise only from only.__cause__  # the group around it says nothing more


def _only(errors: BaseExceptionGroup[BaseException]) -> BaseException | None:
    leaves = list(_leaves(errors))
    if len(leaves) == 1 or all(isinstance(leaf, RunStopped) for leaf in leaves):
        return leaves[0]
    return None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
