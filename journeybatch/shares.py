"""Each row's share of what its key has come to: rows with the same key share one answer, and its charge.

A prompt's sum is split in micro-credits, equally among its rows, by largest remainder in order, so that no sum ever
differs from the charge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from journeybatch.attempts import TOGETHER
from journeybatch.page import marks, numbered
from journeybatch.tally import twice

if TYPE_CHECKING:
    import polars as pl


class Sharing(msgspec.Struct, frozen=True):
    """Of each row, its key and ``at`` which row of a tally that stands, if it does; and of rows whose key others have
    too, how many of these stand before it (``rank``) and how many there are in all (``sharers``), by ``row``. Null keys
    are nobody's."""

    keys: pl.Series
    at: pl.Series
    again: pl.DataFrame

    def part(self, start: int, rows: int) -> pl.DataFrame:
        """``key``, ``at``, ``rank`` and ``sharers`` of so many rows from number ``start`` on."""
        import polars as pl

        part = pl.DataFrame({"key": self.keys.slice(start, rows), "at": self.at.slice(start, rows)})
        part = part.with_columns(rank=pl.lit(0, pl.Int32), sharers=pl.lit(1, pl.Int32))
        again = self.again.filter(pl.col("row").is_between(start, start + rows - 1))
        return part.with_columns(
            part[name].scatter(again["row"] - start, again[name]) for name in ("rank", "sharers") if len(again)
        )


def repeated(keys: pl.Series) -> pl.DataFrame:
    """The ``again`` of the rows that have these ``keys``."""
    import polars as pl

    rows = pl.DataFrame({"key": keys}).with_row_index("row").filter(twice(marks(keys)))
    return rows.select(
        "row", rank=pl.int_range(pl.len(), dtype=pl.Int32).over("key"), sharers=pl.len().over("key").cast(pl.Int32)
    )


def sharing(keys: pl.Series, again: pl.DataFrame, tallied: pl.DataFrame) -> Sharing:
    """How the rows with these ``keys``, some of which stand there ``again``, share them, and where each stands in
    ``tallied``, whose keys are ``numbered``."""
    return Sharing(keys, _places(keys, tallied["key"]), again)


def _places(keys: pl.Series, among: pl.Series) -> pl.Series:
    """Where each of the ``keys`` stands ``among`` others, which are all different and ``numbered`` (UInt32; null:
    nowhere)."""
    import polars as pl

    order, ordered = _sorted(_halved(among))
    if (ordered == ordered.shift()).any():  # never yet, in all the nights there are: two keys with one half
        there = pl.DataFrame({"key": among}).with_row_index("at")
        return pl.DataFrame({"key": numbered(keys)}).join(there, on="key", how="left", maintain_order="left")["at"]
    parts = [pl.Series(dtype=pl.UInt32)]
    for start in range(0, len(keys) if len(order) else 0, TOGETHER):  # a table of all takes more
        asked = numbered(keys.slice(start, TOGETHER))
        half = _halved(asked).fill_null(0)
        way = half.arg_sort()  # whoever looks for them in their own order finds them in half the time
        place = ordered.search_sorted(half.gather(way)).clip(upper_bound=len(ordered) - 1)
        at = order.gather(place.gather(way.arg_sort()))
        parts.append(pl.select(pl.when(among.gather(at) == asked).then(at)).to_series())
    return pl.concat(parts) if len(order) else pl.repeat(None, len(keys), dtype=pl.UInt32, eager=True)


def _halved(keys: pl.Series) -> pl.Series:
    """Keys, as numbers, by the half of them (UInt64), which is enough to look them up."""
    import polars as pl

    return keys.cast(pl.UInt64, wrap_numerical=True)


def _sorted(numbers: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Where the smallest of the ``numbers`` (UInt64) stands, and the next, and so on; and the numbers in that order. A
    quarter of them at a time, since sorting takes twice the room of what is sorted."""
    import polars as pl

    orders, ordered = [], []
    for start in range(0, 1 << 64, 1 << 62):
        at = numbers.is_between(start, start + (1 << 62) - 1).arg_true()
        some = numbers.gather(at)
        order = some.arg_sort()
        orders.append(at.gather(order))
        ordered.append(some.gather(order))
    return pl.concat(orders, rechunk=True), pl.concat(ordered, rechunk=True)


def by_row(shared: pl.DataFrame, tallied: pl.DataFrame) -> pl.DataFrame:
    """One row per row of ``shared`` (a part of a ``Sharing``), in order: what ``tallied`` says of its key, with
    ``credits`` and ``unknown`` the row's own share, and ``again`` (Boolean): an earlier row has the same key."""
    import polars as pl

    rows = shared.with_columns(pl.col("rank", "sharers").cast(pl.Int64))
    nothing = {
        "attempts": 0,
        "doubt": False,
        "doubted": False,
        "replies": 0,
        "invalid": 0,
        "refused": False,
        "unfit": False,
    }
    columns = [name for name in tallied.columns if name not in ("key", "credits", "unknown")]
    found = (
        tallied.drop("key", strict=False)
        .select(pl.all().gather(rows["at"]))
        .cast({"attempts": pl.Int32, "credits": pl.Int64, "unknown": pl.Int64, "sense": pl.UInt64})
    )
    return rows.hstack(found).select(
        "key",
        _share("credits"),
        _share("unknown"),
        *(pl.col(name).fill_null(nothing[name]) if name in nothing else name for name in columns),
        again=(pl.col("rank") > 0) & pl.col("key").is_not_null(),
    )


def by_use(steps: Sequence[tuple[pl.Series, pl.Series]], tallied: pl.DataFrame, ways: pl.Series) -> pl.DataFrame:
    """``credits`` and ``unknown`` of each row, where one key may be asked for in several ways and at several steps.

    ``steps`` are pairs of keys and whether a row got there: only those who used an answer share its charge, or all who
    might have where nobody did. ``alone``: what a row would have cost if its way (a number per row) had been the only
    one. The keys of ``tallied`` are ``numbered``.
    """
    import polars as pl

    row = pl.int_range(len(ways), eager=True)
    asked = [pl.DataFrame({"row": row, "way": ways, "key": numbered(keys), "used": used}) for keys, used in steps]
    uses = (
        pl.concat(asked)
        .filter(pl.col("key").is_not_null())
        .filter(pl.col("used") | ~pl.col("used").any().over("key"))
        .sort("row", maintain_order=True)
        .join(
            tallied.select("key", pl.col("credits", "unknown").cast(pl.Int64)),
            on="key",
            how="left",
            maintain_order="left",
        )
    )
    shares = _ranked(uses, "key").with_columns(_share("credits"), _share("unknown"))
    shares = shares.with_columns(alone=_ranked(uses, "key", "way").select(_share("credits")).to_series())
    sums = shares.group_by("row").agg(pl.col("credits", "unknown", "alone").sum())
    return row.rename("row").to_frame().join(sums, on="row", how="left", maintain_order="left").fill_null(0)


def _ranked(uses: pl.DataFrame, *over: str) -> pl.DataFrame:
    import polars as pl

    return uses.with_columns(rank=pl.int_range(pl.len()).over(over), sharers=pl.len().over(over).cast(pl.Int64))


def _share(column: str) -> pl.Expr:
    import polars as pl

    total, sharers = pl.col(column).fill_null(0), pl.col("sharers")
    return (total // sharers + (pl.col("rank") < total % sharers).cast(pl.Int64)).alias(column)
