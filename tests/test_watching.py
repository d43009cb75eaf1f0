"""runs and status --watch: every directory in its true state, and a run shown until it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Flow, spawned

from journeybatch.cli import watching
from journeybatch.cli.watching import Pace, Tail, look
from journeybatch.emulator import Emulator, Faults
from journeybatch.entries import Began, GivenUp, Intent, Received, Reopened, Settled
from journeybatch.journal import open_journal

Call = Callable[..., SimpleNamespace]


def states(call: Call, root: Path) -> dict[str, tuple[str, str | None]]:
    found = json.loads(call("runs", root, "--json").out)
    return {Path(run["directory"]).name: (run["state"], run["stopped_by"]) for run in found}


def test_each_run_below_a_directory_is_listed_in_its_state(flow: Flow, call: Call) -> None:
    runs = flow.path / "runs"
    flow.run(output=str(runs / "done"))
    flow.run(output=str(runs / "deep" / "capped"), limits={"credits": 3})
    flow.run(output=str(runs / ".hidden"))
    (runs / "foreign").mkdir()
    (runs / "foreign" / "journal").write_text("dear diary")
    died = runs / "died"
    flow.run(output=str(died), limits={"credits": 3})
    summary = json.loads((died / "summary.json").read_text()) | {"exit_code": None, "stopped_by": None}
    (died / "summary.json").write_text(json.dumps(summary))
    assert states(call, runs) == {
        "done": ("finished", None),
        "capped": ("stopped", "budget"),
        "died": ("died", None),
    }
    lines = call("runs", runs).out.splitlines()
    assert len(lines) == 4
    assert "12/12" in next(line for line in lines if line.startswith("done"))
    assert "stopped (budget)" in next(line for line in lines if line.startswith("deep/capped"))


def test_a_directory_without_runs_says_so_and_one_that_is_not_there_is_an_error(call: Call, tmp_path: Path) -> None:
    assert "no run here" in call("runs", tmp_path).out
    assert call("runs", tmp_path / "nowhere").code == 2


def test_a_held_lock_means_running_and_an_old_summary_means_preparing(flow: Flow) -> None:
    flow.run()
    journal = open_journal(flow.output)
    try:
        seen = look(flow.output)
    finally:
        journal.close()
    assert (seen.state, seen.preparing) == ("running", True)
    assert look(flow.output).state == "finished"


def test_the_tail_counts_what_is_in_flight_and_what_failed_as_it_is_written(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "out")
    tail, key = Tail(journal.path), bytes(16)
    journal.write(Began(1, "flow", "{}", True, False, 0.0))
    journal.write(Intent(1, 1, key, "m", 1, 1, 0.0))
    journal.write(Intent(2, 1, key, "m", 1, 1, 0.0))
    tail.read()
    assert tail.in_flight == 2
    journal.write(Received(1, 1, key, 200, {}, b"{}", 0.5, 0.0))
    journal.write(Settled(1, 1, "settled", 1, 1, None, None, 200, 0.5))
    journal.write(Settled(2, 1, "free", 0, 0, "rate_limited", "slow down", 429, 0.1))
    journal.write(GivenUp(key * 3, "rejected", "no", 0.0))
    tail.read()
    tail.read()
    assert (tail.in_flight, dict(tail.failed), dict(tail.errors)) == (0, {"rejected": 3}, {"rate_limited": 1})
    assert list(tail.latencies) == [0.5]
    journal.write(Intent(3, 1, key, "m", 1, 1, 0.0))
    journal.write(Began(1, "flow", "{}", True, False, 0.0))
    journal.write(Reopened(0.0))
    journal.close()
    tail.read()
    assert (tail.in_flight, dict(tail.failed), dict(tail.errors)) == (0, {}, {})


def test_a_frame_that_is_half_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "out")
    journal.write(Began(1, "flow", "{}", True, False, 0.0))
    journal.write(Intent(1, 1, bytes(16), "m", 1, 1, 0.0))
    journal.close()
    whole, part = journal.path.read_bytes(), tmp_path / "part"
    part.write_bytes(whole[:-5])
    tail = Tail(part)
    tail.read()
    assert tail.in_flight == 0
    part.write_bytes(whole)
    tail.read()
    assert tail.in_flight == 1


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    pace = Pace()
    pace.add(0.0, 0)
    assert pace.rate is None
    for second in range(1, 61):
        pace.add(float(second), 10 * second if second < 31 else 300 + (second - 31))
    assert pace.rate == pytest.approx(1.0, abs=0.35)


def test_a_run_is_watched_line_by_line_until_it_ends(flow: Flow, call: Call) -> None:
    flow.write([f"thing {n}" for n in range(20)])
    (flow.path / "job.json").write_text(json.dumps(flow.job(api="emulator", limits={"requests_per_minute": 600})))
    job = (flow.path / "job.json").rename(flow.path / "job.yaml")
    with spawned("run", job, "--quiet") as process:
        while not (flow.output / "summary.json").exists():
            assert process.poll() is None
            time.sleep(0.05)
        said = call("status", flow.output, "--watch")
        process.communicate()
    assert said.code == 0, said.err
    first, *rest = said.out.splitlines()
    assert "of 20" in first
    assert "credits" in first
    assert rest[0] == "flow: finished"


def test_a_view_on_a_terminal_says_failures_by_kind_and_credits_of_the_cap(flow: Flow) -> None:
    flow.emulator = Emulator(faults=Faults.mixed(0.3, 5))
    flow.run(limits={"credits": 50})
    tail = Tail(flow.output / "journal")
    tail.read()
    pace = Pace()
    pace.add(0.0, 0)
    pace.add(2.0, 12)
    told = watching.facts(look(flow.output), tail, pace)
    assert told["rate"].startswith("6.0 rows/s")
    assert " of 50" in told["credits"]
    assert told["errors"]
    assert told["latency"].startswith("median")


def test_watching_goes_with_no_json_and_what_ended_is_told_at_once(flow: Flow, call: Call) -> None:
    flow.run()
    assert call("status", flow.output, "--watch", "--json").code == 2
    assert call("status", flow.output, "--watch").out.startswith("flow: finished")
    assert call("status", flow.path, "--watch").code == 2


def test_on_a_terminal_the_view_is_drawn_in_place(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    code = "from journeybatch.cli import screen\nwith screen.drawn() as draw:\n    draw('one'); draw('two')"
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", code], stdout=theirs, env=environ, check=True, timeout=20)
    os.close(theirs)
    drawn = os.read(ours, 10_000)
    os.close(ours)
    assert b"one" in drawn
    assert b"two" in drawn
    assert b"\x1b[2K" in drawn, "the first text is taken away"


def test_of_a_long_journal_the_first_look_takes_in_its_end_only_and_finds_all_that_is_in_flight(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "out")
    journal.append(Began(1, "flow", "{}", True, False, 0.0))
    for number in range(2000):
        journal.append(Intent(number, 1, bytes(16), "m", 1, 1, 0.0))
        journal.append(Received(number, 1, bytes(16), 200, {}, b"x" * 1000, 0.25, 0.0))
        if number < 1990:
            journal.append(Settled(number, 1, "settled", 1, 1, None, None, 200, 0.25))
        else:
            journal.append(GivenUp(bytes(16), "rejected", "no", 0.0))
    journal.flush()
    tail = Tail(journal.path, most=200_000)
    tail.read()
    assert not tail.whole
    assert (tail.in_flight, dict(tail.failed), len(tail.latencies)) == (10, {"rejected": 10}, 166)
    journal.append(Intent(2000, 1, bytes(16), "m", 1, 1, 0.0))
    journal.close()
    tail.read()
    assert tail.in_flight == 11
    everything = Tail(journal.path)
    everything.read()
    assert (everything.whole, everything.in_flight, len(everything.latencies)) == (True, 11, watching.LATENCIES)
