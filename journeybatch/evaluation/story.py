"""The story of an evaluation, top to bottom: asked like any job, judged by another, scored, compared, written down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from journeybatch import __version__, runner
from journeybatch.conclusion import Report
from journeybatch.directory import EVALUATION, read_directory
from journeybatch.errors import JobError, TableError
from journeybatch.evaluation import assessment, changes, gate
from journeybatch.evaluation import judge as judging
from journeybatch.evaluation.changes import SCORES
from journeybatch.evaluation.classification import Classification, classify
from journeybatch.evaluation.estimates import Terms
from journeybatch.evaluation.grading import Grading, bind_scorers, graded, judges_job, questions_of
from journeybatch.evaluation.outcome import Evaluation
from journeybatch.evaluation.score import Score
from journeybatch.history import History
from journeybatch.job import Job, World, bind
from journeybatch.journal import NAME
from journeybatch.loading import load_job
from journeybatch.parquet import write_parquet
from journeybatch.preparation import Options, kept_input
from journeybatch.reading import reread
from journeybatch.results import RESULTS
from journeybatch.spec import JobSpec
from journeybatch.summary import write_json

if TYPE_CHECKING:
    import polars as pl


class Ended(msgspec.Struct, frozen=True):
    """How a call of ``evaluate`` ended. ``report`` is the run's, or that of the judge whose run was stopped;
    ``evaluation`` is None where something was stopped before all was asked."""

    report: Report
    evaluation: Evaluation | None = None

    @property
    def exit_code(self) -> int:
        """The run's, and 1 where the gate is missed."""
        missed = self.evaluation is not None and not self.evaluation.passed
        return max(self.report.exit_code, 1) if missed else self.report.exit_code


def evaluate(spec: JobSpec, world: World, options: Options, against: Path | None = None) -> Ended:
    """Ask all variants, score their replies and compare them; ``against``: the output directory of an earlier
    evaluation. What was asked before is not asked again.

    Raises:
        JobError: the job must be mended first; nothing was sent.
    """
    job = bind(spec, world, limit=options.limit)
    grading = check(spec, job)
    earlier = changes.earlier_scores(against) if against is not None else None
    report = runner.run(spec, world, options)
    if report.exit_code not in (0, 1):
        return Ended(report)
    spent = report.summary["credits"]["spent"] + report.summary["credits"]["unknown_max"]
    limit = report.summary["credits"]["cap"]
    scene = _look(spec, world, options, grading)
    judged: dict[str, list[Score]] = {}
    cost = 0
    for each in grading.judges:
        cap = None if limit is None else max(0, limit - spent - cost)
        asked = judges_job(spec, each, questions_of(scene.job, each, scene.results), scene.results, cap)
        judge_options = msgspec.structs.replace(options, fresh=False, limit=None)
        told = runner.run(load_job(asked, environ=world.environ), world, judge_options)
        if told.exit_code not in (0, 1):
            return Ended(told)
        cost += told.summary["credits"]["spent"] + told.summary["credits"]["unknown_max"]
        judged[each.scorer.name] = judging.verdicts(each.options, _read(told.results), scene.results.height)
    return Ended(report, _conclude(scene, judged, earlier, report, cost))


def check(spec: JobSpec, job: Job) -> Grading:
    """The scorers, once everything is checked that can be before a credit is spent. Raises SpecError."""
    grading = bind_scorers(spec, job)
    if spec.eval is not None:
        gate.check_gate(spec.eval, grading.names)
        Terms(spec.eval.confidence, seed=spec.eval.seed)
    return grading


# -- scenes ---------------------------------------------------------------------------------------------------


class _Scene(msgspec.Struct, frozen=True):
    """What stands in the output directory once all is asked: the results as a table, without prefix for ours."""

    spec: JobSpec
    job: Job
    grading: Grading
    history: History
    results: pl.DataFrame
    alone: pl.Series


def _look(spec: JobSpec, world: World, options: Options, grading: Grading) -> _Scene:
    history = read_directory(spec.output, spec.name)
    job = bind(spec, world, limit=options.limit, path=kept_input(spec, spec.output))
    reread(history, spec.output / NAME, job.reader)
    facts = job.stand(history, job.survey()).facts
    alone = facts["alone" if "alone" in facts.columns else "credits"] / 1_000_000
    results = _read(spec.output / RESULTS)
    if results.height != len(alone):
        raise TableError(f"{spec.output}: the results are not those of this input; run again")
    return _Scene(spec, job, grading, history, results, alone)


def _read(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(f"{path}: cannot be read: {error}; `journeybatch export` writes it anew") from None


def _conclude(
    scene: _Scene, judged: dict[str, list[Score]], earlier: pl.DataFrame | None, report: Report, judging_cost: int
) -> Evaluation:
    import polars as pl

    spec, job, grading = scene.spec, scene.job, scene.grading
    section = spec.eval
    if section is None:
        raise JobError("this job compares nothing")
    keys = ["row", "variant", *(["sample"] if spec.samples > 1 else [])]
    scores = graded(grading, scene.results, judged, keys)
    if spec.samples == 1:
        scores.insert_column(2, pl.Series("sample", [0] * scores.height, dtype=pl.Int32))
    _write_scores(spec, scene.history, scores)
    material, terms, deciding = _material(scene, scores), Terms(section.confidence, seed=section.seed), grading.names[0]
    found = assessment.findings(material, grading.names, section.baseline, terms)
    only = None if grading.weighted else grading.scorers[0].scorer
    variants = assessment.describe(material, found, deciding, only, terms)
    comparisons = {name: each.comparisons for name, each in found.items()}
    evaluation = Evaluation(
        job=spec.name,
        run=report.summary["run"],
        emulated=report.summary["emulated"],
        rows=scene.results.height // job.ask.width,
        samples=spec.samples,
        confidence=section.confidence,
        target=section.target,
        group=section.group,
        baseline=section.baseline,
        scorers=grading.names,
        deciding=deciding,
        verdict=assessment.verdict(variants, found[deciding], deciding, section.baseline),
        variants=variants,
        comparisons=comparisons,
        pareto=assessment.front(variants, deciding),
        judges=_agreement(grading, judged, scene.results),
        gate=gate.checks(section, variants, comparisons, deciding),
        changes=None
        if earlier is None
        else changes.compare_with(earlier, scores, deciding, job.variants, section.correct),
        left_out=job.left_out,
        spent=report.summary["credits"]["spent"] + judging_cost,
        judging=judging_cost,
    )
    write_json(spec.output / EVALUATION, evaluation.json())
    return evaluation


def _material(scene: _Scene, scores: pl.DataFrame) -> assessment.Material:
    import polars as pl

    spec, job, prefix = scene.spec, scene.job, scene.spec.output_prefix or ""
    section = spec.eval
    none = pl.lit(None)
    columns = [pl.col(f"{prefix}jb_{name}").alias(name) for name in ("row", "variant", "status", "latency_s")]
    target, group = (section.target, section.group) if section else (None, None)
    results = scene.results.select(
        *columns,
        (pl.col(target) if target else none).alias("target"),
        (pl.col(group) if group else none).alias("group"),
        alone=scene.alone,
    )
    models = {way.name: tuple(tier.model for tier in way.tiers) for way in job.ways}
    return assessment.Material(results, scores, job.variants, models, spec.samples, group is not None)


def _agreement(grading: Grading, judged: dict[str, list[Score]], results: pl.DataFrame) -> dict[str, Classification]:
    """How well judges agree with people, where people graded some answers."""
    found = {}
    for each in grading.judges:
        if each.options.labels:
            pairs = judging.labelled(each.options, judged[each.scorer.name], results[each.options.labels])
            if pairs:
                said, wanted = zip(*pairs, strict=True)
                found[each.scorer.name] = classify(list(wanted), list(said))
    return found


def _write_scores(spec: JobSpec, history: History, scores: pl.DataFrame) -> None:
    metadata = {
        "journeybatch.job": spec.name,
        "journeybatch.version": __version__,
        "journeybatch.emulated": "true" if history.emulated else "false",
    }

    def whole(frame: pl.LazyFrame) -> None:
        import polars as pl

        if frame.select(pl.len()).collect().item() != scores.height:
            raise TableError(f"{SCORES}: what was written reads back differently; the last good file stays")

    write_parquet(spec.output / SCORES, iter([scores]), dict(scores.schema), metadata, whole)
