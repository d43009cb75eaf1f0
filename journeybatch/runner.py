"""The story of a job, top to bottom.

``prepare`` reads and checks everything and locks the directory; ``dispatch`` looks at the account, begins and sends;
``conclude`` writes the views and the summary. Only the middle act is asynchronous.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import msgspec

from journeybatch.archive import read_history
from journeybatch.bookmark import forget
from journeybatch.client import Client
from journeybatch.compaction import close
from journeybatch.connection import balance_of
from journeybatch.daybook import Daybook, daybook_of
from journeybatch.delivery import deliver, undelivered
from journeybatch.directory import discard_if_unused
from journeybatch.dispatch import Dispatch
from journeybatch.ending import Ending
from journeybatch.entries import Finished
from journeybatch.errors import (
    DeadlinePassed,
    DiskFull,
    InputChanged,
    JobError,
    OutOfMemory,
    RunStopped,
    TableError,
    starved,
)
from journeybatch.hindsight import look_back
from journeybatch.history import History
from journeybatch.job import World
from journeybatch.journal import Journal
from journeybatch.ledger import Ledger
from journeybatch.notices import told
from journeybatch.outcome import exit_code_of, summary_of
from journeybatch.preparation import Options, Prepared, begin, check_balance, prepare
from journeybatch.progress import Numbers
from journeybatch.results import RESULTS, Counts, count
from journeybatch.rounds import give_up_doubts, give_up_lost, rounds, sharers, terms_of, tuned
from journeybatch.sender import client_of, workers_of
from journeybatch.spec import JobSpec
from journeybatch.summary import SUMMARY, write_json
from journeybatch.telemetry import Observed, observed
from journeybatch.transcript import Transcript
from journeybatch.tuning import chosen
from journeybatch.views import Known, write_views


class Report(msgspec.Struct, frozen=True):
    """How a run ended: its ``exit_code``, ``summary`` (as in summary.json), ``output`` directory and, where it was
    stopped, the ``message`` that says how to go on."""

    exit_code: int
    summary: dict[str, Any]
    output: Path
    message: str | None = None

    @property
    def results(self) -> Path:
        """The results table."""
        return self.output / "results.parquet"


async def dispatch(ready: Prepared, world: World, options: Options) -> Ending:
    """The second act.

    Raises:
        Unanswered: the account cannot pay for the run.
        OutputError, DiskFull: the credits of the day cannot be counted, or the journal cannot be written.
        Outage: the emulator does not start.
        JobError: no worker can be had on Ray.
    In all of these cases nothing was sent. What stops the run later stands in the ``Ending``.
    """
    async with client_of(ready, world, options) as client:
        balance = await balance_of(client)
        check_balance(ready, balance, options)
        with daybook_of(ready.job.daybook, ready.job.spec.limits.credits_per_day) as day:
            begin(ready)
            return await _send(ready, client, options, balance, day)


def conclude(ready: Prepared, ending: Ending) -> Report:
    """The last act: the journal's end, the views, the sinks, the summary. After a signal views and sinks can wait."""
    try:
        return _conclude(ready, ending)
    finally:
        ending.forget()
        ready.journal.close()  # as a rule it is: whatever comes in between, the next run can have the directory


def _conclude(ready: Prepared, ending: Ending) -> Report:
    journal, spec = ready.journal, ready.job.spec
    counts, hindsight = msgspec.structs.replace(ready.counts, **ending.rows), None
    try:
        history = _history(journal)
        standing = ready.standing or ready.job.stand(history, ready.surveyed, ready.at)
        if ending.stop is None and ending.signal is None:
            give_up_lost(ready, standing)
        if spec.retry.on_unknown == "fail":
            give_up_doubts(ready, standing)
        if standing.lost or standing.held:
            standing = ready.job.stand(history, ready.surveyed, ready.at)
        counts = count(standing.table, history)
        if not counts.pending and isinstance(ending.stop, DeadlinePassed):
            ending.stop = None  # what was in flight was all there was
        if not counts.pending and history.runs and history.runs[-1].finished_at is None:
            journal.write(Finished(history.runs[-1].number, time.time()))
        journal.flush()
        if ending.signal is None:
            hindsight = look_back(history, ready.run, ready.surveyed, standing, ready.job.asks)
            known = Known(standing, ending.transcript)
            counts = write_views(ready.job, history, journal.path, ready.surveyed, known)
        if ending.signal is None and ending.stop is None:
            ending.deliveries = deliver(spec.sinks, spec.output / RESULTS, journal, ready.environ)
            ending.stop = undelivered(ending.deliveries)
    except KeyboardInterrupt:  # the views can wait
        ending.signal = ending.signal or signal.SIGINT
        journal.history.as_told = False  # it may have come between an entry and the moment it was taken in
    except (InputChanged, DiskFull, MemoryError) as stop:
        ending.stop = _reason(journal, stop, ending.stop)
    except (OSError, TableError) as error:
        ending.stop = ending.stop or DiskFull(
            f"the results could not be written: {error}; all replies are safe in the journal: `journeybatch export` "
            "writes them once there is room"
        )
    with suppress(DiskFull):
        journal.flush()
    if journal.unwritten:
        counts = _as_written(ready, ending)
    summary = summary_of(ready, ending, counts.rows(), exit_code_of(counts, ending), hindsight).json()
    try:
        write_json(spec.output / SUMMARY, summary)
    except OSError as error:
        ending.stop = ending.stop or DiskFull(
            f"{SUMMARY} could not be written: {error}; all replies are safe in the journal: make room, and run again"
        )
        summary = summary_of(ready, ending, counts.rows(), exit_code_of(counts, ending), hindsight).json()
    close(journal, None if ending.signal or ending.stop else _forgotten(ready))
    return Report(exit_code_of(counts, ending), summary, spec.output, _message(ending))


async def run_async(spec: JobSpec, world: World, options: Options) -> Report:
    """All three acts, inside a running event loop."""
    with told(spec, world.environ, options.screen) as reports:
        ready = prepare(spec, world, options)
        with _discarded_if_unused(ready):
            ending = await dispatch(ready, world, options) if ready.plan.requests else _nothing_to_send(ready)
        reports.append(conclude(ready, ending))
    return reports[0]


def run(spec: JobSpec, world: World, options: Options) -> Report:
    """All three acts, on an event loop of its own (uvloop where it is to be had)."""
    if _in_a_loop():
        raise JobError("an event loop is running here, as in a notebook: await journeybatch.run_async(…) instead")
    with told(spec, world.environ, options.screen) as reports:
        ready = prepare(spec, world, options)
        with _discarded_if_unused(ready):
            if ready.plan.requests:
                faster = {"use_uvloop": find_spec("uvloop") is not None}
                ending = anyio.run(dispatch, ready, world, options, backend_options=faster)
            else:
                ending = _nothing_to_send(ready)
        reports.append(conclude(ready, ending))
    return reports[0]


# -- scenes ---------------------------------------------------------------------------------------------------


def _message(ending: Ending) -> str | None:
    """Why it stopped, if it did, and how to go on."""
    if ending.signal is not None:
        return "by a signal: run again to carry on, or `journeybatch export` to see the results so far"
    return str(ending.stop) if ending.stop else None


def _forgotten(ready: Prepared) -> float | None:
    """Before when (Unix seconds) a reply is too old for this process, and for the next one too if the clock was set
    back since the last run began; None where none is."""
    times = (ready.job.since(ready.journal.history), ready.job.since(ready.journal.history, ready.at))
    return min((time for time in times if time is not None), default=None)


def _as_written(ready: Prepared, ending: Ending) -> Counts:
    """The counts of what stands in the journal: what the disk did not take is not so."""
    journal = ready.journal
    journal.history = read_history(journal.path, anew=True)
    journal.history.as_told = False  # should the disk take the rest after all, it is not in there
    ending.stop = DiskFull(
        f"{journal.path}: no room is left, not even for the replies that came in last, which are in doubt: make room, "
        "and run again"
    )
    return count(ready.job.stand(journal.history, ready.surveyed).table, journal.history)


def _history(journal: Journal) -> History:
    """What the journal tells; read again where it could not all be taken in. Raises DiskFull, OutputError."""
    if journal.astray:
        journal.flush()
        journal.history = read_history(journal.path, journal.path.parent, anew=True)
        journal.astray = False
    return journal.history


def _reason(journal: Journal, stop: RunStopped | MemoryError, before: RunStopped | None) -> RunStopped:
    """Why a run ends whose last act ``stop`` has stopped, and which may have had a reason ``before``. What a disk does
    not give back, though it takes all that the journal has, may stand in the bookmark, or in the journal itself."""
    if isinstance(stop, DiskFull) and journal.broken is None:
        journal.history.as_told = False
        forget(journal.path)
    return before or (OutOfMemory() if isinstance(stop, MemoryError) else stop)


def _nothing_to_send(ready: Prepared) -> Ending:
    begin(ready)
    return Ending()


async def _send(
    ready: Prepared, client: Client, options: Options, balance: int | float | None, day: Daybook | None
) -> Ending:
    """Send what the plan wants, and what comes of it. Raises nothing that the ``Ending`` could say."""
    spec, history, counts = ready.job.spec, ready.journal.history, ready.counts
    lost = history.lost * ready.job.dearest  # each lost entry may have been a charge
    run, tuning = history.runs[-1], tuned(ready, options)
    ledger = Ledger(tuning.credits, spent=run.spent, unknown=run.unknown + lost, day=day)
    numbers = Numbers(counts.total, counts.answered, counts.failed, counts.reused, counts.refused)
    shared = sharers(ready.surveyed, ready.plan.distinct)
    deed = Dispatch(ready.journal, ledger, numbers, terms_of(ready.job, options, tuning), shared)
    deed.chosen = lambda wish: chosen(wish, spec, history, ready.run)
    deed.ending.balance_before, deed.until, screen = balance, ready.until, options.screen
    deed.ending.transcript = Transcript(spec.output, ready.job.reader.contract, len(history.attempts))
    about = Observed(spec.name, ready.run, ready.endpoint.base_url) if spec.notify.opentelemetry else None

    def keep() -> None:
        so_far = Ending(balance_before=balance, workers=workers_of(client))
        try:
            write_json(spec.output / SUMMARY, summary_of(ready, so_far, numbers.rows(), None).json())
        except OSError:
            return  # the journal will notice a full disk; a stale summary does no harm

    try:
        with observed(about, ready.environ, screen) as deed.observe:
            return await deed.run(rounds(ready, deed), client, screen=screen, keep=keep, signals=options.signals)
    except RunStopped as stop:
        deed.ending.stop = stop
    except BaseException as error:
        deed.ending.forget()
        if not starved(error):
            raise
        deed.ending.stop = OutOfMemory()  # what was in flight is let go, and its memory with it: the end has room
    finally:
        deed.ending.workers, deed.ending.rows = workers_of(client), numbers.rows()
    return deed.ending


@contextmanager
def _discarded_if_unused(ready: Prepared) -> Iterator[None]:
    """Whatever ends a run before its last act lets go of the directory."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, DiskFull):
            forget(ready.journal.path)  # a page of it may be what the disk does not give back
        discard_if_unused(ready.journal)
        raise


def _in_a_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
