"""What an evaluation's report is made of: evaluation.json and the scores, beside the run they are of."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from journeybatch.directory import EVALUATION
from journeybatch.errors import OutputError
from journeybatch.evaluation.changes import SCORES
from journeybatch.evaluation.outcome import Evaluation, Variant, read
from journeybatch.evaluation.telling import best_first
from journeybatch.report.evidence import Evidence

if TYPE_CHECKING:
    import polars as pl

_AGAIN = "`journeybatch eval JOB` writes it anew, and asks nothing that is answered"


class Appraisal(msgspec.Struct, frozen=True, dict=True):
    """An evaluation, the run it is of, and the scores of all replies as they stand in scores.parquet."""

    evidence: Evidence
    found: Evaluation
    scores: pl.LazyFrame

    @cached_property
    def best(self) -> tuple[Variant, ...]:
        """The variants, best first. Their places in this order are their numbers in charts."""
        return tuple(best_first(self.found))

    def label(self, variant: Variant) -> str:
        """A variant's number and name; the name alone where there is but one."""
        return f"{self.best.index(variant) + 1} {variant.name}" if len(self.best) > 1 else variant.name

    @property
    def correct(self) -> float:
        """The score from which on an answer counts as correct."""
        section = self.evidence.spec.eval
        return section.correct if section else 1.0

    @cached_property
    def means(self) -> pl.DataFrame:
        """``row``, ``variant`` and the mean ``value`` of its samples by the scorer that decides; null where none of
        them has a score. ``whole`` says that all have."""
        import polars as pl

        value = pl.col("value")
        return (
            self.scores.filter(pl.col("scorer") == self.found.deciding)
            .group_by("row", "variant", maintain_order=True)
            .agg(value.mean(), whole=value.is_not_null().all())
            .collect()
        )

    def shares(self, scorer: str) -> bool:
        """Whether all scores of a scorer lie between 0 and 1, as shares of right answers do."""
        import polars as pl

        value = pl.col("value")
        least, most = (
            self.scores.filter(pl.col("scorer") == scorer).select(a=value.min(), b=value.max()).collect().row(0)
        )
        return least is not None and least >= 0 and most <= 1


def evaluation_in(directory: Path) -> Evaluation:
    """What stands in evaluation.json. Raises OutputError if that cannot be read."""
    path = directory / EVALUATION
    try:
        return read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise OutputError(f"{path}: cannot be read as an evaluation: {error}; {_AGAIN}") from None


def scores_in(directory: Path) -> pl.LazyFrame:
    """The scores of an evaluation. Raises OutputError if they cannot be read."""
    import polars as pl

    path = directory / SCORES
    try:
        return pl.read_parquet(path).lazy()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise OutputError(f"{path}: cannot be read: {error}; {_AGAIN}") from None
