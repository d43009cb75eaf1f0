"""What a journal has yet to be told when a run begins: replies that read otherwise by now, answers of other
directories, what was decided, and that failures are forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from journeybatch.entries import Decided, Reopened, Reread
from journeybatch.journal import Journal
from journeybatch.reuse import Library, Loan

AT_ONCE = 1024
"""Entries that are given to the file together; all of them would be as much memory as the answers of a table."""


class News(msgspec.Struct):
    """``reread``: the attempts whose reply came to something new; ``loans`` from a ``library`` (None: there is none);
    ``entries`` as they are. The history has taken in all of it."""

    reread: Sequence[int] = ()
    library: Library | None = None
    loans: Sequence[Loan] = ()
    entries: Sequence[Decided | Reopened] = ()

    def __bool__(self) -> bool:
        return bool(self.reread or self.loans or self.entries)

    def close(self) -> None:
        """Let go of the library."""
        if self.library is not None:
            self.library.close()


def tell(news: News, journal: Journal, reading: bytes) -> None:
    """Write all that is new, as the replies are read in this way. Raises DiskFull."""
    history = journal.history
    for number, index in enumerate(news.reread, 1):
        add = journal.append if number % AT_ONCE else journal.write
        add(Reread(history.attempts.offset[index], reading, *history.attempts.verdicts(index)))
        journal.check()
    if news.library is not None:
        for loan in news.loans:
            offset = journal.write(news.library.entry(loan))
            journal.append(Reread(offset, reading, *history.read_at(offset)))
            journal.check()
    for entry in news.entries:
        journal.append(entry)
    journal.flush()
    news.close()
