"""Files are written anew, whole or not at all."""

from __future__ import annotations

import polars as pl
import pytest

from journeybatch.errors import TableError
from journeybatch.outlets import Sink
from journeybatch.sinks import files

FRAME = pl.DataFrame(
    {"id": [1, 2, 3], "country": ["fr", "d/e", None], "text": ["=1+1", "b", "c"], "tags": [["x"], [], None]}
)


def sink(path, **keys) -> Sink:
    return Sink(path=str(path), **keys)


def test_each_ending_has_its_format(tmp_path):
    for name in ("a.csv", "a.jsonl", "a.parquet", "a.xlsx"):
        files.check(sink(tmp_path / name))
        files.deliver(sink(tmp_path / name), FRAME.lazy())
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == '1,fr,\'=1+1,"[""x""]"'
    assert pl.read_ndjson(tmp_path / "a.jsonl")["tags"].to_list() == [["x"], [], None]
    assert pl.read_parquet(tmp_path / "a.parquet").equals(FRAME)
    assert pl.read_excel(tmp_path / "a.xlsx")["text"].to_list() == ["=1+1", "b", "c"]  # as text: no formula runs


def test_partitions_that_have_no_rows_any_more_are_gone(tmp_path):
    where = sink(tmp_path / "parts", partition_by=["country"])
    files.deliver(where, FRAME.lazy())
    assert sorted(pl.read_parquet(tmp_path / "parts" / "**" / "*.parquet")["id"]) == [1, 2, 3]
    files.deliver(where, FRAME.lazy().head(1))
    assert [file.name for file in tmp_path.iterdir()] == ["parts"]
    assert pl.read_parquet(tmp_path / "parts" / "**" / "*.parquet")["id"].to_list() == [1]


def test_a_bucket_takes_files_and_partitions(bucket):
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        files.check(sink(f"{bucket}/out/{name}"))
        files.deliver(sink(f"{bucket}/out/{name}"), FRAME.lazy())
    assert pl.read_parquet(f"{bucket}/out/a.parquet").equals(FRAME)
    assert pl.read_csv(f"{bucket}/out/a.csv")["text"][0] == "'=1+1"
    files.deliver(sink(f"{bucket}/parts", partition_by=["country"]), FRAME.lazy())
    assert pl.read_parquet(f"{bucket}/parts/**/*.parquet").sort("id")["country"].to_list() == ["fr", "d/e", None]


def test_what_cannot_be_written_is_said_before(tmp_path, bucket):
    for where, words in (
        (sink(tmp_path / "nowhere" / "a.csv"), "does not exist"),
        (sink(f"{bucket}/a.xlsx"), "a disk only"),
        (sink(tmp_path, partition_by=["country"]), None),
    ):
        if words is None:
            files.check(where)
            continue
        with pytest.raises(TableError, match=words):
            files.check(where)
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(TableError, match="is a directory"):
        files.check(sink(tmp_path / "a.csv"))


def test_a_bucket_that_is_not_there_is_one_line(bucket):
    with pytest.raises(TableError, match=r"^s3://nowhere/a.parquet cannot be reached or read: NoSuchBucket"):
        files.deliver(sink("s3://nowhere/a.parquet"), FRAME.lazy())
