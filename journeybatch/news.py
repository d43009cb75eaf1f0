"""What a journal has yet to be told when a run begins: replies that read otherwise by now, answers of other
directories, what was decided, and that failures are forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from journeybatch.entries import Decided, Received, Reopened, Reread
from journeybatch.journal import Journal
from journeybatch.reuse import Library, Loans

AT_ONCE = 256
"""Entries that are given to the file together; all of them would be as much memory as the answers of a table."""


class News(msgspec.Struct):
    """``reread``: the attempts whose reply came to something new; ``loans`` from a ``lender`` (None: there is none);
    ``entries`` as they are. The history has taken in all of it."""

    loans: Loans
    reread: Sequence[int] = ()
    lender: Library | None = None
    entries: Sequence[Decided | Reopened] = ()

    def __bool__(self) -> bool:
        return bool(self.reread or self.loans or self.entries)

    def reply(self, attempt: int) -> Received | None:
        """The reply to the history's ``attempt``, if it is lent."""
        loan = self.loans.to(attempt)
        return None if loan is None or self.lender is None else self.lender.reply(loan)


def tell(news: News, journal: Journal, reading: bytes) -> Iterator[None]:
    """Write all that is new, as the replies are read in this way, with a pause after each few entries. Raises DiskFull,
    and what ``Library`` does. Then it is forgotten here."""
    history = journal.history
    for number, index in enumerate(news.reread, 1):
        add = journal.append if number % AT_ONCE else journal.write
        add(Reread(history.attempts.offset[index], reading, *history.attempts.verdicts(index)))
        if number % AT_ONCE == 0:
            journal.check()
            yield
    for number, entry in enumerate(news.lender.entries(news.loans) if news.lender else (), 1):
        offset = journal.write(entry)
        journal.append(Reread(offset, reading, *history.read_at(offset)))
        journal.check()
        if number % AT_ONCE == 0:
            yield
    for said in news.entries:
        journal.append(said)
    journal.flush()
    history.lender = lambda _: None
    news.reread, news.loans, news.lender = (), Loans(), None
