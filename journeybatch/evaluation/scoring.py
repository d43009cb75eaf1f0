"""Scorers at work: the columns of results in, one score a row out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch import repair
from journeybatch.answers import Contract
from journeybatch.errors import SpecError
from journeybatch.evaluation import choices, judge, structured, usercode
from journeybatch.evaluation.score import Score, unscored
from journeybatch.evaluation.scorers import KINDS, Scorer, check_field

if TYPE_CHECKING:
    import polars as pl

_NO_TARGET = unscored("the row has no target")
_NULL = Score(0.0, None, "the field is null")


class Ready(msgspec.Struct, frozen=True):
    """A scorer bound to a job: the column ``answers`` it looks at, the column ``targets`` (empty: none), its options
    with their files read, and the job's ``prefix`` before what the results add."""

    scorer: Scorer
    answers: str
    targets: str
    options: Any
    prefix: str = ""


def ready(
    scorer: Scorer, contract: Contract, columns: Sequence[str], target: str, folder: Path, prefix: str = ""
) -> Ready:
    """Bind a ``scorer`` to a job whose replies are read by ``contract`` and whose input has ``columns``, ``target``
    among them (empty: none). Files are relative to ``folder``; ``prefix`` stands before what the results add. Runs the
    user's own code if that is the scorer.

    Raises SpecError, before anything is sent: a field, column, file or function that is not there or does not fit.
    """
    try:
        field = check_field(scorer, contract.fields)
    except ValueError as error:
        raise SpecError(str(error)) from None
    wanted = scorer.target or target
    if scorer.needs_target and not wanted:
        raise SpecError(f"{scorer.name}: it needs a target: give eval.target, or a value: {{{scorer.kind}: …}}")
    options = scorer.options
    needs = options.needs if isinstance(options, choices.Choice | judge.Judge) else ()
    used = (*needs, *([wanted] if wanted and scorer.value is None and not KINDS[scorer.kind].raw else []))
    for column in used:
        if column not in columns:
            raise SpecError(f"{scorer.name}: no column is called {column!r} (columns: {', '.join(columns)})")
    if isinstance(options, structured.Schema):
        options = structured.loaded(options, folder)
    elif isinstance(options, usercode.Source):
        options = usercode.imported(options, folder)
    answers = prefix + (field or ("jb_text" if contract.structured else contract.column))
    return Ready(scorer, answers, wanted if used[len(needs) :] else "", options, prefix)


def score(ready: Ready, results: pl.DataFrame) -> pl.DataFrame:
    """The scores of ``results`` (rows of results.parquet, in any batches): columns ``value`` (Float64, null:
    unscored), ``answer`` and ``explanation`` (String), one row for each, in the same order.

    Not for ``model-graded``, whose scores are another job's results. Never raises for what replies or cells hold.
    """
    import polars as pl

    grade = KINDS[ready.scorer.kind].grade
    if grade is None:
        raise ValueError(f"{ready.scorer.name} is asked of a model, not computed")
    said, wanted, scores = _columns(ready, results)
    places = [place for place, known in enumerate(scores) if known is None]
    graded = grade(
        ready.options,
        [said[place] for place in places],
        [wanted[place] for place in places],
        _rows(results, places),
    )
    for place, found in zip(places, graded, strict=True):
        scores[place] = final(ready.scorer, found)
    whole = [one for one in scores if one is not None]
    return pl.DataFrame(
        {
            "value": pl.Series([one.value for one in whole], dtype=pl.Float64),
            "answer": pl.Series([one.answer and repair.string(one.answer) for one in whole], dtype=pl.String),
            "explanation": pl.Series([repair.string(one.explanation) for one in whole], dtype=pl.String),
        }
    )


def _columns(ready: Ready, results: pl.DataFrame) -> tuple[list[Any], list[Any], list[Score | None]]:
    """Answers, targets, and the scores of rows about which there is nothing to grade."""
    scorer = ready.scorer
    own = scorer.kind == "python"
    said = results[ready.answers].to_list()
    wanted = results[ready.targets].to_list() if ready.targets else [scorer.value] * len(said)
    errors = results[f"{ready.prefix}jb_error"].to_list() if f"{ready.prefix}jb_error" in results.columns else said
    scores: list[Score | None] = [None] * len(said)
    for place, status in enumerate(results[f"{ready.prefix}jb_status"]):
        if status != "answered":
            scores[place] = unscored(f"the row has no reply ({errors[place] if status == 'failed' else status})")
        elif KINDS[scorer.kind].target and is_blank(wanted[place]):
            scores[place] = _NO_TARGET
        elif said[place] is None and not own:
            scores[place] = final(scorer, _NULL)
        elif isinstance(said[place], str) and not KINDS[scorer.kind].raw and not own:
            try:
                said[place] = repair.after_thinking(said[place])
            except repair.Unreadable:
                scores[place] = final(scorer, Score(0.0, None, "the reasoning was cut off before an answer"))
    return said, wanted, scores


def is_blank(target: Any) -> bool:
    """Whether a cell is no target."""
    return target is None or (isinstance(target, str) and not target.strip())


def _rows(results: pl.DataFrame, places: list[int]) -> Iterator[Mapping[str, Any]]:
    """The rows at ``places``, made only if somebody reads them."""
    yield from results[places].iter_rows(named=True)


def final(scorer: Scorer, score: Score) -> Score:
    """The score once the threshold is applied and ``not-`` is done."""
    value = score.value
    if value is None:
        return score
    if scorer.threshold is not None:
        value = float(value >= scorer.threshold)
    if scorer.negated:
        value = 1 - value
    return score if value == score.value else Score(value, score.answer, score.explanation)
