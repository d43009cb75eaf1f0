"""The story of a job, top to bottom.

``prepare`` reads and checks everything and locks the directory; ``dispatch`` looks at the account, begins and sends;
``conclude`` writes the views and the summary. Only the middle act is asynchronous.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import anyio
import anyio.lowlevel

from journeybatch.bookmark import forget
from journeybatch.client import Client
from journeybatch.conclusion import Report, conclude
from journeybatch.connection import balance_of
from journeybatch.daybook import Daybook, daybook_of
from journeybatch.directory import discard_if_unused
from journeybatch.dispatch import Dispatch
from journeybatch.ending import Ending
from journeybatch.errors import (
    DiskFull,
    JobError,
    OutOfMemory,
    RunStopped,
    starved,
)
from journeybatch.job import World
from journeybatch.ledger import Ledger
from journeybatch.notices import told
from journeybatch.outcome import summary_of
from journeybatch.preparation import Options, Prepared, begin, check_balance, prepare
from journeybatch.progress import Numbers
from journeybatch.rounds import rounds, sharers, terms_of, tuned
from journeybatch.sender import client_of, workers_of
from journeybatch.spec import JobSpec
from journeybatch.summary import SUMMARY, write_json
from journeybatch.telemetry import Observed, observed
from journeybatch.transcript import Transcript
from journeybatch.tuning import chosen


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
            for _ in begin(ready):
                await anyio.lowlevel.checkpoint()  # a Ctrl-C is heard here
            return await _send(ready, client, options, balance, day)


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


def _nothing_to_send(ready: Prepared) -> Ending:
    for _ in begin(ready):
        pass
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
