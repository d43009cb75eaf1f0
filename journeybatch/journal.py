"""The append-only history of an output directory, open for writing: the only truth.

Bytes given to ``write(2)`` survive a kill, so a reply goes out in one unbuffered write before anything else is
done with it. Bytes that were fdatasynced survive a power cut: an intent is, before its request is sent, and for
replies a sync begins within 50 ms or 512 entries. The lock is ``flock`` on the journal's own descriptor: it ends with
the process.
"""

from __future__ import annotations

import math
import os
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio

from journeybatch import entries
from journeybatch.archive import read_history
from journeybatch.bookmark import NAME as BOOKMARK
from journeybatch.commit import GroupCommit, Syncs
from journeybatch.disk import NO_ROOM, fdatasync, sync_directory
from journeybatch.entries import AnyEntry
from journeybatch.errors import DiskFull, OutputError
from journeybatch.frames import pack
from journeybatch.history import History
from journeybatch.lock import lock
from journeybatch.replacement import unfinished

NAME = "journal"
BALLAST = ".ballast"
ASIDE = ".journal.tmp"
"""Where a journal is written anew, to take the place of the old one."""
BALLAST_BYTES = 4 * 2**20
SYNC_WITHIN_S = 0.05
SYNC_EVERY = 512

Sync = Callable[[int], Awaitable[None]]


class Journal:
    """An open journal that holds its directory's lock; ``open_journal`` makes it.

    ``history`` is what it tells so far; ``fd`` holds the lock. ``sync`` is the disk's; tests hand in others. After
    the first disk error ``broken`` tells it and no intent becomes durable any more, while replies in flight are still
    written, into the room the ballast gives back. ``astray``: something that was added could not be taken in, for want
    of memory or of a page on the disk; ``history`` lacks it and all that came after.
    """

    def __init__(self, path: Path, fd: int, history: History, sync: Sync | None = None) -> None:
        self.path = path
        self.fd = fd
        self.history = history
        self.broken: OSError | None = None
        self.astray = False
        self.sequence = history.sequence
        self.end = history.end
        self._id = history.frames_id = history.frames_id or secrets.token_bytes(8)
        history.id = history.id or self._id
        self._sync = sync or Syncs(fdatasync)
        self._buffer = deque[bytes]()
        self._written = history.end
        self._commits = GroupCommit(history.sequence, self._write_all, self._sync_all)
        self._dirty, self._many = anyio.Event(), anyio.Event()
        self._clean = True  # nobody has set ``_dirty`` yet: to ask it would cost as much as setting it

    def append(self, entry: AnyEntry) -> int:
        """Add an entry; it reaches the file with the next ``write`` or sync. Returns its offset in bytes. Whatever
        taking it in raises, it was added."""
        try:
            payload = entries.encode(entry)
        except UnicodeEncodeError:
            entry = entries.spelled(entry)
            payload = entries.encode(entry)
        sequence, offset = self.sequence, self.end
        frame = pack(sequence, self._id, payload)
        self._buffer.append(frame)
        self.sequence = sequence = sequence + 1
        self.end = offset + len(frame)
        if self._clean:
            self._clean = False
            self._dirty.set()
        if sequence - self._commits.synced >= SYNC_EVERY:
            self._many.set()
        if not self.astray:
            try:
                self.history.fold(entry, offset)
            except BaseException:
                self.astray, self.history.as_told = True, False
                raise
        return offset

    def write(self, entry: AnyEntry) -> int:
        """Add an entry and give it, with all before it, to ``write(2)`` at once. Returns its offset in bytes. Whatever
        taking it in raises, it was written."""
        try:
            return self.append(entry)
        finally:
            self._write_buffer()

    def durable(self) -> Awaitable[None]:
        """Wait until all that was added so far would survive a power cut.

        Raises:
            DiskFull: the disk refuses, now or since earlier.
        """
        return self._commits.reach(self.sequence)

    async def keep_synced(self) -> None:
        """Sync within 50 ms, or 512 entries, what nobody waits for. Ends with a sync that fails, or cancelled."""
        due = -math.inf
        with suppress(DiskFull):
            while self.broken is None:
                await self._dirty.wait()
                with anyio.CancelScope(deadline=due):
                    await self._many.wait()
                self._dirty, self._many, self._clean = anyio.Event(), anyio.Event(), True
                due = anyio.current_time() + SYNC_WITHIN_S
                await self.durable()

    @property
    def unwritten(self) -> bool:
        """Whether the file lacks something that was added: the disk did not take it."""
        return bool(self._buffer)

    def check(self) -> None:
        """Raises DiskFull once the disk has refused."""
        if self.broken is not None:
            why = self.broken.strerror or str(self.broken)
            raise DiskFull(f"{self.path}: {why}; all replies so far are safe: make room (or mend the disk), run again")

    def flush(self) -> None:
        """Write and sync all that was added, while everything else waits: for the end of a run. Raises DiskFull."""
        self._write_buffer()
        if self.broken is None and self._commits.synced < self.sequence:
            try:
                fdatasync(self.fd)
                self._commits.synced = self.sequence
            except OSError as error:
                self._fail(error)
        self.check()

    def close(self, before: Callable[[], object] = lambda: None) -> None:
        """Flush what is left and give the lock back, once; ``before`` that, while the file is ours, it may be taken
        away. Raises nothing but what that raises: ``broken`` tells if the disk refused."""
        if self.fd < 0:
            return
        try:
            with suppress(DiskFull):
                self.flush()
        finally:
            _drop_ballast(self.path.parent)
            fd, self.fd = self.fd, -1
            try:
                before()
            finally:
                os.close(fd)

    def _write_all(self) -> int:
        self._write_buffer()
        self.check()
        return self.sequence

    async def _sync_all(self) -> None:
        try:
            await self._sync(self.fd)
        except OSError as error:
            self._fail(error)
        self.check()

    def _write_buffer(self) -> None:
        for _ in ("as it is", "with the ballast's room"):
            if not self._buffer:
                return
            try:
                self._write_out()
            except OSError as error:
                self._fail(error)
        # Both refused: the entries stay in the buffer, and the next write, or close, tries again.

    def _write_out(self) -> None:
        """One write(2) as a rule. Of a short one that cannot be completed, the whole frames stay in the file."""
        if self.broken is not None:
            os.ftruncate(self.fd, self._written)  # taking back may have been refused, too
        data, done = b"".join(self._buffer), 0
        try:
            while done < len(data):
                done += os.write(self.fd, data[done:])
        finally:
            self._forget(done)

    def _forget(self, done: int) -> None:
        """Take what ``done`` bytes hold out of the buffer; a torn frame at their end is cut off the file."""
        while self._buffer and len(self._buffer[0]) <= done:
            size = len(self._buffer.popleft())
            self._written += size
            done -= size
        if done:
            os.ftruncate(self.fd, self._written)

    def _fail(self, error: OSError) -> None:
        if self.broken is None:
            self.broken = error
        _drop_ballast(self.path.parent)


def open_journal(directory: Path, sync: Sync | None = None) -> Journal:
    """Lock and recover the journal in ``directory``, made where it is missing; a torn tail is cut off.

    Raises:
        OutputError: the directory cannot be written, or holds a foreign file called journal.
        RunLocked: another run holds it.
        DiskFull: there is no room, not even for the ballast, or the disk fails.
    """
    path = directory / NAME
    try:
        fd, made = _open_locked(path)
        try:
            history = read_history(path, path.parent)
            if history.size > history.end:
                os.ftruncate(fd, history.end)
            for left in (directory / ASIDE, unfinished(directory / BOOKMARK)):  # by a run that was killed over it
                left.unlink(missing_ok=True)
            _lay_ballast(directory)
            os.fsync(fd)  # a killed run may have written what it did not live to sync
            for each in (directory, *directory.parents)[: made + 1]:
                sync_directory(each)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        why = f"{directory}: cannot be written: {error.strerror}"
        if error.errno in NO_ROOM:
            raise DiskFull(f"{why}; nothing was sent: make room (or mend the disk), and run again") from None
        raise OutputError(f"{why}; choose another `output`") from None
    return Journal(path, fd, history, sync)


def _open_locked(path: Path) -> tuple[int, int]:
    """A descriptor of the journal, locked, and how many directories were made for it. The path is looked at again
    after locking: the directory may have been moved aside in between."""
    directory = path.parent
    while True:
        made = sum(not each.exists() for each in (directory, *directory.parents))
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            lock(fd, directory)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return fd, made
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _lay_ballast(directory: Path) -> None:
    """A few MiB that are given back when the disk is full, so that replies in flight find room."""
    try:
        with (directory / BALLAST).open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(bytes(BALLAST_BYTES))
    except OSError:
        _drop_ballast(directory)
        raise


def _drop_ballast(directory: Path) -> None:
    with suppress(OSError):
        (directory / BALLAST).unlink()
