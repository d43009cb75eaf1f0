"""JSON lines: one object per line; its keys are the columns.

Types are found in the whole file before a row is handed out, so that nothing fails in row 900,000: text stays text,
numbers are Int64 or Float64, lists and objects are lists and structs. A column whose values do not agree is text,
each value as JSON. A key that is absent is null. Half a surrogate pair, which no UTF-8 text can carry, becomes
U+FFFD.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journeybatch.errors import TableError
from journeybatch.textfile import Chunk, chunks

if TYPE_CHECKING:
    import polars as pl
    from polars._typing import PolarsDataType

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.")


def schema(path: Path) -> dict[str, pl.DataType]:
    """Columns in order of appearance, with types that hold for the whole file. Reads it once."""
    stat = path.stat()
    found = _schema(path, (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    if not found:
        raise TableError(f"{path} has no rows with a key, and so no columns; one JSON object per line is expected")
    return dict(found)


def frames(path: Path, columns: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """The rows in order, a few MiB at a time. Raises TableError naming the line that is no JSON object."""
    for chunk in chunks(path, _end):
        data = _whole_characters(chunk.data)
        if data.strip():
            yield _read(chunk, data, columns)


def _end(data: bytes) -> int:
    return data.rfind(b"\n") + 1


@lru_cache(maxsize=8)
def _schema(path: Path, version: tuple[int, ...]) -> dict[str, pl.DataType]:
    found: dict[str, pl.DataType] = {}
    for chunk in chunks(path, _end):
        data = _whole_characters(chunk.data)
        for name, dtype in _chunk_schema(chunk, data).items() if data.strip() else ():
            found[name] = merged(found[name], dtype) if name in found else dtype
    return {name: settled(dtype) for name, dtype in found.items()}


def _chunk_schema(chunk: Chunk, data: bytes) -> dict[str, pl.DataType]:
    """polars guesses fast, but gives up on some mixtures and guesses a number where there are booleans too."""
    import polars as pl

    try:
        guess: dict[str, pl.DataType] = dict(pl.scan_ndjson(data, infer_schema_length=None).collect_schema())
    except pl.exceptions.PolarsError:
        return _slow_schema(chunk, data)
    return guess if not guess or _readable(data, guess) else _slow_schema(chunk, data)


def _slow_schema(chunk: Chunk, data: bytes) -> dict[str, pl.DataType]:
    found: dict[str, pl.DataType] = {}
    for number, line in enumerate(data.split(b"\n")):
        if line.strip():
            for name, value in _object(chunk, number, line).items():
                dtype = _type_of(value)
                found[name] = merged(found[name], dtype) if name in found else dtype
    return found


def _type_of(value: Any) -> pl.DataType:
    import polars as pl

    if isinstance(value, dict):
        return pl.Struct({name: _type_of(field) for name, field in value.items()})
    if isinstance(value, list):
        return pl.List(reduce(merged, [pl.Null(), *map(_type_of, value)]))
    if isinstance(value, int) and not isinstance(value, bool):
        return pl.Int64() if -(2**63) <= value < 2**63 else pl.Int128()
    return {str: pl.String, bool: pl.Boolean, float: pl.Float64}.get(type(value), pl.Null)()


def merged(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    """A type that can hold both; text if there is no better."""
    import polars as pl

    if one == other or isinstance(other, pl.Null):
        return one
    if isinstance(one, pl.Null):
        return other
    if {type(one), type(other)} <= {pl.Int64, pl.Float64}:
        return pl.Float64()
    if {type(one), type(other)} == {pl.Int64, pl.Int128}:
        return pl.Int128()
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        return pl.List(merged(_dtype(one.inner), _dtype(other.inner)))
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        fields = {field.name: _dtype(field.dtype) for field in one.fields}
        for field in other.fields:
            dtype = _dtype(field.dtype)
            fields[field.name] = merged(fields[field.name], dtype) if field.name in fields else dtype
        return pl.Struct(fields)
    return pl.String()


def settled(dtype: pl.DataType) -> pl.DataType:
    """The final type: text where nothing is known, and for integers that other programs cannot read."""
    import polars as pl

    if isinstance(dtype, pl.List):
        return pl.List(settled(_dtype(dtype.inner)))
    if isinstance(dtype, pl.Struct) and dtype.fields:
        return pl.Struct({field.name: settled(_dtype(field.dtype)) for field in dtype.fields})
    if isinstance(dtype, pl.Null | pl.Int128 | pl.Struct):
        return pl.String()
    return dtype


def _dtype(dtype: PolarsDataType) -> pl.DataType:
    """A nested type as an instance; polars allows the class in its place."""
    return dtype() if isinstance(dtype, type) else dtype


def _whole_characters(data: bytes) -> bytes:
    """Half surrogates as U+FFFD: polars would read them as NUL."""
    if not _SURROGATE.search(data):
        return data
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], data)


def _read(chunk: Chunk, data: bytes, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_ndjson(data, schema=columns)
    except pl.exceptions.PolarsError as error:
        raise _bad_line(chunk, data, columns, str(error).splitlines()[0]) from None


def _readable(data: bytes, columns: dict[str, pl.DataType]) -> bool:
    import polars as pl

    try:
        pl.read_ndjson(data, schema=columns)
    except pl.exceptions.PolarsError:
        return False
    return True


def _bad_line(chunk: Chunk, data: bytes, columns: dict[str, pl.DataType], reason: str) -> TableError:
    """Find the first line that polars cannot read by halving."""
    lines = data.split(b"\n")
    good, bad = 0, len(lines)  # lines[:good] can be read, lines[:bad] cannot
    while bad - good > 1:
        middle = (good + bad) // 2
        part = b"\n".join(lines[:middle])
        if not part.strip() or _readable(part, columns):
            good = middle
        else:
            bad = middle
    try:
        _object(chunk, good, lines[good])
    except TableError as error:
        return error
    return _wrong(chunk, good, reason)


def _object(chunk: Chunk, number: int, line: bytes) -> dict[str, Any]:
    """The object on a line. Raises TableError, naming the line, for anything else."""
    try:
        value = json.loads(line, parse_constant=_no_constant)
    except ValueError as error:
        raise _wrong(chunk, number, f"not JSON ({error})") from None
    except RecursionError:
        raise _wrong(chunk, number, "nested too deeply") from None
    if not isinstance(value, dict):
        raise _wrong(chunk, number, f"a JSON {type(value).__name__}, not an object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _wrong(chunk: Chunk, number: int, reason: str) -> TableError:
    return TableError(f"{chunk.path}, line {chunk.line + number}: {reason}; one JSON object per line is expected")
