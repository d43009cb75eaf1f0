"""What an evaluation can show and what its judges cost, before a credit is spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch.costs import Cost, cost
from journeybatch.evaluation.clusters import design_effect
from journeybatch.evaluation.estimates import Terms
from journeybatch.evaluation.grading import Grading
from journeybatch.evaluation.judge import Judge
from journeybatch.evaluation.power import detectable, discordance, error_at, rows_for, rows_for_share, variances
from journeybatch.evaluation.power import detectable_share as share
from journeybatch.job import Job, World, price_of
from journeybatch.spec import JobSpec
from journeybatch.summary import read_json

if TYPE_CHECKING:
    import polars as pl

RIGHT, ALIKE, STEADY, TOGETHER = 0.6, 0.5, 0.8, 0.1
"""Assumed where nothing was measured: which part is right, how two variants' scores correlate, how two samples of one
variant do, and how rows of one group do."""
WANTED = (0.01, 0.02, 0.05, 0.1)


class Prospect(msgspec.Struct, frozen=True):
    """``detectable``: the smallest difference of two means that is seen with a chance of ``power``, after correction
    for ``family`` comparisons; None where none is. ``rows_needed``: pairs of a difference and the rows that show it.
    ``assumed`` says on what this rests. ``judges``: by scorer, the model and what asking it costs at most."""

    rows: int
    detectable: float | None
    power: float
    family: int
    rows_needed: tuple[tuple[float, int | None], ...]
    assumed: str
    judges: dict[str, tuple[str, Cost]]

    @property
    def lines(self) -> list[str]:
        """For people."""
        if self.detectable is None:
            seen = f"with {self.rows} rows no difference between two variants would be seen"
        else:
            seen = f"with {self.rows} rows, a difference of {100 * self.detectable:.1f} points between two variants is "
            seen += f"seen with a chance of {100 * self.power:g} %"
        needed = ", ".join(
            f"{100 * wanted:g} point{'s' * (wanted != 0.01)}: {rows or 'too many'}" for wanted, rows in self.rows_needed
        )
        told = [f"{seen} ({self.assumed})", f"rows needed to see a difference of {needed}"] if self.family else []
        for name, (model, most) in self.judges.items():
            told.append(f"{name}: up to {most.requests} requests to {model} besides, {most.credits} credits")
        return told


def foresee(spec: JobSpec, job: Job, world: World, grading: Grading, groups: pl.Series | None, rows: int) -> Prospect:
    """The prospect of an evaluation over ``rows`` of the table, which ``groups`` may hold together."""
    if spec.eval is None:
        raise ValueError("this job compares nothing")
    variants = len(job.ways)
    family = variants - 1 if spec.eval.baseline else variants * (variants - 1) // 2
    terms = Terms(spec.eval.confidence)
    alpha = terms.alpha / max(1, family)
    judges = {
        each.scorer.name: (model, cost(rows * job.ask.width, price_of(spec, world, model)))
        for each in grading.judges
        for model in [_model(spec, each.options)]
    }
    if groups is None and spec.samples == 1:
        part, assumed = _measured(spec.output) or (
            discordance(RIGHT, RIGHT, ALIKE),
            f"assuming that {100 * RIGHT:g} % are right and two variants correlate by {ALIKE}",
        )
        least = share(rows, part, alpha, terms.power) if rows else None
        needed = tuple((wanted, rows_for_share(wanted, max(part, wanted), alpha, terms.power)) for wanted in WANTED)
        return Prospect(rows, least, terms.power, family, needed, assumed, judges)
    spread, design = variances(RIGHT, ALIKE, STEADY), 1.0
    assumed = (
        f"assuming that {100 * RIGHT:g} % are right, two variants correlate by {ALIKE} and two samples by {STEADY}"
    )
    if groups is not None and rows:
        design = design_effect(list(Counter(groups.to_list()).values()), TOGETHER)
        assumed += f", and rows of one group by {TOGETHER}"
    one = error_at(1, *spread, spec.samples, design)
    least = detectable(error_at(rows, *spread, spec.samples, design), alpha=alpha, power=terms.power) if rows else None
    needed = tuple((wanted, rows_for(wanted, one, alpha, terms.power)) for wanted in WANTED)
    return Prospect(rows, least, terms.power, family, needed, assumed, judges)


def _model(spec: JobSpec, judge: Judge) -> str:
    return judge.model or spec.models[-1]


def _measured(output: Path) -> tuple[float, str] | None:
    """In which part of the rows two variants differed when this evaluation last ran."""
    found: dict[str, Any] = read_json(output / "evaluation.json") or {}
    comparisons: Sequence[dict[str, Any]] = found.get("comparisons", {}).get(found.get("deciding"), ())
    parts = [(each["wins"] + each["losses"]) / each["rows"] for each in comparisons if each["rows"]]
    if not parts:
        return None
    part = sum(parts) / len(parts)
    return part, f"where two variants differ in {100 * part:.0f} % of the rows, as when this last ran"
