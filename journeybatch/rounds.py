"""What a run asks, round by round: what is left to ask once a round is done is a question to the history."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator
from itertools import chain

from journeybatch.calibration import choose_size, decide, look, pilot_of, singles, trial_requests, tried
from journeybatch.concurrency import InFlight
from journeybatch.dispatch import Dispatch, Terms
from journeybatch.entries import GivenUp
from journeybatch.history import History
from journeybatch.job import Job
from journeybatch.preparation import Options, Prepared
from journeybatch.records import Request
from journeybatch.results import count
from journeybatch.standing import Standing
from journeybatch.survey import Survey
from journeybatch.tuning import Tuning, chosen, in_force
from journeybatch.verdict import ANSWERED, DECLINED

_LOST = {"invalid": "its reply could not be read as `answer` says", "refusal": "the model refused"}


def tuned(ready: Prepared, options: Options) -> Tuning:
    """What the run goes by. What this process was told is later than what was chosen before."""
    spec, journal = ready.job.spec, ready.journal
    found = in_force(spec, journal.history, ready.run)
    said = Tuning(
        spec.concurrency.most if "concurrency" in options.overridden else None,
        spec.limits.credits if "limits.credits" in options.overridden else None,
    )
    entry = chosen(said, spec, journal.history, ready.run)
    if (entry.concurrency, entry.credits) != (found.concurrency, found.credits):
        journal.write(entry)
        return Tuning(entry.concurrency, entry.credits)
    if (found.concurrency, found.credits) != (spec.concurrency.most, spec.limits.credits):
        options.screen.line(f"as chosen while this run was at work: {found}")
    return found


def terms_of(job: Job, options: Options, tuning: Tuning) -> Terms:
    """How the requests of ``job`` are sent."""
    spec, rules = job.spec, job.spec.rules
    heard = rules.up | {ANSWERED, DECLINED} if rules.disagree > 1 or rules.score else rules.up
    return Terms(
        InFlight(tuning.concurrency or spec.concurrency.most, spec.concurrency.auto),
        spec.limits,
        spec.retry,
        spec.api.bills_errors,
        random.Random(options.seed),  # noqa: S311  jitter
        job.reader,
        spec.answer.on_invalid == "ask_again",
        {tier.model: heard for way in job.ways for tier in way.tiers[:-1]},
    )


def rounds(ready: Prepared, deed: Dispatch) -> Iterator[Iterator[Request] | None]:
    """What is to be asked, and once that is done, what is then to be asked: rows that their pack missed, that could
    not be read, that go up. Each round asks in smaller packs, or for the last time, or higher up, so there is an end.
    None is a pause: to look at ten million rows takes half a minute, and a signal is to be heard meanwhile.
    """
    history, job = ready.journal.history, ready.job
    wanted = ready.plan.wanted
    if job.rows(history) is None:
        yield from _pilot(ready, deed)
        wanted = (yield from _look(ready, deed)).wanted
    while any(rows.any() for rows in wanted):
        deed.more = False
        yield chain.from_iterable(
            job.requests(ready.surveyed, step, rows, history, _numbers(history), deed.rows)
            for step, rows in enumerate(wanted)
        )
        if not deed.more:
            return
        wanted = (yield from _look(ready, deed)).wanted


def _look(ready: Prepared, deed: Dispatch) -> Generator[None, None, Standing]:
    """Where the rows stand after a round; what can be decided by then is decided."""
    history, job, numbers = ready.journal.history, ready.job, deed.numbers
    for entry in decide(job, history, ready.surveyed, ready.journal.path, time.time()):
        ready.journal.write(entry)
    standing = yield from job.stand_by_parts(history, ready.surveyed)
    give_up_lost(ready, standing)
    counts = count(standing.table, history)
    numbers.answered, numbers.failed = counts.answered, counts.failed
    numbers.reused, numbers.refused = counts.reused, counts.refused
    return standing


def _pilot(ready: Prepared, deed: Dispatch) -> Iterator[Iterator[Request] | None]:
    """Ask a sample of the rows alone, then in packs of growing sizes, as long as the answers agree."""
    history, job, surveyed = ready.journal.history, ready.job, ready.surveyed
    standing = yield from job.stand_by_parts(history, surveyed)
    pilot = pilot_of(job, history, surveyed, standing)
    if pilot is None:
        return
    if (alone := singles(surveyed, standing, pilot)).any():
        yield job.requests(surveyed, 0, alone, history, _numbers(history))
    while (found := look(job, history, pilot, ready.journal.path)).packs:
        ready.journal.write(tried(pilot, found))
        deed.trial = True
        yield trial_requests(job, history, surveyed, pilot, found, _numbers(history))
        deed.trial = False
    ready.journal.write(choose_size(job, found, time.time()))


def _numbers(history: History) -> Iterator[int]:
    """Request numbers that nobody has used."""
    while True:
        history.next_request += 1
        yield history.next_request - 1


def give_up_lost(ready: Prepared, standing: Standing) -> None:
    """Write down which keys have failed by what was read of them."""
    for key, error in standing.lost:
        ready.journal.append(GivenUp(key, error, _LOST[error], time.time()))


def sharers(surveyed: Survey, distinct: int) -> dict[bytes, int]:
    """How many rows share a key, for keys of more than one row; so many keys of the first step are ``distinct``."""
    import polars as pl

    found: dict[bytes, int] = {}
    if len(surveyed.steps) == 1 and distinct == surveyed.rows - surveyed.keys.null_count():
        return found
    for keys in surveyed.steps:
        found.update(keys.drop_nulls().value_counts(name="n").filter(pl.col("n") > 1).iter_rows())
    return found


def give_up_doubts(ready: Prepared, standing: Standing) -> None:
    """Under ``on_unknown: fail``, what a killed run left in doubt has failed."""
    for key in standing.held:
        ready.journal.append(GivenUp(key, "in_doubt", "an attempt may have been charged", time.time()))
