"""Results reach their sinks once, and a sink that fails costs no answer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import polars as pl
import pytest
from components import PASSWORD

from journeybatch.archive import read_history
from journeybatch.emulator import Emulator
from journeybatch.emulator.faults import Faults
from journeybatch.errors import TableError

ANSWERED = "select count(*) from labels where response is not null"


def ask(path: Path, sql: str):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def table_sink(path: Path, **more) -> dict:
    return {"database": f"sqlite:///{path}", "table": "labels", "key": ["id"], **more}


def test_a_run_brings_its_results_to_every_sink(flow, tmp_path):
    sinks = [str(tmp_path / "out.csv"), {"delta": str(tmp_path / "lake"), "key": ["id"]}, table_sink(tmp_path / "a.db")]
    report = flow.run(sinks=sinks)
    assert report.exit_code == 0
    assert [delivery["state"] for delivery in report.summary["deliveries"]] == ["delivered"] * 3
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 13
    assert pl.scan_delta(str(tmp_path / "lake")).collect().height == 12
    assert ask(tmp_path / "a.db", ANSWERED) == [(12,)]


def test_the_next_night_delivers_only_what_changed(flow, tmp_path):
    sinks = [str(tmp_path / "out.csv"), table_sink(tmp_path / "a.db")]
    flow.run(sinks=sinks)
    journal = (flow.output / "journal").read_bytes()
    written = (tmp_path / "out.csv").stat().st_mtime_ns
    report = flow.run(sinks=sinks)
    assert [delivery["state"] for delivery in report.summary["deliveries"]] == ["already", "already"]
    assert (flow.output / "journal").read_bytes() == journal
    assert (tmp_path / "out.csv").stat().st_mtime_ns == written
    flow.write([f"thing {n}" for n in range(13)])
    report = flow.run(sinks=sinks)
    assert [delivery["state"] for delivery in report.summary["deliveries"]] == ["delivered", "delivered"]
    assert ask(tmp_path / "a.db", ANSWERED) == [(13,)]


def test_a_file_that_was_taken_away_is_written_again(flow, tmp_path):
    flow.run(sinks=[str(tmp_path / "out.csv")])
    (tmp_path / "out.csv").unlink()
    flow.run(sinks=[str(tmp_path / "out.csv")])
    assert (tmp_path / "out.csv").exists()


def test_a_database_or_a_delta_table_that_was_taken_away_is_made_again(flow, tmp_path, call):
    sinks = [table_sink(tmp_path / "a.db"), {"delta": str(tmp_path / "lake"), "key": ["id"]}]
    flow.run(sinks=sinks)
    (tmp_path / "a.db").unlink()
    shutil.rmtree(tmp_path / "lake")
    said = call("export", flow.output)
    assert (said.code, said.out.count("delivered: "), said.out.count("already: ")) == (0, 2, 0)
    assert ask(tmp_path / "a.db", ANSWERED) == [(12,)]
    assert pl.scan_delta(str(tmp_path / "lake")).collect().height == 12
    assert call("export", flow.output).out.count("already: ") == 2


def test_another_database_under_the_same_variable_gets_the_results_too(flow, tmp_path, monkeypatch):
    sinks = [table_sink(tmp_path / "x.db") | {"database": "${env:DB}"}]

    def state_with(name: str) -> str:
        monkeypatch.setenv("DB", f"sqlite:///{tmp_path}/{name}")
        return flow.run(sinks=sinks).summary["deliveries"][0]["state"]

    assert [state_with(name) for name in ("one.db", "one.db", "two.db", "two.db")] == ["delivered", "already"] * 2
    assert ask(tmp_path / "two.db", ANSWERED) == [(12,)]


def test_only_answered_rows_reach_a_table_so_that_an_earlier_answer_stays(flow, tmp_path):
    table = table_sink(tmp_path / "a.db", columns=["id", "response"])
    flow.run(sinks=[table], limits={"failures": 12})
    before = ask(tmp_path / "a.db", "select * from labels")
    flow.emulator = Emulator(faults=Faults(seed=2, statuses={422: 0.5}))
    report = flow.run({"yes": True}, prompt="Say it anew: {{ text }}", sinks=[table], limits={"failures": 12})
    failed = report.summary["rows"]["failed"]
    assert report.exit_code == 1
    assert 0 < failed < 12
    assert ask(tmp_path / "a.db", ANSWERED) == [(12,)]
    assert len(set(before) & set(ask(tmp_path / "a.db", "select * from labels"))) == failed


def test_what_does_not_fit_costs_nothing(flow, tmp_path):
    def refused(*sinks) -> str:
        with pytest.raises(TableError) as error:
            flow.run(sinks=list(sinks))
        return str(error.value)

    def refused_with(**keys) -> str:
        with pytest.raises(TableError) as error:
            flow.run(sinks=[table_sink(tmp_path / "b.db")], **keys)
        return str(error.value)

    assert "sinks.0.columns: results have no column 'lable'" in refused({"path": "a.csv", "columns": ["lable"]})
    ask(tmp_path / "a.db", "create table labels (id text primary key)")
    assert "several results here; add 'jb_sample'" in refused_with(samples=2)
    assert "has no column 'text'" in refused(table_sink(tmp_path / "a.db"))
    assert "does not exist" in refused(str(tmp_path / "nowhere" / "a.csv"))
    flow.write(["one", "two"], group=["a", "a"])
    shared = {**table_sink(tmp_path / "b.db"), "key": ["group"]}
    assert "2 rows share a key with another (group='a')" in refused(shared)
    assert not flow.output.exists()


def test_a_failed_sink_costs_no_answer_and_export_delivers_it_for_nothing(flow, tmp_path, call):
    ask(tmp_path / "a.db", "create table labels (id text primary key, response text check (response = 'no'))")
    sinks = [table_sink(tmp_path / "a.db", columns=["id", "response"]), str(tmp_path / "out.csv")]
    report = flow.run(sinks=sinks)
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "sink")
    assert "CHECK constraint failed" in report.message
    assert [delivery["state"] for delivery in report.summary["deliveries"]] == ["failed", "delivered"]
    assert report.summary["rows"]["answered"] == 12
    again = call("export", flow.output)
    assert again.code == 3
    assert "CHECK constraint failed" in again.err
    ask(tmp_path / "a.db", "drop table labels")
    done = call("export", flow.output)
    assert (done.code, done.err) == (0, "")
    assert f"delivered: sqlite:///{tmp_path}/a.db labels" in done.out
    assert ask(tmp_path / "a.db", ANSWERED) == [(12,)]
    assert flow.summary()["stopped_by"] is None
    assert flow.summary()["exit_code"] == 0
    assert flow.run(sinks=sinks).summary["requests"]["sent"] == 12  # the run's: nothing was asked anew
    assert call("verify", flow.output).code == 0


def test_an_export_of_a_run_that_has_not_ended_delivers_nothing(flow, tmp_path, call):
    flow.run(sinks=[str(tmp_path / "out.csv")], limits={"credits": 3})
    assert "rows are pending" in call("export", flow.output).out
    assert not (tmp_path / "out.csv").exists()


KILLED = """
import os, signal, sys
import journeybatch, journeybatch.delivery as delivery
from journeybatch.emulator import Emulator
import json
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
delivery.Delivered = die
journeybatch.run(json.loads(sys.argv[1]), transport=Emulator().transport(), seed=1)
"""


def test_a_kill_between_the_commit_and_the_journal_delivers_exactly_once(flow, shop, monkeypatch):
    monkeypatch.setenv("SHOP_URL", shop.url)
    job = flow.job(sinks=[{"database": "${env:SHOP_URL}", "table": "labels", "key": ["id"]}])
    killed = subprocess.run([sys.executable, "-c", KILLED, json.dumps(job)], check=False)
    assert killed.returncode == -signal.SIGKILL
    before = shop.sql("select id, xmin::text from labels order by id")
    assert len(before) == 12
    report = flow.run(sinks=job["sinks"])
    assert report.summary["deliveries"][0]["state"] == "delivered"
    assert shop.sql("select id, xmin::text from labels order by id") == before
    assert len(read_history(flow.output / "journal").delivered) == 1
    assert PASSWORD.encode() not in b"".join(file.read_bytes() for file in flow.output.rglob("*") if file.is_file())


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out.csv", "parts"])
def test_a_bucket_that_may_not_be_written_is_said_before_a_credit_is_spent(flow, bucket, name):
    more = {"partition_by": ["id"]} if name == "parts" else {}
    with pytest.raises(TableError, match=r"s3://none-of-ours/x/.* cannot be reached or read: NoSuchBucket"):
        flow.run(sinks=[{"path": f"s3://none-of-ours/x/{name}", **more}])
    with locked_to_strangers(), pytest.raises(TableError, match=r"InvalidAccessKeyId.*check the credentials"):
        flow.run(sinks=[{"path": f"{bucket}/x/{name}", **more}])
    assert flow.emulator.attempts == []
    assert flow.run(sinks=[{"path": f"{bucket}/x/{name}", **more}]).exit_code == 0


@contextlib.contextmanager
def locked_to_strangers():
    """The store asks for credentials that it knows; it knows none."""
    switch = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    httpx.post(switch, content="0")
    try:
        yield
    finally:
        httpx.post(switch, content="inf")
