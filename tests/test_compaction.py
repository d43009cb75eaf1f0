"""Replies that are too old leave the journal; nothing else does, whatever happens on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from conftest import Flow
from parrot import Parrot
from proofs.recorder import Recorder

from journeybatch import bookmark, compaction, scratch
from journeybatch.archive import mapped, read_history, received
from journeybatch.audit import audit
from journeybatch.compaction import close, forgotten
from journeybatch.entries import Began, Borrowed, Finished, GivenUp, Intent, Received, Reread, Settled, Split, Tried
from journeybatch.errors import RunLocked
from journeybatch.frames import scan
from journeybatch.journal import ASIDE, Journal, open_journal
from journeybatch.lock import locked
from journeybatch.tally import tally
from journeybatch.verdict import ANSWERED, INVALID

DAY = 86_400.0
NIGHTS = (0.0, DAY, 9 * DAY)
SINCE = 5 * DAY
EMULATED = {"x-journeybatch-emulator": "1"}


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def ask(journal: Journal, number: int, at: float, body: bytes, **end: object) -> int:
    """One attempt from its intent to its end; gives the offset of its reply."""
    said = {
        "charge": "settled",
        "credits": 3,
        "most": 5,
        "error": None,
        "status": 200,
        "codes": bytes([ANSWERED]),
    } | end
    journal.append(Intent(number, 1, key(number), "m", 3, 5, at))
    offset = journal.append(Received(number, 1, key(number), said["status"], EMULATED, body, 0.5, at, 3, 5))
    if said["charge"] != "open":
        told = (said["charge"], said["credits"], said["most"], said["error"], None, said["status"], 0.5, said["codes"])
        journal.append(Settled(number, 1, *told))
    return offset


def written(directory: Path, bodies: int = 2_000) -> Journal:
    """A journal of three nights with some of everything, open."""
    journal, old = open_journal(directory), b"old" * bodies
    journal.append(Began(1, "j", "{}", True, False, NIGHTS[0]))
    first = [ask(journal, number, 1.0 + number, old + bytes([number])) for number in range(6)]
    ask(journal, 6, 7.0, b"busy" * bodies, charge="free", credits=0, most=0, error="busy", status=429, codes=b"")
    ask(journal, 7, 8.0, b"unreadable", error="invalid", codes=bytes([INVALID]))
    ask(journal, 8, 9.0, b"lost", charge="unknown", credits=0, most=5, error="cut", codes=b"")
    journal.append(Tried(key(9), key(99), 1))
    ask(journal, 99, 10.0, b"only to compare")
    journal.append(GivenUp(key(7), "invalid", "no", 11.0))
    journal.append(Reread(first[2], b"", bytes([ANSWERED])))
    journal.append(Borrowed(b"another.", 4, 1, key(20), "m", 200, {}, b"borrowed", 0.5, 12.0))
    journal.append(Finished(1, 13.0))
    journal.append(Began(2, "j", "{}", True, False, NIGHTS[2]))
    journal.append(Intent(30, 1, key(0) + key(1), "m", 3, 5, NIGHTS[2] + 1))
    journal.append(Settled(30, 1, "unknown", 0, 5, "timeout", "too slow", None, 9.0))
    journal.append(Split(key(0) + key(1), 2))
    late = ask(journal, 31, NIGHTS[2] + 2, b"new answer")
    journal.append(Reread(late, b"", bytes([ANSWERED])))
    ask(journal, 32, NIGHTS[2] + 3, b"not settled", charge="open")
    journal.flush()
    return journal


@pytest.fixture(autouse=True)
def _nothing_is_too_little(monkeypatch):
    monkeypatch.setattr(compaction, "WORTH", 0)


def told(path: Path) -> dict[str, object]:
    """All that a journal tells, but for replies that are too old and where in the file the others stand."""
    history = read_history(path)
    a, gone = history.attempts, forgotten(history, SINCE)
    with mapped(path) as buffer:
        said = [
            received(buffer, history, i).body if offset >= 0 and offset not in gone else None
            for i, offset in enumerate(a.offset)
        ]
    whole = [name for name in a.table().columns if name != "offset"]
    names = ("id", "given_up", "emulated", "reopened", "rooms", "trials", "tried_from", "reading", "unjudged", "lost")
    return {
        "attempts": a.table().select(whole).rows(),
        "lines": a.lines().select("key", "attempt", "place", "among").rows(),
        "replies": said,
        "keys": tally(history, SINCE).drop("replies").rows(),
        "runs": [msgspec.structs.asdict(run) for run in history.runs],
        **{name: getattr(history, name) for name in (*names, "asks", "next_request")},
    }


def test_only_replies_that_are_too_old_are_gone(tmp_path):
    journal = written(tmp_path)
    path = journal.path
    before, size = told(path), path.stat().st_size
    assert len(forgotten(journal.history, SINCE)) == 7
    assert close(journal, SINCE)
    assert told(path) == before
    assert path.stat().st_size < size / 4
    history = read_history(path)
    assert history.id != history.frames_id
    assert len(forgotten(history, SINCE)) == 1, "one tells that it was an emulator"
    assert [body for body in before["replies"] if body] == [
        *(b"unreadable", b"lost", b"only to compare", b"borrowed", b"new answer", b"not settled")
    ]
    assert not (tmp_path / ASIDE).exists()


def test_a_compacted_journal_goes_on_and_is_compacted_again(tmp_path):
    close(written(tmp_path), SINCE)
    journal = open_journal(tmp_path)
    name = journal.history.id
    ask(journal, 40, 10 * DAY, b"later" * 4_000)
    assert not close(journal, SINCE), "most of it is not too old"
    journal = open_journal(tmp_path)
    assert journal.history.id == name
    assert close(journal, 11 * DAY)
    after = read_history(tmp_path / "journal")
    assert (after.id, after.lost, after.gaps, after.end) == (name, 0, [], after.size)


def test_frames_of_the_old_file_are_none_of_the_new_one_s(tmp_path):
    journal = written(tmp_path)
    old = journal.path.read_bytes()
    close(journal, SINCE)
    new = journal.path.read_bytes()
    frames = read_history(journal.path).frames_id
    stale = new + old[len(new) :]
    assert len(list(scan(memoryview(stale), frames))) == len(list(scan(memoryview(new), frames)))


def test_the_bookmark_of_the_old_file_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(bookmark, "WORTH", 1)
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)
    assert not close(written(tmp_path), None)
    assert (tmp_path / bookmark.NAME).exists()
    assert close(open_journal(tmp_path), SINCE)
    assert not (tmp_path / bookmark.NAME).exists()
    assert told(tmp_path / "journal")["attempts"]


@pytest.mark.parametrize("since", [None, 0.0], ids=["no max_age", "nothing is too old"])
def test_a_journal_with_nothing_to_forget_stays_as_it_is(tmp_path, since):
    journal = written(tmp_path)
    before = journal.path.read_bytes()
    assert not close(journal, since)
    assert journal.path.read_bytes() == before


def test_a_journal_that_is_mostly_alive_stays_as_it_is(tmp_path, monkeypatch):
    journal = written(tmp_path, bodies=20)
    before = journal.path.read_bytes()
    assert not close(journal, SINCE)
    monkeypatch.setattr(compaction, "WORTH", 10**6)
    journal = written(tmp_path / "small")
    assert not close(journal, SINCE)
    assert (tmp_path / "journal").read_bytes() == before


def test_a_damaged_journal_stays_as_it_is(tmp_path):
    journal = written(tmp_path)
    journal.close()
    data = bytearray(journal.path.read_bytes())
    data[len(data) // 2] ^= 1
    journal.path.write_bytes(data)
    assert not close(open_journal(tmp_path), SINCE)
    assert journal.path.read_bytes() == data


class Killed(BaseException):
    """The process is dead: whatever else it tries does not happen."""


def test_a_kill_at_any_step_leaves_the_old_journal_or_the_new_one(tmp_path):
    steps = ended = 0
    while not ended:
        directory = tmp_path / str(steps)
        journal = written(directory)
        before, calls = told(journal.path), 0

        def meet(kind: str, path: str, steps: int = steps) -> None:
            nonlocal calls
            calls += 1
            if calls > steps:
                raise Killed

        with Recorder(directory, meet).recording():
            try:
                ended = close(journal, SINCE)
            except Killed:
                leave(directory)
        recovered = open_journal(directory)
        assert not (directory / ASIDE).exists()
        recovered.close()
        assert told(directory / "journal") == before
        steps += 1
    assert steps > 8


def leave(directory: Path) -> None:
    """Close what the dead process had open, as its end does."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()).startswith(str(directory)):
                os.close(int(descriptor.name))


@pytest.mark.parametrize("kind", ["open", "write", "fsync", "rename", "replace"])
def test_a_disk_that_refuses_leaves_the_old_journal(tmp_path, kind):
    journal = written(tmp_path)
    before = journal.path.read_bytes()

    def refuse(what: str, path: str) -> None:
        if what == kind and path.endswith(ASIDE):
            raise OSError(errno.ENOSPC, "No space left on device")

    with Recorder(tmp_path, refuse).recording():
        done = close(journal, SINCE)
    if done:  # this call is not one of those it makes
        assert kind in ("rename", "replace")
    else:
        assert journal.path.read_bytes() == before
    assert not (tmp_path / ASIDE).exists()
    open_journal(tmp_path).close()


def test_nobody_gets_the_lock_while_the_journal_changes_places(tmp_path):
    journal = written(tmp_path)
    seen: list[bool] = []
    other = [sys.executable, "-c", "import sys; from pathlib import Path; from journeybatch.lock import locked;"]
    other[-1] += f"sys.exit(not locked(Path({str(journal.path)!r})))"
    with Recorder(tmp_path, lambda *_: seen.append(subprocess.run(other, check=False).returncode == 0)).recording():
        assert close(journal, SINCE)
    assert len(seen) >= 8
    assert all(seen)
    assert not locked(journal.path)


def night(flow: Flow, parrot: Parrot) -> SimpleNamespace:
    return flow.run({"transport": parrot}, max_age="2d", pack=2)


def test_nights_with_max_age_give_the_disk_back_and_keep_every_credit(flow: Flow, call, monkeypatch):
    parrot, now = Parrot(lambda task, _: f"{task} " * 200), time.time
    sizes = []
    for nights in range(4):
        monkeypatch.setattr(time, "time", lambda nights=nights: now() + 5 * DAY * nights)
        assert night(flow, parrot).summary["credits"]["spent_total"] == parrot.billed == 6 * (nights + 1)
        sizes.append((flow.output / "journal").stat().st_size)
    assert sizes[1] > 1.9 * sizes[0]
    assert sizes[2] < 1.5 * sizes[0], "two of three nights were too old"
    results = flow.results()
    assert call("export", flow.output).code == 0
    assert flow.results().equals(results)
    assert night(flow, parrot).summary["requests"]["sent"] == 6, "of the run that stands there"
    assert parrot.billed == 24
    assert flow.results().equals(results)
    assert audit(flow.output) == []
    assert "kept no more" in call("show", flow.output, 0).out
    assert flow.balanced()


def test_a_night_that_was_stopped_forgets_nothing(flow: Flow, monkeypatch):
    parrot, now = Parrot(lambda task, _: "a long answer " * 200), time.time
    night(flow, parrot)
    monkeypatch.setattr(time, "time", lambda: now() + 5 * DAY)
    size = (flow.output / "journal").stat().st_size
    assert flow.run({"transport": parrot}, max_age="2d", pack=2, limits={"credits": 0}).exit_code == 3
    assert (flow.output / "journal").stat().st_size >= size


def test_whoever_read_the_history_before_gets_no_reply_of_another_row(tmp_path):
    """Neither where nothing stands any more nor where another reply has come to stand."""
    journal = written(tmp_path)
    before = read_history(journal.path)
    assert close(journal, SINCE)
    a, refused = before.attempts, 0
    with mapped(journal.path) as buffer:
        for attempt in range(len(a)):
            if a.offset[attempt] >= 0:
                with pytest.raises(RunLocked, match="try again"):
                    received(buffer, before, attempt)
                refused += 1
    assert refused > 8
