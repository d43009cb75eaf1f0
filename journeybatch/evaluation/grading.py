"""Every reply of an evaluation, scored: computed here, or asked of a judge, which is a job of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch.errors import SpecError, TemplateError
from journeybatch.evaluation import judge as judging
from journeybatch.evaluation.judge import Judge
from journeybatch.evaluation.score import Score
from journeybatch.evaluation.scorers import parse
from journeybatch.evaluation.scoring import Ready, final, is_blank, ready, score
from journeybatch.job import Job
from journeybatch.spec import JobSpec

if TYPE_CHECKING:
    import polars as pl

OVERALL = "overall"
"""The weighted mean of all scorers, where a scorer has a weight."""


class Grading(msgspec.Struct, frozen=True):
    """The scorers of an evaluation, bound to its job. ``weighted``: their weighted mean decides, and not the first."""

    scorers: tuple[Ready, ...]
    weighted: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all scores, the one that decides first."""
        names = tuple(each.scorer.name for each in self.scorers)
        return (OVERALL, *names) if self.weighted else names

    @property
    def judges(self) -> tuple[Ready, ...]:
        """Those that are asked of a model."""
        return tuple(each for each in self.scorers if each.scorer.asks)


def bind_scorers(spec: JobSpec, job: Job) -> Grading:
    """The scorers of a job, checked against its table and its answer. Runs the user's own code, if that is one.

    Raises SpecError, before anything is sent.
    """
    if spec.eval is None:
        raise SpecError("this job has no 'eval' section: there is nothing to compare")
    try:
        scorers = parse(spec.eval.scorers)
    except ValueError as error:
        raise SpecError(f"eval.scorers: {error}") from None
    columns = tuple(job.schema)
    for key, column in (("target", spec.eval.target), ("group", spec.eval.group)):
        if column is not None and column not in columns:
            raise SpecError(f"eval.{key}: no column is called {column!r} (columns: {', '.join(columns)})")
    folder = spec.path.parent if spec.path else Path.cwd()
    prefix, target = spec.output_prefix or "", spec.eval.target or ""
    try:
        bound = [ready(each, spec.answer.contract, columns, target, folder, prefix) for each in scorers]
    except SpecError as error:
        raise SpecError(f"eval.scorers: {error}") from None
    return Grading(tuple(bound), any(each.weight is not None for each in scorers))


def graded(
    grading: Grading, results: pl.DataFrame, judged: Mapping[str, Sequence[Score]], keys: list[str]
) -> pl.DataFrame:
    """The scores of all ``results``: the columns ``keys`` (row, variant, sample, without prefix), ``scorer``, ``value``
    (null: unscored), ``answer`` and ``explanation``; scorer by scorer. ``judged`` has those asked of judges."""
    import polars as pl

    prefix = grading.scorers[0].prefix
    places = results.select(pl.col(f"{prefix}jb_{key}").alias(key) for key in keys)
    found = {}
    for each in grading.scorers:
        name = each.scorer.name
        frame = _told([final(each.scorer, one) for one in judged[name]]) if each.scorer.asks else score(each, results)
        found[name] = places.with_columns(scorer=pl.lit(name)).hstack(frame)
    if grading.weighted:
        found = {OVERALL: _overall(grading, found, results)} | found
    return pl.concat(found.values())


def _overall(grading: Grading, found: Mapping[str, pl.DataFrame], results: pl.DataFrame) -> pl.DataFrame:
    """The weighted mean of all scores; unscored where any of them is. A scorer with a target column of its own has no
    say about rows where that is empty."""
    import polars as pl

    sums, whole = pl.lit(0.0), pl.lit(0.0)
    for each in grading.scorers:
        value, weight = pl.lit(found[each.scorer.name]["value"]), each.scorer.weight or 1.0
        has_say = pl.lit(True)
        if each.scorer.target:
            has_say = pl.lit(pl.Series([not is_blank(target) for target in results[each.targets].to_list()]))
        sums += pl.when(has_say).then(value * weight).otherwise(0.0)
        whole += pl.when(has_say).then(weight).otherwise(0.0)
    first = found[grading.scorers[0].scorer.name]
    mean = pl.when(whole > 0).then(sums / whole)
    return first.with_columns(
        scorer=pl.lit(OVERALL), value=mean, answer=pl.lit(None, pl.String), explanation=pl.lit("")
    )


def _told(scores: Sequence[Score]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(
        {
            "value": pl.Series([one.value for one in scores], dtype=pl.Float64),
            "answer": pl.Series([one.answer for one in scores], dtype=pl.String),
            "explanation": pl.Series([one.explanation for one in scores], dtype=pl.String),
        }
    )


# -- judges ---------------------------------------------------------------------------------------------------


def judges_job(
    spec: JobSpec, each: Ready, questions: pl.Series, results: pl.DataFrame, cap: int | None
) -> dict[str, Any]:
    """The job that asks a judge about the answers in ``results``: with the endpoint, pace and prices of ``spec``, in
    a directory inside its output, and with what is left of the cap."""
    options: Judge = each.options
    targets = results[each.targets] if each.targets else None
    model = options.model or spec.models[-1]
    limits = spec.limits.model_dump(mode="json", exclude={"credits", "failures", "day_ledger"}, exclude_none=True)
    day = {"day_ledger": str(spec.limits.day_ledger or spec.output / "credits-per-day")}
    return {
        "name": f"{spec.name}-{each.scorer.name}",
        "input": judging.table(options, questions, results[each.answers], targets),
        "prompt": judging.PROMPT,
        "model": model,
        "answer": judging.answer(options),
        "concurrency": spec.concurrency,
        "limits": limits | ({} if cap is None else {"credits": cap}) | (day if "credits_per_day" in limits else {}),
        "retry": spec.retry.model_dump(mode="json"),
        "api": spec.api.model_dump(mode="json", exclude_none=True),
        "credits": spec.model_dump(mode="json", include={"credits"})["credits"],
        "output": str(spec.output / "judges" / each.scorer.name),
    }


def questions_of(job: Job, each: Ready, results: pl.DataFrame) -> pl.Series:
    """What every answer in ``results`` is the answer to: a column, or the last message as it was asked."""
    import polars as pl

    if each.options.question:
        column: str = each.options.question
        return results[column]
    asked: list[str] = []
    for frame in job.frames():
        for rendered in zip(*(template.render_batch(frame) for template in job.ask.templates), strict=True):
            for messages in rendered:
                text = "" if isinstance(messages, TemplateError) else messages[-1].content
                asked += [text] * job.ask.samples
    return pl.Series("question", asked, dtype=pl.String)
