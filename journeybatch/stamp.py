"""What a view was made of, noted beside it: one that would come out the same is not written again.

A note is two digests: of all that the view rests on, and of the file that came of it. It is written after the file. A
crash in between, a note that is gone, or a file that somebody changed only means that the view is written anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from journeybatch import __version__
from journeybatch.replacement import replacement

if TYPE_CHECKING:
    import polars as pl

_ROWS = 1_000
"""Rows that become Python's values at a time: a copy of a block of long texts is not held."""


def stamp(said: Mapping[str, object], tables: Iterable[pl.DataFrame]) -> str:
    """A digest of what is ``said`` and of every cell of the ``tables``, good for this version of journeybatch and of
    polars, which write what it stands for."""
    import polars as pl

    told = hashlib.sha256(repr((__version__, pl.__version__, sorted(said.items()))).encode())
    for table in tables:
        told.update(fingerprint(table))
    return told.hexdigest()


def fingerprint(frame: pl.DataFrame) -> bytes:
    """Sixteen bytes that say which cells these are, in which order, of which types and under which names: the same
    wherever and whenever. Every cell goes in whole, for whoever wrote a table may have wished that an edit is not seen,
    and to polars' own hashes one can find cells that have the same one. SHA-256, since processors have it built in."""
    told = hashlib.sha256(repr(list(frame.schema.items())).encode("utf-8", "surrogatepass"))
    for part in frame.iter_slices(_ROWS):
        for column in part:
            told.update(_told(column))
    return told.digest()[:16]


def _told(column: pl.Series) -> bytes:
    """All cells of a column, so that no other cells of its type read the same."""
    import polars as pl

    if column.dtype == pl.String:
        column = column.cast(pl.Binary)  # spares the decoding
    elif column.dtype.is_temporal():
        column = column.to_physical()  # Python's own times have no nanoseconds
    cells = column.to_list()
    if column.dtype.is_nested():
        cells += column.to_frame().hash_rows(seed=0).to_list()  # knows of nanoseconds inside
    try:
        return msgspec.msgpack.encode(cells)
    except (TypeError, OverflowError):  # whole numbers of 128 bits
        return repr(cells).encode("utf-8", "surrogatepass")


def stands(path: Path, made_of: str) -> bool:
    """Whether the file at ``path`` is, byte for byte, what was once made of just this."""
    try:
        return _note_of(path).read_text("ascii") == f"{made_of} {_digest(path)}\n"
    except (OSError, ValueError):
        return False


def note(path: Path, made_of: str) -> None:
    """Note what the file at ``path``, just written, is made of. Raises OSError."""
    with replacement(_note_of(path)) as temporary:
        temporary.write_text(f"{made_of} {_digest(path)}\n", "ascii")


def _note_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.made-of")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
