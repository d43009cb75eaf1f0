"""A journal's file read back: its whole history, and single replies out of it."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from journeybatch import entries
from journeybatch.entries import Borrowed, Received
from journeybatch.errors import OutputError
from journeybatch.frames import OVERHEAD, Gap, identify, scan, unpack
from journeybatch.history import History

HELD = 64 * 2**20
"""Bytes of a journal that are read before their memory is given back."""


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a journal, mapped and not copied; empty for an empty file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if not size:
            yield memoryview(b"")
            return
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            yield view


def let_go(buffer: memoryview) -> None:
    """Give back the memory of what was read of a ``mapped`` journal: a journal may be larger than the machine's."""
    if isinstance(buffer.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        buffer.obj.madvise(mmap.MADV_DONTNEED)


def read_history(path: Path) -> History:
    """Read a whole journal, changing nothing; it may be in use.

    Raises:
        OutputError: the file is no journal of ours, a newer version's, or cannot be read.
    """
    if not path.is_file():  # opening a pipe would wait for ever
        raise OutputError(f"{path}: this is not a file; choose another output directory")
    history = History()
    try:
        with mapped(path) as buffer:
            _read(history, buffer, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from None
    return history


def _read(history: History, buffer: memoryview, path: Path) -> None:
    history.size = len(buffer)
    if (found := identify(buffer)) is None:
        raise OutputError(
            f"{path}: this file is not a journal of journeybatch, and it stays untouched; "
            "choose another output directory"
        )
    history.id = found
    held = 0
    for frame in scan(buffer, history.id) if history.id else ():
        if isinstance(frame, Gap):
            history.gaps.append(frame)
            continue
        try:
            history.fold(entries.decode(frame.payload), frame.offset)
        except msgspec.MsgspecError:
            raise OutputError(f"{path}: a newer version of journeybatch wrote this; update, and run again") from None
        history.sequence = frame.sequence + 1
        history.end = frame.offset + OVERHEAD + len(frame.payload)
        if history.end > held:
            let_go(buffer)
            held = history.end + HELD


def received(buffer: memoryview, offset: int) -> Received:
    """The reply whose frame stands at ``offset`` of a mapped journal."""
    frame = unpack(buffer, offset)
    if frame is None:
        raise ValueError(f"no frame at {offset}")
    entry = entries.decode(frame[2])
    if isinstance(entry, Borrowed):
        return entry.received()
    if not isinstance(entry, Received):
        raise TypeError(f"no reply at {offset}")
    return entry
