"""Which rows a page holds."""

from __future__ import annotations

import polars as pl
import pytest
from test_report_replies import evidence

from journeybatch.loading import load_job
from journeybatch.report import selection
from journeybatch.report.evidence import Evidence
from journeybatch.report.replies import browser_of
from journeybatch.report.selection import chosen


@pytest.mark.parametrize(("most", "failed"), [(100, 20), (10, 20), (10, 2), (10, 99)])
def test_of_too_many_rows_those_without_an_answer_come_first(tmp_path, most, failed):
    rows = 100
    status = [
        "failed" if n % (rows // failed) == 0 and n // (rows // failed) < failed else "answered" for n in range(rows)
    ]
    frame = pl.DataFrame({"jb_row": range(rows), "jb_status": status, "text": ["some text"] * rows}).with_columns(
        *(
            pl.lit(None, dtype=kind).alias(f"jb_{name}")
            for name, kind in (("error", pl.String), ("model", pl.String), ("reused", pl.Boolean))
        )
    )
    frame.write_parquet(tmp_path / "results.parquet")
    spec = load_job({"name": "x", "input": "x.csv", "prompt": "{{ text }}", "model": "deepseek-chat"}, {}, environ={})
    numbers, note = chosen(Evidence(tmp_path, spec, None, {}, tmp_path / "results.parquet"), most)
    taken = [status[n] for n in numbers]
    assert len(numbers) == most == len(set(numbers)) and numbers == sorted(numbers)
    assert (note == "") == (most == rows)
    if most < rows:
        assert taken.count("failed") >= min(failed, most // 2)


def test_rows_of_great_size_are_fewer(flow, monkeypatch):
    flow.run()
    monkeypatch.setattr(selection, "LETTERS", 400)
    browser = browser_of(evidence(flow))
    assert 0 < len(browser.rows) < 12 and "of 12 rows" in browser.note


def test_rows_that_are_striking_come_before_others_that_are_answered(flow):
    flow.run()
    numbers, note = chosen(evidence(flow), 4, pl.Series([3, 7, 8, 11]))
    assert len({3, 7, 8, 11} & set(numbers)) >= 2
    assert "where variants disagree, failed or changed" in note
