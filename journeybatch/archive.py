"""A journal's file read back: its whole history, and single replies out of it."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from journeybatch import entries
from journeybatch.bookmark import forget, recall
from journeybatch.entries import Began, Borrowed, Received
from journeybatch.errors import DiskFull, OutputError, RunLocked
from journeybatch.frames import OVERHEAD, Gap, Stored, identify, scan, unpack
from journeybatch.history import History

HELD = 64 * 2**20
"""Bytes of a journal that are read before their memory is given back."""


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a journal, mapped and not copied; empty for an empty file, or where there is none. Only where
    ``history`` knows a frame are they safe to touch: a torn tail may be cut off meanwhile."""
    if not path.exists():
        yield memoryview(b"")
        return
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if not size:
            yield memoryview(b"")
            return
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            try:
                yield view
            except DiskFull:  # the journal is not what it was, perhaps: the next reading is of all of it
                forget(path)
                raise


@contextmanager
def stored(path: Path) -> Iterator[Stored]:
    """The bytes of a journal, to look for frames in, also while its torn tail is cut off. Raises OSError."""
    with path.open("rb") as file:
        yield Stored(file.fileno(), file.seek(0, 2))


def let_go(buffer: memoryview) -> None:
    """Give back the memory of what was read of a ``mapped`` journal: a journal may be larger than the machine's."""
    if isinstance(buffer.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        buffer.obj.madvise(mmap.MADV_DONTNEED)


def read_history(path: Path, scratch: Path | None = None, *, anew: bool = False) -> History:
    """Read a journal, changing nothing; it may be in use. What was read before is recalled, unless it is to be read
    ``anew``. What need not stay in memory goes into a directory for ``scratch`` (None: where the system has its
    temporary files).

    Raises:
        OutputError: the file is no journal of ours, a newer version's, or cannot be read.
    """
    history = History(scratch)
    with _opened(path) as buffer:
        history.size = len(buffer)
        history.id = history.frames_id = _id_of(buffer, path)
        if history.frames_id and not anew:
            recall(history, path)
        last = None
        for frame in scan(buffer, history.frames_id, history.end, history.sequence) if history.frames_id else ():
            if isinstance(frame, Gap):
                history.gaps.append(frame)
                continue
            history.fold(entries.decode(frame.payload), frame.offset)
            last = frame
        if last is not None:
            history.sequence, history.end = last.sequence + 1, last.offset + OVERHEAD + len(last.payload)
    return history


def read_began(path: Path) -> Began | None:
    """The first entry that tells whose journal this is, None without one. It is the very first, as a rule: the others
    are not read. Raises OutputError as ``read_history`` does."""
    with _opened(path) as buffer:
        journal_id = _id_of(buffer, path)
        for frame in scan(buffer, journal_id) if journal_id else ():
            if not isinstance(frame, Gap) and isinstance(entry := entries.decode(frame.payload), Began):
                return entry
    return None


@contextmanager
def _opened(path: Path) -> Iterator[Stored]:
    if not path.is_file():  # opening a pipe would wait for ever
        raise OutputError(f"{path}: this is not a file; choose another output directory")
    try:
        with stored(path) as buffer:
            yield buffer
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from None
    except msgspec.MsgspecError:
        raise OutputError(f"{path}: a newer version of journeybatch wrote this; update, and run again") from None
    except DiskFull:  # the journal is not what its bookmark says, perhaps: the next reading is of all of it
        forget(path)
        raise


def _id_of(buffer: Stored, path: Path) -> bytes:
    if (found := identify(buffer)) is None:
        raise OutputError(
            f"{path}: this file is not a journal of journeybatch, and it stays untouched; "
            "choose another output directory"
        )
    return found


def received(buffer: memoryview, history: History, attempt: int) -> Received:
    """The reply to an attempt that ``history`` tells of, which has one, out of the mapped journal, or from whoever
    lends it, as long as it is yet to be written there.

    Raises:
        DiskFull: it does not stand there any more.
        RunLocked: since the history was read, another run has written the journal anew: places in the old one mean
            nothing in the new one.
    """
    offset = history.attempts.offset[attempt]
    if not offset and (lent := history.lender(attempt)) is not None:
        return lent
    frame = unpack(buffer, offset)
    if frame is None or frame[1] != history.frames_id:
        if (first := unpack(buffer, 0)) is not None and first[1] != history.frames_id:
            raise RunLocked("another run has written the journal anew just now: try again")
        raise DiskFull(f"the journal is damaged at byte {offset}: run again, and you are told what is lost")
    entry = entries.decode(frame[2])
    if isinstance(entry, Borrowed):
        return entry.received()
    if not isinstance(entry, Received):
        raise TypeError(f"no reply at {offset}")
    return entry
