"""What a run's report is made of: an output directory as it stands."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch.attempts import Run
from journeybatch.history import History
from journeybatch.results import result_columns
from journeybatch.spec import JobSpec
from journeybatch.tuning import in_force

if TYPE_CHECKING:
    import polars as pl


class Evidence(msgspec.Struct, frozen=True, dict=True):
    """An output directory: the spec that ran last, the journal's history, summary.json (empty where there is none), a
    table of results that is up to date, and whether a run is at work here."""

    directory: Path
    spec: JobSpec
    history: History
    summary: dict[str, Any]
    results: Path
    running: bool = False

    @property
    def run(self) -> Run:
        """The latest run."""
        return self.history.runs[-1]

    @property
    def cap(self) -> int | None:
        """The cap that the latest run goes by, in credits."""
        return in_force(self.spec, self.history, self.run.number).credits

    @property
    def prefix(self) -> str:
        """What stands before the names of result columns."""
        return self.spec.output_prefix or ""

    @property
    def answers(self) -> list[str]:
        """The answer's columns in the results."""
        return [self.prefix + name for name in self.spec.answer.contract.columns()]

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The input's columns in the results, in order."""
        columns = result_columns(self.spec.answer.contract, sampled=True, compared=True)
        added = {self.prefix + name for name in columns}
        return tuple(name for name in self.scan().collect_schema().names() if name not in added)

    @cached_property
    def variants(self) -> tuple[str, ...]:
        """The names of what is compared, in order; none where nothing is, or where there are no rows."""
        import polars as pl

        name = f"{self.prefix}jb_variant"
        if name not in self.scan().collect_schema().names():
            return ()
        names = self.scan().select(pl.col(name).unique(maintain_order=True)).collect()[name]
        return tuple(names)

    @property
    def width(self) -> int:
        """How many replies a row has: variants times samples."""
        return max(1, len(self.variants)) * self.spec.samples

    @cached_property
    def rows(self) -> pl.DataFrame:
        """``row``, ``status``, ``error``, ``model`` and ``reused`` of every row and sample, in order."""
        import polars as pl

        names = ("row", "status", "error", "model", "reused")
        return (
            self.scan()
            .select(pl.col(f"{self.prefix}jb_{name}").alias(name) for name in names)
            .collect(engine="streaming")
            .sort("row")
        )

    def counted(self, status: str) -> int:
        """How many rows stand so."""
        return int((self.rows["status"] == status).sum())

    def scan(self) -> pl.LazyFrame:
        """The results."""
        import polars as pl

        return pl.scan_parquet(self.results, glob=False)
