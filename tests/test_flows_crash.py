"""Runs that do not end well: killed, interrupted, refused, cut off; and how the next run carries on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from conftest import KEY, Flow, spawned

from journeybatch import api, bookmark, conclusion, scratch
from journeybatch.archive import read_history
from journeybatch.audit import audit
from journeybatch.emulator import Emulator, Faults, read_bill
from journeybatch.emulator.transport import EmulatorTransport
from journeybatch.errors import DiskFull

Call = Callable[..., SimpleNamespace]


def write_job(flow: Flow, base_url: str, rows: int, **keys: Any) -> Path:
    flow.write([f"thing {n}" for n in range(rows)])
    spec = flow.path / "flow.yaml"
    spec.write_text(json.dumps(flow.job(api={"base_url": base_url}, **keys)))
    return spec


def wait_for(true: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Whether it came true before the process ended."""
    until = time.monotonic() + 30
    while process.poll() is None:
        if true():
            return True
        assert time.monotonic() < until, "it does not get anywhere"
        time.sleep(0.002)
    return False


def sent(bill: Path) -> int:
    return bill.read_bytes().count(b"\n")


# -- killed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_9_loses_no_answer_and_no_credit(flow: Flow, served: SimpleNamespace, call: Call, seed: int) -> None:
    rng, lanes, rows, kills = random.Random(seed), 8, 120, 0
    spec = write_job(flow, served.base_url, rows, concurrency=lanes)
    for _ in range(3):
        with spawned("run", spec, "--quiet") as process:
            goal, pause = sent(served.bill) + rng.randint(1, 40), rng.random() * 0.05
            if wait_for(lambda goal=goal: sent(served.bill) >= goal, process):
                time.sleep(pause)  # somewhere between two sends, not always right after one
                process.kill()
                kills += process.wait(timeout=10) == -signal.SIGKILL
                assert call("verify", flow.output).code == 0, "a torn end or views that wait are no damage"
    with spawned("run", spec, "--quiet") as process:
        assert process.wait(timeout=30) == 0
    bill, ledger, results = read_bill(served.bill), flow.ledger(), flow.results()
    assert kills >= 2
    assert results["text"].to_list() == [f"thing {n}" for n in range(rows)]
    assert set(results["jb_status"]) == {"answered"}
    assert len(bill) <= rows + kills * lanes
    settled = ledger.filter(pl.col("outcome") == "settled")
    billed = {record.id: record.credits for record in bill}
    certain, possible = ledger["credits"].sum(), (ledger["credits_max"] - ledger["credits"]).sum()
    assert certain == sum(billed[name] for name in settled["upstream_id"]) == results["jb_credits"].sum()
    assert 0 <= sum(record.credits for record in bill) - certain <= possible
    credits = flow.summary()["credits"]
    assert credits["unknown_max"] == possible
    assert credits["balance_before"] - credits["balance_after"] == sum(billed.values())
    assert flow.balanced()


def test_a_cap_holds_through_faults_and_three_kills(flow: Flow, call: Call) -> None:
    cap, kills, bill = 50, 0, flow.path / "bill.jsonl"
    faulty = ("--fault-rate", 0.2, "--seed", 4, "--latency", 0.15)
    with spawned("emulate", "--port", 0, "--bill", bill, *faulty) as server:
        assert server.stdout is not None
        base_url = json.loads(server.stdout.readline())["base_url"]
        limits = {"credits": cap, "failures": "100%"}
        spec = write_job(flow, base_url, 200, concurrency=64, limits=limits)
        for more in (1, 1, 20):  # while the first request is alone, twice, and with all that the cap allows in flight
            with spawned("run", spec, "--quiet") as process:
                goal = sent(bill) + more
                if wait_for(lambda goal=goal: sent(bill) >= goal, process):
                    process.kill()
                    kills += process.wait(timeout=10) == -signal.SIGKILL
            assert flow.summary()["exit_code"] is None
        with spawned("run", spec, "--quiet") as process:
            assert process.wait(timeout=60) == 3
        summary = flow.summary()
        billed = sum(record.credits for record in read_bill(bill))
        assert (kills, summary["stopped_by"]) == (3, "budget")
        assert 0 < billed <= summary["credits"]["spent"] + summary["credits"]["unknown_max"] <= cap
        attempts = sent(bill)
        with spawned("run", spec, "--quiet", "--max-credits", 90) as process:
            assert wait_for(lambda: sent(bill) > attempts, process)
            process.kill()
        assert sum(record.credits for record in read_bill(bill)) <= 90
    status = json.loads(call("status", spec, "--json").out)
    assert (status["state"], status["stopped_by"]) == ("stopped", "died"), "not what the run before it ended with"
    assert call("verify", spec).code == 0


def test_one_writer_a_readable_status_and_gentle_signals(flow: Flow, served: SimpleNamespace, call: Call) -> None:
    spec = write_job(flow, served.base_url, 200, concurrency=2)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with spawned("run", spec, "--quiet") as process:
            before = sent(served.bill)
            assert wait_for(lambda before=before: sent(served.bill) > before + 3, process)
            status = json.loads(call("status", flow.output, "--json").out)
            assert (status["state"], status["running"]) == ("running", True)
            second = call("run", spec)
            assert (second.code, "Traceback" in second.err) == (4, False)
            assert call("export", flow.output).code == 4
            process.send_signal(number)
            at = time.monotonic()
            assert process.wait(timeout=9.5) == code
            assert time.monotonic() - at < 5, "nothing in flight takes long"
        status = json.loads(call("status", flow.output, "--json").out)
        assert (status["state"], status["running"], status["stopped_by"]) == ("stopped", False, "signal")
        assert flow.summary()["credits"]["unknown_max"] == 0, "what was in flight got its grace"
        assert call("verify", flow.output).code == 0, "views that wait are no damage"
    with spawned("run", spec, "--quiet", "--concurrency", 32) as process:
        assert process.wait(timeout=30) == 0
    assert len(read_bill(served.bill)) == 200 == flow.results().filter(jb_status="answered").height
    assert flow.balanced()


def test_a_table_from_standard_input_is_kept(flow: Flow, served: SimpleNamespace, call: Call) -> None:
    stdin = {"path": "-", "format": "csv"}
    spec = write_job(flow, served.base_url, 3, input=stdin)
    with flow.table.open() as table, spawned("run", spec, "--quiet", stdin=table) as process:
        assert process.wait(timeout=30) == 0
    (flow.output / "results.parquet").unlink()
    assert call("export", flow.output).code == 0
    assert flow.results()["id"].to_list() == ["00000", "00001", "00002"]
    assert "thing 2" in call("show", flow.output, 2).out


def interrupt(flow: Flow, times: int) -> tuple[float, str]:
    """Seconds from the last SIGINT to the end, with a server that does not answer; and its base URL."""
    bill = flow.path / "bill.jsonl"
    with spawned("emulate", "--port", 0, "--latency", 600, "--bill", bill) as server:
        assert server.stdout is not None
        base_url = json.loads(server.stdout.readline())["base_url"]
        spec = write_job(flow, base_url, 4)
        with spawned("run", spec, "--quiet") as process:
            assert wait_for(lambda: sent(bill) > 0, process)
            for _ in range(times):
                time.sleep(0.2)
                process.send_signal(signal.SIGINT)
            at = time.monotonic()
            assert process.wait(timeout=15) == 130
            return time.monotonic() - at, base_url


def test_a_second_sigint_ends_a_run_at_once_and_keeps_the_doubt(flow: Flow) -> None:
    seconds, base_url = interrupt(flow, times=2)
    summary = flow.summary()
    assert (summary["exit_code"], summary["requests"]["in_doubt"], summary["credits"]["unknown_max"]) == (130, 1, 1)
    assert seconds < 6, "the eight seconds are not waited for"
    report = flow.run(api={"base_url": base_url})
    assert (report.exit_code, len(flow.emulator.attempts), report.summary["requests"]["sent"]) == (0, 4, 5)
    assert flow.results()["jb_credits_unknown"].sum() == 1


@pytest.mark.slow
def test_a_hung_server_cannot_hold_an_interrupted_run(flow: Flow) -> None:
    assert interrupt(flow, times=1)[0] < 9.5


# -- stopped -------------------------------------------------------------------------------------------------------


def stopped(flow: Flow, **keys: Any) -> tuple[int, str, int, int]:
    report = flow.run(**keys)
    summary = report.summary
    assert report.message
    return report.exit_code, summary["stopped_by"], summary["rows"]["pending"], len(flow.emulator.attempts)


def test_a_wrong_key_costs_one_request(flow: Flow) -> None:
    flow.emulator = Emulator(key="another-key")
    assert stopped(flow, concurrency=8) == (3, "auth", 12, 1)
    assert flow.emulator.billed == 0
    assert set(flow.results()["jb_status"]) == {"pending"}
    flow.emulator = Emulator(key=KEY)
    assert flow.run().exit_code == 0
    assert flow.balanced()


def test_a_wrong_url_costs_one_request(flow: Flow) -> None:
    assert stopped(flow, api={"base_url": "http://127.0.0.1/api/v2"}) == (3, "endpoint", 12, 0)
    assert flow.summary()["requests"]["sent"] == 1


def test_a_model_the_endpoint_does_not_know_costs_one_request(flow: Flow) -> None:
    assert stopped(flow, model="gpt-9", credits={"gpt-9": 1}) == (3, "endpoint", 12, 1)


def test_an_empty_account_stops_the_run_and_can_be_filled(flow: Flow) -> None:
    flow.emulator = Emulator(credits=3)
    report = flow.run({"yes": True}, concurrency=2)
    assert (report.exit_code, report.summary["stopped_by"], flow.emulator.billed) == (3, "credits", 3)
    assert report.summary["rows"]["pending"] == 9
    flow.emulator = Emulator(credits=9)
    assert (flow.run().exit_code, flow.emulator.billed) == (0, 9)
    assert flow.balanced()


def test_a_refused_connection_is_an_outage(flow: Flow) -> None:
    report = api.run(flow.job(api={"base_url": "http://127.0.0.1:9/api/v1"}))
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "outage")
    assert (report.summary["rows"]["pending"], report.summary["credits"]["unknown_max"]) == (12, 0)


def test_too_many_rejected_rows_stop_the_run(flow: Flow) -> None:
    flow.write([f"thing {n}" for n in range(60)])
    flow.emulator = Emulator(faults=Faults(statuses={422: 1.0}))
    code, why, pending, asked = stopped(flow, concurrency=4)
    assert (code, why) == (3, "failures")
    assert asked <= 24
    assert pending >= 36
    assert flow.emulator.billed == 0


def test_an_input_that_changes_while_it_is_read_twice_stops_the_run(flow: Flow) -> None:
    class Meddling(EmulatorTransport):
        async def handle_async_request(self, request: Any) -> Any:
            flow.write(["quite different"] * 12)
            return await super().handle_async_request(request)

    report = flow.run({"transport": Meddling(flow.emulator)})
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "input")
    flow.write([f"thing {n}" for n in range(12)])
    assert flow.run().exit_code == 0
    assert len(flow.emulator.attempts) == 12


# -- failed and doubtful rows --------------------------------------------------------------------------------------


def test_a_refusal_fails_its_row_and_is_asked_again_on_demand_only(flow: Flow) -> None:
    flow.write(["a", "[unsafe] b", "c"])
    model = {"model": "claude-opus-4", "credits": {"claude-opus-4": 5}}
    assert flow.run(**model).exit_code == 1
    row = flow.results().row(1, named=True)
    assert (row["jb_status"], row["jb_error"], row["jb_credits"], row["response"]) == ("failed", "refusal", 5, None)
    assert row["jb_error_message"]
    assert flow.run(**model).exit_code == 1
    assert len(flow.emulator.attempts) == 3, "a refusal is paid for, and not bought again"
    report = flow.run({"retry_failed": True}, **model)
    assert (report.exit_code, len(flow.emulator.attempts), report.summary["rows"]["failed"]) == (1, 4, 1)
    assert flow.results()["jb_credits"].to_list() == [5, 10, 5]
    assert flow.balanced()


@pytest.mark.parametrize(("policy", "status"), [("hold", "pending"), ("fail", "failed")])
def test_a_doubtful_row_is_held_or_failed_and_never_sent_twice(flow: Flow, policy: str, status: str) -> None:
    flow.write(["a", "b", "c", "d"])
    flow.emulator = Emulator(faults=Faults(seed=3, truncate=0.5))
    retry = {"on_unknown": policy}
    report = flow.run(retry=retry, concurrency=1, limits={"failures": "100%"})
    doubtful = flow.results().filter(jb_error="in_doubt")
    assert report.exit_code == 1
    assert 0 < doubtful.height < 4
    assert set(doubtful["jb_status"]) == {status}
    assert doubtful["jb_credits_unknown"].sum() == doubtful.height == report.summary["credits"]["unknown_max"]
    assert flow.run(retry=retry).exit_code == 1
    assert len(flow.emulator.attempts) == 4
    flow.emulator.faults = Faults()
    again = {"retry_failed": True} if policy == "fail" else {}
    assert flow.run(again).exit_code == 0, "until somebody wants it sent again"
    assert len(flow.emulator.attempts) == 4 + doubtful.height
    assert flow.balanced()


def test_a_disk_too_full_to_keep_the_last_run_s_summary_stops_the_next_run_before_it_sends(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flow.run().exit_code == 0
    flow.write(["quite another thing"])
    fsync, billed = os.fsync, flow.emulator.billed

    def full(fd: int) -> None:
        if "summaries" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            raise OSError(28, "No space left on device")
        fsync(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull, match="No space left on device; nothing was sent"):
            flow.run()
    assert flow.emulator.billed == billed
    assert flow.run().exit_code == 0


def test_memory_that_runs_out_at_the_end_of_a_run_leaves_a_summary_that_says_so(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(conclusion, "write_views", starve)
        report = flow.run()
    assert (report.exit_code, report.summary["stopped_by"], flow.summary()["stopped_by"]) == (3, "memory", "memory")
    assert flow.run().exit_code == 0
    assert flow.summary()["requests"]["sent"] == flow.emulator.billed


@pytest.mark.parametrize("cause", [KeyboardInterrupt, MemoryError, OSError])
def test_an_end_that_is_interrupted_loses_nothing_and_counts_no_credit_twice(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, cause: type[BaseException]
) -> None:
    """The last entries are in memory then, and a bookmark is left with what the journal tells."""
    monkeypatch.setattr(bookmark, "WORTH", 1)
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)

    def interrupt(*_: Any) -> None:
        raise cause

    with monkeypatch.context() as patch:
        patch.setattr(conclusion, "count", interrupt)
        summary = flow.run().summary
    assert summary["rows"] == {"total": 12, "answered": 12, "failed": 0, "pending": 0, "reused": 0, "refused": 0}
    assert summary["stopped_by"] == {KeyboardInterrupt: "signal", MemoryError: "memory", OSError: "disk"}[cause]
    assert (flow.output / "bookmark.bin").exists() == (cause is not KeyboardInterrupt)
    for _ in range(2):
        assert flow.run().exit_code == 0
        spent = read_history(flow.output / "journal", anew=True).spent
        assert spent == flow.summary()["credits"]["spent_total"] == flow.emulator.billed == 12
    assert audit(flow.output) == []


def test_whatever_breaks_the_end_of_a_run_lets_go_of_its_directory(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> None:
        raise LookupError("a bug")

    with monkeypatch.context() as patch, pytest.raises(LookupError):
        patch.setattr(conclusion, "count", breaks)
        flow.run()
    assert flow.run().exit_code == 0
    assert flow.emulator.billed == 12


def test_what_a_disk_does_not_give_back_of_a_bookmark_is_not_asked_of_it_again(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookmark, "WORTH", 1)
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)
    flow.run({"limit": 6})

    def refuse(*_: Any) -> bytes:
        raise DiskFull("a bookmark cannot be read")

    monkeypatch.setattr(bookmark._Pages, "read", refuse)
    with pytest.raises(DiskFull):
        flow.run()
    assert flow.run().exit_code == 0
    assert flow.summary()["credits"]["spent_total"] == flow.emulator.billed == 12


def test_memory_that_runs_out_stops_the_run_and_it_carries_on_with_more(flow: Flow) -> None:
    class Hungry(EmulatorTransport):
        """Its seventh reply is too much."""

        async def handle_async_request(self, request: Any) -> Any:
            response = await super().handle_async_request(request)
            if len(self.emulator.attempts) == 7:
                raise MemoryError
            return response

    report = flow.run({"transport": Hungry(flow.emulator)}, concurrency=2)
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "memory")
    assert "memory ran out" in (report.message or "")
    assert flow.run().exit_code == 0
    assert flow.balanced()
    assert flow.emulator.billed - 12 <= 2


def test_a_full_disk_stops_the_run_and_it_carries_on_with_room(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    write, budget = os.write, [3_000]

    def full(fd: int, data: Any) -> int:
        budget[0] -= len(data)
        if budget[0] < 0:
            raise OSError(28, "No space left on device")
        return write(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        report = flow.run(concurrency=2)
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "disk")
    assert flow.run().exit_code == 0
    assert flow.balanced()
    assert flow.emulator.billed - 12 <= 2


def test_what_the_disk_did_not_take_is_not_said_to_be_so(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last reply of all came in, and there was no room for it, nor for the entry that the run is finished."""
    flow.write(["the only thing"])
    write = os.write

    def full(fd: int, data: Any) -> int:
        if len(flow.emulator.attempts):
            raise OSError(28, "No space left on device")
        return write(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        report = flow.run()
    assert (report.exit_code, report.summary["stopped_by"], report.summary["finished_at"]) == (3, "disk", None)
    assert (report.summary["rows"]["answered"], report.summary["rows"]["pending"]) == (0, 1)
    assert report.summary["credits"]["unknown_max"] == 1
    assert "in doubt" in (report.message or "")
    assert flow.run().exit_code == 0
    assert flow.balanced()
