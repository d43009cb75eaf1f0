"""Parquet out: whole or not at all, checked before it is seen, the same bytes for the same frames."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import polars as pl
import pyarrow.parquet
import pytest

from journeybatch.errors import TableError
from journeybatch.parquet import write_parquet

SCHEMA = {"n": pl.Int64(), "text": pl.String(), "credits": pl.Decimal(18, 6), "keys": pl.List(pl.String())}
ROWS = 30_000


def frame(start: int, stop: int) -> pl.DataFrame:
    numbers = range(start, stop)
    cells = {
        "n": numbers,
        "text": [f"text {n}" if n % 3 else None for n in numbers],
        "credits": pl.Series(numbers, dtype=pl.Decimal(18, 6)),
        "keys": [[str(n)] for n in numbers],
    }
    return pl.DataFrame(cells, schema=SCHEMA)


def frames(size: int):
    for start in range(0, ROWS, size):
        yield frame(start, min(start + size, ROWS))


def write(path: Path, parts, check=lambda _: None, schema=SCHEMA) -> bytes:
    write_parquet(path, iter(parts), schema, {"journeybatch.job": "j", "journeybatch.emulated": "true"}, check)
    return path.read_bytes()


def test_rows_types_order_and_metadata_read_back(tmp_path):
    path = tmp_path / "results.parquet"
    write(path, frames(1_000))
    assert pl.read_parquet(path).equals(frame(0, ROWS))
    metadata = pyarrow.parquet.read_metadata(path)
    assert metadata.metadata[b"journeybatch.emulated"] == b"true"
    assert {metadata.row_group(0).column(i).compression for i in range(3)} == {"ZSTD"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["results.parquet"]


def test_the_same_rows_give_the_same_bytes_however_they_are_framed(tmp_path):
    sizes = [1_000, 1_000, 7_777, ROWS]
    assert len({write(tmp_path / f"{i}.parquet", frames(size)) for i, size in enumerate(sizes)}) == 1


def test_no_frames_make_a_table_of_no_rows(tmp_path):
    write(tmp_path / "t.parquet", [])
    assert pl.read_parquet(tmp_path / "t.parquet").equals(frame(0, 0))


def test_the_check_sees_what_was_written_before_anyone_else(tmp_path):
    seen = []

    def check(written: pl.LazyFrame) -> None:
        seen.append(written.select(pl.col("n").sum()).collect().item())
        assert not (tmp_path / "t.parquet").exists()

    write(tmp_path / "t.parquet", frames(10_000), check)
    assert seen == [ROWS * (ROWS - 1) // 2]


def boom():
    yield frame(0, 20_000)
    raise KeyError("boom")


def refuse(_: pl.LazyFrame) -> None:
    raise TableError("not what I asked for")


@pytest.mark.parametrize(
    ("parts", "check", "error"),
    [
        (boom(), lambda _: None, KeyError),
        ([frame(0, 5)], refuse, TableError),
        ([frame(0, 5).drop("text")], lambda _: None, TableError),
        ([frame(0, 5), frame(0, 5).with_columns(n=pl.lit("x"))], lambda _: None, TableError),
    ],
)
def test_whatever_goes_wrong_leaves_the_last_good_file_byte_for_byte(tmp_path, parts, check, error):
    path = tmp_path / "t.parquet"
    good = write(path, [frame(0, 10)])
    with pytest.raises(error):
        write(path, parts, check)
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


def test_many_rows_of_long_text_do_not_gather_in_memory(tmp_path):
    """Frames are made on demand: the writer must not ask for all of them before it writes."""
    text = "".join(random.Random(1).choices("abcdefgh ", k=20_000))
    path, ahead = tmp_path / ".t.parquet.tmp", []

    def long():
        for n in range(60):
            ahead.append(path.stat().st_size)
            yield pl.DataFrame({"t": [f"{n}.{i} {text}" for i in range(1_000)]})

    write(tmp_path / "t.parquet", long(), schema={"t": pl.String()})
    assert ahead[0] == 0
    assert ahead[-1] > 0  # 1.2 GB in all: some of it stood in the file long before the last frame was asked for
    assert sum(size > 0 for size in ahead) > 20
