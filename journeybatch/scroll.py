"""A long table in parts, of which only the latest are in memory: the others lie on a disk."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch.scratch import Scratch

if TYPE_CHECKING:
    import polars as pl


class Scroll:
    """Frames of one schema, one after the other. They are stored in ``directory`` (None: where the system has its
    temporary files); where the disk takes none they stay in memory. Reading raises DiskFull where the disk does not
    give one back."""

    def __init__(self, directory: Path | None = None) -> None:
        self._scratch = Scratch(directory)
        self._parts: list[pl.DataFrame | tuple[int, int]] = []
        self._starts = [0]
        self._last: tuple[int, pl.DataFrame] | None = None

    @property
    def height(self) -> int:
        """Rows in all."""
        return self._starts[-1]

    def append(self, frame: pl.DataFrame) -> None:
        """Add a part to the end; the one before it may then go to the disk."""
        if self._parts and not isinstance(before := self._parts[-1], tuple):
            self._parts[-1] = self._stored(before)
        self._parts.append(frame)
        self._starts.append(self.height + frame.height)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return map(self._part, range(len(self._parts)))

    def slice(self, start: int, rows: int) -> pl.DataFrame:
        """So many ``rows`` from number ``start`` on, or as many as there are. One part must have been added."""
        import polars as pl

        first = max(bisect_right(self._starts, start, hi=len(self._parts)) - 1, 0)
        last = max(bisect_left(self._starts, start + rows, hi=len(self._parts)) - 1, first)
        found = [self._part(number) for number in range(first, last + 1)]
        return pl.concat(found).slice(start - self._starts[first], rows)

    def whole(self) -> pl.DataFrame:
        """All of it, in memory. One part must have been added."""
        import polars as pl

        return pl.concat(list(self))

    def _stored(self, frame: pl.DataFrame) -> pl.DataFrame | tuple[int, int]:
        file = BytesIO()
        frame.write_ipc_stream(file, compression="lz4")  # half the bytes, for less time than it takes to write them
        try:
            return self._scratch.put(file.getbuffer())
        except OSError:
            return frame

    def _part(self, number: int) -> pl.DataFrame:
        import polars as pl

        part = self._parts[number]
        if not isinstance(part, tuple):
            return part
        if self._last is None or self._last[0] != number:
            self._last = number, pl.read_ipc_stream(BytesIO(self._scratch.get(part)))
        return self._last[1]
