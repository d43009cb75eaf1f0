"""What a row needs of the event loop again and again: the time, and to wait with others for one event.

anyio finds out at each call which loop is running, and its events bear more than is needed here. Where asyncio runs it
is asked directly; elsewhere, as in virtual time, anyio is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio


class Bell(Protocol):
    """Many may ``wait`` for it to be ``set``, which happens once."""

    def wait(self) -> Awaitable[None]: ...
    def set(self) -> None: ...


class _Futures:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[asyncio.Future[None]] | None = []

    def wait(self) -> Awaitable[None]:
        waiting = self._loop.create_future()
        if self._waiting is None:
            waiting.set_result(None)
        else:
            self._waiting.append(waiting)
        return waiting

    def set(self) -> None:
        woken, self._waiting = self._waiting, None
        for waiting in woken or ():
            if not waiting.done():  # cancelled
                waiting.set_result(None)


def bell() -> Bell:
    """One for the running loop."""
    loop = _asyncio_loop()
    return anyio.Event() if loop is None else _Futures(loop)


def clock() -> Callable[[], float]:
    """The clock of the running loop, or of whichever runs when it is read: seconds, as ``anyio.current_time`` has
    them."""
    loop = _asyncio_loop()
    return anyio.current_time if loop is None else loop.time


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
