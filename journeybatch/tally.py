"""What each content key has come to: its attempts, its credits, its answer; and each row's share.

Credits are split in micro-credits: a charge equally among the prompts it carried, then a prompt's sum equally
among its rows, each time by largest remainder in order, so that no sum ever differs from the charge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeybatch.history import SETTLED, UNKNOWN, UNSENT, History

if TYPE_CHECKING:
    import polars as pl

MICRO = 1_000_000


def split(total: int, parts: int) -> list[int]:
    """``total`` in ``parts`` whole numbers that differ by at most one, the larger first."""
    share, more = divmod(total, parts)
    return [share + 1] * more + [share] * (parts - more)


def tally(history: History) -> pl.DataFrame:
    """One row per key that was ever asked: ``key`` (Binary), ``attempts`` (Int32), ``credits`` and ``unknown``
    (Int64 micro-credits), ``answer`` (Int64: the attempt that answered first, null if none), ``last`` (Int64: the
    latest attempt), ``doubt`` (Boolean: an attempt may have been paid for nothing)."""
    import polars as pl

    return (
        _prompts(history)
        .lazy()
        .group_by("key", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int32).alias("attempts"),
            pl.col("credits").sum(),
            pl.col("unknown").sum(),
            pl.col("attempt").filter(pl.col("answered")).min().alias("answer"),
            pl.col("attempt").max().alias("last"),
            pl.col("doubt").any(),
        )
        .collect()
    )


def _prompts(history: History) -> pl.DataFrame:
    """One row per prompt of every attempt that was sent, with its share of the charge."""
    import polars as pl

    a = history.attempts
    keys: list[bytes] = []
    index: list[int] = []
    credits: list[int] = []
    unknown: list[int] = []
    for i in range(len(a)):
        asked = a.keys_of(i)
        if not asked or a.error[i] == UNSENT:
            continue
        keys += asked
        index += [i] * len(asked)
        credits += split(a.credits[i] * MICRO, len(asked))
        unknown += split((a.credits_max[i] - a.credits[i]) * MICRO, len(asked))
    answered = [a.charge[i] == SETTLED and a.error[i] is None and a.offset[i] >= 0 for i in index]
    return pl.DataFrame(
        {
            "key": pl.Series(keys, dtype=pl.Binary),
            "attempt": pl.Series(index, dtype=pl.Int64),
            "credits": pl.Series(credits, dtype=pl.Int64),
            "unknown": pl.Series(unknown, dtype=pl.Int64),
            "answered": pl.Series(answered, dtype=pl.Boolean),
            "doubt": pl.Series([a.charge[i] == UNKNOWN for i in index], dtype=pl.Boolean),
        }
    )


def by_row(keys: pl.Series, tallied: pl.DataFrame) -> pl.DataFrame:
    """One row per input row, in order: the tally of its key, with ``credits`` and ``unknown`` the row's own share,
    and ``again`` (Boolean): an earlier row has the same key."""
    import polars as pl

    rows = (
        keys.rename("key")
        .to_frame()
        .with_columns(rank=pl.int_range(pl.len()).over("key"), sharers=pl.len().over("key").cast(pl.Int64))
    )
    return rows.join(tallied, on="key", how="left", maintain_order="left").select(
        "key",
        pl.col("attempts").fill_null(0),
        _share("credits"),
        _share("unknown"),
        "answer",
        "last",
        pl.col("doubt").fill_null(False),
        again=(pl.col("rank") > 0) & pl.col("key").is_not_null(),
    )


def _share(column: str) -> pl.Expr:
    import polars as pl

    total, sharers = pl.col(column).fill_null(0), pl.col("sharers")
    return (total // sharers + (pl.col("rank") < total % sharers).cast(pl.Int64)).alias(column)
