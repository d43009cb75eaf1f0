"""Exports: formulas defused, numbers numbers, whole or not at all."""

from __future__ import annotations

import csv
import json
import stat
import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeybatch import export as module
from journeybatch.errors import TableError
from journeybatch.export import export

LAW = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text(
    "=+-@\t\r\n '\"1x\x00\u00a0＝", max_size=6
)
SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
BLANK = "".join(map(chr, range(33))) + "\u00a0\ufeff"


def stored(path: Path, frame: pl.DataFrame) -> Path:
    frame.write_parquet(path / "results.parquet")
    return path / "results.parquet"


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def read_sheet(path: Path) -> list[dict[str, tuple[str, str]]]:
    """Rows of {column letter: (type, text)} from a workbook's XML; fails on any formula."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as archive:
        root = ET.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    assert not list(root.iter(f"{space}f"))
    rows = []
    for row in root.iter(f"{space}row"):
        cells = {}
        for cell in row:
            kind = cell.get("t", "n")
            cells[cell.get("r").rstrip("0123456789")] = (kind, "".join(cell.itertext()))
        rows.append(cells)
    return rows


@LAW
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_no_text_reaches_a_csv_cell_as_a_formula(tmp_path, texts):
    to = tmp_path / "out.csv"
    export(stored(tmp_path, pl.DataFrame({"text": texts, "n": 1})), to)
    for text, (cell, number) in zip(texts, read_csv(to)[1:], strict=True):
        assert number == "1"
        assert not cell.startswith(("\t", "\r", "\n"))
        if cell.lstrip(BLANK).startswith(SIGNS):
            float(cell)  # a plain number may begin with a sign
        shown = "".join("\ufffd" if (c < " " and c not in "\t\r\n") or c == "\x7f" else c for c in text)
        assert cell in (shown, "'" + shown)


@pytest.mark.parametrize("number", ["-5", "+3.5", "-1e-7", "+49170", "-.5", "-5."])
def test_a_number_that_stands_in_a_text_column_stays_a_number(tmp_path, number):
    export(stored(tmp_path, pl.DataFrame({"t": [number]})), tmp_path / "out.csv")
    assert read_csv(tmp_path / "out.csv")[1] == [number]


@pytest.mark.parametrize(
    "text", ["-5+cmd|' /C calc'!A0", "+1-1", "-", "=1", " =1", "@SUM(1)", "＝1", "-1,000", "+49 170"]
)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(tmp_path, text):
    export(stored(tmp_path, pl.DataFrame({"t": [text]})), tmp_path / "out.csv")
    assert read_csv(tmp_path / "out.csv")[1] == ["'" + text]


def test_a_column_name_is_defused_as_well(tmp_path):
    export(stored(tmp_path, pl.DataFrame({"=cmd()": ["x"], "n": [1]})), tmp_path / "out.csv")
    assert read_csv(tmp_path / "out.csv")[0] == ["'=cmd()", "n"]


@pytest.fixture
def typed(tmp_path: Path) -> Path:
    frame = pl.DataFrame(
        {
            "text": ["=1+1", None],
            "credits": pl.Series([Decimal("0.000001"), Decimal("12345678.5")], dtype=pl.Decimal(18, 6)),
            "n": [-5, 2**60],
            "score": [1.5, float("nan")],
            "ok": [True, None],
            "at": pl.Series([datetime(2024, 1, 2, 3, tzinfo=UTC), None], dtype=pl.Datetime("us", "UTC")),
            "day": [date(2024, 1, 2), None],
            "took": [timedelta(days=1, seconds=3), None],
            "tags": [["=a", None], None],
            "place": [{"city": "Zürich"}, None],
            "raw": [b"\x00x", None],
            "kind": pl.Series(["@a", None], dtype=pl.Categorical),
        }
    )
    return stored(tmp_path, frame)


def test_every_type_has_a_plain_form_in_csv(tmp_path, typed):
    export(typed, tmp_path / "out.csv")
    _, first, second = read_csv(tmp_path / "out.csv")
    assert first == [
        *("'=1+1", "0.000001", "-5", "1.5", "true", "2024-01-02T03:00:00.000000+00:00", "2024-01-02", "P1DT3S"),
        *('["=a",null]', '{"city":"Zürich"}', "0078", "'@a"),
    ]
    assert second[:4] == ["", "12345678.500000", str(2**60), "NaN"]
    assert set(second[4:]) == {""}


def test_a_sheet_has_text_as_text_and_numbers_as_numbers(tmp_path, typed):
    export(typed, tmp_path / "out.xlsx")
    head, first, second = read_sheet(tmp_path / "out.xlsx")
    assert head["A"] == ("inlineStr", "text")
    assert first["A"] == ("inlineStr", "=1+1")
    assert (first["B"][0], float(first["B"][1])) == ("n", 0.000001)
    assert first["C"] == ("n", "-5")
    assert first["E"] == ("b", "1")
    assert first["I"] == ("inlineStr", '["=a",null]')
    assert second["C"] == ("inlineStr", str(2**60))  # a sheet would round it
    assert second["D"] == ("inlineStr", "nan")
    assert "A" not in second


@LAW
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_a_sheet_never_has_a_formula_or_a_lost_row(tmp_path, texts):
    export(stored(tmp_path, pl.DataFrame({"text": texts, "n": 1})), tmp_path / "out.xlsx")
    rows = read_sheet(tmp_path / "out.xlsx")
    assert len(rows) == len(texts) + 1
    assert all(row.get("A", ("inlineStr",))[0] == "inlineStr" for row in rows)


def test_a_text_too_long_for_a_cell_is_cut_and_says_so(tmp_path):
    export(stored(tmp_path, pl.DataFrame({"t": ["x" * 40_000]})), tmp_path / "out.xlsx")
    text = read_sheet(tmp_path / "out.xlsx")[1]["A"][1]
    assert len(text) == 32_767
    assert text.endswith("…[cut]")


def test_more_rows_than_a_sheet_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EXCEL_ROWS", 4)
    export(stored(tmp_path, pl.DataFrame({"n": [1, 2, 3]})), tmp_path / "out.xlsx")
    with pytest.raises(TableError, match=r"4 rows of 1 columns do not fit .* holds 3 rows"):
        export(stored(tmp_path, pl.DataFrame({"n": [1, 2, 3, 4]})), tmp_path / "out.xlsx")
    assert len(read_sheet(tmp_path / "out.xlsx")) == 4


def test_json_lines_keep_numbers_and_nesting(tmp_path, typed):
    export(typed, tmp_path / "out.jsonl")
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert (first["text"], first["credits"], first["tags"]) == ("=1+1", 0.000001, ["=a", None])
    assert second["n"] == 2**60
    assert second["text"] is None


def test_parquet_is_the_same_bytes(tmp_path, typed):
    export(typed, tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_bytes() == typed.read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "jsonl", "parquet"])
def test_the_same_results_export_to_the_same_private_bytes(tmp_path, typed, suffix):
    one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    export(typed, one)
    export(typed, two)
    assert one.read_bytes() == two.read_bytes()
    assert stat.S_IMODE(one.stat().st_mode) == 0o600


def test_a_failed_export_leaves_the_last_one(tmp_path):
    results, to = tmp_path / "results.parquet", tmp_path / "out.csv"
    results.write_bytes(b"PAR1 and then nothing")
    to.write_text("the last good one")
    with pytest.raises(TableError, match="cannot be exported"):
        export(results, to)
    assert to.read_text() == "the last good one"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.csv", "results.parquet"]


def test_two_exports_to_one_file_do_not_meet(tmp_path):
    theirs = tmp_path / ".out.csv.tmp"  # as one name for all would have it
    theirs.write_text("half")
    export(stored(tmp_path, pl.DataFrame({"n": [1]})), tmp_path / "out.csv")
    assert theirs.read_text() == "half"
    assert sorted(file.name for file in tmp_path.iterdir()) == [".out.csv.tmp", "out.csv", "results.parquet"]


def test_what_cannot_be_exported_says_why(tmp_path, typed):
    with pytest.raises(TableError, match=r"ends in \.csv, \.xlsx, \.jsonl, \.parquet"):
        export(typed, tmp_path / "out.pdf")
    with pytest.raises(TableError, match="run the job first"):
        export(tmp_path / "none.parquet", tmp_path / "out.csv")
    with pytest.raises(TableError, match="does not exist"):
        export(typed, tmp_path / "nowhere" / "out.csv")
    with pytest.raises(TableError, match="the results file itself"):
        export(typed, typed)
