"""What is true first: one sentence about a run, and how to go on from it."""

from __future__ import annotations

import msgspec

from journeybatch.report.evidence import Evidence
from journeybatch.report.words import credits_text, number, span

_STOPPED = {
    "credits": "Stopped, since the account is empty",
    "auth": "Stopped, since the endpoint refuses the key",
    "endpoint": "Stopped, since the endpoint does not know the URL or the model",
    "outage": "Stopped, since the endpoint does not answer",
    "deadline": "Stopped at the deadline",
    "failures": "Stopped, since more rows failed than the job allows",
    "disk": "Stopped, since the journal could not be written",
    "memory": "Stopped, since memory ran out",
    "input": "Stopped, since the input changed meanwhile",
    "sink": "Stopped, since a sink did not take the results",
    "signal": "Interrupted by a signal",
    "died": "Interrupted: the process died",
}


class Standing(msgspec.Struct, frozen=True):
    """How a run stands: its rows, its credits (certainly, and possibly besides), its seconds, how many replies
    each row has (``width``), whether it is at work, and what stopped it (a reason of summary.json, ``died``, or
    None)."""

    total: int
    answered: int
    failed: int
    pending: int
    spent: int
    unknown: int
    seconds: float
    width: int = 1
    running: bool = False
    stopped_by: str | None = None
    cap: int | None = None


def standing_of(evidence: Evidence, last: float | None) -> Standing:
    """How the latest run stands; ``last`` is when its last attempt ended (Unix seconds)."""
    run, summary = evidence.run, evidence.summary
    stopped_by = summary.get("stopped_by")
    if not evidence.running and run.finished_at is None and summary.get("exit_code") is None:
        stopped_by = "died"
    ended = run.finished_at or last or run.began_at
    return Standing(
        total=evidence.rows.height,
        answered=evidence.counted("answered"),
        failed=evidence.counted("failed"),
        pending=evidence.counted("pending"),
        spent=run.spent,
        unknown=run.unknown,
        seconds=max(0.0, ended - run.began_at),
        width=evidence.width,
        running=evidence.running,
        stopped_by=None if evidence.running else stopped_by,
        cap=evidence.cap,
    )


def headline(standing: Standing) -> str:
    """One sentence: 1,319 of 1,319 rows answered, 1,319 credits, 93 s."""
    s = standing
    if not s.total:
        return "The input has no rows: nothing was asked, 0 credits"
    what = "rows" if s.width == 1 else "replies"
    parts = [f"{number(s.answered)} of {number(s.total)} {what} answered"]
    if s.failed:
        parts.append(f"{number(s.failed)} failed")
    parts += [credits_text(s.spent, s.spent + s.unknown), span(s.seconds)]
    start = _start(s)
    return f"{start}: {', '.join(parts)}" if start else ", ".join(parts)


def _start(standing: Standing) -> str:
    if standing.running:
        return "Still running"
    if standing.stopped_by == "budget":
        return "Stopped at the cap" + (f" of {credits_text(standing.cap)}" if standing.cap is not None else "")
    return _STOPPED.get(standing.stopped_by or "", "Stopped" if standing.stopped_by else "")


def next_steps(standing: Standing) -> list[str]:
    """How to go on, as sentences; none where there is nothing left to do."""
    s = standing
    if s.running:
        return ["A run is at work here: this page shows what stood in the journal when it was made."]
    found = []
    if s.pending:
        cap = " with a higher `--max-credits N`" if s.stopped_by == "budget" else ""
        waits = "1 row waits" if s.pending == 1 else f"{number(s.pending)} rows wait"
        found.append(f"{waits} for an answer: `journeybatch run JOB`{cap} carries on and asks only these.")
    if s.failed:
        found.append("Rows that failed stay failed: `journeybatch run JOB --retry-failed` asks them again.")
    return found
