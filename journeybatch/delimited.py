"""CSV and TSV: a header and records, every column text.

``00123`` keeps its zeros, for nothing is guessed. A field that is empty and unquoted is null (missing); ``""`` is
an empty text. Quoted newlines, CRLF and a byte order mark are understood. polars would pad short records with
nulls and read a stray quote as it comes, so the shape of every record is checked first, and nothing is guessed there
either: a file that is not regular is one clear error that names the line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch.errors import TableError
from journeybatch.textfile import BLOCK, Chunk, chunks

if TYPE_CHECKING:
    import polars as pl

_QUOTED = re.compile(rb'(?:"[^"]*")+')
_LONE_CR = re.compile(rb"\r(?!\n)")
_SEPARATED = re.compile(rb'"[^"]*"|\n')


@dataclass(frozen=True, slots=True)
class Header:
    """Column names, and where the records begin."""

    names: tuple[str, ...]
    start: int
    line: int


def header(path: Path, separator: str) -> Header:
    """Read the first record. Raises TableError for an empty file and for names that are not distinct."""
    from polars import read_csv
    from polars.exceptions import PolarsError

    for chunk in chunks(path, _first_record, block=1 << 16):
        data = chunk.data
        blank = len(data) - len(data.lstrip(b"\r\n"))
        if blank == len(data):
            break
        _shape(chunk, separator)
        try:
            fields = read_csv(data[blank:], has_header=False, infer_schema=False, separator=separator).row(0)
        except PolarsError:
            raise chunk.error(blank, "the header cannot be read") from None
        names = tuple(field or "" for field in fields)
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise chunk.error(blank, f"the header has the column {twice[0]!r} twice; give each column its own name")
        return Header(names, chunk.end, chunk.line_at(len(data)))
    raise TableError(f"{path} is empty; a table needs at least a header")


def frames(path: Path, separator: str, block: int = BLOCK) -> Iterator[pl.DataFrame]:
    """The records in order, a few MiB at a time. Raises TableError naming the line of the first that is wrong."""
    import polars as pl

    head = header(path, separator)
    schema = dict.fromkeys(head.names, pl.String())
    end = partial(_end, keep_blank=len(head.names) == 1)
    for chunk in chunks(path, end, line=head.line, start=head.start, block=block):
        data = chunk.data if len(head.names) == 1 else chunk.data.rstrip(b"\r\n")
        if not data:
            continue  # blank lines at the end of the file
        rows = _check(chunk, head.names, separator, data)
        try:
            frame = pl.read_csv(data, has_header=False, schema=schema, separator=separator)
        except pl.exceptions.PolarsError as error:
            raise chunk.error(0, f"the records from here on cannot be read: {str(error).splitlines()[0]}") from None
        if frame.height != rows:
            raise chunk.error(0, f"{rows} records from here on were read as {frame.height}; is the quoting regular?")
        yield frame


def _first_record(data: bytes) -> int:
    blank = len(data) - len(data.lstrip(b"\r\n"))
    end = next((found.end() for found in _SEPARATED.finditer(data, blank) if found[0] == b"\n"), 0)
    return end if data.count(b'"', 0, end) % 2 == 0 else 0


def _end(data: bytes, keep_blank: bool) -> int:
    """The end of the last whole record. Blank lines after it wait: at the end of the file they mean nothing."""
    end = data.rfind(b"\n") + 1
    odd = data.count(b'"', 0, end) % 2
    while end and odd:  # this newline is quoted: go on before the quote that opens the field
        before = data.rfind(b"\n", 0, data.rfind(b'"', 0, end)) + 1
        odd ^= data.count(b'"', before, end) % 2
        end = before
    if keep_blank or not end:
        return end
    return data.find(b"\n", len(data[:end].rstrip(b"\r\n"))) + 1 if data[:end].strip(b"\r\n") else 0


def _shape(chunk: Chunk, separator: str) -> bytes:
    """Separators and newlines outside quotes, one newline at each record's end. Raises TableError for bad quoting."""
    sep = separator.encode()
    bare = _QUOTED.sub(b'"', chunk.data) if b'"' in chunk.data else chunk.data
    unclosed = bare.rfind(b'"') if chunk.data.count(b'"') % 2 else -1
    at = _stray(bare, sep)
    if unclosed >= 0 and not 0 <= at < unclosed - 1:
        raise _at(chunk, bare.count(b"\n", 0, unclosed), "a quote is opened and never closed")
    if at >= 0:
        raise _at(
            chunk,
            bare.count(b"\n", 0, at),
            "a quote inside a field, or text beside a quoted one; quote the whole field and write its quotes twice",
        )
    if lone := _LONE_CR.search(bare):
        raise _at(
            chunk,
            bare.count(b"\n", 0, lone.start()),
            "a carriage return without a newline; convert the line ends (old Mac files: tr '\\r' '\\n')",
        )
    kept = bytes(set(range(256)) - {sep[0], 10})
    shape = bare.translate(None, kept)
    return shape if bare.endswith(b"\n") else shape + b"\n"


def _stray(bare: bytes, separator: bytes) -> int:
    """Where a quote first has a neighbour that is neither separator nor line end: of the two, the one that stands
    first; −1 where none has. The pattern begins with the quote itself, which makes it twenty times as fast."""
    found = re.search(rb'"(?:(?<=[^%b\r\n]")|(?=[^%b\r\n]))' % (separator, separator), bare)
    if found is None:
        return -1
    before = bare[max(0, found.start() - 1) : found.start()]
    return found.start() - (before not in (b"", separator, b"\r", b"\n"))


def _check(chunk: Chunk, names: tuple[str, ...], separator: str, data: bytes) -> int:
    """The number of records, all of them of the header's shape."""
    shape = _shape(replace(chunk, data=data), separator)
    rows, record = shape.count(b"\n"), separator.encode() * (len(names) - 1)
    if shape != (record + b"\n") * rows:
        bad = next(i for i, found in enumerate(shape.split(b"\n")) if found != record)
        raise _at(chunk, bad, _ragged(chunk, bad, shape, names, separator))
    return rows


def _ragged(chunk: Chunk, record: int, shape: bytes, names: tuple[str, ...], separator: str) -> str:
    start = _start(chunk.data, record)
    expected = f"the header has {len(names)} ({', '.join(names[:8])}{', …' * (len(names) > 8)})"
    if chunk.data[start:].startswith((b"\n", b"\r\n")):
        return f"a blank line, where {expected}; remove it"
    found = len(shape.split(b"\n")[record]) + 1
    hint = "a field is missing" if found < len(names) else f"quote fields that contain {separator!r}"
    return f"{found} field{'s' * (found > 1)}, where {expected}; {hint}"


def _at(chunk: Chunk, record: int, message: str) -> TableError:
    return chunk.error(_start(chunk.data, record), message)


def _start(data: bytes, record: int) -> int:
    """The offset of the 0-based ``record``: newlines inside quotes do not count."""
    seen = 0
    for found in _SEPARATED.finditer(data):
        if seen == record:
            break
        if found[0] == b"\n":
            seen += 1
            if seen == record:
                return found.end()
    return 0
