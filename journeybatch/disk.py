"""What the disk is asked for beside reading and writing: syncs, and what an error means that it answers with."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EIO})
"""Errors that say nothing against the path: there is no room, of one kind or another, or the disk fails."""

fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has only fsync


def sync_directory(directory: Path) -> None:
    """Let the names in ``directory`` survive a power cut, where it can be opened. Raises OSError."""
    with suppress(PermissionError):  # one that may be entered but not listed cannot be opened
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
