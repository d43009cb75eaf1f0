"""The first act of a run: everything read, rendered, priced and asked about, before anything is sent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from journeybatch import table
from journeybatch.client import Endpoint
from journeybatch.directory import discard_if_unused, open_directory, read_directory
from journeybatch.entries import Began, Borrowed, Reopened, Reread
from journeybatch.errors import Unanswered
from journeybatch.foresight import edit_of, plan_job
from journeybatch.history import History
from journeybatch.job import Job, World, bind, endpoint_of
from journeybatch.journal import NAME, Journal
from journeybatch.loading import dump
from journeybatch.planning import Plan
from journeybatch.progress import Screen
from journeybatch.reading import reread
from journeybatch.results import Counts, count
from journeybatch.reuse import Library
from journeybatch.spec import JobSpec
from journeybatch.summary import read_summary, write_text
from journeybatch.survey import Survey

if TYPE_CHECKING:
    import polars as pl

SPOOLED = "input.arrow"


class Options(msgspec.Struct, frozen=True):
    """How to run. ``confirm`` answers a question about money (None: nobody is there), ``limit`` takes the first rows
    only, ``reparse`` reads all replies again, ``transport`` replaces the network, ``signals`` makes SIGINT, SIGTERM and
    SIGHUP end the run gently."""

    limit: int | None = None
    fresh: bool = False
    retry_failed: bool = False
    reparse: bool = False
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


def plan_only(spec: JobSpec, world: World, options: Options) -> tuple[Job, Plan, Survey, History]:
    """The dry run: no key, no socket, nothing written. Raises JobError."""
    history = read_directory(spec.output, spec.name)
    job = bind(spec, world, limit=options.limit, frame=_stdin_frame(spec))
    now = time.time()
    _read_again(job, history, options)
    surveyed = job.survey()
    _take_over(job, history, surveyed, now)
    return job, plan_job(job, surveyed, history, now), surveyed, history


def _read_again(job: Job, history: History, options: Options) -> list[Reread]:
    """Bring ``history`` to what the job makes of it: every reply read in the job's way, failures forgotten where they
    are to be asked again. Returns the entries that say so in a journal."""
    path = job.spec.output / NAME
    if not len(history.attempts):
        return []
    entries = reread(history, path, job.reader, all_of_them=options.reparse)
    if options.retry_failed or job.spec.retry.failed:
        history.reopen()
    return entries


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
        failed = bool(journal.history.given_up)
        entries: list[Reread | Borrowed] = [*_read_again(job, journal.history, options)]
        surveyed = job.survey()
        surveyed.check_problems()
        now = time.time()
        entries += _take_over(job, journal.history, surveyed, now)
        planned = plan_job(job, surveyed, journal.history, now)
        _ask_about_damage(journal, planned, options)
        _ask_about(planned, options)
        run = _begin(job, planned, journal, now)
        _write(journal, entries, reopened=failed and not journal.history.given_up)
        write_text(spec.output / "job.yaml", dump(spec))
        counts = count(job.stand(journal.history, surveyed).facts, journal.history)
        earlier = read_summary(spec.output) or {}
        began_with = earlier.get("credits", {}) if earlier.get("run") == run and journal.history.attempts else {}
        return Prepared(job, endpoint, journal, surveyed, planned, counts, run, began_with)
    except BaseException:
        discard_if_unused(journal)
        raise


def _begin(job: Job, planned: Plan, journal: Journal, now: float) -> int:
    """Begin a run, or carry on the one that is not finished. A finished directory with nothing to ask stays as it
    is."""
    history = journal.history
    last = history.runs[-1] if history.runs else None
    if last is not None and not planned.requests:
        if history.reading != job.reader.identity:  # the run stays what it was, its replies are read anew
            journal.write(_began(job, last.number, now))
        return last.number
    number = 1 if last is None else last.number + (last.finished_at is not None)
    journal.write(_began(job, number, now))
    return number


def _began(job: Job, run: int, now: float) -> Began:
    spec = job.spec
    emulated = spec.api.kind == "emulator"
    reading = job.reader.identity
    return Began(run, spec.name, job.ask.text, emulated, spec.api.bills_errors, now, reading)


def _take_over(job: Job, history: History, surveyed: Survey, now: float) -> list[Borrowed]:
    """Take answers of other directories into ``history``. Returns the entries that say so in a journal."""
    if not job.spec.reuse:
        return []
    library = Library(directory for directory in job.spec.reuse if directory != job.spec.output)
    taken: list[Borrowed] = []
    for _ in job.ask.steps:  # an answer may send a row on to its next step
        standing = job.stand(history, surveyed, now)
        keys = chain.from_iterable(
            keys.filter(wanted) for keys, wanted in zip(surveyed.steps, standing.wanted, strict=True)
        )
        lent = list(library.lend(list(keys), job.reader, job.since(history, now) or 0.0, history))
        if not lent:
            break
        taken += lent
    return taken


def _write(journal: Journal, entries: Sequence[Reread | Borrowed], *, reopened: bool) -> None:
    """Write down what ``_read_again`` and ``_take_over`` came to."""
    history = journal.history
    for entry in entries:
        offset = journal.append(entry)
        if isinstance(entry, Borrowed):
            codes, senses = history.read_at(offset)
            journal.append(Reread(offset, history.reading, codes, senses))
    if reopened:
        journal.append(Reopened(time.time()))
    journal.flush()


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


def _ask_about(planned: Plan, options: Options) -> None:
    """An edited spec may buy answers for the second time: that is a question about money."""
    if planned.edited:
        said = edit_of(planned)
        question = f"{said[0].upper()}{said[1:]}."
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
