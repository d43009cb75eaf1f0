"""An output directory between runs: what a killed one left, and whose it is from one moment to the next."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Flow
from parrot import Parrot

from journeybatch import entries, frames, journal
from journeybatch.directory import discard_if_unused, open_directory
from journeybatch.errors import OutputError, RunLocked
from journeybatch.journal import BALLAST, Journal, open_journal

DECLINED = "I'm sorry, but I can't help with that."


def cut_after_the_first_reply(flow: Flow) -> None:
    path = flow.output / "journal"
    data = memoryview(path.read_bytes())
    for frame in frames.scan(data, frames.identify(data) or b""):
        assert isinstance(frame, frames.Frame)
        if isinstance(entries.decode(frame.payload), entries.Received):
            os.truncate(path, frame.offset + frames.OVERHEAD + len(frame.payload))
            return


@pytest.mark.parametrize("model", ["deepseek-chat", ["deepseek-chat", "gpt-4o"]])
def test_a_reply_that_declines_is_one_too_where_a_kill_came_before_its_settlement(flow: Flow, model: object) -> None:
    parrot = Parrot(lambda task, asked: "gladly" if asked == "gpt-4o" else DECLINED, prices={"gpt-4o": 3})
    flow.write(["one row"])
    keys = {"model": model} | ({"escalate": ["refusal"]} if isinstance(model, list) else {})
    whole = flow.run({"transport": parrot}, **keys)
    cut_after_the_first_reply(flow)
    again = flow.run({"transport": parrot}, **keys)
    assert (again.exit_code, again.summary["rows"]) == (0, whole.summary["rows"])
    assert flow.results()["response"].to_list() == (["gladly"] if isinstance(model, list) else [DECLINED])


def test_a_run_that_never_began_takes_away_no_journal_of_a_run_that_comes_as_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused, rivals, close = open_journal(tmp_path), list[Journal](), os.close

    def come() -> None:
        with suppress(RunLocked):
            rivals.append(open_journal(tmp_path))

    def closing(fd: int) -> None:
        leaves = os.path.samestat(os.fstat(fd), locked)
        if leaves:
            monkeypatch.undo()
            come()
        close(fd)
        if leaves:
            come()

    locked = os.fstat(unused.fd)
    monkeypatch.setattr(journal.os, "close", closing)
    discard_if_unused(unused)
    (rival,) = rivals
    assert os.path.samestat(os.fstat(rival.fd), (tmp_path / "journal").stat())
    assert (tmp_path / BALLAST).exists()
    rival.close()


# -- starting over ------------------------------------------------------------------------------------------------


def test_a_directory_that_has_no_room_beside_it_cannot_be_started_over_and_says_what_can_be_done(flow: Flow) -> None:
    output = flow.path / ("long" * 63)  # the name and a time are longer than any may be
    assert flow.run(output=str(output)).exit_code == 0
    with pytest.raises(OutputError, match=r"beside it: File name too long; .* mount point.* by hand"):
        flow.run({"fresh": True}, output=str(output))
    assert flow.run(output=str(output)).exit_code == 0
    assert flow.emulator.billed == 12


@pytest.mark.parametrize("fails", range(4))
def test_what_was_moved_comes_back_where_not_all_can_be(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    flow.run()
    before, rename = sorted(flow.path.rglob("*")), Path.rename
    moved = iter(range(fails))

    def once(path: Path, to: Path) -> Path:
        if next(moved, None) is None:
            monkeypatch.undo()
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))  # as out of a mount point
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(OutputError, match="mount point"):
        open_directory(flow.output, "flow", fresh=True)
    assert sorted(flow.path.rglob("*")) == before
