"""What a run has come to: its charges beside what the same answers would have cost otherwise, by model, and what
failed. Pure: read off the history and the survey, the same whenever it is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from journeybatch.attempts import BORROWED, SETTLED, TOGETHER, UNKNOWN, UNSENT
from journeybatch.costs import Cost, Savings, cost
from journeybatch.history import History
from journeybatch.page import mark, marks
from journeybatch.planning import Asks
from journeybatch.standing import Standing
from journeybatch.survey import Survey

if TYPE_CHECKING:
    import polars as pl


class Share(msgspec.Struct, frozen=True):
    """One model's part: ``requests`` sent to it in this run, ``credits`` certainly charged for them and
    ``credits_max`` at most, rows of the results that it ``answered`` (in whatever run), and rows that ``climbed``
    from it to the next model."""

    requests: int
    credits: int
    credits_max: int
    answered: int
    climbed: int


class Hindsight(msgspec.Struct, frozen=True):
    """The ``costs`` of a run (None where several ways of asking are compared: there is no other way to the same
    answers), its ``models`` by name, and ``failures``: failed rows by their error."""

    costs: Savings | None
    models: dict[str, Share]
    failures: dict[str, int]


class _Rows(msgspec.Struct):
    """What is counted of rows: how many are ``answered``, by step and way too, the marks of the keys of the others
    (UInt64), and of the failed ones by their error."""

    answered: int
    by_step: Counter[tuple[int, int]]
    others: pl.Series
    failures: Counter[str]


def look_back(history: History, run: int, surveyed: Survey, standing: Standing, ways: Sequence[Asks]) -> Hindsight:
    """What run number ``run`` has come to, whose rows now stand as ``standing`` says."""
    attempts, rows = attempts_of(history, run), _count(surveyed, standing)
    return Hindsight(
        _savings(history, attempts, surveyed, rows, ways[0]) if len(ways) == 1 else None,
        _shares(attempts, rows, standing, ways),
        dict(sorted(rows.failures.items(), key=lambda failure: (-failure[1], failure[0]))),
    )


def attempts_of(history: History, run: int) -> pl.DataFrame:
    """What was sent in a run, as in requests.parquet: ``attempt`` (its index), ``model``, ``charge``,
    ``credits_min`` and ``credits_max``."""
    import polars as pl

    sent = (pl.col("run") == run) & ~pl.col("error").fill_null("").is_in([BORROWED, UNSENT])
    columns = (
        pl.col("model").cast(pl.Categorical),
        "charge",
        "credits_max",
        pl.col("credits").alias("credits_min"),
        pl.col("index").cast(pl.Int32).alias("attempt"),
    )
    every = history.attempts.tables(columns=("run", "error", "model", "charge", "credits", "credits_max"))
    none = history.attempts.table(0, 0).select(columns)
    return pl.concat([none, *(part.filter(sent).select(columns) for part in every)])


def _count(surveyed: Survey, standing: Standing) -> _Rows:
    import polars as pl

    found = _Rows(0, Counter(), pl.Series(dtype=pl.UInt64), Counter())
    others, at = [found.others], 0
    for part in standing.table:
        answered = part["status"] == "answered"
        way = (pl.int_range(pl.len()) + at) % surveyed.width // surveyed.samples
        steps = part.select("step", way=way).filter(answered).group_by("way", "step").len()
        for number, step, rows in steps.iter_rows():
            found.by_step[number, step] += rows
        for error, rows in part.filter(pl.col("status") == "failed")["error"].value_counts().iter_rows():
            found.failures[error or "unknown"] += rows
        found.answered += int(answered.sum())
        others.append(marks(part["key"].filter(~answered)))
        at += part.height
    return msgspec.structs.replace(found, others=pl.concat(others))


def _savings(history: History, attempts: pl.DataFrame, surveyed: Survey, rows: _Rows, asks: Asks) -> Savings:
    """The stages from naive to spent; see ``Savings`` for what each counts."""
    import polars as pl

    settled = attempts.filter(pl.col("charge") == SETTLED).drop("model", "charge")
    carried = _carried(history, settled["attempt"], surveyed)
    bought = carried["row"].drop_nulls()
    answered = rows.answered + int(rows.others.is_in(bought.implode()).sum())
    if not carried["attempt"].equals(settled["attempt"]):  # packs
        carried = carried.group_by("attempt").agg(pl.col("known", "new", "trial").any(), pl.col("begun").sum())
        carried = settled.select("attempt").join(carried, on="attempt", how="left", maintain_order="left")
    charged = settled.hstack(carried.select("known", "new", "trial", "begun")).with_columns(
        pl.col("known", "new", "trial").fill_null(False), pl.col("begun").cast(pl.Int64).fill_null(0)
    )
    asked, trial = ~pl.col("trial"), pl.col("trial")
    begun, strongest = asked & (pl.col("begun") > 0), asks[-1][2]
    after_packing = _sum(charged, begun)
    after_reuse = _sum(charged, begun, pl.col("begun"))
    prompts = after_reuse.requests
    if asks[-1][0].tier:  # what was paid is not the strongest model's price; otherwise prices may have changed since
        after_packing, after_reuse = cost(after_packing.requests, strongest), cost(prompts, strongest)
    naive = after_reuse + cost(answered - prompts, strongest)
    spent = _sum(charged, pl.lit(True))
    return Savings(
        naive=naive,
        after_reuse=after_reuse,
        after_packing=after_packing,
        after_cascade=_sum(charged, asked & pl.col("new")),
        pilot=_sum(charged, trial),
        asked_again=_sum(charged, asked & pl.col("known") & ~pl.col("new")),
        departed=_sum(charged, asked & ~pl.col("known")),
        spent=spent,
        in_doubt=_sum(attempts, pl.col("charge") == UNKNOWN),
        saved=naive - spent,
    )


def _carried(history: History, attempts: pl.Series, surveyed: Survey) -> pl.DataFrame:
    """One line per prompt of ``attempts``: the ``row`` it is of, as the mark of the key of its first step (null: of
    none any more, then it is not ``known``), whether it is ``new``, whether its row had not ``begun`` before, and
    whether it was asked only to compare (``trial``)."""
    import polars as pl

    trials = pl.Series([mark(key) for key in history.trials], dtype=pl.UInt64)
    parts = []
    for start in range(0, len(history.attempts) or 1, TOGETHER):
        here = attempts.filter(attempts.is_between(start, start + TOGETHER - 1))
        lines = history.attempts.lines(start, start + TOGETHER)
        lines = lines.select(pl.col("attempt").cast(pl.Int32), mark=marks(lines["key"]))
        parts.append(lines.filter(pl.col("attempt").is_in(here.implode())))
    rows = marks(surveyed.keys)
    carried = pl.concat(parts).with_columns(trial=pl.col("mark").is_in(trials.implode()))
    if len(surveyed.steps) == 1:
        carried = carried.with_columns(row=pl.when(carried["mark"].is_in(rows.implode())).then("mark"))
    else:
        ways = pl.concat([pl.DataFrame({"mark": marks(step), "row": rows}) for step in surveyed.steps]).unique("mark")
        carried = carried.join(ways, on="mark", how="left", maintain_order="left")
    known = pl.col("row").is_not_null()
    return carried.select(
        *("attempt", "row", "trial"),
        known=known,
        new=known & pl.col("mark").is_first_distinct(),
        begun=known & pl.col("row").is_first_distinct(),
    )


def _shares(attempts: pl.DataFrame, rows: _Rows, standing: Standing, ways: Sequence[Asks]) -> dict[str, Share]:
    """Each model's part, in the order of the cascade; models of an earlier spec come last."""
    import polars as pl

    tiers = list(dict.fromkeys(model for asks in ways for _, model, _ in asks))
    sent = {
        model: (requests, least, most)
        for model, requests, least, most in attempts.group_by("model", maintain_order=True)
        .agg(pl.len(), pl.col("credits_min", "credits_max").sum())
        .iter_rows()
    }
    answered = dict.fromkeys(tiers, 0)
    for (number, step), count in rows.by_step.items():
        answered[ways[number][step][1]] += count
    climbed = dict(zip(tiers, [up for up, _ in standing.climbed], strict=False)) if len(ways) == 1 else {}
    return {
        model: Share(*sent.get(model, (0, 0, 0)), answered.get(model, 0), climbed.get(model, 0))
        for model in dict.fromkeys([*tiers, *sent])
    }


def _sum(attempts: pl.DataFrame, which: pl.Expr, times: pl.Expr | None = None) -> Cost:
    """How many of the attempts these are, each so many ``times``, and what they cost. They may be many: no table of
    them is made."""
    import polars as pl

    number = pl.repeat(1, pl.len()) if times is None else times
    costs = [(pl.col(each) * number).filter(which).sum() for each in ("credits_min", "credits_max")]
    return Cost(*attempts.select(number.filter(which).sum().alias("requests"), *costs).row(0))
