"""Labels: what a target's column says of the rows where it says something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import polars as pl


class Labels(msgspec.Struct, frozen=True):
    """What ``column`` says: the ``rows`` that it labels, as a table of ``row`` (Int64, among the table's rows) and
    ``label`` (String), and a digest of which prompts have which labels, wherever they stand."""

    column: str
    rows: pl.DataFrame
    digest: bytes


def noting(frames: Iterable[pl.DataFrame], target: str, found: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same ``frames``, whose labels of ``target`` go to ``found`` as they go by."""
    row = 0
    for frame in frames:
        found.append(labels_of(frame[target], row))
        row += frame.height
        yield frame


def labels_of(column: pl.Series, row: int) -> pl.DataFrame:
    """The ``rows`` of ``Labels`` that some cells say, the first of which is that of ``row``."""
    import polars as pl

    found = pl.DataFrame({"label": column.cast(pl.String)}).with_row_index("row", offset=row)
    return found.select(pl.col("row").cast(pl.Int64), "label").filter(pl.col("label").str.strip_chars() != "")


def labelled(column: str, rows: pl.DataFrame, keys: pl.Series) -> Labels:
    """The labels of all ``rows``, which have these ``keys``."""
    named = rows.with_columns(key=keys.gather(rows["row"])).drop_nulls().sort("key", "label")
    told = blake2b(digest_size=16)
    for key, label in named.select("key", "label").iter_rows():
        told.update(key + label.encode() + b"\0")
    return Labels(column, rows, told.digest())
