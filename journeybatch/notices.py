"""Somebody is told: pings when a run starts, succeeds or fails, and its figures for Prometheus.

What is told are the job's name, how the run ended, and counts: never a message, which could hold a row's text or an
address. What cannot be told never fails a run.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from journeybatch.addresses import expanded, web_address
from journeybatch.errors import JourneybatchError
from journeybatch.progress import Screen
from journeybatch.spec import JobSpec
from journeybatch.summary import write_text

if TYPE_CHECKING:
    from journeybatch.conclusion import Report

PING_S = 10.0
HANDED_ON = ("PATH", "HOME", "LANG", "TZ")
"""What a command gets to see of the environment: no key, no secret."""
ENDED = (0, 1)
"""Exit codes of a run that came to its end."""
_FIGURES = (
    ("rows_total", "rows", "total"),
    ("rows_answered", "rows", "answered"),
    ("rows_failed", "rows", "failed"),
    ("rows_pending", "rows", "pending"),
    ("requests_sent", "requests", "sent"),
    ("requests_retried", "requests", "retried"),
    ("credits_spent", "credits", "spent"),
    ("credits_unknown_max", "credits", "unknown_max"),
    ("credits_spent_total", "credits", "spent_total"),
)


@contextmanager
def told(spec: JobSpec, environ: Mapping[str, str], screen: Screen) -> Iterator[list[Report]]:
    """Tell of the run in the body, which puts its report into the list: how it began, and how it ended, also where it
    could not begin."""
    notify, reports = spec.notify, list[Any]()
    _ping(notify.start, {"text": f"{spec.name}: started", "job": spec.name}, environ, screen)
    code = 70
    try:
        yield reports
        code = reports[0].exit_code if reports else 0
    except JourneybatchError as error:
        code = error.exit_code
        raise
    except KeyboardInterrupt:
        code = 130
        raise
    finally:
        summary = reports[0].summary if reports else {}
        words = _words(spec.name, code, summary)
        _ping(notify.success if code in ENDED else notify.failure, words, environ, screen)
        if notify.failure_command and code not in ENDED:
            _call(notify.failure_command, words, environ, screen)
        if notify.metrics is not None:
            try:
                write_text(Path(notify.metrics), _metrics(spec.name, code, summary))
            except OSError as error:
                screen.line(f"notify.metrics: {notify.metrics} cannot be written: {error.strerror}")


def _words(job: str, code: int, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a ping: a sentence that chats show as it is, and the same as data."""
    rows, stopped_by = summary.get("rows"), summary.get("stopped_by")
    ended = "finished" if code in ENDED else f"stopped ({stopped_by})" if stopped_by else f"failed (exit code {code})"
    counts = f": {rows['answered']} of {rows['total']} rows answered, {rows['failed']} failed" if rows else ""
    return {
        "text": f"{job}: {ended}{counts}",
        "job": job,
        "exit_code": code,
        "stopped_by": stopped_by,
        "rows": rows,
        "credits_spent": summary.get("credits", {}).get("spent"),
    }


def _ping(address: str | None, body: Mapping[str, Any], environ: Mapping[str, str], screen: Screen) -> None:
    if address is None:
        return
    try:
        url = web_address(expanded(address, environ))
        httpx.post(url, json=body, timeout=PING_S).raise_for_status()
    except (ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) if isinstance(error, ValueError) and not isinstance(error, UnicodeError) else ""
        if isinstance(error, httpx.HTTPStatusError):
            why = f"status {error.response.status_code}"
        screen.line(f"notify: {address} was not told: {why or type(error).__name__}")  # never what it stands for


def _call(command: Sequence[str], body: Mapping[str, Any], environ: Mapping[str, str], screen: Screen) -> None:
    known = {name: environ[name] for name in HANDED_ON if name in environ}
    try:
        subprocess.run(  # noqa: S603  the user's own command, without a shell
            command,
            input=json.dumps(body, ensure_ascii=False).encode(),
            env=known,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PING_S,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = f"exit code {error.returncode}" if isinstance(error, subprocess.CalledProcessError) else ""
        why = why or (isinstance(error, OSError) and error.strerror) or type(error).__name__
        screen.line(f"notify.failure_command: {command[0]}: {why}")


def _metrics(job: str, code: int, summary: Mapping[str, Any]) -> str:
    """The last run in Prometheus' text format, for node_exporter's textfile collector."""
    label = job.replace("\\", "\\\\").replace('"', '\\"')
    figures: list[tuple[str, Any]] = [("exit_code", code), ("ended_timestamp_seconds", round(time.time(), 3))]
    if summary:
        figures.append(("duration_seconds", summary["seconds"]))
        figures += [(name, summary[section][key]) for name, section, key in _FIGURES]
    return "".join(
        f'# TYPE journeybatch_{name} gauge\njourneybatch_{name}{{job="{label}"}} {value}\n' for name, value in figures
    )
