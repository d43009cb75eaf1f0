"""What a run of a job would do: its plan, and what a user should hear besides the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from journeybatch.asking import Ask
from journeybatch.calibration import foresee_pilot
from journeybatch.costs import Cost, cost
from journeybatch.database import is_ordered
from journeybatch.errors import JobError, TemplateError
from journeybatch.history import History
from journeybatch.job import Job
from journeybatch.journal import NAME
from journeybatch.planning import Plan, plan
from journeybatch.standing import Standing
from journeybatch.survey import Survey
from journeybatch.tally import tallied

if TYPE_CHECKING:
    import polars as pl


def plan_job(
    job: Job,
    surveyed: Survey,
    history: History,
    now: float,
    *,
    reparsed: bool = False,
    standing: Standing | None = None,
) -> Plan:
    """What a run of ``job`` would do ``now`` (Unix seconds) on top of ``history``; ``reparsed``: replies that could be
    read before can be read no more; ``standing``: where the rows stand now, if that is known. Raises OutputError for a
    file of the day's credits that is foreign or damaged."""
    standing, sizing = standing or job.stand(history, surveyed, now), job.sizing(history)
    planned = plan(surveyed, standing, job.asks, sizing, concurrency=job.spec.concurrency.most, history=history)
    if job.rows(history) is None:
        planned = _with_pilot(job, planned, foresee_pilot(job, history, surveyed, standing, job.spec.output / NAME))
    planned = msgspec.structs.replace(planned, edited=asked_again(job, planned, surveyed, history, reparsed))
    return msgspec.structs.replace(
        planned,
        warnings=_warnings(job, planned, now),
        notes=_notes(job, planned, surveyed, standing) + _decisions(job, history, surveyed),
    )


def _with_pilot(job: Job, planned: Plan, requests: tuple[int, int] | None) -> Plan:
    """``planned`` with what the first model is asked by a pilot and after it, in so many requests."""
    if requests is None:
        return planned
    costs, (_, _, price) = planned.costs, job.asks[0][0]
    alone = cost(int(planned.wanted[0].sum()), price)
    best, worst = (cost(number, price) - alone for number in requests)
    outlook = msgspec.structs.replace(
        costs,
        after_packing=cost(requests[0], job.asks[0][-1][2]),
        best=costs.best + best,
        expected=None,
        worst=costs.worst + worst,
    )
    return msgspec.structs.replace(
        planned,
        costs=outlook,
        requests=outlook.best.requests,
        credits_min=outlook.best.credits_min,
        credits_expected=None,
        credits_max=outlook.worst.credits_max,
    )


def _decisions(job: Job, history: History, surveyed: Survey) -> list[str]:
    """What a measurement decided, or will."""
    if job.spec.pack.rows == "auto" and job.rows(history) is None:
        return [
            f"pack: auto: a pilot asks about {job.spec.pack.pilot} rows alone and in packs of growing sizes; the plan "
            "tells the best and the worst it may find; where it cannot pay there is none, and each row goes alone"
        ]
    return [f"{found.what}: {found.why}" for found in job.decisions(history, surveyed)]


def asked_again(job: Job, planned: Plan, surveyed: Survey, history: History, reparsed: bool = False) -> int:
    """How many distinct prompts have an answer under the spec that ran last, or a reply that the old ``answer`` (or,
    ``reparsed``, the old parser) could read, and would be asked anew under this one.

    Answers of an emulator cost nothing and are not counted.
    """
    began = history.began
    if began is None or began.emulated or not planned.requests:
        return 0
    if began.ask == job.ask.text and began.reading == job.reader.identity and not reparsed:
        return 0
    heard = _heard(history)
    if began.ask == job.ask.text:
        return int(surveyed.keys.filter(planned.wanted[0]).is_in(heard.implode()).sum())
    try:
        earlier = Ask.parse(began.ask, tuple(job.schema))
    except (JobError, TemplateError, msgspec.MsgspecError):  # its columns are gone: no row can be told to be the same
        return min(planned.prompts, len(heard))
    before = job.survey(ask=earlier)
    return _known_before(planned.wanted[0], surveyed.width, before, heard)


def _heard(history: History) -> pl.Series:
    """The keys that ever got a whole reply, readable or not."""
    import polars as pl

    return pl.concat([part.filter(pl.col("replies") > 0)["key"] for part in tallied(history)])


def _known_before(wanted: pl.Series, width: int, before: Survey, heard: pl.Series) -> int:
    """How many of the ``wanted`` places, ``width`` to a row, stand for a row and sample that ``before`` had a key
    for, and that was ``heard``."""
    import polars as pl

    place = pl.int_range(len(wanted), eager=True)
    row, sample = place // width, place % width
    same = sample < before.width
    keys = before.keys.gather((row * before.width + sample).filter(same))
    return int((wanted.filter(same) & keys.is_in(heard.implode()).fill_null(False)).sum())


def edit_of(planned: Plan, *, reparsed: bool = False) -> str:
    """What an edited spec, or reading all replies again, would ask anew, and what that costs: these prompts' part of
    the plan."""
    part = [-(-credits * planned.edited // planned.prompts) for credits in (planned.credits_min, planned.credits_max)]
    costs = Cost(planned.edited, *part).credits
    what, old = ("replies were read again", "reading") if reparsed else ("spec was edited", "one")
    return (
        f"the {what}: {planned.edited} of {planned.prompts} prompts to ask were already answered under the old {old}; "
        f"asking them again costs {costs} credits"
    )


def _warnings(job: Job, planned: Plan, now: float) -> list[str]:
    """What may turn out badly."""
    warnings = []
    cap, spec = job.spec.limits.credits, job.spec
    for tier in job.tiers:
        price = tier.price
        if price.least != price.most and planned.requests:
            warnings.append(
                f"{tier.model} costs {price.least} to {price.most} credits a request, its exact price is not known "
                f"({price.source}); give it with `credits: {{{tier.model}: N}}`, or learn it with "
                f"`journeybatch models --measure {tier.model}`"
            )
        if tier.left_out:
            warnings.append(f"{tier.model} refuses {', '.join(tier.left_out)}: it is asked without")
    if spec.pack.rows != 1:
        warnings.append(
            "rows of one request can influence each other, and a cell may carry instructions: pack only what is "
            "independent and not hostile (docs/how-to/pack.md)"
        )
    if cap is not None and planned.credits_max > cap:
        may = "will" if planned.credits_min > cap else "may"
        warnings.append(f"the plan exceeds limits.credits: {cap}; the run {may} stop there, and can be resumed")
    left = job.left_today(now)
    if left is not None and planned.credits_max > left:
        may = "will" if planned.credits_min > left else "may"
        warnings.append(
            f"the plan exceeds what is left today of limits.credits_per_day: {left} of {spec.limits.credits_per_day}; "
            f"the run {may} stop there, and goes on when it is run another day (UTC)"
        )
    if planned.edited:
        warnings.append(f"{edit_of(planned)}; a run asks before it does that")
    if not planned.rows:
        warnings.append("the input has no rows")
    elif spec.input.query is not None and not is_ordered(spec.input.query):
        warnings.append(
            "input.query has no `order by`: rows may come in another order every time; that asks none of them anew, "
            "but results.parquet follows it"
        )
    return warnings


def _notes(job: Job, planned: Plan, surveyed: Survey, standing: Standing) -> list[str]:
    """What the numbers count, and what they do not."""
    spec, cheap = job.spec, " and ".join(dict.fromkeys(tier.model for way in job.ways for tier in way.tiers[:-1]))
    notes = []
    if spec.samples > 1:
        notes.append(f"each row is asked {_times(spec.samples)} (samples)")
    if spec.rules.disagree > 1:
        notes.append(f"{cheap}: asked {_times(spec.rules.disagree)} for each row, to see whether the answers agree")
    if not planned.requests:
        return notes
    if isinstance(spec.pack.rows, int) and spec.pack.rows > 1:
        more = asked_anew(spec.pack.rows)
        notes.append(
            "what a packed reply leaves out is asked again in smaller packs, in the end alone: a reply to "
            f"{spec.pack.rows} rows that says nothing of use costs up to {more} requests more"
        )
    if job.tries > 1:
        prompts = [[int(rows.sum()) for rows in surveyed.by_way(step)] for step in standing.ahead]
        most = sum(
            number * price.most
            for way, asks in enumerate(job.asks)
            for (_, _, price), number in zip(asks, (step[way] for step in prompts), strict=True)
        ) * (job.tries - 1)
        times = "once more" if job.tries == 2 else f"up to {job.tries - 1} times more"
        notes.append(
            f"each unreadable reply is asked again, {times}: at most {most} credits besides (answer.on_invalid)"
        )
    if "invalid" in spec.rules.on:
        notes.append(f"an unreadable reply of {cheap} sends its row up: the worst case counts that")
    return notes


def _times(number: int) -> str:
    return "twice" if number == 2 else f"{number} times"


def asked_anew(rows: int) -> int:
    """How many requests more a pack of ``rows`` takes of which nothing can ever be read: its rows go into packs of half
    the size, and so on down to one row each."""
    half = rows // 2
    if half == 0:
        return 0
    whole, rest = divmod(rows, half)
    return whole * (1 + asked_anew(half)) + (1 + asked_anew(rest) if rest else 0)
