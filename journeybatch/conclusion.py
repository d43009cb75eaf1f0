"""The last act of a run: the journal's end, the views, the sinks, the summary.

A signal leaves no time for all rows: whoever sent it kills soon. Only the journal and the summary are finished then.
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from journeybatch.archive import read_history
from journeybatch.bookmark import forget
from journeybatch.compaction import close
from journeybatch.delivery import deliver, undelivered
from journeybatch.ending import Ending
from journeybatch.entries import Finished
from journeybatch.errors import DeadlinePassed, DiskFull, InputChanged, OutOfMemory, RunStopped, TableError
from journeybatch.hindsight import look_back
from journeybatch.history import History
from journeybatch.journal import Journal
from journeybatch.outcome import exit_code_of, summary_of
from journeybatch.preparation import Prepared
from journeybatch.results import RESULTS, Counts, count
from journeybatch.rounds import give_up_doubts, give_up_lost
from journeybatch.standing import Standing
from journeybatch.summary import SUMMARY, write_json
from journeybatch.survey import Survey
from journeybatch.views import Known, write_views

LOOKED_AT = 300_000
"""Rows (times the steps of asking), or attempts, that are looked at within a second, after a signal, too. Of more, the
summary says what the sending counted."""


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
        standing = None if ending.signal and _many(history, ready.surveyed) else _settled(ready, ending, history)
        if standing is not None:
            counts = count(standing.table, history)
            if not counts.pending and isinstance(ending.stop, DeadlinePassed):
                ending.stop = None  # what was in flight was all there was
        known_to_be_done = not counts.pending and (standing is not None or len(ready.surveyed.steps) == 1)
        if known_to_be_done and history.runs and history.runs[-1].finished_at is None:
            journal.write(Finished(history.runs[-1].number, time.time()))
        journal.flush()
        if standing is not None and ending.signal is None:
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


def _many(history: History, surveyed: Survey) -> bool:
    """Whether to look at all rows would take longer than whoever sent a signal has to wait."""
    return max(surveyed.rows * len(surveyed.steps), len(history.attempts)) > LOOKED_AT


def _settled(ready: Prepared, ending: Ending, history: History) -> Standing:
    """Where the rows stand, once those that have failed by now are given up."""
    standing = ready.standing or ready.job.stand(history, ready.surveyed, ready.at)
    if ending.stop is None and ending.signal is None:
        give_up_lost(ready, standing)
    if ready.job.spec.retry.on_unknown == "fail":
        give_up_doubts(ready, standing)
    if standing.lost or standing.held:
        standing = ready.job.stand(history, ready.surveyed, ready.at)
    return standing


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
