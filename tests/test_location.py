"""Where a table is: files, patterns, formats, and helpful words where there is none."""

from __future__ import annotations

import pytest

from journeybatch.errors import TableError
from journeybatch.location import located, table_format


def refused(path) -> str:
    with pytest.raises(TableError) as error:
        located(str(path))
    return str(error.value)


def test_a_pattern_means_its_files_sorted_by_name(tmp_path):
    for name in ("b.csv", "a.csv", "c.txt", "sub/d.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file in located(str(tmp_path / "*.csv"))] == ["a.csv", "b.csv"]
    assert [file.name for file in located(str(tmp_path / "**" / "*.csv"))] == ["a.csv", "b.csv", "d.csv"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    for name in ("a[1].csv", "a1.csv"):
        (tmp_path / name).touch()
    assert located(str(tmp_path / "a[1].csv")) == [tmp_path / "a[1].csv"]


def test_a_missing_file_names_the_nearest_one(tmp_path):
    (tmp_path / "reviews.csv").touch()
    assert refused(tmp_path / "review.csv").endswith("did you mean reviews.csv?")
    assert "did you mean" not in refused(tmp_path / "zebra.parquet")
    assert "the directory" in refused(tmp_path / "nowhere" / "reviews.csv")


def test_directories_devices_and_empty_patterns_are_refused(tmp_path):
    assert "is a directory" in refused(tmp_path)
    assert "no file matches" in refused(tmp_path / "*.csv")
    assert "not a regular file" in refused("/dev/null")
    assert "standard input" in refused("-")


def test_the_extension_gives_the_format_and_a_named_one_wins(tmp_path):
    known = {"csv": "csv", "TSV": "tsv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet", "ipc": "arrow"}
    known |= {"xlsx": "xlsx"}
    for suffix, format_ in known.items():
        assert table_format(tmp_path / f"t.{suffix}", None) == format_
    assert table_format(tmp_path / "t.txt", "ndjson") == "jsonl"
    assert table_format(tmp_path / "t.csv", "tsv") == "tsv"


@pytest.mark.parametrize(
    ("name", "format_", "words"),
    [
        ("t.txt", None, "cannot tell the format"),
        ("t.csv", "cvs", "unknown format 'cvs'; set `format` to one of csv, tsv, jsonl, parquet, arrow, xlsx"),
        ("t.csv.gz", None, "unpack it first"),
        ("t.csv.gz", "csv", "unpack it first"),
        ("t.xls", None, "only .xlsx is read"),
    ],
)
def test_other_formats_are_refused(tmp_path, name, format_, words):
    with pytest.raises(TableError) as error:
        table_format(tmp_path / name, format_)
    assert words in str(error.value)
