"""Whole runs in this process: what is sent, what it costs, what stands in the output directory afterwards."""

from __future__ import annotations

import asyncio
import re
import socket
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from conftest import Flow

from journeybatch import api
from journeybatch.emulator import Emulator, Faults
from journeybatch.errors import JobError, OutputError, Unanswered

CREDITS = pl.Decimal(18, 6)
RESULTS = dict.fromkeys(("id", "text"), pl.String()) | {
    "response": pl.String(),
    "jb_row": pl.Int64(),
    "jb_key": pl.String(),
    "jb_status": pl.String(),
    "jb_error": pl.String(),
    "jb_error_message": pl.String(),
    "jb_credits": CREDITS,
    "jb_credits_unknown": CREDITS,
    "jb_request": pl.String(),
    "jb_model": pl.String(),
    "jb_upstream_model": pl.String(),
    "jb_finish_reason": pl.String(),
    "jb_attempts": pl.Int32(),
    "jb_prompt_tokens": pl.Int64(),
    "jb_completion_tokens": pl.Int64(),
    "jb_latency_s": pl.Float64(),
    "jb_reused": pl.Boolean(),
    "jb_answered_at": pl.Datetime("us", "UTC"),
}
REQUESTS = {
    "request": pl.String(),
    "attempt": pl.Int32(),
    "model": pl.String(),
    "rows": pl.Int32(),
    "keys": pl.List(pl.String()),
    "status_code": pl.Int32(),
    "outcome": pl.String(),
    "credits": pl.Int64(),
    "credits_max": pl.Int64(),
    "started_at": pl.Datetime("us", "UTC"),
    "latency_s": pl.Float64(),
} | dict.fromkeys(("error", "upstream_id", "upstream_model"), pl.String())
SUMMARY = {
    "rows": {"total", "answered", "failed", "pending", "reused"},
    "requests": {"sent", "retried", "in_doubt"},
    "credits": {
        *("planned_min", "planned_max", "spent", "unknown_max", "spent_total", "departed", "cap"),
        *("balance_before", "balance_after"),
    },
}
VIEWS = ("results.parquet", "requests.parquet", "summary.json", "job.yaml")


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in VIEWS}


def test_a_csv_job_ends_in_the_tables_of_the_contract(flow: Flow) -> None:
    report = flow.run()
    results = flow.results()
    assert (report.exit_code, report.results) == (0, flow.output / "results.parquet")
    assert dict(results.schema) == RESULTS
    assert {name: flow.ledger().schema.get(name) for name in REQUESTS} == REQUESTS
    assert results["id"].to_list() == [f"{n:05}" for n in range(12)], "zeros are part of a text"
    assert results["jb_row"].to_list() == list(range(12))
    assert set(results["jb_status"]) == {"answered"}
    assert results["response"].null_count() == 0
    assert results["jb_key"].n_unique() == 12
    assert set(results["jb_upstream_model"]) == {"deepseek-chat-v3-0324"}
    assert flow.emulator.billed == 12 == results["jb_credits"].sum()
    assert flow.balanced()
    assert not [path for path in (flow.output, *flow.output.rglob("*")) if path.stat().st_mode & 0o077]


def test_the_summary_has_every_key_of_the_contract(flow: Flow) -> None:
    summary = flow.run().summary
    assert summary == flow.summary()
    assert set(summary) >= {"job", "run", "api", "emulated", "started_at", "finished_at", "seconds"} | set(SUMMARY)
    assert summary["stopped_by"] is None
    assert summary["exit_code"] == 0
    for name, keys in SUMMARY.items():
        assert set(summary[name]) >= keys
    credits = summary["credits"]
    assert credits["balance_before"] - credits["balance_after"] == credits["spent"] == credits["planned_max"] == 12


def test_files_say_which_job_made_them_and_that_it_was_the_emulator(flow: Flow) -> None:
    flow.run()
    for name in ("results.parquet", "requests.parquet"):
        metadata = pl.read_parquet_metadata(flow.output / name)
        assert metadata["journeybatch.job"] == "flow"
        assert metadata["journeybatch.emulated"] == "true"
        assert metadata["journeybatch.version"]


def test_the_kept_spec_loads_and_is_the_same_job(flow: Flow) -> None:
    flow.run()
    again = api.load_job(flow.output / "job.yaml")
    assert again == api.load_job(flow.job())
    assert "test-key" not in (flow.output / "job.yaml").read_text()
    report = api.run(flow.output / "job.yaml", transport=flow.emulator.transport())
    assert report.exit_code == 0
    assert len(flow.emulator.attempts) == 12


def test_identical_rows_are_asked_once_and_share_the_credit_exactly(flow: Flow) -> None:
    flow.write(["same", "other", "same", "same"])
    summary = flow.run().summary
    results = flow.results()
    assert len(flow.emulator.attempts) == 2
    assert results["jb_credits"].to_list() == [Decimal(n).scaleb(-6) for n in (333_334, 1_000_000, 333_333, 333_333)]
    assert results["jb_reused"].to_list() == [False, False, True, True]
    assert results["response"][0] == results["response"][2] == results["response"][3]
    assert summary["rows"]["reused"] == 2
    assert flow.balanced()


def test_a_streamed_job_gives_the_same_answers(flow: Flow) -> None:
    flow.run()
    flow.run(stream=True, output=str(flow.path / "streamed"))
    streamed = pl.read_parquet(flow.path / "streamed" / "results.parquet")
    assert streamed["response"].to_list() == flow.results()["response"].to_list()
    assert len(flow.emulator.attempts) == 24


def test_inside_a_running_loop_run_async_is_awaited(flow: Flow) -> None:
    async def notebook() -> int:
        with pytest.raises(JobError, match="run_async"):
            flow.run()
        assert not flow.output.exists()
        return (await api.run_async(flow.job(), transport=flow.emulator.transport())).exit_code

    assert asyncio.run(notebook()) == 0


def test_a_frame_is_an_input(flow: Flow) -> None:
    frame = pl.DataFrame({"text": ["a", "b"], "n": [1, None]})
    assert flow.run(input=frame, api="emulator").exit_code == 0, "the emulator by name, in process"
    assert flow.emulator.billed == 2
    assert flow.results().select("text", "n").equals(frame)


def test_a_finished_job_sends_nothing_and_leaves_its_files_alone(flow: Flow) -> None:
    flow.run()
    before = contents(flow.output)
    assert flow.run().exit_code == 0
    assert len(flow.emulator.attempts) == 12
    assert contents(flow.output) == before


def test_only_new_and_changed_rows_are_sent(flow: Flow) -> None:
    flow.run()
    first = (flow.output / "requests.parquet").read_bytes()
    flow.write(["changed", *(f"thing {n}" for n in range(1, 12)), "new"])
    report = flow.run()
    assert (report.exit_code, report.summary["run"], report.summary["credits"]["spent"]) == (0, 2, 2)
    assert len(flow.emulator.attempts) == 14
    assert (flow.output / "requests" / "1.parquet").read_bytes() == first
    assert pl.read_parquet(flow.output / "requests.parquet").height == 2
    assert report.summary["credits"]["spent_total"] == 14
    assert report.summary["credits"]["departed"] == 1
    assert flow.balanced()


def test_reordered_rows_send_nothing_and_keep_their_answers(flow: Flow) -> None:
    flow.run()
    known = dict(flow.results().select("text", "response").iter_rows())
    flow.write([f"thing {n}" for n in reversed(range(12))])
    assert flow.run().exit_code == 0
    assert len(flow.emulator.attempts) == 12
    results = flow.results()
    assert results["text"][0] == "thing 11"
    assert dict(results.select("text", "response").iter_rows()) == known
    assert flow.balanced()


def test_credits_of_departed_rows_stay_on_the_books(flow: Flow) -> None:
    flow.write(["kept", "kept", "gone"])
    flow.run()
    flow.write(["kept"])
    summary = flow.run().summary
    assert (summary["credits"]["departed"], summary["credits"]["spent_total"]) == (1, 2)
    assert flow.balanced()
    assert len(flow.emulator.attempts) == 2


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_cap_holds_and_a_higher_one_finishes(flow: Flow, concurrency: int) -> None:
    flow.write([f"thing {n}" for n in range(30)])
    report = flow.run(concurrency=concurrency, limits={"credits": 7})
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "budget")
    assert flow.emulator.billed == 7 == report.summary["rows"]["answered"]
    assert report.summary["rows"]["pending"] == 23
    assert flow.results()["jb_status"].value_counts().sort("jb_status")["count"].to_list() == [7, 23]
    report = flow.run(concurrency=concurrency, limits={"credits": 30})
    assert (report.exit_code, flow.emulator.billed) == (0, 30)
    assert report.summary["run"] == 1, "a run lasts until every row has its end"
    assert flow.balanced()


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_cap_holds_under_faults_that_may_be_billed(flow: Flow, concurrency: int) -> None:
    flow.write([f"thing {n}" for n in range(30)])
    flow.emulator = Emulator(faults=Faults(seed=5, truncate=0.3))
    report = flow.run(concurrency=concurrency, limits={"credits": 12, "failures": "100%"})
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "budget")
    assert flow.emulator.billed <= 12


@pytest.mark.parametrize("bills_errors", [False, True])
def test_the_ledger_tells_certain_from_possible_charges(flow: Flow, bills_errors: bool) -> None:
    flow.write([f"thing {n}" for n in range(60)])
    statuses = {429: 0.05, 500: 0.05, 503: 0.03, 400: 0.02}
    damaged = dict.fromkeys(("truncate", "wrong_json", "empty_choices", "error_object", "empty_body"), 0.03)
    faults = Faults(seed=11, statuses=statuses, retry_after_s=0.05, bills_errors=bills_errors, **damaged)
    flow.emulator = Emulator(faults=faults)
    report = flow.run(concurrency=8, api={"base_url": "http://127.0.0.1/api/v1", "bills_errors": bills_errors})
    ledger, credits = flow.ledger(), report.summary["credits"]
    whole = sum(record.credits for record in flow.emulator.attempts if record.status == 200 and not record.fault)
    certain, possible = ledger["credits"].sum(), (ledger["credits_max"] - ledger["credits"]).sum()
    assert any(record.fault for record in flow.emulator.attempts)
    assert certain == whole == credits["spent"]
    assert 0 <= flow.emulator.billed - certain <= possible == credits["unknown_max"]
    assert ledger.height == len(flow.emulator.attempts) == report.summary["requests"]["sent"]
    assert flow.balanced()


def test_a_plan_opens_no_socket_and_equals_the_bill(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the plan went to the network")

    flow.write(["a", "b", "b", "c"])
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.delenv("JOURNEYAPI_KEY")
        plan = api.plan(flow.job())
    assert not flow.output.exists()
    assert (plan.rows, plan.distinct, plan.requests, plan.credits_min, plan.credits_max) == (4, 3, 3, 3, 3)
    flow.run()
    assert (len(flow.emulator.attempts), flow.emulator.billed) == (plan.requests, plan.credits_max)
    assert api.plan(flow.job()).requests == 0


def test_an_edited_prompt_asks_before_it_pays_again(flow: Flow) -> None:
    flow.run()
    before = contents(flow.output)
    with pytest.raises(Unanswered, match=r"12 of 12.*12 credits"):
        flow.run(prompt="Now rate {{ text }}")
    assert len(flow.emulator.attempts) == 12
    assert contents(flow.output) == before
    assert flow.run({"yes": True}, prompt="Now rate {{ text }}").exit_code == 0
    assert len(flow.emulator.attempts) == 24
    assert flow.summary()["credits"]["departed"] == 12
    assert flow.balanced()
    assert flow.run().exit_code == 0, "the old answers are still known"
    assert len(flow.emulator.attempts) == 24


def test_what_cannot_change_an_answer_asks_nothing(flow: Flow) -> None:
    flow.run()
    assert flow.run(concurrency=9, retry={"attempts": 5}, limits={"credits": 1}).exit_code == 0
    assert len(flow.emulator.attempts) == 12


def test_another_jobs_directory_is_left_alone(flow: Flow) -> None:
    flow.run()
    before = contents(flow.output)
    with pytest.raises(OutputError, match="belongs to the job 'flow'"):
        flow.run(name="other")
    assert contents(flow.output) == before


def test_a_foreign_file_called_journal_is_left_alone(flow: Flow) -> None:
    flow.output.mkdir()
    (flow.output / "journal").write_text("Dear diary, " * 100)
    with pytest.raises(OutputError, match="journal"):
        flow.run()
    assert (flow.output / "journal").read_text() == "Dear diary, " * 100
    assert [path.name for path in flow.output.iterdir()] == ["journal"]
    assert not flow.emulator.attempts


def test_fresh_starts_over_and_keeps_the_old_directory_beside(flow: Flow) -> None:
    flow.run()
    before = contents(flow.output)
    assert flow.run({"fresh": True}).exit_code == 0
    assert len(flow.emulator.attempts) == 24
    (beside,) = [path for path in flow.path.iterdir() if re.fullmatch(r"out\.\d{8}-\d{6}", path.name)]
    assert contents(beside) == before
