"""Answers that other jobs have paid for: taken over, raw, from their journals.

A content key says all that was asked, the provider included, so an answer under the same key is the same answer,
whoever asked. The raw reply is copied into the own journal: the other directory may then go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from journeybatch.archive import mapped, read_history, received
from journeybatch.attempts import SETTLED
from journeybatch.entries import Borrowed
from journeybatch.errors import OutputError
from journeybatch.history import History
from journeybatch.journal import NAME
from journeybatch.reading import Reader, codes_of
from journeybatch.verdict import READABLE


class Library:
    """The histories of other output directories, read once.

    Raises OutputError where a directory holds no journal of ours.
    """

    def __init__(self, directories: Iterable[Path]) -> None:
        self._shelves: list[tuple[Path, History]] = []
        for directory in directories:
            if not (directory / NAME).exists():
                raise OutputError(f"reuse: {directory}: there is no journal here; name the output directory of a job")
            self._shelves.append((directory / NAME, read_history(directory / NAME)))
        self._where: dict[bytes, list[tuple[int, int]]] = {}
        for shelf, (_, history) in enumerate(self._shelves):
            a = history.attempts
            for i in range(len(a)):
                if a.charge[i] == SETTLED and a.offset[i] >= 0:
                    for key in a.keys_of(i):
                        self._where.setdefault(key, []).append((shelf, i))

    def lend(self, keys: Iterable[bytes], reader: Reader, since: float, to: History) -> Iterator[Borrowed]:
        """The replies, none before ``since`` (Unix seconds), in which ``reader`` finds an answer to one of ``keys``;
        each is folded into the history it goes ``to``."""
        lent: dict[tuple[int, int], bytes] = {}
        for key in keys:
            for shelf, index in self._where.get(key, ()):
                a = self._shelves[shelf][1].attempts
                place = a.keys_of(index).index(key)
                if (codes := lent.get((shelf, index))) is not None:
                    if codes[place] in READABLE:
                        break
                    continue  # lent for another key of its pack; this one it missed
                if a.at[index] < since:
                    continue
                entry = self._read(shelf, index)
                codes, senses = codes_of(reader.verdicts(entry.received(), entry.journal))
                if codes[place] in READABLE:
                    lent[shelf, index] = codes
                    to.take_over(entry, reader.identity, codes, senses)
                    yield entry
                    break

    def _read(self, shelf: int, index: int) -> Borrowed:
        path, history = self._shelves[shelf]
        a = history.attempts
        with mapped(path) as buffer:
            entry = received(buffer, history, index)
        return Borrowed(
            history.origin(index),
            entry.request,
            entry.attempt,
            entry.keys,
            a.model[index],
            entry.status,
            entry.headers,
            entry.body,
            entry.latency_s,
            a.at[index],
        )
