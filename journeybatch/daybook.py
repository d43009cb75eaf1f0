"""The credits of a calendar day (UTC), counted by all processes that open the same small file: the cap per day.

The file holds one number: what processes took of the day. A process takes a block under the file's lock, syncs it,
and hands out reservations of it in memory; what it does not need it gives back. So at any instant, for each day,

    taken (in the file) = charged at most + reserved + unused in blocks, of all processes, living or dead,

and nobody takes what would pass its own cap. A killed process returns nothing: its reservations stay as doubts
(promise 13), and with them the unused rest of its block, at most about two blocks. A take that a kill or a power cut
interrupts was not handed out yet, so it does not matter whether it counts.

The line stands in the file twice, each in a sector of its own. A torn write spoils one of them at most; of two that
differ the later day, then the higher number holds.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import date
from pathlib import Path
from zlib import crc32

from journeybatch.disk import NO_ROOM, fdatasync, sync_directory
from journeybatch.errors import DiskFull, JourneybatchError, OutputError

DAYBOOK = "credits-per-day"
"""The file's name in an output directory, where a job gives none."""
LINE = 512
"""Bytes of a line: a disk's smallest sector, so that no torn sector spoils both lines."""
DAY_S = 86_400
LARGEST_BLOCK = 5000
"""Credits: more than a second of the fastest run, so that a sync is needed less than once a second."""
BLOCKS = 50
"""At least so many blocks make a day: a kill loses a few hundredths of the cap at most."""
SHARE = 8
"""No block is more than this part of what is left, so that the last credits can be used by several processes."""
LOCK_WITHIN_S = 5.0
LOCK_PAUSE_S = 0.0005
_TEXT = re.compile(rb"journeybatch daybook (\d{4}-\d\d-\d\d) (\d+) *")
_EPOCH = date(1970, 1, 1).toordinal()
_RESET = "find out what was spent today, then rename the file and run again: a new one begins at 0"
_FOREIGN = "{}: expected a daybook (limits.day_ledger), found a foreign or damaged file; " + _RESET


class Daybook:
    """One process's share in the file; ``open_daybook`` makes it. Not to be used on after a fork.

    ``cap`` is the most credits a UTC day may come to, in whole credits. Others may have another cap for the same
    file; each holds its own against the common sum. ``day`` is the day that reservations count for now, in days
    since 1970-01-01. It never goes back, whatever the clock does.
    """

    def __init__(self, path: Path, fd: int, cap: int, now: Callable[[], float], day: int) -> None:
        self.path = path
        self.fd = fd
        self.cap = cap
        self.day = day
        self._now = now
        self._ends = (day + 1) * DAY_S
        self._block = min(cap // BLOCKS, LARGEST_BLOCK)
        self._free = 0  # taken of `day` and not reserved

    def reserve(self, most: int) -> int | None:
        """Set ``most`` credits of today aside, safe against a kill when this returns. Returns the day it counts for.
        None: the cap leaves no room as long as nothing in flight ends below its price, here or in another process.

        Raises:
            DiskFull: the file cannot be read or written.
        """
        now = self._now()
        if now >= self._ends:
            self._turn_to(_day_of(now))
        if self._free < most and not self._take(most):
            return None
        self._free -= most
        return self.day

    def settle(self, most: int, charged_most: int, day: int) -> None:
        """End a reservation of ``most`` for ``day`` that cost ``charged_most`` credits at most. Yesterday's rest is no
        room today. Never raises."""
        if day != self.day:
            return
        self._free += most - charged_most
        if self._free > max(2 * self._block, most):
            self._give_back(self._free - self._block)

    def close(self) -> None:
        """Give back what is neither spent nor reserved, and let go of the file. Never raises."""
        if self.fd < 0:
            return
        self._give_back(self._free)
        with suppress(OSError):
            os.close(self.fd)
        self.fd = -1

    def _take(self, most: int) -> bool:
        """Have at least ``most`` free. What is left below that goes back: another process may have a use for it."""
        with self._refused():
            with self._locked():
                day, taken = self._read()
                if day > self.day:
                    self._turn_to(day)
                taken = taken if day == self.day else 0
                room, wanted = self.cap - taken, most - self._free
                block = max(wanted, min(self._block, room // SHARE))
                if wanted <= room:
                    self._write(taken + block)
            if wanted <= room:
                fdatasync(self.fd)  # without the lock: several processes may share a sync
                self._free += block
                return True
        self._give_back(self._free)
        return False

    def _give_back(self, credits_: int) -> None:
        """No sync, and no error: what does not come back leaves the higher number. Less than 0 is what went beyond a
        price."""
        if not credits_:
            return
        self._free -= credits_  # first: if the write fails, they may be back or not, and are not ours in any case
        with suppress(JourneybatchError, OSError), self._locked():
            day, taken = self._read()
            if day == self.day:
                self._write(taken - credits_)

    def _turn_to(self, day: int) -> None:
        self.day = day
        self._ends = (day + 1) * DAY_S
        self._free = 0

    def _read(self) -> tuple[int, int]:
        told = read_daybook(os.pread(self.fd, 2 * LINE + 1, 0))
        if told is None:
            raise DiskFull(f"{self.path}: was damaged while in use; {_RESET}")
        return told

    def _write(self, taken: int) -> None:
        _write_out(self.fd, 2 * _line(self.day, taken))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        _lock(self.path, self.fd)
        try:
            if not _still_there(self.path, self.fd):
                raise DiskFull(f"{self.path}: was moved or deleted while in use; run again")
            yield
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or str(error)
            raise DiskFull(f"{self.path}: {why}; make room (or mend the disk), and run again") from None


def open_daybook(path: Path, cap: int, now: Callable[[], float] = time.time) -> Daybook:
    """Open the daybook at ``path`` for a cap of ``cap`` credits a day, or begin it (file 0600, directory 0700).

    ``now`` tells Unix seconds. A clock behind the file's last day counts as that day.

    Raises:
        OutputError: the file is foreign or damaged, or cannot be written.
        DiskFull: there is no room, the disk fails, or another process does not let go of the lock.
    """
    try:
        made = sum(not each.exists() for each in path.parents)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            _lock(path, fd)
            day, _ = _begin(path, fd, made)
            fcntl.flock(fd, fcntl.LOCK_UN)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        why = f"{path}: cannot be written: {error.strerror or error}"
        if error.errno in NO_ROOM:
            raise DiskFull(f"{why}; nothing was sent: make room (or mend the disk), and run again") from None
        raise OutputError(f"{why}; limits.credits_per_day needs this file") from None
    return Daybook(path, fd, cap, now, max(day, _day_of(now())))


def taken_today(path: Path, now: float) -> int:
    """Credits that the daybook at ``path`` has given out for the UTC day of ``now`` (Unix seconds), or for its own
    last day, should that be later; 0 without a file.

    Raises:
        OutputError: the file is foreign or damaged, or cannot be read.
    """
    try:
        if not path.exists():
            return 0
        if not path.is_file():  # opening a pipe would wait for ever
            raise OutputError(_FOREIGN.format(path))
        with path.open("rb") as file:
            data = file.read(2 * LINE + 1)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from None
    told = read_daybook(data)
    if told is None and not _unborn(data):
        raise OutputError(_FOREIGN.format(path))
    return told[1] if told is not None and told[0] >= _day_of(now) else 0


def read_daybook(data: bytes) -> tuple[int, int] | None:
    """The (day, credits taken) that a daybook's bytes tell; None if they are foreign, or damaged in both lines."""
    lines = (data[:LINE], data[LINE : 2 * LINE])
    return max((told for line in lines if (told := _read_line(line)) is not None), default=None)


def _begin(path: Path, fd: int, made: int) -> tuple[int, int]:
    """What the file tells; one that was never born is made."""
    data = os.pread(fd, 2 * LINE + 1, 0)
    told = read_daybook(data)
    if told is not None:
        if data != 2 * _line(*told):  # one line was spoilt: mend it before something spoils the other
            _write_out(fd, 2 * _line(*told))
            os.fsync(fd)
        return told
    if not _unborn(data):
        raise OutputError(_FOREIGN.format(path))
    _write_out(fd, 2 * _line(0, 0))
    os.fsync(fd)
    for each in path.parents[: made + 1]:
        sync_directory(each)
    return 0, 0


def _unborn(data: bytes) -> bool:
    """Whether a file got no further than its birth: empty, zeros after a power cut, or torn."""
    birth = 2 * _line(0, 0)
    return birth.startswith(data) or (len(data) <= len(birth) and not any(data))


def _line(day: int, taken: int) -> bytes:
    text = f"journeybatch daybook {date.fromordinal(_EPOCH + day)} {taken}".ljust(LINE - 9).encode()
    return text + b"%08x\n" % crc32(text)


def _read_line(line: bytes) -> tuple[int, int] | None:
    text, checksum = line[:-9], line[-9:]
    told = _TEXT.fullmatch(text)
    if len(line) != LINE or checksum != b"%08x\n" % crc32(text) or told is None:
        return None
    try:
        return date.fromisoformat(told[1].decode()).toordinal() - _EPOCH, int(told[2])
    except ValueError:  # there is no such day
        return None


def _day_of(seconds: float) -> int:
    return int(seconds // DAY_S)


@contextmanager
def daybook_of(path: Path, cap: int | None) -> Iterator[Daybook | None]:
    """The daybook at ``path``, open; None without a ``cap`` by the day. Raises OutputError, DiskFull."""
    if cap is None:
        yield None
        return
    with closing(open_daybook(path, cap)) as day:
        yield day


def _lock(path: Path, fd: int) -> None:
    """Not a wait without end: its holder may be suspended, and then Ctrl-C would not be heard here."""
    until = time.monotonic() + LOCK_WITHIN_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                why = "another process holds it and does not let go; if it is suspended, wake or end it"
                raise DiskFull(f"{path}: {why}, and run again") from None
        time.sleep(LOCK_PAUSE_S)


def _still_there(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _write_out(fd: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], done)
