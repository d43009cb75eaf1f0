"""How the replies of an evaluation were graded, and which of its rows one may want to see alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from journeybatch.report.appraisal import Appraisal
from journeybatch.report.browser import Mark, Score
from journeybatch.report.words import cut, number

if TYPE_CHECKING:
    import polars as pl

Place = tuple[int, str, int]
"""A reply: its row, its variant, its sample."""
DISAGREE = Mark("Variants", "disagree")
CHANGED = "Since the earlier evaluation"
_COLUMNS = ("row", "variant", "sample", "scorer", "value", "answer", "explanation")


class Grades(msgspec.Struct, frozen=True, dict=True):
    """The grades of an evaluation's replies, and the columns that hold targets and groups."""

    appraisal: Appraisal

    @property
    def target(self) -> str | None:
        """The column with the expected answer."""
        return self.appraisal.found.target

    @property
    def group(self) -> str | None:
        """The column whose rows belong together."""
        return self.appraisal.found.group

    @cached_property
    def marks(self) -> dict[Mark, pl.Series]:
        """Sets of rows, by their numbers: where variants disagree, are wrong, lack a score, or changed."""
        found = dict(_verdicts(self.appraisal))
        for change in self.appraisal.found.changes or ():
            name = cut(change.variant, 100)
            found[Mark(CHANGED, f"{name}: fixed")] = _rows(change.rows_fixed)
            found[Mark(CHANGED, f"{name}: broken")] = _rows(change.rows_broken)
        return {mark: rows for mark, rows in found.items() if len(rows)}

    @property
    def striking(self) -> pl.Series:
        """The rows that a page keeps first: those where variants disagree, and those that changed."""
        import polars as pl

        wanted = [rows for mark, rows in self.marks.items() if mark == DISAGREE or mark.group == CHANGED]
        return pl.concat(wanted).unique() if wanted else _rows(())

    def scores_of(self, numbers: Iterable[int]) -> dict[Place, tuple[Score, ...]]:
        """The scores of all replies to the rows ``numbers``, the one that decides first."""
        import polars as pl

        shares = {name for name in self.appraisal.found.scorers if self.appraisal.shares(name)}
        wanted = self.appraisal.scores.filter(pl.col("row").is_in(list(numbers))).select(_COLUMNS).collect()
        found: dict[Place, list[Score]] = defaultdict(list)
        for row, variant, sample, scorer, value, answer, why in wanted.iter_rows():
            said = "unscored" if value is None else number(value)
            good = self._good(scorer, value) if scorer in shares else None
            score = Score(cut(scorer, 200), said, good, cut(why or "", 2000), cut(answer or "", 200))
            found[row, variant, sample].append(score)
        return {place: tuple(scores) for place, scores in found.items()}

    def _good(self, scorer: str, value: float | None) -> bool | None:
        """Right, wrong, or something between: a scorer that does not decide may give 0.7."""
        if value is None:
            return None
        if value >= self.appraisal.correct:
            return True
        return False if value == 0 or scorer == self.appraisal.found.deciding else None


def _verdicts(appraisal: Appraisal) -> Iterator[tuple[Mark, pl.Series]]:
    """Marks by the scorer that decides."""
    import polars as pl

    value, means, variants = pl.col("value"), appraisal.means, appraisal.found.variants
    rows = means.group_by("row", maintain_order=True)
    if len(variants) > 1:
        yield DISAGREE, rows.agg(value.drop_nulls().n_unique()).filter(value > 1)["row"]
    if appraisal.shares(appraisal.found.deciding):
        right = value >= appraisal.correct
        if len(variants) > 1:
            yield Mark("Variants", "all are right"), rows.agg(right.fill_null(False).all()).filter("value")["row"]
            yield Mark("Variants", "all are wrong"), rows.agg((~right).fill_null(False).all()).filter("value")["row"]
        for variant in variants:
            wrong = means.filter((pl.col("variant") == variant.name) & ~right)
            yield Mark("Wrong", cut(variant.name, 100)), wrong["row"]
    yield Mark("Score", "unscored"), means.filter(~pl.col("whole"))["row"].unique(maintain_order=True)


def _rows(numbers: Iterable[int]) -> pl.Series:
    import polars as pl

    return pl.Series("row", list(numbers), dtype=pl.Int64)
