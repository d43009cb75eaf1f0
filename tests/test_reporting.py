"""The verb `report`: from a directory to a page, and what it says where there is none."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from appraised import appraised, evaluated
from conftest import KEY, spawned

from journeybatch.emulator import Emulator, Faults
from journeybatch.report import charts


def page_of(flow):
    return (flow.output / "report.html").read_text("utf-8")


def test_a_run_becomes_a_page_beside_its_results(flow, call):
    flow.run()
    done = call("report", flow.output)
    assert (done.code, done.out.strip()) == (0, str(flow.output / "report.html"))
    page = page_of(flow)
    assert "12 of 12 rows answered, 12 credits, " in page
    assert KEY not in page
    assert (flow.output / "report.html").stat().st_mode & 0o777 == 0o600


def test_the_page_can_go_elsewhere(flow, call, tmp_path):
    flow.run()
    assert call("report", flow.output, "--to", tmp_path / "night.html").code == 0
    assert (tmp_path / "night.html").exists() and not (flow.output / "report.html").exists()
    missing = call("report", flow.output, "--to", tmp_path / "no" / "night.html")
    assert missing.code == 2 and "cannot be written: No such file or directory" in missing.err


def test_a_report_changes_nothing_but_its_page(flow, call):
    flow.run()
    before = {path: path.read_bytes() for path in flow.output.rglob("*") if path.is_file()}
    call("report", flow.output)
    assert {path: path.read_bytes() for path in before} == before
    assert {path for path in flow.output.rglob("*") if path.is_file()} - set(before) == {flow.output / "report.html"}


def test_a_directory_without_a_journal_is_no_run(call, tmp_path):
    said = call("report", tmp_path)
    assert said.code == 2 and "there is no journal here" in said.err


def test_a_stopped_run_says_so_and_how_to_go_on(flow, call):
    flow.run(limits={"credits": 5})
    assert call("report", flow.output).code == 0
    assert "Stopped at the cap of 5 credits: 5 of 12 rows answered" in page_of(flow)
    assert "--max-credits N" in page_of(flow)


def test_a_run_that_died_is_reported_from_its_journal(flow, call):
    flow.run()
    summary = flow.output / "summary.json"
    summary.write_text(summary.read_text().replace('"exit_code": 0', '"exit_code": null'))
    journal = flow.output / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: len(whole) - 200])
    (flow.output / "results.parquet").unlink()
    done = call("report", flow.output)
    assert done.code == 0, done.err
    assert "Interrupted: the process died" in page_of(flow)
    assert not (flow.output / "results.parquet").exists()


def test_a_damaged_directory_ends_with_what_verify_says(flow, call):
    flow.run()
    journal = flow.output / "journal"
    damaged = bytearray(journal.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 40] = bytes(40)
    journal.write_bytes(damaged)
    verified, reported = call("verify", flow.output), call("report", flow.output)
    assert verified.code == reported.code == 5
    assert verified.err == reported.err and "damaged" in reported.err
    assert not (flow.output / "report.html").exists()


def test_a_table_without_rows_has_a_page(flow, call):
    flow.run(input={"path": str(flow.table), "where": "id = 'none'"})
    done = call("report", flow.output)
    assert done.code == 0, done.err
    assert "The input has no rows: nothing was asked, 0 credits" in page_of(flow)


def test_a_run_of_failures_only_has_a_page(flow, call):
    flow.emulator = Emulator(faults=Faults(statuses={400: 1.0}))
    flow.run(limits={"failures": "100%"})
    assert call("report", flow.output).code == 0
    assert "0 of 12 rows answered, 12 failed, 0 credits" in page_of(flow)


def test_all_nights_of_a_directory_stand_in_a_row(flow, call):
    flow.run()
    flow.write([f"thing {n}" for n in range(15)])
    flow.run()
    assert call("report", flow.output, "--history").code == 0
    assert "2 runs, 15 credits in all." in page_of(flow)
    assert "Runs of this directory" in page_of(flow)


def test_charts_become_images(flow, call, tmp_path):
    flow.write([f"thing {n}" for n in range(40)])
    flow.run()
    done = call("report", flow.output, "--png", tmp_path)
    assert {Path(line).name for line in done.out.split()} == {"report.html", "latency.png", "throughput.png"}


def test_without_the_drawing_library_a_page_has_tables_and_images_are_refused(flow, call, monkeypatch):
    flow.write([f"thing {n}" for n in range(40)])
    flow.run()
    monkeypatch.setattr(charts, "find_spec", lambda _: None)
    page, images = call("report", flow.output), call("report", flow.output, "--png", flow.path)
    assert page.code == 0 and "pip install 'journeybatch[report]'" in page.err
    assert images.code == 2 and "pip install 'journeybatch[report]'" in images.err


def test_a_run_at_work_can_be_looked_at(flow, call, served, monkeypatch):
    flow.write([f"thing {n}" for n in range(400)])
    job = flow.path / "job.yaml"
    job.write_text(json.dumps(flow.job(api={"base_url": served.base_url}, concurrency=2)))
    with spawned("run", job, "--quiet") as process:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            done = call("report", flow.output) if (flow.output / "job.yaml").exists() else None
            if done and done.code == 0:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert done and done.code == 0
    assert "Still running: " in page_of(flow)


TARGETS = [str(n) for n in range(12)]
SAID = {"deepseek-chat": [*TARGETS[:3], *["x"] * 9], "gpt-4o": TARGETS}


def test_an_evaluation_becomes_a_page_of_its_own(flow, call, tmp_path):
    evaluated(flow, TARGETS, SAID)
    done = call("report", flow.output, "--png", tmp_path)
    assert {Path(line).name for line in done.out.split()} == {"report.html", "scores.png", "quality-and-credits.png"}
    assert "gpt-4o answers 75.0 points more than deepseek-chat" in page_of(flow)
    assert KEY not in page_of(flow)


def test_an_evaluation_ends_with_its_page(flow, call, served):
    job = flow.path / "job.yaml"
    section = {"variants": {"models": ["deepseek-chat", "gpt-4o"]}, "target": "text"}
    job.write_text(json.dumps(flow.job(api={"base_url": served.base_url}, eval=section)))
    page = flow.output / "report.html"
    done = call("eval", job, "--quiet", "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (0, f"report: {page}")
    assert "cannot be told from" in page_of(flow)
    assert page.stat().st_mode & 0o777 == 0o600
    page.unlink()
    page.mkdir()
    again = call("eval", job, "--quiet", "--yes")
    assert again.code == 0 and "report:" not in again.out
    assert again.err.splitlines() == [f"{page}: cannot be written: Is a directory"]
    assert json.loads(call("eval", job, "--json", "--yes").out)["rows"] == 12


def test_without_the_drawing_library_an_evaluation_has_tables(flow, call, monkeypatch):
    evaluated(flow, TARGETS, SAID)
    monkeypatch.setattr(charts, "find_spec", lambda _: None)
    done = call("report", flow.output)
    assert done.code == 0 and "pip install 'journeybatch[report]'" in done.err
    assert "Means and intervals" in page_of(flow) and "as a table" not in page_of(flow)


def test_a_run_after_the_evaluation_is_reported_as_a_run(flow, call):
    ended = evaluated(flow, TARGETS, SAID)
    path = flow.output / "evaluation.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"run": ended.evaluation.run + 1}))
    assert call("report", flow.output).code == 0
    assert "24 of 24 replies answered" in page_of(flow)
    assert "The evaluation here is of run 2" in page_of(flow)


def test_an_evaluation_that_cannot_be_read_is_named(flow, call):
    evaluated(flow, TARGETS, SAID)
    (flow.output / "evaluation.json").write_text("{}")
    said = call("report", flow.output)
    assert said.code == 2 and "evaluation.json: cannot be read as an evaluation" in said.err
    assert not (flow.output / "report.html").exists()


def test_an_evaluation_that_was_stopped_is_reported_as_a_run(flow, call):
    evaluated(flow, TARGETS, SAID, job={"limits": {"credits": 20}})
    assert call("report", flow.output).code == 0
    assert "Stopped at the cap of 20 credits" in page_of(flow)


def test_the_earlier_evaluation_is_looked_at_row_by_row(flow, call, tmp_path):
    appraised(flow, TARGETS, SAID)
    before = flow.output.rename(tmp_path / "before")
    evaluated(flow, TARGETS, SAID | {"deepseek-chat": TARGETS}, against=before)
    assert call("report", flow.output).code == 0
    assert "Since the earlier evaluation" in page_of(flow) and "+9" in page_of(flow)
