"""Answers that other jobs have paid for: taken over, raw, from their journals.

A content key says all that was asked, the provider included, so an answer under the same key is the same answer,
whoever asked. The raw reply is copied into the own journal: the other directory may then go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from journeybatch.archive import HELD, let_go, mapped, read_history, received
from journeybatch.attempts import SETTLED
from journeybatch.entries import Borrowed
from journeybatch.errors import OutputError
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


class Library:
    """The histories of other output directories, read once, and their journals, open until it is closed: what was found
    there can be had, even if somebody writes the journal anew, or takes it away.

    Raises OutputError where a directory holds no journal of ours.
    """

    def __init__(self, directories: Iterable[Path]) -> None:
        self._open, self._read = ExitStack(), 0
        self._shelves: list[tuple[memoryview, History]] = []
        for path in (directory / NAME for directory in directories):
            if not path.exists():
                told = f"reuse: {path.parent}: there is no journal here; name the output directory of a job"
                raise OutputError(told)
            history = read_history(path)
            self._shelves.append((self._open.enter_context(mapped(path)), history))

    def lend(self, keys: pl.Series, reader: Reader, since: float, to: History) -> Iterator[Loan]:
        """The replies, none before ``since`` (Unix seconds), in which ``reader`` finds an answer to one of ``keys``;
        each is folded into the history it goes ``to``. Directories are asked in their order."""
        lent: dict[Loan, bytes] = {}  # packs, which may be lent for one key and asked for another
        answered = -1
        for key, shelf, attempt, place, among in self._found(keys, since).iter_rows():
            if key == answered:
                continue
            loan = Loan(shelf, attempt)
            if (codes := lent.get(loan)) is None:
                entry = self.entry(loan)
                codes, senses = codes_of(reader.verdicts(entry.received(), entry.journal))
                if codes[place] in READABLE:
                    to.take_over(entry, reader.identity, codes, senses)
                    if among > 1:
                        lent[loan] = codes
                    yield loan
            if codes[place] in READABLE:
                answered = key

    def entry(self, loan: Loan) -> Borrowed:
        """What a journal is told of a loan."""
        journal, history = self._shelves[loan.shelf]
        a, entry = history.attempts, received(journal, history, loan.attempt)
        self._read += len(entry.body)
        if self._read > HELD:
            self._read = 0
            let_go(journal)
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

    def close(self) -> None:
        """Put all back; nothing can be had any more."""
        self._shelves = []
        self._open.close()

    def _found(self, keys: pl.Series, since: float) -> pl.DataFrame:
        """Who carried which of the ``keys`` and got a reply: the number of the key, the shelf, the attempt there, and
        the key's place among so many, in the order in which they are asked."""
        import polars as pl

        wanted = keys.to_frame("key").with_row_index("number")
        good = (pl.col("charge") == SETTLED) & (pl.col("offset") >= 0) & (pl.col("at") >= since)
        found = [pl.DataFrame(schema={"number": pl.UInt32} | dict.fromkeys(_WHERE, pl.Int64))]
        for shelf, (_, history) in enumerate(self._shelves):
            for part in history.attempts.tables(columns=("charge", "offset", "at")):
                there = history.attempts.lines(part["index"][0], part["index"][-1] + 1)
                there = there.join(part.filter(good), left_on="attempt", right_on="index", how="semi")
                there = there.join(wanted, on="key").with_columns(shelf=pl.lit(shelf, pl.Int64))
                found.append(there.select("number", *_WHERE))
        return pl.concat(found).sort("number", "shelf", "attempt")


_WHERE = ("shelf", "attempt", "place", "among")
