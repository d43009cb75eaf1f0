"""What each content key has come to: its attempts, its credits, its answer; and each row's share.

Credits are split in micro-credits: a charge equally among the prompts it carried, then a prompt's sum equally
among its rows, each time by largest remainder in order, so that no sum ever differs from the charge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from journeybatch.attempts import BORROWED, SETTLED, TOGETHER, UNKNOWN, UNSENT
from journeybatch.history import History
from journeybatch.page import mark, marks
from journeybatch.verdict import INVALID, READABLE, REFUSED, UNFIT

if TYPE_CHECKING:
    import polars as pl

MICRO = 1_000_000


def tally(history: History, since: float | None = None) -> pl.DataFrame:
    """One row per key that was ever asked.

    ``key`` (Binary), ``attempts`` (Int32), ``credits`` and ``unknown`` (Int64 micro-credits), ``answer`` (Int64: the
    attempt with the first reply that can be read, null if none; one before ``since``, in Unix seconds, counts no
    more), its ``code`` (UInt8: the verdict), ``sense`` (UInt64) and whether it is ``borrowed``, ``last`` (Int64: the
    latest attempt), ``doubt`` (Boolean: an attempt may have been paid for nothing; ``doubted``: one did since failures
    were last forgotten), ``replies`` (Int32: whole replies, readable or not), ``invalid`` (Int32: those of them that
    could not be read, though they were asked for in today's way, since failures were last forgotten), ``refused``
    (Boolean: one of these was a refusal without a text) and ``unfit`` (Boolean: one was an item of a pack).

    What was asked only to compare counts for the key that asks the same in earnest, as attempts and credits alone.
    """
    import polars as pl

    return pl.concat(tallied(history, since))


def tallied(history: History, since: float | None = None) -> Iterator[pl.DataFrame]:
    """``tally`` in parts: first the keys that were asked once, then the others."""
    import polars as pl

    once, again, done = _once(history), [], 0
    for at in range(0, len(history.attempts) or 1, TOGETHER):
        lines = _some_prompts(history, at, at + TOGETHER)
        here = once.slice(done, lines.height)
        done += lines.height
        if not here.all():
            again.append(lines.filter(~here, ~pl.col("unsent")))
            lines = lines.filter(here)
        yield lines.filter(~pl.col("unsent")).select("key", *_come_to(history, since, together=False))
    if again:
        yield pl.concat(again).group_by("key", maintain_order=True).agg(*_come_to(history, since, together=True))


def _once(history: History) -> pl.Series:
    """Of each prompt of all attempts, whether no other asks the same, as is the rule. A key is known by its mark here:
    where two keys share one, both are said to be asked again, which does no harm."""

    asked = history.attempts.marks()
    if history.trials:
        asked = asked.replace([mark(key) for key in history.trials], [mark(key) for key in history.trials.values()])
    return ~_twice(asked)


def _come_to(history: History, since: float | None, *, together: bool) -> list[pl.Expr]:
    """The columns of ``tally`` but for the key, of lines that have one key ``together``, or of each line alone."""
    import polars as pl

    def first(column: pl.Expr, where: pl.Expr) -> pl.Expr:
        return column.filter(where).first() if together else pl.when(where).then(column)

    def added(column: pl.Expr) -> pl.Expr:
        return column.sum() if together else column

    def some(column: pl.Expr) -> pl.Expr:
        return column.any() if together else column

    def last(column: pl.Expr, where: pl.Expr) -> pl.Expr:
        return column.filter(where).max() if together else pl.when(where).then(column)

    earnest = ~pl.col("trial")
    whole = pl.col("whole") & earnest
    today = whole & pl.col("today")
    answered = pl.col("code").is_in(READABLE) & whole
    if since is not None:
        answered &= pl.col("at") >= since
    doubt = pl.col("doubt") & earnest
    return [
        added(pl.col("sent").cast(pl.Int32)).alias("attempts"),
        added(pl.col("credits")),
        added(pl.col("unknown")),
        first(pl.col("attempt"), answered).alias("answer"),
        first(pl.col("code"), answered).alias("code"),
        first(pl.col("sense"), answered).alias("sense"),
        first(~pl.col("sent"), answered).alias("borrowed"),
        last(pl.col("attempt"), earnest).alias("last"),
        some(doubt).alias("doubt"),
        some(doubt & (pl.col("attempt") >= history.reopened)).alias("doubted"),
        added(whole.cast(pl.Int32)).alias("replies"),
        added((today & (pl.col("code") == INVALID)).cast(pl.Int32)).alias("invalid"),
        some(today & (pl.col("code") == REFUSED)).alias("refused"),
        some(today & (pl.col("code") == UNFIT)).alias("unfit"),
    ]


def _some_prompts(history: History, start: int, stop: int) -> pl.DataFrame:
    """One row per prompt of the attempts from ``start`` to ``stop``, with its share of the charge; and whether it was
    ``unsent``."""
    import polars as pl

    a, trials = history.attempts, history.trials
    needed = ("credits", "credits_max", "at", "charge", "offset", "error", "asked")
    every = a.numbers(start, stop, needed).select(
        *("credits", "credits_max", "at"),
        whole=(pl.col("charge") == SETTLED) & (pl.col("offset") >= 0),
        doubt=pl.col("charge") == UNKNOWN,
        unsent=pl.col("error") == a.words.number(UNSENT),
        sent=pl.col("error") != a.words.number(BORROWED),
        today=pl.col("asked") == history.was_asked(history.reading),
    )
    lines = a.lines(start, stop)
    key = lines["key"]
    earnest = pl.Series("key", [trials.get(asked, asked) for asked in key], dtype=pl.Binary) if trials else key
    return (
        lines.hstack(
            every if every.height == lines.height and lines["among"].eq(1).all() else every[lines["attempt"] - start]
        )
        .with_columns(
            earnest,
            trial=earnest != key,
            credits=_part(pl.col("credits")),
            unknown=_part(pl.col("credits_max") - pl.col("credits")),
            today=pl.col("today") & (pl.col("attempt") >= history.reopened),
        )
        .drop("credits_max", "place", "among")
    )


def _part(credits: pl.Expr) -> pl.Expr:
    """Each prompt's part of a charge, in micro-credits."""
    import polars as pl

    total, among = credits * MICRO, pl.col("among")
    return total // among + (pl.col("place") < total % among).cast(pl.Int64)


def total(micro: pl.Series) -> int:
    """The sum of micro-credits: of all rows it may be more than the 9.2 × 10¹² credits that an Int64 holds."""
    import polars as pl

    return int(micro.cast(pl.Int128).sum())


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


def sharing(keys: pl.Series, tallied: pl.DataFrame) -> Sharing:
    """How the rows with these ``keys`` share them, and where each key stands in ``tallied``."""
    import polars as pl

    rows = pl.DataFrame({"key": keys}).with_row_index("row").filter(_twice(marks(keys)))
    again = rows.select(
        "row", rank=pl.int_range(pl.len(), dtype=pl.Int32).over("key"), sharers=pl.len().over("key").cast(pl.Int32)
    )
    return Sharing(keys, _places(keys, tallied["key"]), again)


def _twice(marks: pl.Series) -> pl.Series:
    """Of each of the ``marks``, whether it is there more than once; nulls are nobody's."""
    import polars as pl

    ordered = marks.drop_nulls().sort()
    again = ordered.filter(ordered == ordered.shift())  # to look them up takes many times the room
    if again.is_empty():
        return pl.repeat(False, len(marks), eager=True)
    return marks.is_in(again.unique().implode()).fill_null(False)


def _places(keys: pl.Series, among: pl.Series) -> pl.Series:
    """Where each of the ``keys`` stands ``among`` others, which are all different (UInt32; null: nowhere)."""
    import polars as pl

    order = marks(among).arg_sort()
    ordered = marks(among).gather(order)
    if (ordered == ordered.shift()).any():  # never yet, in all the nights there are: two keys with one mark
        there = pl.DataFrame({"key": among}).with_row_index("at")
        return pl.DataFrame({"key": keys}).join(there, on="key", how="left", maintain_order="left")["at"]
    parts = [pl.Series(dtype=pl.UInt32)]
    for asked in (keys.slice(start, TOGETHER) for start in range(0, len(keys) if len(order) else 0, TOGETHER)):
        place = ordered.search_sorted(marks(asked).fill_null(0)).clip(upper_bound=len(ordered) - 1)
        at = order.gather(place)
        parts.append(pl.select(pl.when(among.gather(at) == asked).then(at)).to_series())  # a table of all takes more
    return pl.concat(parts) if len(order) else pl.repeat(None, len(keys), dtype=pl.UInt32, eager=True)


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
    one.
    """
    import polars as pl

    row = pl.int_range(len(ways), eager=True)
    asked = [pl.DataFrame({"row": row, "way": ways, "key": keys, "used": used}) for keys, used in steps]
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
