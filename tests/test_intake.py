"""Whatever is read once is kept as one private Arrow file."""

from __future__ import annotations

import io
import sqlite3
import stat

import polars as pl
import pytest

import journeybatch
from journeybatch import intake, table
from journeybatch.emulator import Emulator
from journeybatch.errors import TableError
from journeybatch.sections import Input
from journeybatch.table import Source

CSV = b"id,stars,text\n1,5,a\n2,1,b\n3,3,c\n"
FRAME = pl.DataFrame({"id": [1, 2], "text": ["a", None], "tags": [["x"], []]})


def rows(path, environ=None, **keys) -> list[tuple]:
    return intake.loaded(Input(path=str(path), **keys), environ or {}).rows()


def refused(path, **keys) -> str:
    with pytest.raises(TableError) as error:
        rows(path, **keys)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_stream_that_breaks_off_leaves_no_file(tmp_path):
    class Broken(io.RawIOBase):
        def readinto(self, buffer) -> int:
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        intake.spool_stream(Broken(), tmp_path / "input.arrow", "csv")
    assert list(tmp_path.iterdir()) == []


def test_the_rows_of_a_stream_are_stored_as_first_read(tmp_path):
    to = tmp_path / "input.arrow"
    intake.spool_stream(io.BytesIO(CSV), to, "csv")
    assert pl.read_ipc(to.read_bytes()).rows() == [("1", "5", "a"), ("2", "1", "b"), ("3", "3", "c")]
    assert [file.name for file in tmp_path.iterdir()] == ["input.arrow"]
    assert stat.S_IMODE(to.stat().st_mode) == 0o600


def test_a_stream_that_is_wrong_is_named_as_such_with_its_line(tmp_path):
    with pytest.raises(TableError, match=r"^standard input, line 5: 1 field"):
        intake.spool_stream(io.BytesIO(CSV + b"4\n"), tmp_path / "input.arrow", "csv")
    with pytest.raises(TableError, match=r"set `input\.format`"):
        intake.spool_stream(io.BytesIO(CSV), tmp_path / "input.arrow", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frame", [FRAME, FRAME.lazy()])
def test_a_frame_is_stored_with_its_types(tmp_path, frame):
    intake.spool_frame(frame, tmp_path / "input.arrow")
    assert table.schema(Source(str(tmp_path / "input.arrow"))) == FRAME.schema


def test_a_sheet_gives_numbers_as_numbers_and_what_is_mixed_as_text(tmp_path):
    import xlsxwriter

    with xlsxwriter.Workbook(tmp_path / "t.xlsx") as book:
        for name, cell in (("first", "one"), ("second", 1)):
            sheet = book.add_worksheet(name)
            for number, row in enumerate([["id", "text", "mixed"], [1, "a", cell], [2, None, 2]]):
                for column, value in enumerate(row):
                    sheet.write(number, column, value)
    assert rows(tmp_path / "t.xlsx") == [(1, "a", "one"), (2, None, "2")]
    assert rows(tmp_path / "t.xlsx", sheet="second") == [(1, "a", 1), (2, None, 2)]
    assert "sheets: first, second" in refused(tmp_path / "t.xlsx", sheet="third")


def test_a_sheet_that_is_none_is_refused(tmp_path):
    (tmp_path / "t.xlsx").write_text("id,text\n")
    assert "is it an Excel file?" in refused(tmp_path / "t.xlsx")
    assert "there is no" in refused(tmp_path / "none.xlsx")


def test_a_delta_table_is_known_by_its_directory(tmp_path):
    FRAME.write_delta(tmp_path / "lake")
    FRAME.head(1).write_delta(tmp_path / "lake", mode="append")
    assert sorted(map(str, rows(tmp_path / "lake"))) == sorted(map(str, [*FRAME.rows(), FRAME.row(0)]))
    (tmp_path / "plain").mkdir()
    assert "cannot be read as a Delta table" in refused(tmp_path / "plain", format="delta")


def test_a_bucket_is_read_like_a_disk(bucket):
    FRAME.write_parquet(f"{bucket}/t.parquet")
    FRAME.write_ipc(f"{bucket}/t.arrow")
    pl.DataFrame({"id": ["007"], "text": ['two\n"lines"']}).write_csv(f"{bucket}/t.csv")
    FRAME.write_ndjson(f"{bucket}/t.jsonl")
    FRAME.write_delta(f"{bucket}/lake", mode="overwrite")
    for name in ("t.parquet", "t.arrow", "t.jsonl"):
        assert rows(f"{bucket}/{name}") == FRAME.rows(), name
    assert rows(f"{bucket}/lake", format="delta") == FRAME.rows()
    assert rows(f"{bucket}/t.csv") == [("007", 'two\n"lines"')]


def test_what_is_wrong_with_a_bucket_is_one_line(bucket, monkeypatch):
    assert "NoSuchKey" in refused(f"{bucket}/none.parquet")
    assert "NoSuchBucket" in refused("s3://nowhere/none.parquet")
    assert "expected a path, or an address that begins with s3" in refused("ftp://host/a.csv")
    assert "cannot tell the format" in refused(f"{bucket}/readme")


@pytest.mark.parametrize(
    ("address", "said", "word"),
    [
        ("gs://b/a.csv", "Error performing token request: Error performing GET http://169.254.169.254/x", "GOOGLE_APP"),
        ("az://b/a.csv", "Account must be specified (path: az://b/a.csv)", "AZURE_STORAGE_ACCOUNT_NAME"),
        ("s3://b/a.csv", "Error performing PUT http://169.254.169.254/latest: instance metadata", "AWS_ACCESS_KEY_ID"),
        ("hf://b/a.csv", "server returned 401", "HF_TOKEN"),
    ],
)
def test_a_store_without_credentials_names_the_variables_that_bring_them(address, said, word):
    with pytest.raises(TableError) as error, intake.reached(address):
        raise pl.exceptions.ComputeError(f"object-store error: Generic error: {said}")
    assert word in str(error.value)
    assert "169.254" not in str(error.value)


def test_an_azure_address_without_an_account_is_one_line(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    assert refused("az://container/a.parquet").endswith("set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY")


def test_an_address_without_an_ending_is_named_whole():
    assert refused("s3://b/lake").startswith("s3://b/lake: cannot tell the format")


def test_a_text_file_in_a_bucket_is_as_strict_as_one_on_disk(bucket):
    pl.Series(["a,b", "1,2", "3"]).to_frame("a").write_csv(
        f"{bucket}/short.csv", include_header=False, quote_style="never"
    )
    assert refused(f"{bucket}/short.csv").startswith(f"{bucket}/short.csv, line 3: 1 field")


@pytest.fixture
def database_job(tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.executescript("create table r (id integer, text); insert into r values (1, 'one'), (2, 'two')")
    return {
        "name": "d",
        "input": {"database": f"sqlite:///{tmp_path}/shop.db", "query": "select * from r", "where": "id > 1"},
        "prompt": "Say {{ text }}",
        "model": "deepseek-chat",
        "api": "emulator",
        "output": str(tmp_path / "out"),
    }


def test_a_plan_of_a_query_leaves_nothing_and_warns_where_it_has_no_order(database_job, tmp_path):
    planned = journeybatch.plan(database_job)
    assert planned.requests == 1
    assert [warning for warning in planned.warnings if "no `order by`" in warning]
    assert not (tmp_path / "out").exists()


def test_the_second_night_of_a_query_asks_only_what_is_new(database_job, tmp_path):
    emulator = Emulator()
    journeybatch.run(database_job, transport=emulator.transport())
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("insert into r values (3, 'three')")
    report = journeybatch.run(database_job, transport=emulator.transport())
    assert report.exit_code == 0
    assert report.summary["requests"]["sent"] == 1
    assert pl.read_parquet(report.results)["text"].to_list() == ["two", "three"]


def test_a_database_that_is_gone_costs_nothing_and_leaves_nothing(database_job, tmp_path):
    (tmp_path / "shop.db").unlink()
    with pytest.raises(TableError, match="unable to open"):
        journeybatch.run(database_job, transport=Emulator().transport())
    assert list(tmp_path.iterdir()) == []


def test_rows_stored_when_they_were_read_are_shown_and_exported_without_the_database(database_job, tmp_path, call):
    journeybatch.run(database_job, transport=Emulator().transport())
    (tmp_path / "shop.db").unlink()
    assert call("export", tmp_path / "out", "--to", tmp_path / "out.csv").code == 0
    assert "two" in call("show", tmp_path / "out", 0).out
