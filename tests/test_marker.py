"""Bookmarks are left while a run goes on, each of one moment; whoever was killed has only the rest to read."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import anyio
import pytest
from conftest import Flow
from test_bookmark import FAULTS, told

from journeybatch import attempts, bookmark, compaction, marker, scratch
from journeybatch.archive import read_history
from journeybatch.attempts import Marked
from journeybatch.emulator import Emulator
from journeybatch.entries import Began, Intent, Received, Reopened, Settled
from journeybatch.history import History
from journeybatch.journal import NAME, Journal, open_journal
from journeybatch.page import SIZE


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a short journal has bookmarks, and few of its pages are in memory."""
    monkeypatch.setattr(bookmark, "WORTH", 1)
    monkeypatch.setattr(attempts, "HELD", 2)
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    opened = open_journal(tmp_path)
    opened.append(Began(1, "job", "{}", False, False, 0.0))
    yield opened
    opened.close()


def intend(journal: Journal, number: int) -> None:
    journal.append(Intent(number, 1, number.to_bytes(16, "big"), "m", 1, 2, 1.0 * number))


def end(journal: Journal, number: int) -> None:
    journal.append(Received(number, 1, number.to_bytes(16, "big"), 200, {}, b"reply", 0.5, 2.0))
    journal.append(Settled(number, 1, "settled", 1, 1, None, None, 200, 0.5, b"\1"))


def rest(journal: Journal) -> History:
    """What somebody reads who opens the journal now; its attempts that a bookmark told of are ``marked``."""
    return read_history(journal.path, journal.path.parent)


def test_what_comes_while_one_is_written_does_not_stand_in_it(journal: Journal) -> None:
    """Attempts of pages in memory and on the disk are begun before it and settled before, meanwhile or afterwards."""
    rng, started, open_ = random.Random(5), 0, list[int]()
    for at in (SIZE // 2, 3 * SIZE + 7, 4 * SIZE):
        while started < at:
            intend(journal, started)
            open_.append(started)
            started += 1
            if rng.random() < 0.9:  # one in ten stays open, some of them for long
                end(journal, open_.pop(rng.randrange(max(0, len(open_) - 20), len(open_))))
        snapshot = bookmark.taken(journal.history, journal.end, journal.sequence, journal.path)
        for _ in range(200):
            end(journal, open_.pop(rng.randrange(len(open_)))) if open_ and rng.random() < 0.5 else None
            intend(journal, started)
            open_.append(started)
            started += 1
        journal.flush()
        bookmark.write(snapshot, journal.path)
        assert rest(journal).marked.attempts == at
        assert told(rest(journal)) == told(read_history(journal.path, anew=True))


@pytest.mark.anyio
async def test_a_run_leaves_one_whenever_it_has_grown_by_an_eighth(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[int]()

    async def beside(write: Any) -> None:
        seen.append(write.args[0].attempts)
        write(lambda: None)

    monkeypatch.setattr(marker, "beside", beside)
    monkeypatch.setattr(marker, "PAUSE_S", 0.0)
    monkeypatch.setattr(bookmark, "WORTH", 10)
    async with anyio.create_task_group() as group:
        group.start_soon(marker.keep_marked, journal)
        for number in range(300):
            intend(journal, number)
            while marker.is_due(journal):
                await anyio.sleep(0)
        with anyio.fail_after(20):
            while journal.history.marked.attempts != seen[-1]:  # the last one may be under way
                await anyio.sleep(0)
        group.cancel_scope.cancel()
    assert seen == [10, 20, 30, 40, 50, 60, 70, 80, 91, 103, 117, 133, 151, 172, 196, 223, 254, 290]


@pytest.mark.anyio
async def test_it_is_durable_before_it_is_marked(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    size = list[int]()
    monkeypatch.setattr(bookmark, "write", lambda *_: size.append(journal.path.stat().st_size))
    intend(journal, 0)
    before = journal.end
    await marker.mark(journal)
    assert size == [before]
    assert journal._commits.synced == journal.sequence


@pytest.mark.anyio
async def test_a_disk_without_room_for_one_is_not_asked_again_before_there_is_more_to_mark(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "SPARE_BYTES", 2**62)
    monkeypatch.setattr(attempts.Attempts, "packed", lambda _: pytest.fail("copies were made"))
    intend(journal, 0)
    assert marker.is_due(journal)
    await marker.mark(journal)
    assert not marker.is_due(journal)
    assert {path.name for path in journal.path.parent.iterdir()} == {NAME, ".ballast"}
    assert journal.broken is None
    intend(journal, 1)
    assert marker.is_due(journal)


@pytest.mark.anyio
async def test_one_that_is_under_way_when_the_run_ends_is_given_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    intend(journal, 0)

    def write(snapshot: bookmark.Snapshot, journal: Path, check: Any) -> None:
        anyio.from_thread.run_sync(group.cancel_scope.cancel)
        while True:
            check()

    monkeypatch.setattr(bookmark, "write", write)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(marker.keep_marked, journal)
    assert journal.history.marked == Marked(0, 1)


@pytest.mark.anyio
async def test_failures_forgotten_are_not_marked_before_the_journal_was_told(journal: Journal) -> None:
    intend(journal, 0)
    journal.history.reopen()
    assert not marker.is_due(journal)
    journal.append(Reopened(1.0))
    assert marker.is_due(journal)


def test_whoever_carries_on_after_a_kill_reads_from_the_last_one_on(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a process that was killed the journal is there, and the bookmarks it left on its way."""
    monkeypatch.setattr(compaction, "leave", lambda *_: None)
    monkeypatch.setattr(marker, "PAUSE_S", 0.001)
    flow.write([f"thing {n}" for n in range(200)])
    flow.emulator = Emulator(faults=FAULTS)
    for options in ({"limit": 60}, {"limit": 120}, {}, {"retry_failed": True}):
        flow.run({"yes": True, **options})
        history = read_history(flow.output / NAME)
        assert history.marked.attempts > 0
        assert told(history) == told(read_history(flow.output / NAME, anew=True))
    assert flow.balanced()
