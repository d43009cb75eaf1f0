"""The story of a job, top to bottom.

``prepare`` reads and checks everything and locks the directory; ``dispatch`` sends; ``conclude`` writes the views
and the summary. Only the middle act is asynchronous.
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from journeybatch.client import Client
from journeybatch.dispatch import Dispatch, Ending, connected
from journeybatch.entries import Finished
from journeybatch.errors import DiskFull, InputChanged, JobError, Outage, RunStopped, TableError
from journeybatch.hindsight import Hindsight, look_back
from journeybatch.job import World
from journeybatch.ledger import Ledger
from journeybatch.preparation import Options, Prepared, prepare
from journeybatch.progress import Numbers
from journeybatch.results import Counts, count
from journeybatch.rounds import give_up_doubts, give_up_lost, rounds, sharers, terms_of
from journeybatch.spec import JobSpec
from journeybatch.summary import SUMMARY, Credits, Summary, write_json
from journeybatch.views import write_views

IN_PROCESS = "http://127.0.0.1/api/v1"
"""Where an emulator listens that is handed in as a transport."""


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
    """The second act. Raises nothing that the ``Ending`` could say."""
    planned, history, spec = ready.plan, ready.journal.history, ready.job.spec
    if not planned.requests:
        return Ending()
    run = history.runs[-1]
    lost = history.lost * max(price.most for price in ready.job.prices)  # each lost entry may have been a charge
    ledger = Ledger(spec.limits.credits, spent=run.spent, unknown=run.unknown + lost)
    counts = ready.counts
    numbers = Numbers(counts.total, counts.answered, counts.failed, counts.reused, counts.refused)
    deed = Dispatch(ready.journal, ledger, numbers, terms_of(ready.job, options), sharers(ready.surveyed))

    def keep() -> None:
        so_far = Ending(balance_before=deed.ending.balance_before)
        try:
            write_json(spec.output / SUMMARY, _summary(ready, so_far, numbers.rows(), None).json())
        except OSError:
            return  # the journal will notice a full disk; a stale summary does no harm

    try:
        async with _client(ready, world, options) as client:
            return await deed.run(
                rounds(ready, deed), client, screen=options.screen, keep=keep, signals=options.signals
            )
    except RunStopped as stop:
        deed.ending.stop = stop
    return deed.ending


def conclude(ready: Prepared, ending: Ending) -> Report:
    """The last act: the journal's end, the views, the summary. After a signal the views can wait."""
    journal, spec = ready.journal, ready.job.spec
    history = journal.history
    counts, hindsight = ready.counts, None
    try:
        standing = ready.job.stand(history, ready.surveyed)
        if ending.stop is None and ending.signal is None:
            give_up_lost(ready, standing)
        if spec.retry.on_unknown == "fail":
            give_up_doubts(ready, standing)
        standing = ready.job.stand(history, ready.surveyed)
        counts = count(standing.facts, history)
        if not counts.pending and history.runs and history.runs[-1].finished_at is None:
            journal.write(Finished(history.runs[-1].number, time.time()))
        journal.flush()
        if ending.signal is None:
            hindsight = look_back(history, ready.run, ready.surveyed, standing, ready.job.asks)
            counts = write_views(ready.job, history, journal.path, ready.surveyed)
    except KeyboardInterrupt:  # the views can wait
        ending.signal = ending.signal or signal.SIGINT
    except (InputChanged, DiskFull) as stop:
        ending.stop = ending.stop or stop
    except (OSError, TableError) as error:
        ending.stop = ending.stop or DiskFull(
            f"the results could not be written: {error}; all replies are safe in the journal: `journeybatch export` "
            "writes them once there is room"
        )
    code = _exit_code(counts, ending)
    summary = _summary(ready, ending, counts.rows(), code, hindsight).json()
    try:
        write_json(spec.output / SUMMARY, summary)
    except OSError:
        code = code or 3
    journal.close()
    message = str(ending.stop) if ending.stop else None
    if ending.signal is not None:
        message = "by a signal: run again to carry on, or `journeybatch export` to see the results so far"
    return Report(code, summary, spec.output, message)


async def run_async(spec: JobSpec, world: World, options: Options) -> Report:
    """All three acts, inside a running event loop."""
    ready = prepare(spec, world, options)
    try:
        ending = await dispatch(ready, world, options)
    except BaseException:
        ready.journal.close()
        raise
    return conclude(ready, ending)


def run(spec: JobSpec, world: World, options: Options) -> Report:
    """All three acts, on an event loop of its own (uvloop where it is to be had)."""
    import anyio

    if _in_a_loop():
        raise JobError("an event loop is running here, as in a notebook: await journeybatch.run_async(…) instead")
    ready = prepare(spec, world, options)
    if ready.plan.requests:
        try:
            ending = anyio.run(dispatch, ready, world, options, backend_options={"use_uvloop": _has_uvloop()})
        except BaseException:
            ready.journal.close()
            raise
    else:
        ending = Ending()
    return conclude(ready, ending)


# -- scenes ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _client(ready: Prepared, world: World, options: Options) -> AsyncIterator[Client]:
    spec, endpoint = ready.job.spec, ready.endpoint
    if endpoint.emulated and options.transport is None:
        from journeybatch.emulator.child import emulator_child

        try:
            async with emulator_child(spec.output / "emulator-bill.jsonl") as base_url:
                endpoint = msgspec.structs.replace(endpoint, base_url=base_url)
                async with connected(endpoint, None, spec.retry.timeout_s, None) as client:
                    yield client
        except (TimeoutError, ValueError, OSError) as error:
            raise Outage(f"the emulator does not start: {error}") from None
        return
    from journeybatch.transport import proxied

    if endpoint.emulated:
        endpoint = msgspec.structs.replace(endpoint, base_url=IN_PROCESS)
    proxy = proxied(httpx.URL(endpoint.base_url), world.environ) if options.transport is None else None
    async with connected(endpoint, options.transport, spec.retry.timeout_s, proxy) as client:
        yield client


def _exit_code(counts: Counts, ending: Ending) -> int:
    if ending.signal is not None:
        return 130 if ending.signal == signal.SIGINT else 143
    if ending.stop is not None:
        return ending.stop.exit_code
    return 1 if counts.failed or counts.pending else 0


def _summary(
    ready: Prepared, ending: Ending, rows: dict[str, int], exit_code: int | None, hindsight: Hindsight | None = None
) -> Summary:
    job, history = ready.job, ready.journal.history
    run = history.runs[-1] if history.runs else None
    ended = (run.finished_at if run else None) or time.time()
    began = ready.began_with
    return Summary(
        job=job.spec.name,
        run=ready.run,
        api=job.spec.api.base_url or job.spec.api.kind,
        emulated=history.emulated,
        rows=rows,
        requests={
            "sent": run.sent if run else 0,
            "retried": run.retried if run else 0,
            "in_doubt": run.in_doubt if run else 0,
        },
        credits=Credits(
            planned_min=began.get("planned_min", ready.plan.credits_min),
            planned_max=began.get("planned_max", ready.plan.credits_max),
            spent=run.spent if run else 0,
            unknown_max=run.unknown if run else 0,
            spent_total=history.spent,
            departed=float(ready.counts.departed),
            cap=job.spec.limits.credits,
            balance_before=_known(began.get("balance_before"), ending.balance_before),
            balance_after=_known(ending.balance_after, began.get("balance_after")),
        ),
        started_at=run.began_at if run else ended,
        finished_at=run.finished_at if run else None,
        seconds=round(ended - run.began_at, 3) if run else 0.0,
        stopped_by=ending.stop.reason if ending.stop else "signal" if ending.signal else None,
        exit_code=exit_code,
        costs=hindsight.costs if hindsight else None,
        models=hindsight.models if hindsight else None,
        failures=hindsight.failures if hindsight else None,
    )


def _known(first: int | None, otherwise: int | None) -> int | None:
    return otherwise if first is None else first


def _in_a_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _has_uvloop() -> bool:
    from importlib.util import find_spec

    return find_spec("uvloop") is not None
