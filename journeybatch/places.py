"""Where in a journal's file which attempt's reply stands."""

from __future__ import annotations

from array import array
from bisect import bisect_left

from journeybatch.attempts import Attempts


class Places:
    """Of all ``attempts``, 16 bytes for each, once somebody asks. What is placed later stands further on, as a rule.
    Replies that are yet to be written are said to stand at 0; the one that really does came before them."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._asked = False
        self._offsets, self._indices = array("q"), array("q")

    def place(self, offset: int, index: int) -> None:
        """The reply to attempt ``index`` stands at ``offset``, in bytes."""
        if not self._asked or not offset:
            return
        at = bisect_left(self._offsets, offset)
        if at < len(self._offsets) and self._offsets[at] == offset:
            self._indices[at] = index
        else:
            self._offsets.insert(at, offset)
            self._indices.insert(at, index)

    def attempt_at(self, offset: int) -> int | None:
        """The index of the attempt whose reply stands at ``offset``; None where none does."""
        if not self._asked:
            self._look()
        at = bisect_left(self._offsets, offset)
        there = at < len(self._offsets) and self._offsets[at] == offset
        return self._indices[at] if there else None

    def _look(self) -> None:
        import polars as pl

        self._asked = True
        parts = [part.filter(pl.col("offset") >= 0) for part in self._attempts.tables(columns=("offset",))]
        if parts:
            sorted_by_place = pl.concat(parts).sort("offset", "index")
            self._offsets.extend(sorted_by_place["offset"])
            self._indices.extend(sorted_by_place["index"])
