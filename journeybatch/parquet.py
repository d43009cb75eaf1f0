"""Parquet out: streamed, read back before anyone else can see it, and the same bytes for the same frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch.errors import TableError
from journeybatch.replacement import replacement

if TYPE_CHECKING:
    import polars as pl

ROW_GROUP = 4_096
"""Rows. Few, since a row may be a long text and a whole group is in memory; fixed, for the bytes' sake."""


def write_parquet(
    path: Path,
    frames: Iterator[pl.DataFrame],
    schema: Mapping[str, pl.DataType],
    metadata: Mapping[str, str],
    check: Callable[[pl.LazyFrame], None],
) -> None:
    """Write frames of ``schema`` to ``path``, whole or not at all, mode 0600. Memory does not grow with the rows.

    What was written is read back: names and number of rows here, the rest by ``check``, which raises if it is not
    content. Whatever is raised, by ``frames`` or ``check`` too, leaves the last good file untouched. Raises
    TableError for frames that are not of ``schema``, OSError.
    """
    import polars as pl
    from polars.io.plugins import register_io_source

    rows, expected = 0, pl.Schema(schema)

    def produce(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        """A sink asks for everything: no columns, predicate or limit to heed."""
        nonlocal rows
        for frame in frames:
            if frame.schema != expected:  # polars panics where a type changes on the way
                raise TableError(f"{path}: rows of {frame.schema} do not fit {expected}")
            rows += frame.height
            yield frame

    with replacement(path) as temporary:
        try:
            with temporary.open("wb") as file:  # by its name, polars might open it when it is gone again
                register_io_source(produce, schema=expected).sink_parquet(
                    file,
                    compression="zstd",
                    compression_level=1,  # the default takes half as long again, for two hundredths of the bytes
                    row_group_size=ROW_GROUP,
                    maintain_order=True,
                    metadata=dict(sorted(metadata.items())),
                )
            written = pl.scan_parquet(temporary, glob=False)
            found = (written.collect_schema().names(), written.select(pl.len()).collect().item())
        except pl.exceptions.PolarsError as error:
            raise TableError(f"{path} cannot be written: {str(error).partition(chr(10))[0]}") from error
        if found != (expected.names(), rows):
            raise TableError(f"{path}: what was written reads back differently; the last good file stays")
        check(written)
