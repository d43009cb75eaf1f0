"""Which rows a page holds: so many and no more. Those without an answer come first, and others evenly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeybatch.report.evidence import Evidence
from journeybatch.report.words import number

if TYPE_CHECKING:
    import polars as pl

ROWS = 10_000
"""Rows in a page, unless somebody asks for another number."""
LETTERS = 48_000_000
"""Characters of input and replies in a page; about 10 MB of HTML."""


def chosen(evidence: Evidence, most: int = ROWS, striking: pl.Series | None = None) -> tuple[list[int], str]:
    """The rows that a page holds, and a sentence about which they are where they are not all: first of all those
    without an answer, and the ``striking`` ones."""
    import polars as pl

    lacking = (pl.col("status") != "answered").any()
    frame = evidence.rows.group_by("row", maintain_order=True).agg(open=lacking)
    if striking is not None:
        frame = frame.with_columns(pl.col("open") | pl.col("row").is_in(striking.to_list()))
    names = [name for name, kind in evidence.scan().collect_schema().items() if kind == pl.String]
    size = pl.sum_horizontal(pl.col(names).str.len_chars().fill_null(0).clip(0, 20_000)).sum()
    letters = int(evidence.scan().select(size).collect(engine="streaming").item()) if names else 0
    fit = min(most, int(frame.height * LETTERS / letters) if letters > LETTERS else most)
    if frame.height <= fit:
        return frame["row"].to_list(), ""
    waiting, others = frame.filter("open")["row"], frame.filter(~pl.col("open"))["row"]
    first = _evenly(waiting, min(len(waiting), fit // 2 if len(others) > fit // 2 else fit - len(others)))
    rest = _evenly(others, fit - len(first))
    all_of = "all" if len(first) == len(waiting) else f"{number(len(first))} of the {number(len(waiting))}"
    note = (
        f"This page holds {number(len(first) + len(rest))} of {number(frame.height)} rows: {all_of} "
        f"{'without an answer' if striking is None else 'where variants disagree, failed or changed'}, "
        f"and {number(len(rest))} others at even distances. `journeybatch show DIR ROW` shows any."
    )
    return sorted([*first, *rest]), note


def _evenly(rows: pl.Series, wanted: int) -> list[int]:
    return [rows[place * len(rows) // wanted] for place in range(wanted)] if wanted else []
