"""Which rows are asked first, where a night may not suffice for all: those of which a job's ``priority`` is highest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from journeybatch.errors import TableError
from journeybatch.survey import Survey, changed

if TYPE_CHECKING:
    import polars as pl

CLASSES = 10
"""Each class of rows is one more pass over the table."""


def check_priority(priority: str, schema: Mapping[str, pl.DataType]) -> None:
    """Raises TableError where ``priority`` is no polars SQL expression over the table that gives a number."""
    import polars as pl

    try:
        expression = pl.sql_expr(priority)
        for name in expression.meta.root_names():
            if name not in schema:
                raise TableError(f"priority: no column is called {name!r} (columns: {', '.join(schema)})")
        dtype = pl.LazyFrame(schema=dict(schema)).select(expression.alias("priority")).collect_schema()["priority"]
    except pl.exceptions.PolarsError as error:
        raise TableError(f"priority: {priority!r} cannot be used: {str(error).partition(chr(10))[0]}") from None
    if not dtype.is_numeric() and dtype != pl.Boolean:
        raise TableError(f"priority: {priority!r} gives {dtype}, not a number or true and false; CSV columns are text")


def classes(priority: str, frames: Iterable[pl.DataFrame], wanted: pl.Series, surveyed: Survey) -> Iterator[pl.Series]:
    """The places among the keys of a ``surveyed`` table that ``wanted`` marks, in classes: the highest priority first,
    null last. More than ten different values are put into ten classes of as many rows.

    Raises:
        TableError: a cast fails.
        InputChanged: the rows are no longer as many.
    """
    import polars as pl

    expression = pl.sql_expr(priority).cast(pl.Float64).fill_nan(None).fill_null(-float("inf")).alias("priority")
    try:
        parts = [frame.select(expression).to_series() for frame in frames]
    except pl.exceptions.PolarsError as error:
        raise TableError(f"priority: {priority!r} fails: {str(error).partition(chr(10))[0]}") from None
    width = surveyed.width
    if (rows := sum(map(len, parts))) * width != len(wanted):
        raise changed(surveyed, min(rows, len(wanted) // width))
    values = pl.concat([pl.Series("priority", [], dtype=pl.Float64), *parts])
    if values.n_unique() <= CLASSES:
        rank = values.rank("dense", descending=True) - 1
    else:
        rank = (values.rank("ordinal", descending=True).cast(pl.Int64) - 1) * CLASSES // len(values)
    ranks = rank.gather(pl.int_range(len(wanted), eager=True) // width)
    for each in rank.unique().sort():
        if (part := wanted & (ranks == each)).any():
            yield part
