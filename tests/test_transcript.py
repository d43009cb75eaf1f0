"""What replies say is kept as they come in: the same as what the journal says of them, and never needed."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import Flow
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import results, scratch, transcript
from journeybatch.answers import text_contract
from journeybatch.emulator import Emulator, Faults
from journeybatch.entries import Received
from journeybatch.records import Reply
from journeybatch.transcript import Transcript
from journeybatch.verdict import ANSWERED, Verdict

LABELS = {"answer": {"fields": {"label": ["good", "bad"], "score": "integer", "because": "string"}}}
JOBS: dict[str, dict[str, Any]] = {
    "text": {},
    "fields": LABELS,
    "packs": {"pack": 5},
    "fields in packs": {"pack": 4, **LABELS},
    "samples": {"samples": 3},
}


def views(flow: Flow) -> list[bytes]:
    return [(flow.output / name).read_bytes() for name in ("results.parquet", "requests.parquet")]


@pytest.fixture(autouse=True, scope="module")
def room() -> Iterator[None]:
    """However full the disk is that the tests run on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "SPARE_BYTES", 0)
        yield


@pytest.mark.parametrize("job", JOBS)
def test_views_of_a_run_are_those_that_the_journal_alone_gives(
    flow: Flow, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over several parts, and where some replies are of an earlier process."""
    monkeypatch.setattr(transcript, "PART", 7)
    flow.write([f"thing {n % 60}" for n in range(80)])
    flow.emulator = Emulator(faults=Faults(statuses={500: 0.05}, truncate=0.05, prose=0.2, pack_reorder=0.3, seed=3))
    flow.run({"limit": 30}, **JOBS[job])
    flow.run({"yes": True}, **JOBS[job], retry={"attempts": 6})
    kept = views(flow)
    asked = []
    monkeypatch.setattr(results.Replies, "_open", _counted(results.Replies._open, asked))
    monkeypatch.setattr(Transcript, "lines", _nothing)
    for name in ("results.parquet", "requests.parquet"):
        (flow.output / name).unlink()
    flow.run({"yes": True}, **JOBS[job])
    assert views(flow) == kept
    assert asked


def _nothing(kept: Transcript, attempts: object, columns: Sequence[str] = ()) -> pl.DataFrame:
    return pl.DataFrame(schema={name: kept.columns[name] for name in columns or kept.columns})


def _counted(real: Any, calls: list[int]) -> Any:
    def call(self: Any, attempt: int) -> Any:
        calls.append(attempt)
        return real(self, attempt)

    return call


def test_the_end_of_a_run_reads_no_reply_again(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(results.Replies, "_open", _counted(results.Replies._open, asked))
    flow.run()
    assert asked == []
    assert flow.results()["response"].null_count() == 0


def test_nothing_of_it_is_left_in_the_directory(flow: Flow) -> None:
    flow.run()
    names = {path.name for path in flow.output.iterdir() if not path.name.endswith(".made-of")}
    assert names == {"journal", "job.yaml", "results.parquet", "requests.parquet", "summary.json"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk here that is always full")
def test_a_disk_without_room_for_it_changes_nothing(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "PART", 3)
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(scratch.tempfile, "TemporaryFile", lambda **_: full)
        assert flow.run().exit_code == 0
    assert flow.results()["response"].null_count() == 0

    def refuse(**_: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(scratch.tempfile, "TemporaryFile", refuse)
    assert flow.run({"fresh": True}).exit_code == 0
    assert flow.results()["response"].null_count() == 0


def test_a_disk_that_gets_full_gets_its_room_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "PART", 1)
    kept = Transcript(Path(), text_contract("response"), 100)
    note(kept, 0)
    assert kept.lines([100]).height == 1
    monkeypatch.setattr(scratch, "SPARE_BYTES", 2**62)
    note(kept, 1)
    note(kept, 2)
    assert kept.lines([100, 101, 102]).is_empty()


KEYS = [bytes([number]) * 16 for number in range(40)]
LAW = settings(max_examples=50, deadline=None)


@LAW
@given(st.permutations(range(40)), st.integers(1, 9), st.data())
def test_every_line_is_found_by_its_attempt_in_whatever_order_replies_came(
    order: list[int], part: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcript, "PART", part)
        with closing(Transcript(Path(), text_contract("response"), 100)) as kept:
            for number in order:
                note(kept, number)
            wanted = data.draw(st.lists(st.integers(80, 160)))
            lines = kept.lines(wanted)
            some = kept.lines(wanted, ("upstream_id", "attempt"))
        assert some.sort("attempt").equals(lines.select("upstream_id", "attempt").sort("attempt"))
        found = {row["attempt"]: (row["key"], row["=response"]) for row in lines.iter_rows(named=True)}
        assert lines.height == len(found)
        for attempt in wanted:
            known = (KEYS[attempt - 100], f"says {attempt - 100}") if 100 <= attempt < 140 else None
            assert found.get(attempt) == known
        assert kept.lines(wanted).is_empty()


def note(kept: Transcript, number: int) -> None:
    entry = Received(number, 1, KEYS[number], 200, {}, b"{}", 0.5, 1.0)
    reply = Reply(f"says {number}", None, "stop", f"id-{number}", "m", 1, 2)
    kept.note(100 + number, entry, reply, [Verdict(ANSWERED, {"response": f"says {number}"})])


def test_where_answers_lie_too_far_apart_the_journal_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "PART", 1)
    monkeypatch.setattr(transcript, "NEARBY", 3)
    kept = Transcript(Path(), text_contract("response"), 100)
    for number in range(4):
        note(kept, number)
    assert kept.lines([100, 101, 102]).height == 3
    assert kept.lines([100, 101, 102, 103]).is_empty()
    kept.close()


def test_where_replies_are_long_the_journal_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "PART", 1)
    kept = Transcript(Path(), text_contract("response"), 100)
    for number in range(4):
        note(kept, number)
    monkeypatch.setattr(transcript, "ROOM", 3 * kept._sizes[0])
    assert kept.lines([100, 101, 102]).height == 3
    assert kept.lines([100, 101, 102, 103]).is_empty()
    assert kept.lines([100, 101, 102, 103], ("attempt",)).height == 4, "these are short"
    kept.close()
