"""A file that takes another's place: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacement(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """An empty file of mode 0600 beside ``path``, to be written to; it becomes ``path`` when the block ends well.

    It and its directory are synced. When the block raises, ``path`` stays as it was. One writer at a time: the
    temporary name is always the same, so that a killed process leaves nothing that is not cleared away. Where ``path``
    is ``shared``, and nothing keeps others from writing it now, the name is this process's own.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp") if shared else unfinished(path)
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def unfinished(path: Path) -> Path:
    """Where what is to become ``path`` lies while it is written; a killed process leaves it."""
    return path.with_name(f".{path.name}.tmp")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
