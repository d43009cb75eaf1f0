"""What each content key has come to: its attempts, its credits, its answer.

A charge is split in micro-credits, equally among the prompts it carried, by largest remainder in order, so that no sum
ever differs from the charge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from journeybatch.attempts import BORROWED, SETTLED, TOGETHER, UNKNOWN, UNSENT
from journeybatch.history import History
from journeybatch.page import mark
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
    return ~twice(asked)


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


def twice(marks: pl.Series) -> pl.Series:
    """Of each of the ``marks``, whether it is there more than once; nulls are nobody's."""
    import polars as pl

    ordered = marks.drop_nulls().sort()
    again = ordered.filter(ordered == ordered.shift())  # to look them up takes many times the room
    if again.is_empty():
        return pl.repeat(False, len(marks), eager=True)
    return marks.is_in(again.unique().implode()).fill_null(False)
