"""Files and folders: CSV, JSON lines, Excel, Parquet, on a disk or in an object store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch.errors import TableError
from journeybatch.export import export_frame
from journeybatch.intake import reached
from journeybatch.outlets import Sink
from journeybatch.shapes import is_url

if TYPE_CHECKING:
    import polars as pl

PROBE = ".journeybatch-check"


def check(sink: Sink) -> None:
    """Raises TableError where a file cannot be written as things stand. Whether a bucket can be written is found out
    by writing: a line into an object that every check writes anew, and that no reader of tables takes for one."""
    import polars as pl

    path = sink.path or ""
    if is_url(path):
        if sink.ending == ".xlsx":
            raise TableError(f"{path}: Excel files are written to a disk only; choose .csv or .parquet")
        with reached(path):
            pl.LazyFrame({"journeybatch": ["may write here"]}).sink_ndjson(f"{path.rpartition('/')[0]}/{PROBE}")
        return
    if not Path(path).parent.is_dir():
        raise TableError(f"{path}: the directory {Path(path).parent} does not exist")
    if Path(path).is_dir() != (sink.partition_by is not None) and Path(path).exists():
        raise TableError(f"{path} is {'no' if sink.partition_by else 'a'} directory")


def deliver(sink: Sink, frame: pl.LazyFrame) -> None:
    """Write ``frame`` anew; on a disk whole or not at all. Raises TableError, OSError."""
    path = sink.path or ""
    with reached(path, disk=False):
        if sink.partition_by is not None:
            _partitioned(path, sink.partition_by, frame)
        else:
            export_frame(frame, path if is_url(path) else Path(path))


def _partitioned(path: str, by: tuple[str, ...], frame: pl.LazyFrame) -> None:
    """Parquet files in Hive folders. On a disk the new folder takes the old one's place; in a bucket files of the same
    name are replaced."""
    import polars as pl

    if is_url(path):
        frame.sink_parquet(pl.PartitionBy(path, key=list(by)))
        return
    to = Path(path)
    fresh, old = to.with_name(f".{to.name}.tmp"), to.with_name(f".{to.name}.old")
    for each in (fresh, old):
        shutil.rmtree(each, ignore_errors=True)
    try:
        frame.sink_parquet(pl.PartitionBy(fresh, key=list(by)), mkdir=True)
        fresh.mkdir(exist_ok=True)  # no rows, no folders
        if to.exists():
            to.rename(old)
        fresh.rename(to)
    finally:
        for each in (fresh, old):
            shutil.rmtree(each, ignore_errors=True)
