"""A user who has had enough: what signals do to a run, and what it says then."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio
import anyio.abc

from journeybatch.limiter import Limiter
from journeybatch.progress import Screen

GRACE_S = 8.0
SIGNALS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)) if number)


async def watch_signals(
    wind_up: Callable[[int], None],
    limiter: Limiter,
    screen: Screen,
    scope: anyio.CancelScope,
    *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """The first signal is given to ``wind_up``, which stops the sending, and what is in flight gets a grace; the second
    one ends ``scope`` at once."""
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(*SIGNALS) as arriving:
            task_status.started()
            winding_up = False
            async for number in arriving:
                flying = limiter.in_flight
                if winding_up:
                    screen.line(f"stopping now: {flying} requests stay in doubt", "warning")
                    scope.cancel()
                    return
                winding_up = True
                wind_up(int(number))
                screen.line(
                    f"stopping: nothing new is sent; {flying} requests in flight get up to {GRACE_S:g} s to end. "
                    "Ctrl-C again stops at once and leaves them in doubt",
                    "warning",
                )
                tasks.start_soon(end_after, GRACE_S, scope)


async def end_after(seconds: float, scope: anyio.CancelScope) -> None:
    """Cancel ``scope`` in so many seconds."""
    await anyio.sleep(seconds)
    scope.cancel()
