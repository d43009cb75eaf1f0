"""An evaluation against an earlier one, row by row: what is fixed, what is broken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch.errors import TableError
from journeybatch.evaluation.outcome import Changes

if TYPE_CHECKING:
    import polars as pl

SCORES = "scores.parquet"
_SHOWN = 1_000


def earlier_scores(directory: Path) -> pl.DataFrame:
    """The scores in another evaluation's directory. Raises TableError where there are none."""
    import polars as pl

    path = directory / SCORES
    if not path.exists():
        raise TableError(f"{directory}: there is no {SCORES} here; name the output directory of an evaluation")
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(f"{path}: cannot be read: {error}") from None


def compare_with(
    earlier: pl.DataFrame, scores: pl.DataFrame, scorer: str, names: tuple[str, ...], correct: float
) -> tuple[Changes, ...]:
    """What became of each variant that both evaluations have, or of the only ones. A row counts as right from a mean
    of ``correct`` over its samples on. Rows are told apart by number: the tables must be the same."""
    then, now = _means(earlier, scorer), _means(scores, scorer)
    known = set(then["variant"])
    pairs = [(name, name) for name in names if name in known]
    if not pairs and len(known) == 1 and len(names) == 1:
        pairs = [(names[0], next(iter(known)))]
    return tuple(_changes(name, then, other, now, correct) for name, other in pairs)


def _means(scores: pl.DataFrame, scorer: str) -> pl.DataFrame:
    import polars as pl

    return (
        scores.filter(pl.col("scorer") == scorer)
        .group_by("variant", "row", maintain_order=True)
        .agg(pl.col("value").mean())
        .drop_nulls()
    )


def _changes(name: str, then: pl.DataFrame, other: str, now: pl.DataFrame, correct: float) -> Changes:
    import polars as pl

    both = now.filter(pl.col("variant") == name).join(then.filter(pl.col("variant") == other), on="row", suffix="_then")
    was, is_ = both["value_then"] >= correct, both["value"] >= correct
    fixed, broken = both.filter(~was & is_)["row"].sort(), both.filter(was & ~is_)["row"].sort()
    same = both.height - len(fixed) - len(broken)
    return Changes(
        name, len(fixed), len(broken), same, tuple(fixed.head(_SHOWN).to_list()), tuple(broken.head(_SHOWN).to_list())
    )
