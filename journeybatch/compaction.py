"""A journal that is mostly dead weight is written anew, without it, when a run closes it.

Dead weight are raw replies: answers that `max_age` has made too old, and errors of that time that cost nothing. What
every attempt cost, and all else that a journal tells, stays, byte for byte. The new file is written aside, synced, read
back, and renamed over the old one; both are locked until the end, so nobody can come between. Its frames carry an id of
their own: what a disk may still hold of the old file's frames can never be taken for the new one's.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from journeybatch import entries
from journeybatch.archive import let_go, mapped
from journeybatch.attempts import BORROWED, FREE, SETTLED
from journeybatch.bookmark import forget, leave
from journeybatch.disk import sync_directory
from journeybatch.entries import AnyEntry, Borrowed, Compacted, Received, Reread
from journeybatch.errors import DiskFull
from journeybatch.frames import OVERHEAD, Frame, Gap, length_at, pack, scan
from journeybatch.history import History
from journeybatch.journal import ASIDE, Journal
from journeybatch.verdict import READABLE

WORTH = 16 * 2**20
"""Bytes of dead weight below which nothing is done."""
_CHUNK = 4 * 2**20
_EMULATED = "x-journeybatch-emulator"


def close(journal: Journal, since: float | None) -> bool:
    """Close ``journal``. If the replies from before ``since`` (Unix seconds; None: none are too old) are more than half
    of it and more than ``WORTH`` bytes, they are gone then: returns whether they are.

    A damaged journal, or a disk without room for the new file, leaves all as it is.
    """
    aside, compacted = None, False
    try:
        journal.flush()
        if since is not None and not journal.history.gaps and (dead := forgotten(journal.history, since)):
            with mapped(journal.path) as buffer, suppress(OSError):
                weight = sum(length_at(buffer, offset) for offset in dead)
                if weight > max(WORTH, len(buffer) // 2):
                    aside = _open_aside(journal.path.with_name(ASIDE))
                    compacted = _replace(journal, buffer, dead, aside)
        if compacted:
            forget(journal.path)  # it was the old one's
        else:
            leave(journal.history, journal.end, journal.sequence, journal.path)
    except DiskFull:
        return False  # `journal.broken` tells
    finally:
        try:
            journal.close()
        finally:
            if aside is not None:
                os.close(aside)
    return compacted


def forgotten(history: History, since: float) -> set[int]:
    """Where the replies stand that can never count again: answers from before ``since``, and what cost nothing then.
    What nobody could read stays, since it tells that its row was asked; so does what was asked to compare."""
    a, readable = history.attempts, frozenset(READABLE)
    trials = history.trials
    return {
        a.offset[i]
        for i in range(len(a))
        if a.offset[i] >= 0
        and a.at[i] < since
        and a.error[i] != BORROWED
        and (a.charge[i] == FREE or (a.charge[i] == SETTLED and readable.issuperset(a.codes(i))))
        and not (trials and any(key in trials for key in a.keys_of(i)))
    }


def _open_aside(path: Path) -> int:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def _replace(journal: Journal, buffer: memoryview, dead: set[int], aside: int) -> bool:
    """Write what is alive to ``aside``, and let that take the journal's place. Raises OSError; the old one stays."""
    path = journal.path.with_name(ASIDE)
    journal_id = secrets.token_bytes(8)
    first = entries.encode(Compacted(journal.history.id, len(dead), time.time()))
    try:
        kept = _copy(_alive(buffer, journal.history.frames_id, dead), journal_id, first, aside)
        os.fsync(aside)
        with mapped(path) as written:
            if _digest(scan(written, journal_id)) != kept:
                raise OSError("the journal reads back differently")
        path.replace(journal.path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sync_directory(journal.path.parent)
    return True


def _alive(buffer: memoryview, journal_id: bytes, dead: set[int]) -> Iterator[tuple[int, bytes, AnyEntry]]:
    """Offset, payload and entry of all that stays, in order. One reply of an emulator does: it tells that one was."""
    emulated, held = False, 0
    for frame in scan(buffer, journal_id):
        if isinstance(frame, Gap):
            raise OSError("the journal is damaged")
        entry = entries.decode(frame.payload)
        if not emulated and isinstance(entry, Received) and _EMULATED in entry.headers:
            emulated = True
            dead.discard(frame.offset)
        gone = (entry.offset if isinstance(entry, Reread) else frame.offset) in dead
        if not gone and not isinstance(entry, Compacted):
            yield frame.offset, frame.payload, entry
        if frame.offset > held:
            let_go(buffer)
            held = frame.offset + _CHUNK


def _copy(alive: Iterable[tuple[int, bytes, AnyEntry]], journal_id: bytes, first: bytes, fd: int) -> str:
    """Write the frames of what is ``alive``, behind the ``first`` entry. Returns a digest of all payloads."""
    told, sequence = hashlib.sha256(first), 1
    chunk = bytearray(pack(0, journal_id, first))
    end = len(chunk)
    moved = (array("q"), array("q"))  # where replies stood, and where they stand
    for offset, same, entry in alive:
        payload = same
        if isinstance(entry, Reread):
            place = moved[1][bisect_left(moved[0], entry.offset)]
            payload = entries.encode(msgspec.structs.replace(entry, offset=place))
        elif isinstance(entry, Received | Borrowed):
            moved[0].append(offset)
            moved[1].append(end)
        chunk += pack(sequence, journal_id, payload)
        end += OVERHEAD + len(payload)
        sequence += 1
        told.update(payload)
        if len(chunk) >= _CHUNK:
            _write(fd, chunk)
            chunk.clear()
    _write(fd, chunk)
    return told.hexdigest()


def _write(fd: int, data: bytearray) -> None:
    done = 0
    while done < len(data):
        done += os.write(fd, bytes(data[done:]))


def _digest(frames: Iterable[Frame | Gap]) -> str:
    """The same digest, of what was written. Empty where something is damaged."""
    told = hashlib.sha256()
    for frame in frames:
        if isinstance(frame, Gap):
            return ""
        told.update(frame.payload)
    return told.hexdigest()
