"""How far a journal was read, and what it told up to there: whoever opens it next reads on from there.

Ten million attempts take minutes to read. A bookmark is a shortcut and nobody's truth: it lies beside the journal, says
only what the journal says, and one that is not whole, not of this journal or not of this version is as good as none.
"""

from __future__ import annotations

import hashlib
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from journeybatch import __version__
from journeybatch.attempts import Marked, Run
from journeybatch.entries import Began, Decided, Tuned
from journeybatch.errors import DiskFull
from journeybatch.frames import Gap
from journeybatch.history import History
from journeybatch.page import SIZE
from journeybatch.replacement import replacement
from journeybatch.scratch import spare

NAME = "bookmark.bin"
WORTH = 250_000
"""Attempts; fewer are read within seconds."""
_TAIL = 2**16
"""Bytes of the journal before the bookmark that have to be as they were."""
_CHUNK = 4 * 2**20
_DIGEST, _LENGTH = 32, 8
_FORMAT = f"{__version__}, pages of {SIZE}, {sys.byteorder} endian, loans by keys, columns apart"


class _Told(msgspec.Struct):
    """The fields of a history that are not attempts, by their names there; dicts as pairs, since keys may be pairs."""

    id: bytes
    frames_id: bytes
    end: int
    sequence: int
    given_up: list[tuple[bytes, tuple[str, str]]]
    runs: list[Run]
    began: Began | None
    asks: list[str]
    gaps: list[Gap]
    next_request: int
    emulated: bool
    reopened: int
    rooms: list[tuple[bytes, int]]
    trials: list[tuple[bytes, bytes]]
    tried_from: int
    decided: list[tuple[tuple[str, bytes], Decided]]
    delivered: list[tuple[bytes, bytes]]
    tuned: Tuned | None
    reading: bytes
    _open: list[tuple[tuple[int, int], int]]
    _readings: list[tuple[bytes, int]]
    _borrowed: list[tuple[tuple[bytes, int, int], int]]
    _origins: list[tuple[int, bytes]]


class _Mark(msgspec.Struct):
    """What stands behind the pages: which ``pages`` there are (where each begins, and its bytes), for how many
    ``attempts``, with which ``words``; what else the journal ``told``, and a digest of its bytes before the mark."""

    format: str
    told: _Told
    attempts: int
    words: list[str | None]
    pages: list[tuple[int, int]]
    tail: bytes


class Snapshot(NamedTuple):
    """What a journal told up to some point, to be written when there is time: what comes later changes nothing here."""

    told: _Told
    attempts: int
    words: list[str | None]
    pages: Iterator[bytes]


def leave(history: History, end: int, sequence: int, journal: Path) -> None:
    """Mark the ``end`` of a journal (in bytes; its next entry has number ``sequence``), all of which ``history`` tells.
    Where the disk refuses, or is nearly full, there is none."""
    if len(history.attempts) >= WORTH and history.as_told and history.marked.end != end:
        with suppress(OSError, MemoryError, DiskFull):
            write(taken(history, end, sequence, journal), journal)


def taken(history: History, end: int, sequence: int, journal: Path) -> Snapshot:
    """All that ``history`` tells of a journal up to its ``end``, in some milliseconds. Raises OSError where the disk is
    nearly full: pages that it did not take are many then, and copies of them would be as many."""
    spare(journal)
    told = {name: _copied(getattr(history, name)) for name in _Told.__struct_fields__}
    attempts, texts = history.attempts, history.attempts.words.texts.copy()
    return Snapshot(_Told(**{**told, "end": end, "sequence": sequence}), len(attempts), texts, attempts.packed())


def write(snapshot: Snapshot, journal: Path, check: Callable[[], object] = lambda: None) -> None:
    """Leave the bookmark; ``check`` is called before each of its pages and may raise, and there is none then. Raises
    OSError where the disk refuses or is nearly full, DiskFull where it does not give back what was put aside."""
    end = snapshot.told.end
    with journal.open("rb") as file, replacement(journal.with_name(NAME)) as path, path.open("wb") as to:
        written, pages, at = hashlib.blake2b(digest_size=_DIGEST), [], 0
        for page in snapshot.pages:
            check()
            spare(to.fileno())
            pages.append((at, len(page)))
            written.update(page)
            at += to.write(page)
        told = _Mark(_FORMAT, snapshot.told, snapshot.attempts, snapshot.words, pages, _tail(file, end))
        mark = msgspec.msgpack.encode(told)
        mark += len(mark).to_bytes(_LENGTH, "little")
        written.update(mark)
        to.write(mark + written.digest())


def recall(history: History, journal: Path) -> None:
    """Let an empty ``history`` tell what the bookmark of its ``journal`` says, if there is one that is good."""
    with suppress(OSError, ValueError, msgspec.MsgspecError):
        fd = os.open(journal.with_name(NAME), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        pages = _Pages(fd)
        mark = _read(fd)
        if mark.format != _FORMAT or mark.told.frames_id != history.frames_id:
            return
        with journal.open("rb") as file:
            if _tail(file, mark.told.end) != mark.tail:
                return
        pages.places = mark.pages
        for name in _Told.__struct_fields__:
            value, empty = getattr(mark.told, name), getattr(history, name)
            setattr(history, name, dict(value) if isinstance(empty, dict) else value)
        history.marked = Marked(mark.told.end, mark.attempts)
        history.attempts.adopt(mark.attempts, mark.words, pages.read)


def forget(journal: Path) -> None:
    """Take the bookmark away: what it says of the journal is no longer so."""
    with suppress(OSError):
        journal.with_name(NAME).unlink(missing_ok=True)


class _Pages:
    """The pages in an open bookmark; it is closed with its last user."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.places: list[tuple[int, int]] = []
        weakref.finalize(self, os.close, fd)

    def read(self, number: int) -> bytes:
        """A page as it was packed. Raises DiskFull where the disk does not give it back."""
        at, size = self.places[number]
        try:
            return os.pread(self._fd, size, at)
        except OSError as error:
            raise DiskFull(
                f"a bookmark cannot be read: {error.strerror}; all replies are safe in the journal: run again"
            ) from None


def _copied(value: object) -> Any:
    if isinstance(value, list):
        return [copy(each) for each in value]
    return list(value.items()) if isinstance(value, dict) else value


def _read(fd: int) -> _Mark:
    """Raises OSError, ValueError or MsgspecError where it is not whole."""
    end = os.fstat(fd).st_size - _DIGEST
    told, at = hashlib.blake2b(digest_size=_DIGEST), 0
    while at < end and (chunk := os.pread(fd, min(_CHUNK, end - at), at)):
        told.update(chunk)
        at += len(chunk)
    if end < _LENGTH or os.pread(fd, _DIGEST, end) != told.digest():
        raise ValueError("not whole")
    size = int.from_bytes(os.pread(fd, _LENGTH, end - _LENGTH), "little")
    return msgspec.msgpack.decode(os.pread(fd, size, end - _LENGTH - size), type=_Mark)


def _tail(journal: BinaryIO, end: int) -> bytes:
    start = max(0, end - _TAIL)
    journal.seek(start)
    return hashlib.blake2b(journal.read(end - start), digest_size=_DIGEST).digest()
