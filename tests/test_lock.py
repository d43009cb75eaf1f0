"""One run, or one export, has an output directory; an export neither changes a journal nor passes for a run."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from journeybatch import lock as module
from journeybatch.cli import looking
from journeybatch.errors import OutputError, RunLocked
from journeybatch.journal import open_journal
from journeybatch.lock import alone, locked, without_runs


@pytest.fixture
def journal(tmp_path):
    open_journal(tmp_path).close()
    return tmp_path / "journal"


def test_an_export_is_turned_away_by_a_run(journal):
    run = open_journal(journal.parent)
    with (
        pytest.raises(RunLocked, match="a run is at work here; export when it has ended") as refusal,
        without_runs(journal),
    ):
        pass
    assert refusal.value.exit_code == 4
    run.close()
    with without_runs(journal):
        pass


def test_an_export_makes_nothing_cuts_nothing_and_passes_for_no_run(journal):
    journal.write_bytes(b"\xabJBj torn")
    before = journal.stat()
    with alone(journal.parent), without_runs(journal):
        assert not locked(journal)
        assert list(journal.parent.iterdir()) == [journal]
    after = journal.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    with (
        pytest.raises(OutputError, match="nowhere/journal: cannot be read"),
        without_runs(journal.parent / "nowhere/journal"),
    ):
        pass


def test_a_run_waits_for_an_export(journal):
    with begun(without_runs(journal)) as ended:
        open_journal(journal.parent).close()
        assert ended.is_set()


@contextmanager
def begun(export):
    """An export in a thread, which ends by itself after the first tries of whoever waits."""
    inside, ended = threading.Event(), threading.Event()

    def work():
        with export:
            inside.set()
            ended.wait(20)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(20)
    threading.Timer(sum(module.PAUSES_S) + 0.05, ended.set).start()
    yield ended
    thread.join()


def test_a_run_does_not_wait_for_ever(journal, monkeypatch):
    monkeypatch.setattr(module, "EXPORT_S", 0.0)
    with without_runs(journal), pytest.raises(RunLocked, match="an export has long been at work"):
        open_journal(journal.parent)
    open_journal(journal.parent).close()


def test_of_exports_there_is_one_at_a_time(tmp_path, monkeypatch):
    with begun(alone(tmp_path)) as ended, alone(tmp_path):
        assert ended.is_set()
    monkeypatch.setattr(module, "EXPORT_S", 0.0)
    with alone(tmp_path), pytest.raises(RunLocked, match="another export"), alone(tmp_path):
        pass


def test_where_directories_cannot_be_locked_an_export_works_all_the_same(journal, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(module.fcntl, "flock", refuse)
    with alone(tmp_path):
        pass
    with pytest.raises(OutputError, match="cannot be read and locked: Bad file descriptor"), without_runs(journal):
        pass


def test_no_run_can_end_while_its_directory_is_exported(flow, call, monkeypatch):
    flow.run()
    seen, write = [], looking.write_views

    def views(*given):
        with pytest.raises(RunLocked):
            open_journal(flow.output)
        seen.append(locked(flow.output / "journal"))
        return write(*given)

    monkeypatch.setattr(module, "EXPORT_S", 0.0)
    monkeypatch.setattr(looking, "write_views", views)
    assert call("export", flow.output).code == 0
    assert seen == [False]


def test_results_of_before_a_run_are_not_delivered_after_it(flow, call, monkeypatch):
    sink = flow.path / "out.csv"
    report = flow.run(sinks=[str(sink)])
    sink.unlink()
    opened = looking.open_journal

    def later(directory):
        flow.write(["something else"])
        assert flow.run(sinks=[str(sink)], limits={"credits": 0}).exit_code == 3
        return opened(directory)

    monkeypatch.setattr(looking, "open_journal", later)
    said = call("export", flow.output)
    assert (report.exit_code, said.code, sink.exists()) == (0, 4, False)
    assert "export again" in said.err


def test_a_run_is_not_waited_for_longer_than_anybody_notices():
    assert 0 < sum(module.PAUSES_S) < 0.5
