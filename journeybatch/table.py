"""Tables in: CSV, TSV, JSON lines, Parquet, Arrow IPC, globs and polars frames, as batches and never whole.

Every format becomes one polars LazyFrame, so that columns, conditions and limits mean the same for all of them.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch import delimited, jsonlines
from journeybatch.errors import TableError
from journeybatch.location import located, table_format

if TYPE_CHECKING:
    import polars as pl

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What reading cannot meet: the disk takes no copy."""
_PIECE = 8 * 2**20
"""Bytes of a file that are digested in one go; four of them are in memory together."""
_SEPARATORS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True)
class Source:
    """What a job's ``input`` says, resolved.

    ``path`` is a file or a glob; ``columns`` are the ones to keep, in that order; ``where`` is a polars SQL condition
    over all columns; ``format`` overrides the file's extension; ``frame`` is a polars DataFrame or LazyFrame instead
    of a path.
    """

    path: str | None = None
    columns: tuple[str, ...] | None = None
    where: str | None = None
    format: str | None = None
    frame: object | None = None


def columns(source: Source) -> tuple[str, ...]:
    """The table's column names. Raises TableError. Reads no more than the format needs to know them."""
    return tuple(schema(source))


def schema(source: Source) -> dict[str, pl.DataType]:
    """Column names and types, in order. Raises TableError."""
    with explained(source):
        return dict(_chosen(source).collect_schema())


MOST_ROWS = 2**32 - 1
"""Rows that can be counted: polars' numbers of rows have 32 bits."""


def batches(source: Source, *, limit: int | None = None, rows: int = 10_000, start: int = 0) -> Iterator[pl.DataFrame]:
    """The rows in input order from number ``start`` on, at most ``rows`` at a time; ``limit`` cuts the table off before
    any is left out (and ``where`` before that).

    Memory does not grow with the table. Raises TableError, naming the line where a text file is wrong.
    """
    with explained(source):
        frame = _chosen(source)
        if limit is not None:
            frame = frame.head(limit)
        if start:
            frame = frame.slice(start)
        found = iter(frame.collect_batches(chunk_size=rows, maintain_order=True))
    while True:
        with explained(source):
            batch = next(found, None)
        if batch is None:
            return
        yield from (part for part in batch.iter_slices(rows) if part.height)


def contents(source: Source, limit: int | None = None) -> bytes | None:
    """A digest (32 bytes) of all that the rows are made of: the files, byte for byte, and what is wanted of them. None
    where there are no files, or they cannot be read, which reading their rows will tell.

    SHA-256, for it has to notice an edit that was made in order not to be noticed. A condition counts as polars reads
    it, with the time where it asks for that: a table of what is due by now is another one in every moment.
    """
    import polars as pl

    if source.frame is not None:
        return None
    try:
        files = located(source.path or "")
        condition = source.where and pl.sql_expr(source.where).meta.serialize()
        wanted = source.columns, condition, limit, table_format(files[0], source.format)
        told = hashlib.sha256(repr(wanted).encode("utf-8", "surrogatepass"))
        for file in files:
            told.update(_digest(file))
    except (TableError, OSError, RuntimeError, pl.exceptions.PolarsError):  # or there is no thread to be had
        return None
    return told.digest()


def _digest(file: Path) -> bytes:
    """A digest of a file in pieces, as many of which are read together as there are processors, up to four."""
    with file.open("rb") as opened, ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        fd, size = opened.fileno(), os.fstat(opened.fileno()).st_size
        told = hashlib.sha256(b"%d" % size)
        try:
            for piece in pool.map(lambda at: hashlib.sha256(os.pread(fd, _PIECE, at)).digest(), range(0, size, _PIECE)):
                told.update(piece)
        finally:
            pool.shutdown(cancel_futures=True)  # a Ctrl-C does not wait for the rest
    return told.digest()


def _chosen(source: Source) -> pl.LazyFrame:
    frame = whole(source)
    names = frame.collect_schema().names()
    if source.where is not None:
        frame = frame.filter(_condition(source, frame, names))
    if source.columns is not None:
        for name in source.columns:
            if name not in names:
                raise TableError(f"{_name(source)}: no column is called {name!r}{_nearest(name, names)}")
        frame = frame.select(source.columns)
    return frame


def _condition(source: Source, frame: pl.LazyFrame, names: Sequence[str]) -> pl.Expr:
    import polars as pl

    try:
        condition = pl.sql_expr(source.where or "")
    except pl.exceptions.PolarsError as error:
        raise TableError(f"where: {source.where!r} is no condition ({_first_line(error)})") from None
    for name in condition.meta.root_names():
        if name not in names:
            raise TableError(f"where: no column is called {name!r}{_nearest(name, names)}")
    try:
        dtype = frame.select(condition.alias("where")).collect_schema()["where"]
    except pl.exceptions.PolarsError as error:
        raise TableError(f"where: {source.where!r} cannot be used here ({_first_line(error)})") from None
    if dtype != pl.Boolean:
        raise TableError(f"where: {source.where!r} is no condition; it gives {dtype}, not true or false")
    return condition


def whole(source: Source) -> pl.LazyFrame:
    """All rows and columns, whatever the source wants of them. Raises TableError, PolarsError, OSError."""
    import polars as pl

    if source.frame is not None:
        if not isinstance(source.frame, pl.DataFrame | pl.LazyFrame):
            what = f"{type(source.frame).__module__}.{type(source.frame).__name__}"
            raise TableError(f"the input is a {what}; hand in a polars DataFrame or LazyFrame, or a path")
        return source.frame.lazy()
    files = located(source.path or "")
    format_ = table_format(files[0], source.format)
    if format_ == "jsonl":
        return _json_lines(files)
    if format_ in _SEPARATORS:
        return _delimited(files, _SEPARATORS[format_])
    scan: Callable[[Path], pl.LazyFrame] = _parquet if format_ == "parquet" else _ipc
    frames = [scan(file) for file in files]
    schemas = [dict(_opened(file, frame)) for file, frame in zip(files, frames, strict=True)]
    _same(files, [tuple(found) for found in schemas])
    for file, found in zip(files, schemas, strict=True):
        for name, dtype in schemas[0].items():
            if found[name] != dtype:
                raise TableError(f"{file}: column {name!r} is {found[name]}, but {dtype} in {files[0]}")
    return pl.concat([frame.select(list(schemas[0])) for frame in frames])


def _parquet(file: Path) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_parquet(file, glob=False, hive_partitioning=False)


def _ipc(file: Path) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_ipc(file, glob=False, hive_partitioning=False)


def _opened(file: Path, frame: pl.LazyFrame) -> pl.Schema:
    from polars.exceptions import PolarsError

    try:
        return frame.collect_schema()
    except (PolarsError, OSError) as error:
        raise TableError(f"{file} cannot be read ({_first_line(error)}); is it whole?") from None


def _delimited(files: list[Path], separator: str) -> pl.LazyFrame:
    import polars as pl

    names = [delimited.header(file, separator).names for file in files]
    _same(files, names)

    def frames() -> Iterator[pl.DataFrame]:
        for file in files:
            yield from (frame.select(names[0]) for frame in delimited.frames(file, separator))

    return streamed(frames, dict.fromkeys(names[0], pl.String()))


def _json_lines(files: list[Path]) -> pl.LazyFrame:
    """Keys may be missing from a whole file as from any line."""
    found: dict[str, pl.DataType] = {}
    for file in files:
        for name, dtype in jsonlines.schema(file).items():
            found[name] = jsonlines.merged(found[name], dtype) if name in found else dtype

    def frames() -> Iterator[pl.DataFrame]:
        for file in files:
            yield from jsonlines.frames(file, found)

    return streamed(frames, found)


def streamed(frames: Callable[[], Iterator[pl.DataFrame]], schema: dict[str, pl.DataType]) -> pl.LazyFrame:
    """What ``frames`` yields, as one LazyFrame of ``schema``."""
    from polars.io.plugins import register_io_source

    def produce(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        for whole in frames():
            frame = whole if left is None else whole.head(left)
            left = None if left is None else left - frame.height
            if predicate is not None:
                frame = frame.filter(predicate)
            yield frame if with_columns is None else frame.select(with_columns)
            if left == 0:
                return

    return register_io_source(produce, schema=schema)


def _same(files: list[Path], names: list[tuple[str, ...]]) -> None:
    for file, found in zip(files, names, strict=True):
        if set(found) != set(names[0]):
            raise TableError(
                f"{file} has the columns {', '.join(found)}, but {files[0]} has {', '.join(names[0])}; "
                "files that are read together need the same columns"
            )


@contextmanager
def explained(source: Source) -> Iterator[None]:
    """What polars or the system says of reading, as one TableError. A disk that takes no copy stays an OSError."""
    from polars.exceptions import PolarsError

    try:
        yield
    except PolarsError as error:
        message = f"{_name(source)} cannot be read: {_first_line(error)}"
        if source.where:
            message += f" (where: {source.where}"
            message += "; try_cast gives null where a cast fails)" if "conversion" in str(error) else ")"
        raise TableError(message) from None
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise TableError(f"{_name(source)} cannot be read: {error.strerror or error}") from None


def _name(source: Source) -> str:
    return source.path if source.path is not None else "the input frame"


def _nearest(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (columns: {', '.join(names)})"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
