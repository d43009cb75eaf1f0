"""Decisions by measurement: how many rows go into a request, by a pilot; below which score a row goes up, by labels.

What is to be asked for a decision, and what it comes to, are questions to the history: a killed pilot goes on where it
was, and what is known is never asked again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from journeybatch.agreement import agrees, ladder, rows_needed
from journeybatch.archive import mapped
from journeybatch.decision import BOUND, SIZE, bound_basis, size_basis
from journeybatch.entries import Decided, Tried
from journeybatch.guarantee import Labelled, candidates, threshold
from journeybatch.history import History
from journeybatch.job import Job
from journeybatch.packing import Limit
from journeybatch.pilot import Findings, Pilot, draw, find, form
from journeybatch.planning import pack_counter
from journeybatch.records import Prompt, Request
from journeybatch.results import Replies
from journeybatch.standing import Standing
from journeybatch.states import scores_of
from journeybatch.survey import Survey
from journeybatch.tally import tally

if TYPE_CHECKING:
    import polars as pl


def decide(job: Job, history: History, surveyed: Survey, path: Path, now: float) -> list[Decided]:
    """Make the decisions that the ``history`` of the journal at ``path`` suffices for, and fold them into it. Returns
    the entries for whoever holds the journal open."""
    sized = job.rows(history) is not None
    if sized and (not job.spec.rules.score or job.bound(history, surveyed) is not None):
        return []  # nothing is left to measurement
    made: list[Decided] = []
    standing = job.stand(history, surveyed, now)
    pilot = pilot_of(job, history, surveyed, standing)
    if pilot is not None and not singles(surveyed, standing, pilot).any():
        found = look(job, history, pilot, path)
        made += [] if found.packs else [choose_size(job, found, now)]
    if standing.unbound and not any(rows.any() for rows in standing.wanted):
        made.append(choose_bound(job, history, surveyed, path, now))
    for entry in made:
        history.fold(entry, 0)
    return made


# -- how many rows go into a request --------------------------------------------------------------------------


def pilot_of(job: Job, history: History, surveyed: Survey, standing: Standing) -> Pilot | None:
    """The pilot that a job wants; None where the size is known, or where a pilot costs what packing could save."""
    import polars as pl

    if job.rows(history) is not None:
        return None
    pack, a = job.spec.pack, history.attempts
    answers = tally(history).drop_nulls("answer").select("key", "answer")
    in_packs = pl.Series([key for key, i in answers.iter_rows() if a.prompts(i) > 1], dtype=pl.Binary)
    sizes = ladder(pack.most)
    places = draw(surveyed, in_packs, sizes[-1] * math.ceil(pack.pilot / sizes[-1]))
    pilot = form(surveyed, places, sizes, job.sizing(history))
    return (
        pilot if len(places) >= rows_needed(pack.agreement) and _pays(job, history, surveyed, standing, pilot) else None
    )


def _pays(job: Job, history: History, surveyed: Survey, standing: Standing, pilot: Pilot) -> bool:
    rest = standing.wanted[0] & ~_sampled(surveyed, pilot)
    trials = sum(len(packs) for packs in pilot.packs.values())
    return trials + count(job, history, surveyed, rest, max(pilot.packs)) < int(rest.sum())


def count(job: Job, history: History, surveyed: Survey, rows: pl.Series, size: int) -> int:
    """How many requests ask the marked rows of the first step in packs of ``size``."""
    sizing = job.sizing(history)
    limit = Limit(size, sizing.limit.characters)
    return pack_counter(surveyed, msgspec.structs.replace(sizing, limit=limit))(0, rows)


def foresee_pilot(
    job: Job, history: History, surveyed: Survey, standing: Standing, path: Path
) -> tuple[int, int] | None:
    """How many requests the first step takes at the least and at the most, whatever the pilot finds; None where there
    is none to ask."""
    pilot = pilot_of(job, history, surveyed, standing)
    if pilot is None:
        return None
    alone = singles(surveyed, standing, pilot)
    rest = standing.wanted[0] & ~alone
    passed, left = [1], dict(pilot.packs)
    if not alone.any():
        found = look(job, history, pilot, path)
        passed += [trial.size for trial in found.trials]
        left = {size: packs for size, packs in pilot.packs.items() if size not in passed}
        left |= {found.size: found.packs} if found.packs else {}
    spent, totals = int(alone.sum()), []
    for size, packs in sorted(left.items()):  # this one is asked, and fails
        spent += len(packs)
        totals.append(spent + count(job, history, surveyed, rest, passed[-1]))
        passed.append(size)
    totals.append(spent + count(job, history, surveyed, rest, passed[-1]))
    return min(totals), max(totals)


def singles(surveyed: Survey, standing: Standing, pilot: Pilot) -> pl.Series:
    """Which rows of the pilot are yet to be asked alone."""
    return standing.wanted[0] & _sampled(surveyed, pilot)


def _sampled(surveyed: Survey, pilot: Pilot) -> pl.Series:
    import polars as pl

    keys = pl.Series(list(pilot.places), dtype=pl.Binary)
    return surveyed.keys.is_in(keys.implode()).fill_null(False)


def look(job: Job, history: History, pilot: Pilot, path: Path) -> Findings:
    """What the pilot has come to."""
    pack, a = job.spec.pack, history.attempts
    answers = dict(tally(history).drop_nulls("answer").select("key", "answer").iter_rows())
    alone = {key: i for key in pilot.places if (i := answers.get(key)) is not None and a.prompts(i) == 1}
    ruling = {name for name, _ in job.spec.rules.below} | {job.spec.rules.score}
    with mapped(path) as journal:
        replies = Replies(history, job.reader, journal)

        def values(attempt: int, key: bytes) -> dict[str, object]:
            read = replies.of(attempt, key)[2].values
            compared = pack.compare or [name for name in read if name not in ruling] or list(read)
            return {name: read.get(name) for name in compared}

        return find(pilot, history, pack.agreement, values, alone)


def tried(pilot: Pilot, found: Findings) -> Tried:
    """The entry that goes before the packs to be asked next."""
    keys = [key for pack in found.packs for key in pack]
    return Tried(b"".join(keys), b"".join(pilot.trial(found.size, key) for key in keys), found.size)


def trial_requests(
    job: Job, history: History, surveyed: Survey, pilot: Pilot, found: Findings, numbers: Iterator[int]
) -> Iterator[Request]:
    """The requests that ask the packs to be asked next. Raises InputChanged."""
    asked = {prompt.key: prompt for _, prompt in job.prompts(surveyed, 0, _first(surveyed, pilot))}
    packs = ([Prompt(pilot.trial(found.size, key), asked[key].messages) for key in pack] for pack in found.packs)
    return job.compose(packs, 0, history, numbers)


def _first(surveyed: Survey, pilot: Pilot) -> pl.Series:
    """Marks the rows of the pilot, each prompt once."""
    import polars as pl

    places = pl.Series(list(pilot.places.values()), dtype=pl.Int64)
    return pl.Series(pl.int_range(surveyed.rows, eager=True).is_in(places.implode()))


def choose_size(job: Job, found: Findings, now: float) -> Decided:
    """The size that the findings show to agree."""
    choice = found.choice(job.spec.pack.agreement)
    return Decided(SIZE, size_basis(job.spec, job.ask.text, job.reader.identity), choice.size, choice.why, now)


# -- below which score a row goes up --------------------------------------------------------------------------


def choose_bound(job: Job, history: History, surveyed: Survey, path: Path, now: float) -> Decided:
    """The bound that keeps the guarantee, once the cheap model has answered every row it can."""
    given, labels = job.spec.guarantee, surveyed.labels
    if given is None or labels is None:
        raise ValueError("this job guarantees nothing")
    tallied = tally(history, job.since(history))
    scores = dict(zip(tallied["key"], scores_of(tallied["sense"]), strict=True))
    grid = candidates(scores.get(key) for key in surveyed.keys.drop_nulls().unique())
    found = threshold(_labelled(job, history, surveyed, path, scores), given.agreement, given.confidence, grid)
    basis = bound_basis(job.spec, job.ask.text, job.reader.identity, labels.digest)
    return Decided(BOUND, basis, found.below, found.rule, now)


def _labelled(job: Job, history: History, surveyed: Survey, path: Path, scores: dict[bytes, float]) -> list[Labelled]:
    """The labelled prompts, each once. One that has no answer, or one that goes up by another rule, has no score."""
    labels, name = surveyed.labels, job.spec.labelled
    if labels is None or name is None:
        return []
    rules = job.spec.rules
    answered = tally(history, job.since(history)).drop_nulls("answer").select("key", "answer", "code")
    answers = {key: (i, code) for key, i, code in answered.iter_rows()}
    keys = surveyed.keys.gather_every(surveyed.samples).gather(labels.rows["row"])
    known = dict(zip(keys.reverse(), labels.rows["label"].reverse(), strict=True))  # the first of a key stays
    found = []
    with mapped(path) as journal:
        replies = Replies(history, job.reader, journal)
        for key, label in known.items():
            attempt, code = answers.get(key, (None, 0))
            if attempt is None or code in rules.up:
                found.append(Labelled(None, False))
                continue
            said = replies.of(attempt, key)[2].values.get(name)
            found.append(Labelled(scores[key], said is not None and agrees(_text(said), label)))
    return found


def _text(value: object) -> str:
    """A value as the table's own text of it would be: a label is compared as text, numbers by their value."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
