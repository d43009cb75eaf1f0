"""What is read once is planned without a trace, and run from a copy."""

from __future__ import annotations

import io
import json
import os
from types import SimpleNamespace

import polars as pl
import pytest

import journeybatch
from journeybatch.emulator import Emulator
from journeybatch.errors import DiskFull, MissingKey


@pytest.fixture
def stdin_job(tmp_path, monkeypatch):
    table = b"text\n00123\nhello\n"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(table)))
    return {
        "name": "s",
        "input": {"path": "-", "format": "csv"},
        "prompt": "Say {{ text }}",
        "model": "deepseek-chat",
        "api": "emulator",
        "output": str(tmp_path / "out"),
    }


def test_a_plan_of_standard_input_writes_nothing(stdin_job, tmp_path):
    assert journeybatch.plan(stdin_job).requests == 2
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_standard_input_keeps_its_rows(stdin_job, tmp_path):
    report = journeybatch.run(stdin_job, transport=Emulator().transport())
    assert report.exit_code == 0
    assert pl.read_ipc((tmp_path / "out" / "input.arrow").read_bytes())["text"].to_list() == ["00123", "hello"]
    assert pl.read_parquet(report.results)["text"].to_list() == ["00123", "hello"]


def test_standard_input_without_a_key_leaves_nothing(stdin_job, tmp_path, monkeypatch):
    monkeypatch.delenv("JOURNEYAPI_KEY", raising=False)
    with pytest.raises(MissingKey):
        journeybatch.run({**stdin_job, "api": "journeyapi"})
    assert list(tmp_path.iterdir()) == []


def test_the_summary_of_an_earlier_run_is_kept_under_its_number(flow):
    flow.run()
    flow.run()  # finished, and nothing to ask: still the first run
    assert not (flow.output / "summaries").exists()
    first = flow.summary()
    flow.write([f"thing {n}" for n in range(13)])
    flow.run()
    assert flow.summary()["run"] == 2
    assert json.loads((flow.output / "summaries" / "1.json").read_text()) == first


@pytest.mark.parametrize("name", ["job.yaml", "input.arrow"])
def test_a_disk_that_refuses_a_small_file_stops_the_run_before_anything_is_sent(stdin_job, tmp_path, monkeypatch, name):
    emulator, rename = Emulator(), os.replace

    def full(source, to):
        if str(to).endswith(name):
            raise OSError(28, "No space left on device")
        rename(source, to)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(DiskFull, match=f"{name}: No space left on device; nothing was sent"):
            journeybatch.run(stdin_job, transport=emulator.transport())
    assert emulator.attempts == []
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"text\n00123\nhello\n")))
    assert journeybatch.run(stdin_job, transport=emulator.transport()).exit_code == 0
