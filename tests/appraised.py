"""Evaluations on the emulator, and what a report sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conftest import Flow

from journeybatch.cli.environment import load, read_world
from journeybatch.cli.looking import history_of, spec_of
from journeybatch.emulator import AnswerKey, Emulator, Faults
from journeybatch.evaluation.story import Ended, evaluate
from journeybatch.preparation import Options
from journeybatch.report.appraisal import Appraisal, evaluation_in, scores_in
from journeybatch.report.evidence import Evidence
from journeybatch.summary import read_summary

MODELS = ("deepseek-chat", "gpt-4o")


def evaluated(
    flow: Flow,
    targets: Sequence[str],
    said: dict[str, Sequence[str]],
    *,
    against: Path | None = None,
    faults: Faults | None = None,
    columns: dict[str, Sequence[str]] | None = None,
    texts: Sequence[str] | None = None,
    job: dict[str, Any] | None = None,
    **section: Any,
) -> Ended:
    """An evaluation of the models in ``said``, by what each says to every row. ``section`` changes ``eval``, ``job``
    the rest."""
    texts = [f"thing number {n} of many" for n in range(len(targets))] if texts is None else texts
    flow.write(texts, target=targets, **(columns or {}))
    key = [{"question": text} | {model: said[model][n] for model in said} for n, text in enumerate(texts)]
    flow.emulator = Emulator(answers=AnswerKey(key) if key else None, faults=faults or Faults(), prices={"gpt-4o": 4})
    variants = {"models": list(said)}
    given = {
        "prompt": "{{ text }}",
        "credits": {"gpt-4o": 4},
        "limits": {"failures": "100%"},
        "eval": {"variants": variants, "target": "target"} | section,
    }
    world = read_world()
    spec = load(flow.job(**given | (job or {})), {}, world)
    return evaluate(spec, world, Options(transport=flow.emulator.transport(), seed=1, yes=True), against)


def appraisal_of(flow: Flow) -> Appraisal:
    """What stands in the output directory of an evaluation."""
    output = flow.output
    evidence = Evidence(
        output, spec_of(output), history_of(output), read_summary(output) or {}, output / "results.parquet"
    )
    return Appraisal(evidence, evaluation_in(output), scores_in(output))


def appraised(flow: Flow, targets: Sequence[str], said: dict[str, Sequence[str]], **more: Any) -> Appraisal:
    """``evaluated``, and what stands there then."""
    evaluated(flow, targets, said, **more)
    return appraisal_of(flow)


def texts_of(table: Any) -> list[list[str]]:
    """The cells of a table as text, row by row."""
    return [[cell if isinstance(cell, str) else getattr(cell, "text", "") for cell in row] for row in table.rows]
