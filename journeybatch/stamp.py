"""What a view was made of, noted beside it: one that would come out the same is not written again.

A note is two digests: of all that the view rests on, and of the file that came of it. It is written after the file. A
crash in between, a note that is gone, or a file that somebody changed only means that the view is written anew.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch import __version__
from journeybatch.replacement import replacement

if TYPE_CHECKING:
    import polars as pl

ROWS = 100_000
"""Rows of a table that become numbers at a time."""


def stamp(said: Mapping[str, object], tables: Iterable[pl.DataFrame]) -> str:
    """A digest of what is ``said`` and of every cell of the ``tables``, good for this version of journeybatch and of
    polars, whose hashes it is made of."""
    import polars as pl

    told = hashlib.sha256(repr((__version__, pl.__version__, sorted(said.items()))).encode())
    for table in tables:
        told.update(repr(table.schema).encode())
        for part in table.iter_slices(ROWS):
            told.update(hashed(part))
    return told.hexdigest()


def hashed(frame: pl.DataFrame) -> bytes:
    """Eight bytes a row: the same wherever and whenever the same version of polars sees the same cells."""
    return array("Q", frame.hash_rows(seed=0).to_list()).tobytes()


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
