"""A few at a time into each turn of the event loop: replies that came in together do not stay together.

A turn does all that is ready before it looks at sockets and threads again. Hundreds of replies that arrive at once
would be read in a single turn, and none of the requests they make room for could leave before the last was read,
since each waits for a sync that nobody looks at meanwhile. Then these come back at once, too, and between such waves
everybody waits. A few replies in each turn, and the next requests leave while the others are being read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Result = TypeVar("Result")

AT_A_TIME = 16
"""A disk's sync takes as long as some six replies. docs/performance.md has what other numbers cost."""
SHARE = 3
"""A long line moves faster, a third of it in each turn: where everybody waits for the processor, fewer syncs, of
more requests each, leave it more time."""


class Turnstile(Generic[Result]):
    """Gives futures their results in the order of asking, ``AT_A_TIME`` in each turn of the loop, or the ``SHARE``-th
    part of those in line."""

    def __init__(self) -> None:
        self._line: deque[tuple[asyncio.Future[Result], Result]] = deque()
        self._turning = False

    def admit(self, waiting: asyncio.Future[Result], result: Result) -> None:
        """Give ``waiting`` its ``result`` when its turn comes; nothing, if it was cancelled by then."""
        self._line.append((waiting, result))
        if not self._turning:
            self._turning = True
            waiting.get_loop().call_soon(self._turn, waiting.get_loop())

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting_now = len(self._line)
        for _ in range(min(max(AT_A_TIME, waiting_now // SHARE), waiting_now)):
            waiting, result = self._line.popleft()
            if not waiting.done():
                waiting.set_result(result)
        self._turning = bool(self._line)
        if self._turning:
            loop.call_soon(self._turn, loop)
