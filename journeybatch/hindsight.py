"""What a run has come to: its charges beside what the same answers would have cost otherwise, by model, and what
failed. Pure: read off the history and the survey, the same whenever it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from journeybatch.attempts import BORROWED, SETTLED, UNKNOWN, UNSENT
from journeybatch.costs import Cost, Savings, cost
from journeybatch.history import History
from journeybatch.planning import Asks
from journeybatch.standing import Standing
from journeybatch.survey import Survey
from journeybatch.tally import ROWS

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


def look_back(history: History, run: int, surveyed: Survey, standing: Standing, ways: Sequence[Asks]) -> Hindsight:
    """What run number ``run`` has come to, whose rows now stand as ``standing`` says."""
    import polars as pl

    attempts = attempts_of(history, run)
    failed = standing.facts.filter(pl.col("status") == "failed")["error"].fill_null("unknown")
    return Hindsight(
        savings(history, attempts, surveyed, standing.facts, ways[0]) if len(ways) == 1 else None,
        shares(attempts, surveyed, standing, ways),
        dict(failed.value_counts(sort=True).sort("count", "error", descending=[True, False]).iter_rows()),
    )


def attempts_of(history: History, run: int) -> pl.DataFrame:
    """What was sent in a run, as in requests.parquet: ``attempt`` (its index), ``model``, ``charge``,
    ``credits_min`` and ``credits_max``."""
    import polars as pl

    sent = (pl.col("run") == run) & ~pl.col("error").fill_null("").is_in([BORROWED, UNSENT])
    columns = (
        "model",
        "charge",
        "credits_max",
        pl.col("credits").alias("credits_min"),
        pl.col("index").alias("attempt"),
    )
    none = history.attempts.table(0, 0).select(columns)
    return pl.concat([none, *(part.filter(sent).select(columns) for part in history.attempts.tables())])


def savings(history: History, attempts: pl.DataFrame, surveyed: Survey, facts: pl.DataFrame, asks: Asks) -> Savings:
    """The stages from naive to spent; see ``Savings`` for what each counts."""
    import polars as pl

    settled = attempts.filter(pl.col("charge") == SETTLED)
    carried = _carried(history, settled["attempt"], surveyed)
    charged = settled.join(
        carried.group_by("attempt").agg(pl.col("known", "new", "trial").any(), pl.col("begun").sum()),
        on="attempt",
        how="left",
    ).with_columns(pl.col("known", "new", "trial").fill_null(False), pl.col("begun").fill_null(0))
    pilot, charged = charged.filter("trial"), charged.filter(~pl.col("trial"))
    first, begun = charged.filter("new"), charged.filter(pl.col("begun") > 0)
    prompts, strongest = int(begun["begun"].sum()), asks[-1][2]
    if asks[-1][0].tier:
        after_packing, after_reuse = cost(begun.height, strongest), cost(prompts, strongest)
    else:  # at the prices that were paid, should they have changed since
        each = begun.select("begun", pl.col("credits_min", "credits_max") * pl.col("begun"))
        after_packing, after_reuse = _sum(begun), Cost(prompts, *_ends(each))
    bought = carried["row"].drop_nulls().unique()
    rows = (facts["status"] == "answered") | facts["key"].is_in(bought.implode()).fill_null(False)
    naive = after_reuse + cost(int(rows.sum()) - prompts, strongest)
    spent, doubtful = _sum(settled), attempts.filter(pl.col("charge") == UNKNOWN)
    return Savings(
        naive=naive,
        after_reuse=after_reuse,
        after_packing=after_packing,
        after_cascade=_sum(first),
        pilot=_sum(pilot),
        asked_again=_sum(charged.filter(pl.col("known") & ~pl.col("new"))),
        departed=_sum(charged.filter(~pl.col("known"))),
        spent=spent,
        in_doubt=_sum(doubtful),
        saved=naive - spent,
    )


def _carried(history: History, attempts: pl.Series, surveyed: Survey) -> pl.DataFrame:
    """One line per prompt of ``attempts``: the ``row`` it is of, as the key of its first step (null: of none any
    more, then it is not ``known``), whether it is ``new``, whether its row had not ``begun`` before, and whether it was
    asked only to compare (``trial``)."""
    import polars as pl

    parts = []
    for start in range(0, len(history.attempts) or 1, ROWS):
        here = attempts.filter(attempts.is_between(start, start + ROWS - 1))
        lines = history.attempts.lines(start, start + ROWS).select("key", "attempt")
        parts.append(lines.filter(pl.col("attempt").is_in(here.implode())))
    ways = pl.concat([pl.DataFrame({"key": step, "row": surveyed.keys}) for step in surveyed.steps]).unique("key")
    trials = pl.Series(list(history.trials), dtype=pl.Binary)
    carried = pl.concat(parts).with_columns(trial=pl.col("key").is_in(trials.implode()))
    known = pl.col("row").is_not_null()
    return carried.join(ways, on="key", how="left", maintain_order="left").with_columns(
        known=known,
        new=known & pl.col("key").is_first_distinct(),
        begun=known & pl.col("row").is_first_distinct(),
    )


def shares(attempts: pl.DataFrame, surveyed: Survey, standing: Standing, ways: Sequence[Asks]) -> dict[str, Share]:
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
    way = pl.int_range(pl.len()) % surveyed.width // surveyed.samples
    by_step = standing.facts.select("status", "step", way=way).filter(pl.col("status") == "answered")
    for number, step, rows in by_step.group_by("way", "step").len().iter_rows():
        answered[ways[number][step][1]] += rows
    climbed = dict(zip(tiers, [up for up, _ in standing.climbed], strict=False)) if len(ways) == 1 else {}
    return {
        model: Share(*sent.get(model, (0, 0, 0)), answered.get(model, 0), climbed.get(model, 0))
        for model in dict.fromkeys([*tiers, *sent])
    }


def _sum(attempts: pl.DataFrame) -> Cost:
    return Cost(attempts.height, *_ends(attempts))


def _ends(attempts: pl.DataFrame) -> tuple[int, int]:
    return int(attempts["credits_min"].sum()), int(attempts["credits_max"].sum())
