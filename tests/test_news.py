"""What a journal is told when a run begins: all of it, and never all of it at once."""

from __future__ import annotations

import os
import signal
import tracemalloc
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Flow
from parrot import Parrot
from test_reuse import A, B, C, directory

from journeybatch import news
from journeybatch.archive import read_history
from journeybatch.entries import Began, Reopened
from journeybatch.errors import DiskFull
from journeybatch.history import History
from journeybatch.journal import Journal, open_journal
from journeybatch.news import News, tell
from journeybatch.reading import PLAIN
from journeybatch.reuse import Library, Loans
from journeybatch.verdict import ANSWERED, INVALID


def borrowed(other: Path, keys: list[bytes], to: History) -> News:
    library, loans = Library([other]), Loans()
    library.lend(pl.Series(keys, dtype=pl.Binary), PLAIN, 0.0, to, loans)
    return News(loans, lender=library)


def write(news: News, journal: Journal, reading: bytes) -> int:
    """Tells it; how many pauses there were."""
    return sum(1 for _ in tell(news, journal, reading))


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.mark.parametrize("first", [[], [Began(1, "job", "{}", False, False, 1.0)]], ids=["alone", "of a run"])
def test_what_was_taken_over_is_what_the_journal_tells(tmp_path: Path, first: list[Began]) -> None:
    other = directory(tmp_path / "other", ([A, B], {A: "a", B: "b"}), ([C], {C: "c"}))
    journal = open_journal(tmp_path / "own")
    for entry in first:
        journal.append(entry)
    told = borrowed(other, [A, B, C], journal.history)
    write(told, journal, PLAIN.identity)
    journal.close()
    known, read = journal.history, read_history(tmp_path / "own" / "journal")
    assert read.attempts.table().equals(known.attempts.table())
    assert read.attempts.lines().equals(known.attempts.lines())
    assert [read.origin(i) for i in range(2)] == [known.origin(i) for i in range(2)] != [known.id] * 2


def test_what_reads_otherwise_is_what_the_journal_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "AT_ONCE", 10)
    own = directory(tmp_path / "own", *(([key(n)], {key(n): "yes"}) for n in range(35)))
    journal = open_journal(own)
    waiting: list[int] = []
    append = Journal.append
    monkeypatch.setattr(
        Journal, "append", lambda self, entry: (append(self, entry), waiting.append(len(self._buffer)))[0]
    )
    for index in range(35):
        journal.history.read_again(index, b"anew", bytes([INVALID if index % 3 else ANSWERED]), b"")
    assert write(News(Loans(), reread=range(35), entries=[Reopened(9.0)]), journal, b"anew") == 3
    assert max(waiting) == 10, "they reach the file ten at a time"
    journal.close()
    read = read_history(own / "journal")
    assert [read.attempts.codes(i)[0] == INVALID for i in range(35)] == [index % 3 > 0 for index in range(35)]
    assert not any(read.is_unread(index, b"anew") for index in range(35))
    assert read.reopened == 35


def test_answers_of_another_directory_are_never_in_memory_together(tmp_path: Path) -> None:
    size, number = 100_000, 300
    other = directory(tmp_path / "other", *(([key(n)], {key(n): "x" * size}) for n in range(number)))
    journal = open_journal(tmp_path / "own")
    tracemalloc.start()
    try:
        told = borrowed(other, [key(n) for n in range(number)], journal.history)
        write(told, journal, PLAIN.identity)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        journal.close()
    assert len(journal.history.attempts) == number
    assert len(told.loans) == 0
    assert peak < size * number / 4


def test_a_full_disk_ends_the_telling_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = directory(tmp_path / "other", *(([key(n)], {key(n): "yes"}) for n in range(9)))
    journal = open_journal(tmp_path / "own")
    told = borrowed(other, [key(n) for n in range(9)], journal.history)
    tries: list[int] = []

    def full(_: int, data: bytes) -> int:
        tries.append(len(data))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(DiskFull, match="No space left"):
        patch.setattr("os.write", full)
        write(told, journal, PLAIN.identity)
    assert len(tries) == 2, "once, and once more with the ballast's room"
    journal.close()


def test_a_ctrl_c_is_heard_while_much_is_told_and_the_next_run_carries_on(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, told = Library.entries, []
    parrot = Parrot()
    flow.output = flow.path / "other"
    flow.run({"transport": parrot})
    flow.output = flow.path / "own"
    flow.write([f"thing {n}" for n in range(13)])  # one is left to ask

    def interrupted(self: Library, loans: Any) -> Any:
        for entry in entries(self, loans):
            told.append(entry)
            if len(told) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield entry

    keys = {"reuse": [str(flow.path / "other")]}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(news, "AT_ONCE", 1)
        patch.setattr(Library, "entries", interrupted)
        flow.run({"transport": parrot}, **keys)
    assert 3 <= len(told) < 12
    assert (flow.run({"transport": parrot}, **keys).exit_code, parrot.billed) == (0, 13)
    assert flow.summary()["rows"]["reused"] == 12
