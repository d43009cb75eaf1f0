"""The first act of a run: everything read, rendered, priced and asked about, before anything is sent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from journeybatch import table
from journeybatch.client import Endpoint
from journeybatch.directory import discard_if_unused, open_directory, read_directory
from journeybatch.entries import Began
from journeybatch.errors import Unanswered
from journeybatch.job import Job, World, asked_again, bind, endpoint_of, plan_job
from journeybatch.journal import Journal
from journeybatch.loading import dump
from journeybatch.planning import Plan
from journeybatch.progress import Screen
from journeybatch.results import Counts, count, row_facts
from journeybatch.spec import JobSpec
from journeybatch.summary import read_summary, write_text
from journeybatch.survey import Survey

if TYPE_CHECKING:
    import polars as pl

SPOOLED = "input.arrow"


class Options(msgspec.Struct, frozen=True):
    """How to run. ``confirm`` answers a question about money (None: nobody is there), ``limit`` takes the first rows
    only, ``transport`` replaces the network, ``signals`` makes SIGINT, SIGTERM and SIGHUP end the run gently."""

    limit: int | None = None
    fresh: bool = False
    retry_failed: bool = False
    confirm: Callable[[str], bool] | None = None
    screen: Screen = Screen(None)
    signals: bool = False
    transport: httpx.AsyncBaseTransport | None = None
    seed: int | None = None


class Prepared(msgspec.Struct, frozen=True):
    """A job ready to send: everything is read, rendered, priced, and the directory is ours.

    ``began_with`` is what the summary said of credits when this run, if it is carried on, was last at work.
    """

    job: Job
    endpoint: Endpoint
    journal: Journal
    surveyed: Survey
    plan: Plan
    counts: Counts
    run: int
    began_with: dict[str, Any]


def plan_only(spec: JobSpec, world: World, options: Options) -> tuple[Job, Plan, Survey]:
    """The dry run: no key, no socket, nothing written. Raises JobError."""
    history = read_directory(spec.output, spec.name)
    job = bind(spec, world, limit=options.limit, frame=_stdin_frame(spec))
    surveyed = job.survey()
    return job, plan_job(job, surveyed, history, retry_failed=options.retry_failed), surveyed


def prepare(spec: JobSpec, world: World, options: Options) -> Prepared:
    """The first act. Nothing is sent, and nothing is left behind where the job must be mended first.

    Raises:
        JobError: the job, the input or the directory must be mended, or a question was not answered.
        RunLocked, DiskFull: the directory cannot be had.
    """
    endpoint = endpoint_of(spec, world)
    if not _spools(spec):
        bind(spec, world, limit=options.limit)  # what is cheap to check is checked before a directory is made
    journal = open_directory(spec.output, spec.name, fresh=options.fresh)
    try:
        job = bind(spec, world, limit=options.limit, path=_spool(spec))
        surveyed = job.survey()
        surveyed.check_problems()
        planned = plan_job(job, surveyed, journal.history, retry_failed=options.retry_failed)
        _ask_about_damage(journal, planned, options)
        _ask_about(asked_again(job, planned, surveyed, journal.history), job, planned, options)
        run = _begin(job, planned, journal)
        write_text(spec.output / "job.yaml", dump(spec))
        counts = count(row_facts(journal.history, surveyed.keys), journal.history)
        earlier = read_summary(spec.output) or {}
        began_with = earlier.get("credits", {}) if earlier.get("run") == run and journal.history.attempts else {}
        return Prepared(job, endpoint, journal, surveyed, planned, counts, run, began_with)
    except BaseException:
        discard_if_unused(journal)
        raise


def _begin(job: Job, planned: Plan, journal: Journal) -> int:
    """Begin a run, or carry on the one that is not finished. A finished directory with nothing to ask stays as it
    is."""
    history = journal.history
    last = history.runs[-1] if history.runs else None
    if last is not None and not planned.requests:
        return last.number
    number = 1 if last is None else last.number + (last.finished_at is not None)
    spec = job.spec
    emulated = spec.api.kind == "emulator"
    journal.write(Began(number, spec.name, job.ask.text, emulated, spec.api.bills_errors, time.time()))
    return number


def _ask_about_damage(journal: Journal, planned: Plan, options: Options) -> None:
    """Where entries were lost, answers may be bought again: that is a question about money."""
    lost = journal.history.lost
    if not lost or not planned.requests:
        return
    question = (
        f"The journal is damaged: {lost} entries are lost, and with them answers that were paid for (see `verify`). "
        f"{planned.requests} requests would be sent, some perhaps for the second time."
    )
    _confirm(question, "Say --yes if that is meant.", options)


def _ask_about(again: int, job: Job, planned: Plan, options: Options) -> None:
    if not again:
        return
    cost = again * job.price.most
    question = (
        f"The spec was edited: {again} of {planned.requests} prompts to ask were already answered under the old one. "
        f"Asking them again costs {'up to ' if job.price.least != job.price.most else ''}{cost} credits."
    )
    _confirm(question, "Say --yes if that is meant, or give the job another `output`.", options)


def _confirm(question: str, otherwise: str, options: Options) -> None:
    """Raises Unanswered unless somebody says yes."""
    if options.confirm is None:
        raise Unanswered(f"{question} {otherwise}")
    if not options.confirm(question + " Go on?"):
        raise Unanswered("nothing was sent")


def kept_input(spec: JobSpec, directory: Path) -> str | None:
    """The copy in ``directory`` of what stood on standard input; None where the input can be read again."""
    return str(directory / SPOOLED) if spec.input.path == "-" else None


def _spools(spec: JobSpec) -> bool:
    return spec.input.path == "-" or spec.input.frame is not None


def _spool(spec: JobSpec) -> str | None:
    """A copy, in the output directory, of an input that cannot be read twice."""
    if not _spools(spec):
        return None
    path = spec.output / SPOOLED
    if spec.input.frame is not None:
        table.spool_frame(spec.input.frame, path)
    else:
        table.spool_stream(sys.stdin.buffer, path, spec.input.format)
    return str(path)


def _stdin_frame(spec: JobSpec) -> pl.DataFrame | None:
    """Standard input for a dry run, which leaves no copy of it anywhere."""
    if spec.input.path != "-":
        return None
    import polars as pl

    with TemporaryDirectory() as folder:
        path = Path(folder) / SPOOLED
        table.spool_stream(sys.stdin.buffer, path, spec.input.format)
        return pl.read_ipc(path.read_bytes())
