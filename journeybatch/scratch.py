"""Room on a disk for what need not stay in memory. It goes with the process, and nothing in it is anybody's truth."""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

from journeybatch.errors import DiskFull

SPARE_BYTES = 2**30
"""Free on the disk, beside as much as is there already: otherwise the journal and the results need the room more."""


def spare(file: int | Path, beside: int = 0) -> None:
    """Raises OSError where the disk of a ``file``, open or not, is nearly full; ``beside`` is what it has to have free
    besides."""
    disk = os.statvfs(file)
    if disk.f_bavail * disk.f_frsize < SPARE_BYTES + beside:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Scratch:
    """A file without a name in ``directory`` (None: where the system has its temporary files), made when it is first
    written to, and gone with its owner."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._fd: int | None = None
        self._end = 0
        self._let_go: Callable[[], object] = lambda: None

    def put(self, data: bytes | memoryview) -> tuple[int, int]:
        """Store ``data``. Returns where it stands, and its size. Raises OSError where the disk refuses it, or is nearly
        full."""
        if self._fd is None:
            with tempfile.TemporaryFile(buffering=0, dir=self._directory) as file:
                self._fd = os.dup(file.fileno())
            self._let_go = weakref.finalize(self, os.close, self._fd)
        at = self._end
        spare(self._fd, at)
        if os.pwrite(self._fd, data, at) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end = at + len(data)
        return at, len(data)

    def get(self, place: tuple[int, int]) -> bytes:
        """What ``put`` stored there. Raises DiskFull where the disk does not give it back."""
        at, size = place
        try:
            found = b"" if self._fd is None else os.pread(self._fd, size, at)
            if len(found) != size:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        except OSError as error:
            raise DiskFull(
                f"temporary storage cannot be read: {error.strerror}; all replies are safe in the journal: run again"
            ) from None
        return found

    def close(self) -> None:
        """Give the room back; nothing stands there any more."""
        self._fd, self._end = None, 0
        self._let_go()
