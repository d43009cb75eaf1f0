"""status, show, export and verify: what looks at an output directory."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from journeybatch.archive import mapped, read_history, received
from journeybatch.attempts import CHARGES, request_name
from journeybatch.audit import audit
from journeybatch.cli import screen
from journeybatch.cli.environment import load, read_world
from journeybatch.cli.watching import watch
from journeybatch.delivery import deliver, undelivered
from journeybatch.errors import Damaged, OutputError, RunLocked
from journeybatch.export import export as export_table
from journeybatch.history import History
from journeybatch.job import Job, bind
from journeybatch.journal import NAME, open_journal
from journeybatch.lock import alone, locked, without_runs
from journeybatch.preparation import kept_input
from journeybatch.reading import reread
from journeybatch.results import RESULTS, Counts
from journeybatch.spec import JobSpec
from journeybatch.summary import SUMMARY, read_summary, remarks, write_json
from journeybatch.survey import Survey
from journeybatch.table import MOST_ROWS
from journeybatch.tuning import Tuning
from journeybatch.views import write_views


def directory_of(target: str) -> Path:
    """The output directory that DIR-or-JOB means. Raises OutputError, SpecError."""
    path = Path(target)
    if path.is_dir():
        return path
    if path.suffix in (".yaml", ".yml") or path.exists():
        return load(path, {}, read_world()).output
    raise OutputError(f"{target}: there is no such directory or job file")


def history_of(directory: Path) -> History:
    """The history in an output directory. Raises OutputError where there is none."""
    check_journal(directory)
    return read_history(directory / NAME)


def check_journal(directory: Path) -> None:
    """Raises OutputError where there is no journal."""
    if not (directory / NAME).exists():
        raise OutputError(f"{directory}: there is no journal here; nothing ever ran in this directory")


_COUNTED = {"worker", "pid", "sent", "in flight", "answered", "failed", "in doubt", "late"}


@click.command()
@click.argument("target", metavar="DIR-or-JOB")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--watch", "watching", is_flag=True, help="Show it anew about once a second, until the run ends.")
def status(target: str, as_json: bool, watching: bool) -> None:
    """How far a run is, also while another process runs it."""
    directory = directory_of(target)
    if watching:
        if as_json:
            raise click.UsageError("--watch is for people: leave out --json, or ask again and again without --watch")
        check_journal(directory)
        try:
            watch(directory)
        except KeyboardInterrupt:
            screen.stderr().line("no longer watched; the run goes on")
            return
    history = history_of(directory)
    running = locked(directory / NAME)
    run = history.run
    state = "running" if running else "finished" if run and run.finished_at else "stopped" if run else "not begun"
    summary = read_summary(directory) or {}
    data: dict[str, Any] = {
        "job": history.began.job if history.began else summary.get("job"),
        "state": state,
        "running": running,
        "run": run.number if run else 0,
        "rows": summary.get("rows"),
        "requests": {"sent": run.sent, "retried": run.retried, "in_doubt": run.in_doubt} if run else None,
        "credits": {"spent": run.spent, "unknown_max": run.unknown, "spent_total": history.spent} if run else None,
        "tuned": _tuned(history),
        "reconciliation": summary.get("credits", {}).get("reconciliation"),
        "stopped_by": summary.get("stopped_by") or ("died" if state == "stopped" and _died(summary) else None),
        "finished_at": summary.get("finished_at"),
        "output": str(directory),
        "workers": summary.get("workers", []),
    }
    if as_json:
        screen.out_json(data)
        return
    screen.out(f"{screen.safe(data['job'])}: {state}" + (f" ({data['stopped_by']})" if data["stopped_by"] else ""))
    for name in ("rows", "requests", "credits"):
        if data[name]:
            facts = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in data[name].items())
            screen.out(f"{name + ':':<10}{facts}")
    if data["workers"]:
        columns = [*data["workers"][0]]
        cells = (worker.values() for worker in data["workers"])
        screen.out_table([name.replace("_", " ") for name in columns], cells, numbers=_COUNTED)
    if data["tuned"]:
        screen.out(f"{'tuned:':<10}{Tuning(**data['tuned'])}")
    for remark in remarks(summary) if summary and not running else ():
        screen.out(screen.safe(remark))
    if state == "stopped" and summary.get("exit_code") != 1:
        screen.out("carry on with: journeybatch run JOB")


def _tuned(history: History) -> dict[str, int | None] | None:
    """What was chosen for the latest run while it was at work."""
    chosen = history.tuned
    if chosen is None or history.run is None or chosen.run != history.run.number:
        return None
    return {"concurrency": chosen.concurrency, "credits": chosen.credits}


def _died(summary: dict[str, Any]) -> bool:
    """No process holds the directory, and the last one left no word how it ended."""
    return summary.get("exit_code") is None


@click.command()
@click.argument("target", metavar="DIR-or-JOB")
@click.argument("row", type=click.IntRange(0, MOST_ROWS))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(target: str, row: int, as_json: bool) -> None:
    """One row's whole story: prompt, attempts, raw replies, charges. ROW counts from 0."""
    from itertools import islice

    directory = directory_of(target)
    history = history_of(directory)
    spec = spec_of(directory)
    job = bind(spec, read_world(), path=kept_input(spec, directory))
    seen: dict[bytes, int] = {}
    questions = (question for frame in job.frames() for question in job.ask.questions(frame, seen))
    question = next(islice(questions, row, None), None)
    if question is None:
        raise OutputError(f"{directory}: the input has no row {row}")
    if isinstance(question, Exception):
        raise question
    keys = [key for step in job.ask.steps for key in job.ask.keys(step, question) if key is not None]
    given_up = [history.given_up[key] for key in keys if key in history.given_up]
    story: dict[str, Any] = {
        "row": row,
        "key": keys[0].hex(),
        "messages": {
            way.name: [{"role": message.role, "content": message.content} for message in messages]
            for way, messages in zip(job.ways, question[0], strict=True)
        },
        "attempts": _attempts(directory, history, set(keys)),
        "given_up": given_up[-1] if given_up else None,
    }
    if as_json:
        only = story["messages"].get("")  # where nothing is compared
        screen.out_json(story if only is None else story | {"messages": only})
        return
    screen.out(f"row {row}, key {story['key']}")
    for way, messages in zip(job.ways, question[0], strict=True):
        for message in messages:
            screen.out(f"\n[{f'{screen.safe(way.name)}: ' if way.name else ''}{message.role}]")
            screen.out(screen.safe(message.content))
    for attempt in story["attempts"]:
        rows = f" for {attempt['rows']} rows" if attempt["rows"] > 1 else ""
        head = f"\nrequest {attempt['request']} to {attempt['model']}{rows}, attempt {attempt['attempt']}: "
        head += attempt["outcome"]
        cost = f"{attempt['credits']} to {attempt['credits_max']} credits"
        screen.out(f"{head}, {cost}, status {attempt['status'] or 'none'}, error {attempt['error'] or 'none'}")
        told = attempt["message"] or attempt["reply"]
        screen.out(screen.safe(FORGOTTEN if told is None and attempt["outcome"] == "settled" else told))
    if story["given_up"]:
        screen.out(f"\ngiven up: {': '.join(map(screen.safe, story['given_up']))}")


FORGOTTEN = "(its reply is kept no more: it was older than `max_age`)"


def _attempts(directory: Path, history: History, keys: set[bytes]) -> list[dict[str, Any]]:
    a = history.attempts
    with mapped(directory / NAME) as journal:
        return [
            {
                "request": request_name(a.request[i]),
                "attempt": a.attempt[i],
                "model": a.model[i],
                "rows": a.prompts(i),
                "outcome": CHARGES[a.charge[i]],
                "credits": a.credits[i],
                "credits_max": a.credits_max[i],
                "status": a.status[i] or None,
                "error": a.error[i],
                "message": a.message[i],
                "reply": received(journal, history, i).body.decode("utf-8", "replace") if a.offset[i] >= 0 else None,
            }
            for i in range(len(a))
            if keys & set(a.keys_of(i))
        ]


def spec_of(directory: Path) -> JobSpec:
    """The job that ran last in ``directory``."""
    path = directory / "job.yaml"
    if not path.exists():
        raise OutputError(f"{directory}: there is no job.yaml here; nothing ever ran in this directory")
    return load(path, {}, read_world())


def rebound(directory: Path, history: History) -> tuple[Job, Survey]:
    """The job that ran last in ``directory``, over the rows it ran over, and its survey; ``history`` as that job reads
    replies. Raises JobError."""
    total = (read_summary(directory) or {}).get("rows", {}).get("total")
    spec = spec_of(directory)
    job = bind(spec, read_world(), path=kept_input(spec, directory))
    job = msgspec.structs.replace(job, limit=None if total is None else total // job.ask.width)
    reread(history, directory / NAME, job.reader)
    surveyed = job.survey(directory)
    surveyed.check_problems()
    return job, surveyed


@click.command()
@click.argument("target", metavar="DIR-or-JOB")
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="Also: .csv, .xlsx, .jsonl or .parquet.")
def export(target: str, to: Path | None) -> None:
    """Rebuild the Parquet views from the journal, for nothing; write them to FILE, and to sinks that lack them."""
    directory = directory_of(target)
    check_journal(directory)
    with alone(directory):
        with without_runs(directory / NAME):
            history = history_of(directory)
            job, surveyed = rebound(directory, history)
            counts = write_views(job, history, directory / NAME, surveyed)
            screen.out(f"{counts.answered} of {counts.total} rows answered: {directory / RESULTS}")
            if to is not None:
                export_table(directory / RESULTS, to)
                screen.out(str(to))
            summary, runs = read_summary(directory) or {}, len(history.runs)
        if job.spec.sinks:
            _deliver(job.spec, directory, counts, summary, runs)


def _deliver(spec: JobSpec, directory: Path, counts: Counts, summary: dict[str, Any], runs: int) -> None:
    """Bring the results to the sinks that lack them, unless there was a run since the ``summary`` of the last of so
    many ``runs``. Raises Undelivered, RunLocked, DiskFull."""
    if counts.pending and summary.get("exit_code") != 1 and summary.get("stopped_by") != "sink":
        screen.out(f"not delivered to the sinks: {counts.pending} rows are pending; run the job to its end first")
        return
    with closing(open_journal(directory)) as journal:
        if len(journal.history.runs) != runs or (read_summary(directory) or {}) != summary:
            raise RunLocked(f"{directory}: a run was at work here just now: export again")
        found = deliver(spec.sinks, directory / RESULTS, journal, read_world().environ)
        failed = undelivered(found)
        if summary.get("stopped_by") == "sink" and failed is None:
            code = 1 if counts.failed or counts.pending else 0
            told = {"stopped_by": None, "exit_code": code, "deliveries": msgspec.to_builtins(found)}
            write_json(directory / SUMMARY, summary | told)
    for each in found:
        screen.out(f"{each.state}: {each.sink}")
    if failed:
        raise failed


@click.command()
@click.argument("target", metavar="DIR-or-JOB")
def verify(target: str) -> None:
    """Check journal, ledger and results against each other."""
    directory = directory_of(target)
    found = audit(directory)
    if found:
        raise Damaged("\n".join([f"{directory}: {len(found)} things do not agree:", *(f"  {line}" for line in found)]))
    history = history_of(directory)
    screen.out(f"{directory}: {len(history.attempts)} attempts, {history.spent} credits: all agree")
