"""Bookmarks that are left while a run goes on: whoever carries on after a kill has little of the journal to read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio
import anyio.from_thread
import anyio.to_thread

from journeybatch import bookmark
from journeybatch.attempts import Marked
from journeybatch.errors import DiskFull
from journeybatch.journal import Journal

PAUSE_S = 5.0
"""Between two looks at how far the journal has grown."""
SHARE = 8
"""A bookmark is left when the journal has grown by this part of itself: over a whole run, however long, eight times
its last bookmark is written."""


async def beside(write: Callable[[Callable[[], None]], None]) -> None:
    """Call ``write`` in another thread; what it is given raises once nobody waits for it any more."""
    await anyio.to_thread.run_sync(write, anyio.from_thread.check_cancelled)


async def keep_marked(journal: Journal) -> None:
    """Leave a bookmark whenever there is enough to read that it is worth its while. Ends with a disk that refuses the
    journal something."""
    with suppress(DiskFull):
        while True:
            if is_due(journal):
                await mark(journal)
            await anyio.sleep(PAUSE_S)


def is_due(journal: Journal) -> bool:
    """Whether the journal has grown since its last bookmark by so much that the next one is worth its while."""
    history, number = journal.history, len(journal.history.attempts)
    return history.as_told and number - history.marked.attempts >= max(bookmark.WORTH, number // SHARE)


async def mark(journal: Journal) -> None:
    """Leave a bookmark of all that the journal was told so far. That is made durable first: a bookmark of what a power
    cut took would be of no use. Raises DiskFull where the journal's disk refuses; where it has only no room for a
    bookmark, there is none."""
    history = journal.history
    # Tried or done: a disk without room is not asked again before the journal has grown.
    history.marked = Marked(history.marked.end, len(history.attempts))
    with suppress(OSError, MemoryError, RuntimeError):  # or no thread is to be had
        snapshot = bookmark.taken(history, journal.end, journal.sequence, journal.path)
        await journal.durable()
        await beside(partial(bookmark.write, snapshot, journal.path))
        history.marked = Marked(snapshot.told.end, snapshot.attempts)
