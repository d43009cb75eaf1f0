"""What a run came to, in the words of its exit code and of summary.json."""

from __future__ import annotations

import math
import signal
import time
from typing import Any

import msgspec

from journeybatch.ending import Ending
from journeybatch.entries import Decided
from journeybatch.hindsight import Hindsight
from journeybatch.preparation import Prepared
from journeybatch.results import Counts
from journeybatch.summary import Credits, Summary
from journeybatch.tuning import in_force


def exit_code_of(counts: Counts, ending: Ending) -> int:
    """The code that a run ends with, as docs/errors.md has them."""
    if ending.signal is not None:
        return 130 if ending.signal == signal.SIGINT else 143
    if ending.stop is not None:
        return ending.stop.exit_code
    return 1 if counts.failed or counts.pending else 0


def summary_of(
    ready: Prepared, ending: Ending, rows: dict[str, int], exit_code: int | None, hindsight: Hindsight | None = None
) -> Summary:
    """The summary of a run that counts these ``rows`` by now, and ends with ``exit_code`` (None: it is at work)."""
    job, history = ready.job, ready.journal.history
    run = history.runs[-1] if history.runs else None
    ended = (run.finished_at if run else None) or time.time()
    began, tuning = ready.began_with, in_force(job.spec, history, ready.run)
    compared = None if ending.reconciliation is None else msgspec.structs.asdict(ending.reconciliation)
    return Summary(
        job=job.spec.name,
        run=ready.run,
        api=job.spec.api.base_url or job.spec.api.kind,
        emulated=history.emulated,
        concurrency=tuning.concurrency,
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
            cap=tuning.credits,
            balance_before=_known(began.get("balance_before"), ending.balance_before),
            balance_after=_known(ending.balance_after, began.get("balance_after")),
            reconciliation=compared if ready.plan.requests else began.get("reconciliation"),
        ),
        started_at=run.began_at if run else ended,
        finished_at=run.finished_at if run else None,
        seconds=round(ended - run.began_at, 3) if run else 0.0,
        stopped_by=ending.stop.reason if ending.stop else "signal" if ending.signal else None,
        exit_code=exit_code,
        decisions=[_told(found) for found in [*job.decisions(history, ready.surveyed), ending.found] if found],
        costs=hindsight.costs if hindsight else None,
        models=hindsight.models if hindsight else None,
        failures=hindsight.failures if hindsight else None,
        deliveries=ending.deliveries,
        workers=ending.workers,
    )


def _told(found: Decided) -> dict[str, Any]:
    return {"what": found.what, "value": found.value if math.isfinite(found.value) else None, "why": found.why}


def _known(first: int | float | None, otherwise: int | float | None) -> int | float | None:
    return otherwise if first is None else first
