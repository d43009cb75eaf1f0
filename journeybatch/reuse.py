"""Answers that other jobs have paid for: taken over, raw, from their journals.

A content key says all that was asked, the provider included, so an answer under the same key is the same answer,
whoever asked. The raw reply is copied into the own journal: the other directory may then go.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from journeybatch.archive import HELD, let_go, mapped, read_history, received
from journeybatch.attempts import SETTLED
from journeybatch.entries import Borrowed, Received
from journeybatch.errors import OutputError, RunLocked
from journeybatch.history import History
from journeybatch.journal import NAME
from journeybatch.reading import Reader, codes_of
from journeybatch.verdict import READABLE

if TYPE_CHECKING:
    import polars as pl


class Loan(NamedTuple):
    """A reply that is lent: to ``attempt`` of the history on so many a ``shelf``."""

    shelf: int
    attempt: int


class Loans:
    """Replies that are lent, in their order, 18 bytes each; every one is an attempt in the history that it went to."""

    def __init__(self) -> None:
        self._shelves, self._attempts, self._own = array("H"), array("q"), array("q")
        self._place_of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._attempts)

    def __iter__(self) -> Iterator[Loan]:
        return map(Loan, self._shelves, self._attempts)

    def add(self, loan: Loan, own: int) -> None:
        """Note a ``loan`` that went to the history's attempt number ``own``."""
        self._shelves.append(loan.shelf)
        self._attempts.append(loan.attempt)
        self._own.append(own)

    def to(self, own: int) -> Loan | None:
        """What was lent to the history's attempt number ``own``."""
        if len(self._place_of) < len(self):
            self._place_of = {own: place for place, own in enumerate(self._own)}
        place = self._place_of.get(own)
        return None if place is None else Loan(self._shelves[place], self._attempts[place])


class Library:
    """The histories of other output directories, read once. One journal is open at a time.

    Raises OutputError where a directory holds no journal of ours.
    """

    def __init__(self, directories: Iterable[Path]) -> None:
        self._shelves: list[tuple[Path, History]] = []
        self._read = 0  # bytes since memory was given back
        for directory in directories:
            if not (directory / NAME).exists():
                raise OutputError(f"reuse: {directory}: there is no journal here; name the output directory of a job")
            self._shelves.append((directory / NAME, read_history(directory / NAME)))

    def lend(self, keys: pl.Series, reader: Reader, since: float, to: History, loans: Loans) -> None:
        """Note the replies, none before ``since`` (Unix seconds), in which ``reader`` finds an answer to one of
        ``keys``; each is folded into the history it goes ``to``. Directories are asked in their order, and each in the
        order in which it asked: its pages are read once.

        Raises:
            OutputError, RunLocked: a journal is gone, or written anew, since its history was read.
            DiskFull: a reply does not stand where it should.
        """
        answered = bytearray(len(keys))
        for shelf, carried in groupby(self._found(keys, since).iter_rows(), key=lambda row: row[1]):
            with self._opened(shelf) as journal:
                for attempt, lines in groupby(carried, key=lambda row: row[2]):
                    wanted = [(number, place) for number, _, _, place in lines if not answered[number]]
                    if not wanted:
                        continue
                    entry = self._entry(journal, Loan(shelf, attempt))
                    codes, senses = codes_of(reader.verdicts(entry.received(), entry.journal))
                    found = [number for number, place in wanted if codes[place] in READABLE]
                    if found:
                        loans.add(Loan(shelf, attempt), to.take_over(entry, reader.identity, codes, senses))
                    for number in found:
                        answered[number] = True

    def entries(self, loans: Iterable[Loan]) -> Iterator[Borrowed]:
        """What a journal is told of ``loans``, one by one. Raises what ``lend`` does."""
        for shelf, of_it in groupby(loans, key=lambda loan: loan.shelf):
            with self._opened(shelf) as journal:
                for loan in of_it:
                    yield self._entry(journal, loan)

    def reply(self, loan: Loan) -> Received:
        """A reply as it stands in its own journal. Raises what ``lend`` does."""
        return next(self.entries([loan])).received()

    @contextmanager
    def _opened(self, shelf: int) -> Iterator[memoryview]:
        path, _ = self._shelves[shelf]
        if not path.exists():
            raise OutputError(f"reuse: {path.parent}: its journal has been taken away just now; run again")
        try:
            with mapped(path) as journal:
                yield journal
        except RunLocked:
            raise RunLocked(f"reuse: {path.parent}: another run has written its journal anew; run again") from None

    def _entry(self, journal: memoryview, loan: Loan) -> Borrowed:
        _, history = self._shelves[loan.shelf]
        a, entry = history.attempts, received(journal, history, loan.attempt)
        self._read += len(entry.body)
        if self._read > HELD:
            let_go(journal)
            self._read = 0
        return Borrowed(
            history.origin(loan.attempt),
            entry.request,
            entry.attempt,
            entry.keys,
            a.model[loan.attempt],
            entry.status,
            entry.headers,
            entry.body,
            entry.latency_s,
            a.at[loan.attempt],
        )

    def _found(self, keys: pl.Series, since: float) -> pl.DataFrame:
        """Who carried which of the ``keys`` and got a reply: the ``number`` of the key, the ``shelf``, the ``attempt``
        there, and the key's ``place`` in it, in the order in which they are asked."""
        import polars as pl

        wanted = keys.to_frame("key").with_row_index("number")
        good = (pl.col("charge") == SETTLED) & (pl.col("offset") >= 0) & (pl.col("at") >= since)
        schema = {"number": pl.UInt32(), "shelf": pl.Int64(), "attempt": pl.Int64(), "place": pl.Int64()}
        found = [pl.DataFrame(schema=schema)]
        for shelf, (_, history) in enumerate(self._shelves):
            for part in history.attempts.tables(columns=("charge", "offset", "at")):
                there = history.attempts.lines(part["index"][0], part["index"][-1] + 1)
                there = there.join(part.filter(good), left_on="attempt", right_on="index", how="semi")
                there = there.join(wanted, on="key").with_columns(shelf=pl.lit(shelf, pl.Int64))
                found.append(there.select(*schema))
        return pl.concat(found).sort("shelf", "attempt", "place")
