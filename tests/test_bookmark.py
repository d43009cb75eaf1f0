"""A bookmark says what the journal says, up to where it lies; one that is not good is as good as none."""

from __future__ import annotations

import os

import msgspec
import pytest
from conftest import Flow

from journeybatch import archive, bookmark, entries, scratch
from journeybatch.archive import read_history
from journeybatch.emulator import Emulator, Faults
from journeybatch.errors import Unanswered
from journeybatch.history import History
from journeybatch.journal import open_journal

NOT_TOLD = {"directory", "size", "marked", "attempts", "as_told", "_places", "lender"}
"""What a history is besides what the journal told it."""
FAULTS = Faults(statuses={500: 0.1, 400: 0.05}, truncate=0.1, prose=0.2, pack_drop=0.1, seed=3)
LABELS = {"answer": {"fields": {"label": ["good", "bad"], "score": "integer", "because": "string"}}}
JOBS = {
    "text": {},
    "packs": {"pack": 4},
    "a size that is measured": {"pack": {"rows": "auto", "pilot": 30}, **LABELS},
    "samples": {"samples": 3},
    "a cascade": {"model": ["deepseek-chat", "gpt-4o"], "escalate": ["invalid", "error"], **LABELS},
    "in doubt, and held": {"retry": {"on_unknown": "hold"}},
    "asked again when invalid": {**LABELS, "retry": {"attempts": 4}},
}


@pytest.fixture(autouse=True)
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a short journal has a bookmark, on a disk however full."""
    monkeypatch.setattr(bookmark, "WORTH", 1)
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)


def told(history: History) -> dict[str, object]:
    """All that a history tells."""
    known = {name: value for name, value in vars(history).items() if name not in NOT_TOLD}
    return {
        **msgspec.to_builtins(known, builtin_types=(bytes,), str_keys=False),
        "table": history.attempts.table().rows(),
        "lines": history.attempts.lines().rows(),
    }


def recalled(flow: Flow) -> History:
    history = History()
    history.frames_id = read_history(flow.output / "journal", anew=True).frames_id
    bookmark.recall(history, flow.output / "journal")
    return history


def test_every_field_of_a_history_is_told_or_has_a_reason_not_to_be() -> None:
    assert {*vars(History())} == {*bookmark._Told.__struct_fields__} | NOT_TOLD


@pytest.mark.parametrize("job", JOBS)
def test_it_says_what_the_whole_journal_says(flow: Flow, job: str) -> None:
    """After each of several processes, of which some were stopped, and with failures asked again."""
    flow.write([f"thing {n % 50}" for n in range(60)])
    flow.emulator = Emulator(faults=FAULTS)
    for options in ({"limit": 20}, {"limit": 40}, {}, {"retry_failed": True}):
        flow.run({"yes": True, **options}, **JOBS[job])
        whole = told(read_history(flow.output / "journal", anew=True))
        history = recalled(flow)
        assert history.end > 0
        if history.end == (flow.output / "journal").stat().st_size:
            assert told(history) == whole
        assert told(read_history(flow.output / "journal")) == whole


def test_what_came_after_it_is_read_too(flow: Flow) -> None:
    flow.write([f"thing {n}" for n in range(40)])
    flow.run({"limit": 20})
    old = (flow.output / bookmark.NAME).read_bytes()
    flow.run()
    (flow.output / bookmark.NAME).write_bytes(old)
    assert recalled(flow).attempts.table().height == 20
    assert told(read_history(flow.output / "journal")) == told(read_history(flow.output / "journal", anew=True))


def test_nothing_is_read_twice(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.run()
    monkeypatch.setattr(archive.entries, "decode", lambda _: pytest.fail("an entry was read"))
    assert len(read_history(flow.output / "journal").attempts) > 0


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("how", ["cut", "changed"])
def test_one_that_is_not_whole_is_as_good_as_none(flow: Flow, part: float, how: str) -> None:
    flow.run()
    path, whole = flow.output / bookmark.NAME, told(read_history(flow.output / "journal", anew=True))
    data = bytearray(path.read_bytes())
    at = min(int(part * len(data)), len(data) - 1)
    if how == "cut":
        del data[at:]
    else:
        data[at] ^= 1
    path.write_bytes(data)
    assert recalled(flow).end == 0
    assert told(read_history(flow.output / "journal")) == whole


def test_one_of_another_journal_or_version_is_as_good_as_none(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.run()
    other = (flow.output / bookmark.NAME).read_bytes()
    flow.run({"fresh": True})
    mine = (flow.output / bookmark.NAME).read_bytes()
    (flow.output / bookmark.NAME).write_bytes(other)
    assert recalled(flow).end == 0
    (flow.output / bookmark.NAME).write_bytes(mine)
    assert recalled(flow).end > 0
    monkeypatch.setattr(bookmark, "_FORMAT", "of another time")
    assert recalled(flow).end == 0


def test_a_pipe_in_its_place_keeps_nobody_waiting(flow: Flow) -> None:
    flow.run()
    (flow.output / bookmark.NAME).unlink()
    os.mkfifo(flow.output / bookmark.NAME)
    assert recalled(flow).end == 0


def test_a_journal_that_was_cut_before_it_is_read_whole(flow: Flow) -> None:
    flow.run()
    journal = flow.output / "journal"
    journal.write_bytes(journal.read_bytes()[:-3])
    assert recalled(flow).end == 0
    assert told(read_history(journal)) == told(read_history(journal, anew=True))


def test_a_reply_that_was_damaged_since_is_found_out_and_the_next_reading_is_of_all(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookmark, "_TAIL", 64)  # the damage lies before what is compared
    flow.run()
    journal = flow.output / "journal"
    data = bytearray(journal.read_bytes())
    data[read_history(journal).attempts.offset[1] + 60] ^= 1
    journal.write_bytes(data)
    assert recalled(flow).end == len(data)
    (flow.output / "results.parquet").unlink()
    said = flow.run()
    assert (said.exit_code, said.summary["stopped_by"]) == (3, "disk")
    assert "the journal is damaged at byte" in str(said.message)
    with pytest.raises(Unanswered, match="1 entries are lost"):
        flow.run()


def test_a_process_with_failures_forgotten_that_no_journal_knows_of_leaves_none(flow: Flow) -> None:
    flow.run({"limit": 3})
    (flow.output / bookmark.NAME).unlink()
    journal = open_journal(flow.output)
    journal.history.reopen()
    bookmark.leave(journal.history, journal.end, journal.sequence, journal.path)
    assert not (flow.output / bookmark.NAME).exists()
    journal.append(entries.Reopened(1.0))
    journal.flush()
    bookmark.leave(journal.history, journal.end, journal.sequence, journal.path)
    journal.close()
    assert told(recalled(flow)) == told(read_history(flow.output / "journal", anew=True))


def test_verify_reads_all(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.run()
    monkeypatch.setattr(archive, "recall", lambda *_: pytest.fail("the bookmark was read"))
    from journeybatch.audit import audit

    assert audit(flow.output) == []


def test_it_is_for_the_user_only_and_a_short_journal_has_none(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.run({"limit": 2})
    assert (flow.output / bookmark.NAME).stat().st_mode & 0o777 == 0o600
    (flow.output / bookmark.NAME).unlink()
    monkeypatch.setattr(bookmark, "WORTH", 10**9)
    flow.run()
    assert not (flow.output / bookmark.NAME).exists()


def test_a_disk_that_is_nearly_full_is_left_alone(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "SPARE_BYTES", 2**62)
    assert flow.run().exit_code == 0
    assert not list(flow.output.glob("*bookmark*"))
