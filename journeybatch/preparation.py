"""The first act of a run: everything read, rendered, priced and asked about, before anything is written or sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from journeybatch.bookmark import forget
from journeybatch.calibration import decide
from journeybatch.client import Endpoint
from journeybatch.deadline import moment
from journeybatch.delivery import check_sinks
from journeybatch.directory import discard_if_unused, open_directory, read_directory
from journeybatch.distributed import check_engine
from journeybatch.entries import Began, Reopened
from journeybatch.errors import DiskFull, Unanswered
from journeybatch.foresight import edit_of, plan_job
from journeybatch.history import History
from journeybatch.intake import SPOOLED, loaded, spool, spools
from journeybatch.job import Job, World, bind, daybooks_of, endpoint_of
from journeybatch.journal import NAME, Journal
from journeybatch.loading import dump
from journeybatch.news import News, tell
from journeybatch.planning import Plan
from journeybatch.progress import Screen
from journeybatch.reading import Rereading, reread
from journeybatch.reconciliation import credits_text
from journeybatch.results import Counts, count
from journeybatch.reuse import Library, Loans
from journeybatch.spec import JobSpec
from journeybatch.standing import Standing
from journeybatch.summary import read_summary, write_json, write_text
from journeybatch.survey import Survey, keep
from journeybatch.table import contents
from journeybatch.telemetry import check_telemetry
from journeybatch.tuning import in_force


class Options(msgspec.Struct, frozen=True):
    """How to run. ``yes`` answers every question about money, else ``confirm`` does (None: nobody is there); ``limit``
    takes the first rows only, ``overridden`` are the keys of the job that were said anew for this process, ``reparse``
    reads all replies again, ``transport`` replaces the network, ``signals`` makes SIGINT, SIGTERM and SIGHUP end the
    run gently."""

    limit: int | None = None
    fresh: bool = False
    retry_failed: bool = False
    reparse: bool = False
    overridden: frozenset[str] = frozenset()
    yes: bool = False
    confirm: Callable[[str], bool] | None = None
    screen: Screen = Screen(None)
    signals: bool = False
    transport: httpx.AsyncBaseTransport | None = None
    seed: int | None = None


class Prepared(msgspec.Struct, frozen=True):
    """A job ready to begin: everything is read, rendered, priced, and the directory is ours.

    ``began_with`` is what the summary said of credits when this run, if it is carried on, was last at work. ``news``
    is what the journal has yet to be told, ``at`` when all this was found out, in Unix seconds; ``environ`` has what
    addresses of sinks leave to it; ``until`` is the deadline, in Unix seconds, as it was meant when all this began;
    ``standing`` says where the rows stand, where nothing of this run can change that.
    """

    job: Job
    endpoint: Endpoint
    journal: Journal
    surveyed: Survey
    plan: Plan
    counts: Counts
    run: int
    began_with: dict[str, Any]
    news: News
    at: float
    environ: Mapping[str, str]
    until: float | None
    standing: Standing | None = None


def plan_only(spec: JobSpec, world: World, options: Options) -> tuple[Job, Plan, Survey, History]:
    """The dry run: no key, no socket but the input's own, nothing written. Raises JobError."""
    history = read_directory(spec.output, spec.name)
    job = bind(spec, world, limit=options.limit, frame=_loaded(spec, world))
    now = time.time()
    _read_again(job, history, options)
    surveyed = job.survey()
    _take_over(job, history, surveyed, now)
    decide(job, history, surveyed, spec.output / NAME, now)
    return job, plan_job(job, surveyed, history, now), surveyed, history


def _read_again(job: Job, history: History, options: Options) -> Rereading:
    """Bring ``history`` to what the job makes of it: every reply read in the job's way, failures forgotten where they
    are to be asked again."""
    if not len(history.attempts):
        return Rereading()
    anew = options.reparse or history.reading != job.reader.identity
    found = reread(history, job.spec.output / NAME, job.reader, all_of_them=options.reparse)
    if anew:
        options.screen.line(
            f"replies read again, for 0 credits: {found.replies}; answers that came out differently: "
            f"{found.differently}; that can be read no more: {found.lost}"
        )
    if options.retry_failed or job.spec.retry.failed:
        history.reopen()
    return found


def prepare(spec: JobSpec, world: World, options: Options) -> Prepared:
    """The first act. The journal stays as it is, and nothing is left behind where the job must be mended first.

    Raises:
        JobError: the job, the input or the directory must be mended, or a question was not answered.
        RunLocked, DiskFull: the directory cannot be had.
    """
    until = None if spec.limits.deadline is None else moment(spec.limits.deadline, time.time())
    endpoint = endpoint_of(spec, world)
    check_engine(spec.engine, {*world.allow_hosts, *world.config.allow_hosts})
    if spec.notify.opentelemetry:
        check_telemetry()
    if not spools(spec.input):
        bind(spec, world, limit=options.limit)  # what is cheap to check is checked before a directory is made
    journal = open_directory(spec.output, spec.name, fresh=options.fresh, daybooks=daybooks_of(spec))
    try:
        job = bind(spec, world, limit=options.limit, path=_spool(spec, world))
        check_sinks(spec.sinks, job.columns, world.environ, job.frames)
        failed = bool(journal.history.given_up)
        again = _read_again(job, journal.history, options)
        surveyed = job.survey(keeps=True)
        surveyed.check_problems()
        now = time.time()
        news = _take_over(job, journal.history, surveyed, now)
        news.reread = again.changed
        reopened = [Reopened(now)] if failed and not journal.history.given_up else []
        news.entries = [*reopened, *decide(job, journal.history, surveyed, journal.path, now)]
        standing = job.stand(journal.history, surveyed, now)
        planned = plan_job(job, surveyed, journal.history, now, reparsed=bool(again.lost), standing=standing)
        _ask_about_damage(journal, planned, options)
        _ask_about(planned, options, reparsed=options.reparse)
        run = _number(journal.history, planned)
        counts = count(standing.table, journal.history)
        earlier = read_summary(spec.output) or {}
        began_with = earlier.get("credits", {}) if earlier.get("run") == run and journal.history.attempts else {}
        environ, settled = world.environ, not planned.requests and not news and spec.max_age is None
        at_rest = standing if settled else None
        return Prepared(
            job, endpoint, journal, surveyed, planned, counts, run, began_with, news, now, environ, until, at_rest
        )
    except BaseException as error:
        if isinstance(error, DiskFull):
            forget(journal.path)  # a page of it may be what the disk does not give back
        discard_if_unused(journal)
        raise


def check_balance(ready: Prepared, balance: int | float | None, options: Options) -> None:
    """Raises Unanswered where the account's ``balance`` in credits cannot cover the least that the run needs, be it
    the plan's or a cap's; a balance that nobody knows stops nothing."""
    history = ready.journal.history
    cap, run = in_force(ready.job.spec, history, ready.run).credits, history.run
    needed = ready.plan.credits_min
    if cap is not None:
        used = run.spent + run.unknown if run and run.number == ready.run else 0
        needed = min(needed, cap - used)
    if (left := ready.job.left_today(ready.at)) is not None:
        needed = min(needed, left)
    if balance is None or balance >= needed or options.yes:
        return
    raise Unanswered(
        f"the account has {credits_text(balance)}, and this run needs at least {needed}: top up the account, or ask "
        f"for less with --limit or --max-credits; --yes starts all the same. Nothing was sent"
    )


def _keep_summary(directory: Path, run: int) -> None:
    """The summary of an earlier run goes into a folder, under that run's number."""
    earlier = read_summary(directory)
    if earlier is not None and isinstance(number := earlier.get("run"), int) and number != run:
        folder = directory / "summaries"
        folder.mkdir(mode=0o700, exist_ok=True)
        write_json(folder / f"{number}.json", earlier)


def begin(ready: Prepared) -> Iterator[None]:
    """Begin the run, or carry on the one that is not finished, by writing so into the journal, with all the news, of
    which there may be millions: None is a pause. A finished directory with nothing to ask stays as it is. Raises
    DiskFull, and OutputError or RunLocked where answers of other directories cannot be had any more."""
    job, journal = ready.job, ready.journal
    history = journal.history
    began, reading = history.began, job.reader.identity
    if ready.plan.requests or began is None or (began.ask, began.reading) != (job.ask.text, reading):
        spec = job.spec
        emulated = spec.api.kind == "emulator"
        journal.write(Began(ready.run, spec.name, job.ask.text, emulated, spec.api.bills_errors, ready.at, reading))
    yield from tell(ready.news, journal, reading)
    path = job.spec.output / "summaries"
    try:
        _keep_summary(job.spec.output, ready.run)
        path = job.spec.output / "job.yaml"
        write_text(path, dump(job.spec))
    except OSError as error:
        raise _refused(path, error) from None
    keep(ready.surveyed, lambda: contents(job.source, job.limit))


def _refused(path: Path, error: OSError) -> DiskFull:
    why = error.strerror or str(error)
    return DiskFull(f"{path}: {why}; nothing was sent: make room (or mend the disk), and run again")


def _number(history: History, planned: Plan) -> int:
    """The run to begin or to carry on."""
    last = history.run
    if last is None:
        return 1
    return last.number + 1 if planned.requests and last.finished_at is not None else last.number


def _take_over(job: Job, history: History, surveyed: Survey, now: float) -> News:
    """Take answers of other directories into ``history``. Returns what a journal is to be told of them."""
    if not job.spec.reuse:
        return News(Loans())
    library: Library | None = None
    loans = Loans()
    for keys in surveyed.steps:  # what one step's answer does not settle may be settled by the next one's
        pending = job.stand(history, surveyed, now).facts["status"] == "pending"
        wanted = keys.filter(pending).drop_nulls().unique(maintain_order=True)
        if wanted.is_empty():  # what was taken over is ours: the other directories may be gone
            break
        library = library or Library(directory for directory in job.spec.reuse if directory != job.spec.output)
        library.lend(wanted, job.reader, job.since(history, now) or 0.0, history, loans)
    news = News(loans, lender=library)
    history.lender = news.reply
    return news


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


def _ask_about(planned: Plan, options: Options, *, reparsed: bool) -> None:
    """An edited spec may buy answers for the second time: that is a question about money."""
    if planned.edited:
        said = edit_of(planned, reparsed=reparsed)
        question = f"{said[0].upper()}{said[1:]}."
        _confirm(question, "Say --yes if that is meant, or give the job another `output`.", options)


def _confirm(question: str, otherwise: str, options: Options) -> None:
    """Raises Unanswered unless somebody says yes."""
    if options.yes:
        return
    if options.confirm is None:
        raise Unanswered(f"{question} {otherwise}")
    if not options.confirm(question + " Go on?"):
        raise Unanswered("nothing was sent")


def kept_input(spec: JobSpec, directory: Path) -> str | None:
    """The copy in ``directory`` of rows that were stored when they were read; None where the input is read again."""
    return str(directory / SPOOLED) if spools(spec.input) else None


def _spool(spec: JobSpec, world: World) -> str | None:
    """A copy, in the output directory, of an input that cannot be read twice. Raises TableError, DiskFull."""
    if not spools(spec.input):
        return None
    path = spec.output / SPOOLED
    try:
        spool(spec.input, path, world.environ)
    except OSError as error:
        raise _refused(path, error) from None
    return str(path)


def _loaded(spec: JobSpec, world: World) -> object:
    """What a dry run reads in place of such an input; of it, no copy is left anywhere."""
    return loaded(spec.input, world.environ) if spools(spec.input) and spec.input.frame is None else None
