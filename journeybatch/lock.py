"""Who may have an output directory: one run, or an export. The lock is ``flock`` on the journal's own descriptor, and
ends with its process, however that ends.

A run holds it alone. An export shares it with whoever only looks, so that no run can begin meanwhile and nobody takes
an export for a run; of exports there is one at a time, by a lock on the directory.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from journeybatch.errors import OutputError, RunLocked

PAUSES_S = (0.0, 0.02, 0.05, 0.1)
"""Before each try for the lock: a ``locked`` elsewhere may hold it for a moment."""
EXPORT_S = 30.0
"""How long an export is waited for, which ends soon as a rule."""
EVERY_S = 0.1


def lock(fd: int, directory: Path) -> None:
    """Lock a journal's descriptor for a run. Another run is not waited for, an export is. Raises RunLocked, OSError."""
    if not _taken(fd, fcntl.LOCK_EX, lambda: _shared(fd)):
        who = "an export has long been" if _shared(fd) else "another run is"
        raise RunLocked(f"{directory}: {who} at work in this output directory")


def locked(path: Path) -> bool:
    """Whether a run holds the journal at ``path`` right now."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """While this lasts, no other export is at work in ``directory``: it is locked itself, where directories can be.
    Raises RunLocked."""
    with ExitStack() as stack:
        with suppress(OSError):  # it may not be listed, or its file system locks no directories
            fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
            stack.callback(os.close, fd)
            if not _taken(fd, fcntl.LOCK_EX, lambda: True):
                raise RunLocked(f"{directory}: another export has long been at work here")
        yield


@contextmanager
def without_runs(path: Path) -> Iterator[None]:
    """While this lasts, no run has the journal at ``path``. Nothing is made or changed for it. Raises RunLocked;
    OutputError where the journal cannot be read, or nothing be locked there."""
    try:
        fd = _open_shared(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read and locked: {error.strerror}") from None
    try:
        yield
    finally:
        os.close(fd)


def _open_shared(path: Path) -> int:
    """A descriptor of the journal, locked. The path is looked at again after locking: another file may be there now."""
    while True:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not _taken(fd, fcntl.LOCK_SH, lambda: False):
                raise RunLocked(f"{path.parent}: a run is at work here; export when it has ended")
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _taken(fd: int, how: int, waits: Callable[[], bool]) -> bool:
    """Whether ``fd`` could be locked: soon, or as long as whoever is in the way is waited for. Raises OSError."""
    for _ in _tries(waits):
        with suppress(BlockingIOError):
            fcntl.flock(fd, how | fcntl.LOCK_NB)
            return True
    return False


def _tries(waits: Callable[[], bool]) -> Iterator[None]:
    for pause in PAUSES_S:
        time.sleep(pause)
        yield
    end = time.monotonic() + EXPORT_S
    while waits() and time.monotonic() < end:
        time.sleep(EVERY_S)
        yield


def _shared(fd: int) -> bool:
    """Whether who holds the lock shares it: no run does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True
