"""A text file in chunks that end where a record ends, with line numbers for whoever has to name one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from journeybatch.errors import TableError

BLOCK = 2 * 1024 * 1024
RECORD = 64 * 1024 * 1024
"""Bytes one record may have; more is taken for a quote that is never closed."""

_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"\xff\xfe": "is UTF-16; save it as UTF-8, for example with: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8, for example with: iconv -f UTF-16 -t UTF-8",
    b"\x1f\x8b": "is compressed with gzip; unpack it first: gunzip -k",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it first: unzstd",
    b"PK\x03\x04": "is a ZIP archive or a spreadsheet; unpack it, or save the sheet as CSV",
    b"PAR1": "is a Parquet file; name it .parquet or set `format: parquet`",
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole records of a file; ``line`` is the 1-based physical line of its first byte, ``end`` where it ends in it."""

    path: Path
    data: bytes
    line: int
    end: int

    def line_at(self, offset: int) -> int:
        """The physical line of the byte at ``offset``."""
        return self.line + self.data.count(b"\n", 0, offset)

    def error(self, offset: int, message: str) -> TableError:
        """An error that names the line of the byte at ``offset``."""
        return TableError(f"{self.path}, line {self.line_at(offset)}: {message}")


def chunks(
    path: Path, end: Callable[[bytes], int], *, line: int = 1, start: int = 0, block: int = BLOCK
) -> Iterator[Chunk]:
    """The file from byte ``start`` (on ``line``) on. ``end(data)`` says after how many bytes a record ends, 0 for
    nowhere yet; the last chunk is what remains. A byte order mark is skipped.

    Raises TableError for what is not UTF-8 text, naming the line.
    """
    rest = b""
    with path.open("rb") as file:
        start = max(start, _begin(file.read(4), path))
        file.seek(start)
        while data := file.read(block):
            rest += data
            size = end(rest)
            if not size:
                if len(rest) > RECORD:
                    what = f"no end of this record within {RECORD:,} bytes; is a quote never closed?"
                    raise TableError(f"{path}, line {line}: {what}")
                block = min(2 * block, BLOCK)
                continue
            start += size
            chunk = _checked(Chunk(path, rest[:size], line, start))
            yield chunk
            line, rest = chunk.line_at(size), rest[size:]
    if rest:
        yield _checked(Chunk(path, rest, line, start + len(rest)))


def _begin(first: bytes, path: Path) -> int:
    for magic, what in _FOREIGN.items():
        if first.startswith(magic):
            raise TableError(f"{path} {what}")
    return len(_BOM) if first.startswith(_BOM) else 0


def _checked(chunk: Chunk) -> Chunk:
    try:
        chunk.data.decode()
    except UnicodeDecodeError as error:
        byte = chunk.data[error.start]
        raise chunk.error(
            error.start,
            f"not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8, for example with: iconv -f WINDOWS-1252 -t UTF-8",
        ) from None
    if (nul := chunk.data.find(b"\0")) >= 0:
        raise chunk.error(nul, "a NUL byte; is this a text file, and saved as UTF-8?")
    return chunk
