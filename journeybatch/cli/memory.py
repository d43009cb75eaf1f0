"""How a process of ours treats memory: set before anything large is asked for."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

_ARENAS = -8
"""mallopt's ``M_ARENA_MAX`` (malloc.h of glibc)."""


def be_frugal() -> None:
    """Settle how memory is taken and given back; for the rest of this process, so for who owns it."""
    gc.set_threshold(50_000, 20, 100)  # few cycles arise here, and looking for them after every 700 objects costs time
    # polars would decode several row groups ahead, of some 250 MB each, while we render the rows of one.
    os.environ.setdefault("POLARS_ROW_GROUP_PREFETCH_SIZE", "1")
    # Memory that polars has done with goes back soon, instead of when others have taken theirs; not at once, since more
    # is asked for in the next moment, and the system takes a third of the end of a run to take it and give it again.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:50,muzzy_decay_ms:0")
    if sys.platform == "linux":
        _share_one_arena()


def _share_one_arena() -> None:
    """Results are put together in a thread of polars'. By itself, glibc would give that thread new memory, beside what
    the first one has free from sending."""
    import ctypes  # which polars imports, too

    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENAS, 1)
