"""A journal read back: what was attempted, what it cost, what is answered, what was given up.

The same history serves the resume, the results, ``status`` and ``verify``: one reading, no second opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from journeybatch.attempts import BORROWED, CHARGES, SETTLED, UNSENT, Attempts, Marked, Run
from journeybatch.entries import (
    AnyEntry,
    Began,
    Borrowed,
    Compacted,
    Decided,
    Delivered,
    Finished,
    GivenUp,
    Intent,
    Received,
    Reopened,
    Reread,
    Settled,
    Split,
    Tried,
    Tuned,
)
from journeybatch.frames import Gap
from journeybatch.identity import split
from journeybatch.places import Places
from journeybatch.verdict import MISSED, UNFIT, UNREAD, code_of

FEWER = 4
"""By how much a pack is smaller in which a missed row is asked again. Each size is paid for: a model that cannot do
packs at all costs a quarter more than one request per row, where halves would cost nearly twice as much."""


class History:
    """All that a journal tells. What need not stay in memory goes into ``directory``.

    ``id`` is the journal's name, for ever; ``frames_id`` what this file's frames carry: another one once the journal
    was compacted. ``end`` is where its last whole frame ends, in bytes; ``gaps`` are damage before it.
    ``marked`` is how far there is a bookmark.

    ``unjudged`` are attempts whose reply is there but whose settlement is not: it can be read off the reply.
    ``emulated`` tells whether an emulator answered anything. ``rooms`` tells of keys that got no answer in a pack how
    many prompts the next one may have; ``reopened`` is the first attempt since failures were last forgotten, which a
    journal may yet have to be told (then it is not ``as_told``); ``reading`` names the way of reading that is in force.
    ``trials`` are keys asked only to compare, with the keys that ask the same in earnest; ``tried_from`` is the first
    attempt that may have asked one. ``decided`` has what was decided by measurement, by what it is and rests on;
    ``delivered``, by sink, which results were there last; ``tuned`` is what was last chosen for a run at work.
    ``lender`` gives the reply to an attempt whose reply is lent and yet to be written, and of others None.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory
        self.id = b""
        self.frames_id = b""
        self.end = 0
        self.marked = Marked()
        self.size = 0
        self.sequence = 0
        self.attempts = Attempts(directory)
        self.given_up: dict[bytes, tuple[str, str]] = {}
        self.runs: list[Run] = []
        self.began: Began | None = None
        self.asks: list[str] = []
        self.gaps: list[Gap] = []
        self.next_request = 0
        self.emulated = False
        self.reopened = 0
        self.as_told = True
        self.rooms: dict[bytes, int] = {}
        self.trials: dict[bytes, bytes] = {}
        self.tried_from = 0
        self.decided: dict[tuple[str, bytes], Decided] = {}
        self.delivered: dict[bytes, bytes] = {}
        self.tuned: Tuned | None = None
        self._open: dict[tuple[int, int], int] = {}
        self.reading = b""
        self._readings: dict[bytes, int] = {b"": 0}
        self._borrowed: dict[tuple[bytes, int, int], int] = {}
        self._origins: dict[int, bytes] = {}
        self._places = Places(self.attempts)
        self.lender: Callable[[int], Received | None] = lambda _: None

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

    def under_way(self, request: int, attempt: int) -> int:
        """The index of an attempt that is not settled yet."""
        return self._open[request, attempt]

    def fold(self, entry: AnyEntry, offset: int) -> None:
        """Take in one entry whose frame stands at ``offset``."""
        if isinstance(entry, Intent):
            self._intend(entry)
        elif isinstance(entry, Received):
            self._receive(entry, offset)
        elif isinstance(entry, Settled):
            self._settle(entry)
        else:
            self._fold_rare(entry, offset)

    def _fold_rare(self, entry: AnyEntry, offset: int) -> None:
        if isinstance(entry, GivenUp):
            for key in split(entry.keys):
                self.given_up[key] = (entry.error, entry.message)
        elif isinstance(entry, Split):
            self._miss(split(entry.keys), entry.rows // 2)
        elif isinstance(entry, Reopened):
            self.reopen()
            self.as_told = True
        elif isinstance(entry, Tried):
            self.tried_from = self.tried_from if self.trials else len(self.attempts)
            self.trials.update(zip(split(entry.trials), split(entry.keys), strict=True))
        elif isinstance(entry, Decided | Delivered | Tuned):
            self._note(entry)
        elif isinstance(entry, Reread):
            if (index := self._places.attempt_at(entry.offset)) is not None:
                self.read_again(index, entry.reading, entry.codes, entry.senses)
        elif isinstance(entry, Borrowed):
            self._borrow(entry, offset)
        elif isinstance(entry, Compacted):
            self.id = entry.id
        elif isinstance(entry, Began):
            self._begin(entry)
        elif isinstance(entry, Finished) and self.runs and self.runs[-1].number == entry.run:
            self.runs[-1].finished_at = entry.at

    def _note(self, entry: Decided | Delivered | Tuned) -> None:
        """Take in what concerns no attempt."""
        if isinstance(entry, Decided):
            self.decided[entry.what, entry.about] = entry
        elif isinstance(entry, Delivered):
            self.delivered[entry.sink] = entry.results
        else:
            self.tuned = entry

    def origin(self, index: int) -> bytes:
        """The id of the journal whose tokens mark the items of attempt ``index``."""
        return self._origins.get(index, self.id)

    def is_unread(self, index: int, reading: bytes) -> bool:
        """Whether the reply of attempt ``index`` has yet to be read in this way."""
        a = self.attempts
        return a.read[index] != self._readings.get(reading, -1) or UNREAD in a.codes(index)

    def was_asked(self, reading: bytes) -> int:
        """The number that ``Attempts.asked`` has for a way of reading; -1 where nothing was asked under it."""
        return self._readings.get(reading, -1)

    def read_again(self, index: int, reading: bytes, codes: bytes, senses: bytes) -> None:
        """Take in what another reading of the reply of attempt ``index`` came to."""
        a = self.attempts
        a.read[index] = self._readings.setdefault(reading, len(self._readings))
        a.judge(index, codes, senses)
        if a.asked[index] == a.read[index]:  # what was asked for in another way may well be had in as large a pack
            self._miss_of(index, codes)

    def read_by(self, reading: bytes) -> None:
        """From now on replies are read in this way: what failed as invalid in another may be read now."""
        if self.reading != reading:
            self.reading = reading
            self.given_up = {key: why for key, why in self.given_up.items() if why[0] != "invalid"}

    def read_at(self, offset: int) -> tuple[bytes, bytes]:
        """The codes and senses of the reply that stands at ``offset``, as an entry holds them."""
        index = self._places.attempt_at(offset)
        return (b"", b"") if index is None else self.attempts.verdicts(index)

    def take_over(self, entry: Borrowed, reading: bytes, codes: bytes, senses: bytes) -> int:
        """Take in a reply that is yet to be written down, as it reads. Returns the attempt's index."""
        self._borrow(entry, 0)
        index = self._borrowed[entry.mark]
        self.read_again(index, reading, codes, senses)
        return index

    def reopen(self) -> None:
        """Forget what failed; replies that could not be read count from here on. The journal has yet to be told."""
        self.given_up, self.reopened, self.as_told = {}, len(self.attempts), False

    def _miss_of(self, index: int, codes: bytes) -> None:
        for miss, fewer in ((MISSED, FEWER), (UNFIT, len(codes))):
            if miss in codes:
                keys = self.attempts.keys_of(index)
                self._miss((key for key, code in zip(keys, codes, strict=True) if code == miss), len(keys) // fewer)

    def _miss(self, keys: Iterable[bytes], rows: int) -> None:
        for key in keys:
            self.rooms[key] = max(1, min(rows, self.rooms.get(key, rows)))

    def _borrow(self, entry: Borrowed, offset: int) -> None:
        a = self.attempts
        mark = entry.mark
        if (known := self._borrowed.get(mark)) is not None:  # nothing is taken over twice
            a.offset[known] = offset
            self._places.place(offset, known)
            return
        index = self._borrowed[mark] = self._add(
            Intent(entry.request, entry.attempt, entry.keys, entry.model, 0, 0, entry.at)
        )
        self.emulated = self.emulated or "x-journeybatch-emulator" in entry.headers
        a.offset[index], a.status[index], a.latency_s[index] = offset, entry.status, entry.latency_s
        a.charge[index], a.error[index] = SETTLED, BORROWED
        a.asked[index] = a.read[index] = -1
        self._origins[index] = entry.journal
        self._places.place(offset, index)

    def _add(self, intent: Intent) -> int:
        run = self.runs[-1].number if self.runs else 1
        return self.attempts.add(run, intent, self._readings.setdefault(self.reading, len(self._readings)))

    def _begin(self, entry: Began) -> None:
        if self.began is None:
            self.reading = entry.reading
        self.read_by(entry.reading)
        self.began = entry
        if not self.runs or self.runs[-1].number != entry.run:
            self.runs.append(Run(entry.run, entry.at))
        if entry.ask not in self.asks:
            self.asks.append(entry.ask)

    def _run_of(self, number: int) -> Run:
        if self.runs[-1].number == number:
            return self.runs[-1]
        return next(run for run in reversed(self.runs) if run.number == number)

    def _intend(self, entry: Intent) -> int:
        if not self.runs:  # the entry that began the run was damaged
            self.runs.append(Run(1, entry.at))
        if self.runs[-1].finished_at is not None:  # here too
            self.runs.append(Run(self.runs[-1].number + 1, entry.at))
        index = self._add(entry)
        self._open[entry.request, entry.attempt] = index
        self.next_request = max(self.next_request, entry.request + 1)
        run = self.runs[-1]
        run.sent += 1
        run.retried += entry.attempt > 1
        run.in_doubt += 1
        run.unknown += entry.most
        return index

    def _receive(self, entry: Received, offset: int) -> None:
        index = self._open.get((entry.request, entry.attempt))
        if index is None:  # its intent was damaged
            index = self._intend(entry.intent())
        page, place = self.attempts.changing(index)
        page.offset[place], page.status[place], page.latency_s[place] = offset, entry.status, entry.latency_s
        self._places.place(offset, index)
        self.emulated = self.emulated or "x-journeybatch-emulator" in entry.headers

    def _settle(self, entry: Settled) -> None:
        index = self._open.pop((entry.request, entry.attempt), None)
        if index is None:  # its intent and its reply were damaged: the money still counts
            index = self._intend(Intent(entry.request, entry.attempt, b"", "", 0, 0, 0.0))
            del self._open[entry.request, entry.attempt]
        a = self.attempts
        page, place = a.changing(index)
        run = self._run_of(page.run[place])
        run.in_doubt -= entry.charge != "unknown"
        if entry.error == UNSENT:
            run.sent -= 1
            run.retried -= entry.attempt > 1
        run.spent += entry.credits
        run.unknown += entry.credits_max - entry.credits - page.credits_max[place]
        page.charge[place] = CHARGES.index(entry.charge)
        page.credits[place], page.credits_max[place] = entry.credits, entry.credits_max
        page.status[place], page.latency_s[place] = entry.status or 0, entry.latency_s
        page.error[place], page.message[place] = a.words.number(entry.error), a.words.number(entry.message)
        if entry.charge == "settled" and page.offset[place] >= 0:
            codes = entry.codes or bytes([code_of(entry.error)]) * a.prompts(index)
            page.judge(place, codes, entry.senses)
            if entry.codes:
                self._miss_of(index, codes)
