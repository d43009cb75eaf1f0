"""A journal read back: what was attempted, what it cost, what is answered, what was given up.

Columns are arrays, not objects: ten million attempts are an ordinary night, so an attempt costs about a hundred
bytes here. The same history serves the resume, the results, ``status`` and ``verify``: one reading, no second
opinion.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from journeybatch import entries
from journeybatch.entries import AnyEntry, Began, Finished, GivenUp, Intent, Received, Settled
from journeybatch.errors import OutputError
from journeybatch.frames import OVERHEAD, Gap, identify, scan, unpack
from journeybatch.identity import KEY_BYTES

SETTLED, FREE, UNKNOWN = 0, 1, 2
CHARGES = ("settled", "free", "unknown")
UNSENT = "unsent"
"""The error of an attempt that stopped between its intent and its first byte: it counts nowhere as sent."""


class Run(msgspec.Struct):
    """One run: its number, when it began and finished (Unix seconds; None while it has not), and its sums.

    ``sent`` attempts, ``retried`` of them, ``in_doubt`` of them; credits ``spent`` certainly and ``unknown``
    possibly besides.
    """

    number: int
    began_at: float
    finished_at: float | None = None
    sent: int = 0
    retried: int = 0
    in_doubt: int = 0
    spent: int = 0
    unknown: int = 0


class Attempts:
    """All attempts ever, in the order they were begun, as columns. Index i is one attempt.

    ``keys`` holds 16 bytes per prompt; attempt i owns prompts ``first[i]`` to ``first[i + 1]``. ``offset`` is where
    the reply's frame stands in the journal, −1 without one. ``least`` is the lower end of its price; what it cost is
    ``credits`` certainly and ``credits_max`` at most. An attempt starts as unknown: in doubt.
    """

    def __init__(self) -> None:
        self.run, self.attempt, self.status = array("i"), array("i"), array("i")
        self.request, self.offset = array("q"), array("q")
        self.least, self.credits, self.credits_max = array("q"), array("q"), array("q")
        self.at, self.latency_s = array("d"), array("d")
        self.charge = bytearray()
        self.first = array("q", [0])
        self.keys = bytearray()
        self.model: list[str] = []
        self.error: list[str | None] = []
        self.message: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.run)

    def add(self, run: int, intent: Intent) -> int:
        """Add an attempt that may or may not have ended. Returns its index."""
        self.run.append(run)
        self.request.append(intent.request)
        self.attempt.append(intent.attempt)
        self.status.append(0)
        self.least.append(intent.least)
        self.credits.append(0)
        self.credits_max.append(intent.most)
        self.offset.append(-1)
        self.at.append(intent.at)
        self.latency_s.append(0.0)
        self.charge.append(UNKNOWN)
        self.keys += intent.keys
        self.first.append(len(self.keys) // KEY_BYTES)
        self.model.append(intent.model)
        self.error.append("in_doubt")
        return len(self) - 1

    def keys_of(self, index: int) -> list[bytes]:
        """The keys that attempt ``index`` asked."""
        span = range(self.first[index] * KEY_BYTES, self.first[index + 1] * KEY_BYTES, KEY_BYTES)
        return [bytes(self.keys[at : at + KEY_BYTES]) for at in span]


class History:
    """All that a journal tells. ``end`` is where its last whole frame ends, in bytes; ``gaps`` are damage before it.

    ``unjudged`` are attempts whose reply is there but whose settlement is not: it can be read off the reply.
    ``emulated`` tells whether an emulator answered anything.
    """

    def __init__(self) -> None:
        self.id = b""
        self.end = 0
        self.size = 0
        self.sequence = 0
        self.attempts = Attempts()
        self.given_up: dict[bytes, tuple[str, str]] = {}
        self.runs: list[Run] = []
        self.began: Began | None = None
        self.asks: list[str] = []
        self.gaps: list[Gap] = []
        self.next_request = 0
        self.emulated = False
        self._open: dict[tuple[int, int], int] = {}
        self._models: dict[str, str] = {}

    @property
    def run(self) -> Run | None:
        """The latest run."""
        return self.runs[-1] if self.runs else None

    @property
    def unjudged(self) -> list[int]:
        """Attempts whose reply stands in the journal, unsettled."""
        return [index for index in self._open.values() if self.attempts.offset[index] >= 0]

    @property
    def lost(self) -> int:
        """Entries that damage in the middle has taken."""
        return sum(gap.lost for gap in self.gaps)

    @property
    def spent(self) -> int:
        """Credits certainly spent, ever."""
        return sum(run.spent for run in self.runs)

    def fold(self, entry: AnyEntry, offset: int) -> None:
        """Take in one entry whose frame stands at ``offset``."""
        if isinstance(entry, Intent):
            self._intend(entry)
        elif isinstance(entry, Received):
            self._receive(entry, offset)
        elif isinstance(entry, Settled):
            self._settle(entry)
        elif isinstance(entry, GivenUp):
            for at in range(0, len(entry.keys), KEY_BYTES):
                self.given_up[entry.keys[at : at + KEY_BYTES]] = (entry.error, entry.message)
        elif isinstance(entry, Began):
            self._begin(entry)
        elif isinstance(entry, Finished) and self.runs and self.runs[-1].number == entry.run:
            self.runs[-1].finished_at = entry.at

    def _begin(self, entry: Began) -> None:
        self.began = entry
        if not self.runs or self.runs[-1].number != entry.run:
            self.runs.append(Run(entry.run, entry.at))
        if entry.ask not in self.asks:
            self.asks.append(entry.ask)

    def _run_of(self, index: int) -> Run:
        number = self.attempts.run[index]
        return next(run for run in reversed(self.runs) if run.number == number)

    def _intend(self, entry: Intent) -> int:
        if not self.runs or self.runs[-1].finished_at is not None:  # the entry that began the run was damaged
            self.runs.append(Run(self.runs[-1].number + 1 if self.runs else 1, entry.at))
        index = self.attempts.add(self.runs[-1].number, entry)
        self.attempts.model[index] = self._models.setdefault(entry.model, entry.model)
        self._open[entry.request, entry.attempt] = index
        self.next_request = max(self.next_request, entry.request + 1)
        run = self._run_of(index)
        run.sent += 1
        run.retried += entry.attempt > 1
        run.in_doubt += 1
        run.unknown += entry.most
        return index

    def _receive(self, entry: Received, offset: int) -> None:
        index = self._open.get((entry.request, entry.attempt))
        if index is None:  # its intent was damaged
            index = self._intend(_intent_of(entry))
        self.attempts.offset[index] = offset
        self.attempts.status[index] = entry.status
        self.attempts.latency_s[index] = entry.latency_s
        self.emulated = self.emulated or "x-journeybatch-emulator" in entry.headers

    def _settle(self, entry: Settled) -> None:
        index = self._open.pop((entry.request, entry.attempt), None)
        if index is None:  # its intent and its reply were damaged: the money still counts
            index = self._intend(Intent(entry.request, entry.attempt, b"", "", 0, 0, 0.0))
            del self._open[entry.request, entry.attempt]
        a = self.attempts
        run = self._run_of(index)
        run.in_doubt -= entry.charge != "unknown"
        if entry.error == UNSENT:
            run.sent -= 1
            run.retried -= entry.attempt > 1
        run.spent += entry.credits
        run.unknown += entry.credits_max - entry.credits - a.credits_max[index]
        a.charge[index] = CHARGES.index(entry.charge)
        a.credits[index] = entry.credits
        a.credits_max[index] = entry.credits_max
        a.status[index] = entry.status or 0
        a.latency_s[index] = entry.latency_s
        a.error[index] = entry.error
        if entry.message is not None:
            a.message[index] = entry.message


def _intent_of(entry: Received) -> Intent:
    return Intent(entry.request, entry.attempt, entry.keys, "", entry.least, entry.most, entry.at)


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


def received(buffer: memoryview, offset: int) -> Received:
    """The reply whose frame stands at ``offset`` of a mapped journal."""
    frame = unpack(buffer, offset)
    if frame is None:
        raise ValueError(f"no frame at {offset}")
    entry = entries.decode(frame[2])
    if not isinstance(entry, Received):
        raise TypeError(f"no reply at {offset}")
    return entry
