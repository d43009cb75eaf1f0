"""All attempts of a journal as columns, and the runs they belong to.

Ten million attempts are an ordinary night. They lie in pages, of which the latest are in memory and the others on a
disk, so that a run takes no more memory the longer it lasts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

import msgspec

from journeybatch.entries import Intent
from journeybatch.identity import KEY_BYTES
from journeybatch.page import BITS, COLUMNS, SIZE, Page, squeeze
from journeybatch.scratch import Scratch
from journeybatch.vocabulary import Words

if TYPE_CHECKING:
    import polars as pl

SETTLED, FREE, UNKNOWN = 0, 1, 2
CHARGES = ("settled", "free", "unknown")
UNSENT = "unsent"
"""The error of an attempt that stopped between its intent and its first byte: it counts nowhere as sent."""
BORROWED = "borrowed"
"""The error of a reply that was taken over from another journal: it was not sent and cost nothing here."""
HELD = 8
"""Pages in memory."""
TOGETHER = 8 * SIZE
"""Attempts that are looked at together, where all are looked at."""

_IN_PAGE = SIZE - 1
_Value = TypeVar("_Value")


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


class Marked(NamedTuple):
    """How far a journal's bookmark tells of it: up to which ``end``, in bytes, and how many ``attempts``."""

    end: int = 0
    attempts: int = 0


class Column(Generic[_Value]):
    """One value for each attempt: by its index, or all in order."""

    def __init__(self, attempts: Attempts, name: str, words: Words | None = None) -> None:
        self._attempts, self._name, self._words = attempts, name, words

    def __len__(self) -> int:
        return len(self._attempts)

    def __getitem__(self, index: int) -> _Value:
        found: _Value = getattr(self._attempts.page(index), self._name)[index & _IN_PAGE]
        return found if self._words is None else cast(_Value, self._words.texts[cast(int, found)])

    def __setitem__(self, index: int, value: _Value) -> None:
        page, place = self._attempts.changing(index)
        getattr(page, self._name)[place] = value if self._words is None else self._words.number(cast(str, value))

    def __iter__(self) -> Iterator[_Value]:
        return (self[index] for index in range(len(self)))


class Attempts:
    """All attempts ever, in the order they were begun, as columns. Index i is one attempt.

    ``offset`` is where the reply's frame stands in the journal, −1 without one. ``least`` is the lower end of its
    price; what it cost is ``credits`` certainly and ``credits_max`` at most. An attempt starts as unknown: in doubt.
    ``asked`` and ``read`` number the ways of reading that were in force when it was asked, and when it was last read.
    Each prompt of an attempt has a key of 16 bytes, a code, which is the verdict on its part of the reply, and a sense
    (64 bits), once anything was compared.

    Old pages are stored in ``directory`` (None: where the system has its temporary files), and none takes the place of
    another, so that a copy can be made of what there is while more is added. Where the disk takes none they stay in
    memory.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._scratch = Scratch(directory)
        self._pages: list[Page | None] = []
        self._stored: dict[int, tuple[int, int]] = {}
        self._adopted: Callable[[int], bytes] = lambda _: b""
        self._held: deque[int] = deque()
        self._length = 0
        self.words = Words()
        self._in_doubt = self.words.number("in_doubt")
        self.run, self.attempt, self.status = _ints(self, "run"), _ints(self, "attempt"), _ints(self, "status")
        self.request, self.offset, self.least = _ints(self, "request"), _ints(self, "offset"), _ints(self, "least")
        self.credits, self.credits_max = _ints(self, "credits"), _ints(self, "credits_max")
        self.charge, self.asked, self.read = _ints(self, "charge"), _ints(self, "asked"), _ints(self, "read")
        self.at, self.latency_s = Column[float](self, "at"), Column[float](self, "latency_s")
        self.model = Column[str](self, "model", self.words)
        self.error = Column[str | None](self, "error", self.words)
        self.message = Column[str | None](self, "message", self.words)

    def __len__(self) -> int:
        return self._length

    def add(self, run: int, intent: Intent, reading: int) -> int:
        """Add an attempt that may or may not have ended, asked under a way of ``reading``. Returns its index."""
        index = self._length
        place = index & _IN_PAGE
        if not place:
            self._hold(len(self._pages), Page())
        page = self._pages[-1]
        if page is None:
            page = self._load(len(self._pages) - 1)
        if not page.changed:
            page.unfold()
            page.changed = True
        page.run[place], page.request[place], page.attempt[place] = run, intent.request, intent.attempt
        page.least[place], page.credits_max[place], page.at[place] = intent.least, intent.most, intent.at
        page.asked[place] = page.read[place] = reading
        page.model[place], page.error[place] = self.words.number(intent.model), self._in_doubt
        page.charge[place] = UNKNOWN
        page.keys += intent.keys
        prompts = len(intent.keys) // KEY_BYTES
        page.first.append(page.first[place] + prompts)
        page.code += bytes(prompts)
        self._length = index + 1
        return index

    def page(self, index: int) -> Page:
        """The page of attempt ``index``, to look at. Raises DiskFull where the disk does not give it back."""
        return self._pages[index >> BITS] or self._load(index >> BITS)

    def pages(self) -> Iterator[tuple[Page, range]]:
        """Each page with the indices of its attempts."""
        return ((self.page(at), range(at, at + last)) for at, _, last in self._parts(0, None))

    def changing(self, index: int) -> tuple[Page, int]:
        """The page of attempt ``index``, and its place there, to change it at once: not after another page was looked
        at. Raises DiskFull where the disk does not give it back."""
        page = self.page(index)
        if not page.changed:
            page.unfold()
            page.changed = True
        return page, index & _IN_PAGE

    def adopt(self, number: int, words: list[str | None], read: Callable[[int], bytes]) -> None:
        """Begin with this ``number`` of attempts, whose pages can be ``read``, one by one, as they were packed."""
        self._length, self._pages, self._adopted = number, [None] * -(-number // SIZE), read
        for text in words:
            self.words.number(text)

    def packed(self) -> Iterator[bytes]:
        """All pages as they are now, each in one piece. More may be added, and anything changed, before the last one is
        taken out, by another thread too. Raises DiskFull where the disk does not give one back."""
        stored = self._stored.copy()
        fresh = {number: page.pack() for number, page in enumerate(self._pages) if page is not None and page.changed}
        return (
            squeeze(fresh.pop(number)) if number in fresh else self._packed(number, stored)
            for number in range(len(self._pages))
        )

    def _packed(self, number: int, stored: dict[int, tuple[int, int]]) -> bytes:
        place = stored.get(number)
        return self._adopted(number) if place is None else self._scratch.get(place)

    def _load(self, number: int) -> Page:
        page = Page.unpack(self._packed(number, self._stored))
        self._hold(number, page)
        return page

    def _hold(self, number: int, page: Page) -> None:
        """Keep a page in memory, and store the one that has been there for longest."""
        self._pages[number : number + 1] = [page]
        self._held.append(number)
        if len(self._held) <= HELD:
            return
        oldest = self._held.popleft()
        if (leaving := self._pages[oldest]) is None:
            return
        if leaving.changed:
            try:
                self._stored[oldest] = self._scratch.put(squeeze(leaving.pack()))
            except (OSError, MemoryError):
                return  # it stays in memory, for good
        self._pages[oldest] = None

    def keys_of(self, index: int) -> list[bytes]:
        """The keys that attempt ``index`` asked."""
        page, place = self.page(index), index & _IN_PAGE
        span = range(page.first[place] * KEY_BYTES, page.first[place + 1] * KEY_BYTES, KEY_BYTES)
        return [bytes(page.keys[at : at + KEY_BYTES]) for at in span]

    def _parts(self, start: int, stop: int | None) -> Iterator[tuple[int, int, int]]:
        """The pages with attempts from ``start`` to ``stop``: (index of the first of the page, from, to)."""
        stop = self._length if stop is None else min(stop, self._length)
        for before in range(start & ~_IN_PAGE, stop, SIZE):
            yield before, max(start - before, 0), min(stop - before, SIZE)

    def lines(self, start: int = 0, stop: int | None = None) -> pl.DataFrame:
        """One line per prompt of the attempts from ``start`` to ``stop`` (None: all), in order: its ``key`` (Binary),
        the ``attempt`` that carried it (Int64), as number ``place`` of ``among`` prompts (Int64), the verdict's
        ``code`` (UInt8) and its ``sense`` (UInt64)."""
        import polars as pl

        parts = [self.page(at).lines(first, last, at) for at, first, last in self._parts(start, stop)]
        return pl.concat(parts) if parts else Page().lines(0, 0, 0)

    def marks(self) -> pl.Series:
        """The mark of each prompt, in order: what its key is known by where half of it is enough (UInt64)."""
        import polars as pl

        parts = [self.page(at).marks(first, last) for at, first, last in self._parts(0, None)]
        return pl.concat(parts, rechunk=True) if parts else pl.Series(dtype=pl.UInt64)

    def table(self, start: int = 0, stop: int | None = None, columns: Sequence[str] = COLUMNS) -> pl.DataFrame:
        """The attempts from ``start`` to ``stop`` (None: all): their ``index`` (Int64), and those ``columns`` that have
        one value for each of them."""
        import polars as pl

        found = self.numbers(start, stop, columns).with_row_index("index", offset=start)
        texts = self.words.read(*(name for name in ("model", "error", "message") if name in columns))
        return found.with_columns(pl.col("index").cast(pl.Int64), *texts)

    def numbers(self, start: int = 0, stop: int | None = None, columns: Sequence[str] = COLUMNS) -> pl.DataFrame:
        """The same without ``index``, and with the numbers of ``words`` (Int32) in place of texts."""
        import polars as pl

        parts = [self.page(at).numbers(first, last, columns) for at, first, last in self._parts(start, stop)]
        return pl.concat(parts) if parts else Page().numbers(0, 0, columns)

    def pick(self, indices: pl.Series, columns: Sequence[str]) -> pl.DataFrame:
        """What ``table`` has in ``columns`` for these attempts, in this order (null: nulls)."""
        import polars as pl

        known = indices.drop_nulls().unique().sort()
        parts = [self.table(0, 0, columns)]
        for at in (known // SIZE).unique(maintain_order=True) * SIZE:
            here = known.filter(known.is_between(at, at + _IN_PAGE))
            parts.append(self.table(at, at + SIZE, columns)[here - at])
        asked = pl.DataFrame({"index": indices.cast(pl.Int64)})
        return asked.join(pl.concat(parts), on="index", how="left", maintain_order="left")

    def tables(self, start: int = 0, columns: Sequence[str] = COLUMNS) -> Iterator[pl.DataFrame]:
        """``table`` in parts, of the attempts from ``start`` on."""
        return (self.table(at, at + TOGETHER, columns) for at in range(start, len(self), TOGETHER))

    def prompts(self, index: int) -> int:
        """How many prompts attempt ``index`` carried."""
        page, place = self.page(index), index & _IN_PAGE
        return page.first[place + 1] - page.first[place]

    def codes(self, index: int) -> bytes:
        """The verdicts on the prompts of attempt ``index``, in their order."""
        page, place = self.page(index), index & _IN_PAGE
        return bytes(page.code[page.first[place] : page.first[place + 1]])

    def judge(self, index: int, codes: bytes, senses: bytes) -> None:
        """Keep the verdicts on attempt ``index``, and what its answers are compared by."""
        page, place = self.changing(index)
        page.judge(place, codes, senses)

    def senses(self, index: int) -> list[int]:
        """What the answers of attempt ``index`` are compared by; zeros where nothing ever was."""
        return self.page(index).senses(index & _IN_PAGE)

    def verdicts(self, index: int) -> tuple[bytes, bytes]:
        """The codes and senses of attempt ``index``, as an entry holds them."""
        senses = self.senses(index)
        return self.codes(index), b"".join(sense.to_bytes(8, "big") for sense in senses) if any(senses) else b""


def _ints(attempts: Attempts, name: str) -> Column[int]:
    return Column[int](attempts, name)


def request_name(number: int | str) -> str:
    """How a request is called in tables."""
    return f"q{number}"
