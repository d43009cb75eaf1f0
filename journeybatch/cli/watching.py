"""runs, and status --watch: what is at work, and how it gets on."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from journeybatch import entries, frames
from journeybatch.archive import stored
from journeybatch.cli import screen
from journeybatch.entries import AnyEntry, Began, GivenUp, Intent, Received, Reopened, Settled
from journeybatch.errors import OutputError
from journeybatch.identity import KEY_BYTES
from journeybatch.journal import NAME
from journeybatch.lock import locked
from journeybatch.progress import duration
from journeybatch.summary import read_summary

EVERY_S = 1.0
LINE_EVERY_S = 10.0
"""How often a line is printed where there is no terminal."""
WINDOW_S = 30.0
"""The span that the rate is measured over."""
LATENCIES = 500
FIRST_LOOK = 16 * 2**20
"""Bytes of a journal that a first look takes in: at least as many attempts as can be in flight."""


class Seen(msgspec.Struct, frozen=True):
    """An output directory as its summary and its lock tell it, which is quick however long its journal is.

    ``state`` is `running`, `finished`, `stopped`, `died` or `not begun`; ``why`` says what stopped it."""

    directory: Path
    state: str
    why: str | None
    summary: dict[str, Any]

    @property
    def preparing(self) -> bool:
        """A run is at work and has said nothing yet: the summary is an earlier one's, or not there."""
        return self.state == "running" and self.summary.get("exit_code", 0) is not None


def look(directory: Path) -> Seen:
    """What is at work in ``directory``, or was."""
    running = locked(directory / NAME)
    summary = read_summary(directory) or {}
    if running:
        return Seen(directory, "running", None, summary)
    if not summary:
        return Seen(directory, "died" if (directory / "job.yaml").exists() else "not begun", None, summary)
    if summary.get("finished_at"):
        return Seen(directory, "finished", None, summary)
    if summary.get("exit_code") is None:
        return Seen(directory, "died", None, summary)
    return Seen(directory, "stopped", summary.get("stopped_by") or "doubts", summary)


def below(root: Path) -> Iterator[Path]:
    """The output directories in ``root``, itself included; hidden directories are left out."""
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        if NAME in files and _is_journal(Path(folder) / NAME):
            yield Path(folder)


def _is_journal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(frames.MAGIC)) == frames.MAGIC
    except OSError:
        return False


@click.command()
@click.argument("root", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def runs(root: Path, as_json: bool) -> None:
    """The runs in and below DIR (by default here), the latest first."""
    if not root.is_dir():
        raise OutputError(f"{root}: there is no such directory")
    found = sorted(map(look, below(root)), key=_when, reverse=True)
    if as_json:
        screen.out_json([_as_data(seen) for seen in found])
    elif found:
        columns = ("directory", "job", "run", "state", "answered", "failed", "credits", "api", "when (UTC)")
        screen.out_table(
            columns, (_cells(seen, root) for seen in found), numbers=("run", "answered", "failed", "credits")
        )
    else:
        screen.out(f"{root}: no run here or below")


def _when(seen: Seen) -> str:
    """The last time it is known to have been at work, in ISO 8601, UTC."""
    told = seen.summary.get("finished_at") or seen.summary.get("started_at")
    return str(told) if told else ""


def _as_data(seen: Seen) -> dict[str, Any]:
    kept = ("job", "run", "rows", "credits", "emulated", "started_at", "finished_at", "exit_code")
    told = {name: seen.summary.get(name) for name in kept}
    return {"directory": str(seen.directory), "state": seen.state, "stopped_by": seen.why, **told}


def _cells(seen: Seen, root: Path) -> tuple[object, ...]:
    summary = seen.summary
    rows, credits = summary.get("rows") or {}, summary.get("credits") or {}
    return (
        seen.directory.relative_to(root),
        summary.get("job"),
        summary.get("run"),
        f"stopped ({seen.why})" if seen.why else seen.state,
        f"{rows['answered']}/{rows['total']}" if rows else "",
        rows.get("failed"),
        credits.get("spent_total"),
        "emulator" if summary.get("emulated") else summary.get("api"),
        _when(seen)[:16].replace("T", " "),
    )


class Tail:
    """What a journal's entries tell of the process at work, read as they are added: failed prompts and failed attempts
    by kind, requests in flight, the latest latencies. Of a long journal the first look takes in its end only, which
    holds all that is in flight; ``whole`` tells whether it was read from its beginning."""

    def __init__(self, path: Path, most: int = FIRST_LOOK) -> None:
        self.whole = True
        self._most = most
        self.failed: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.latencies: deque[float] = deque(maxlen=LATENCIES)
        self._path = path
        self._open: set[tuple[int, int]] = set()
        self._end = 0

    @property
    def in_flight(self) -> int:
        """Attempts that were begun and have not ended."""
        return len(self._open)

    def read(self) -> None:
        """Take in what was added since. A frame that is still being written is read the next time."""
        with stored(self._path) as buffer:
            if not self._end and len(buffer) > self._most:
                self.whole, self._end = False, len(buffer) - self._most
            self._read(buffer)

    def _read(self, buffer: frames.Stored) -> None:
        journal_id = frames.identify(buffer)
        for frame in frames.scan(buffer, journal_id, self._end) if journal_id else ():
            if isinstance(frame, frames.Frame):
                self._fold(entries.decode(frame.payload))
                self._end = frame.offset + frames.OVERHEAD + len(frame.payload)

    def _fold(self, entry: AnyEntry) -> None:
        if isinstance(entry, Intent):
            self._open.add((entry.request, entry.attempt))
        elif isinstance(entry, Received):
            self.latencies.append(entry.latency_s)
        elif isinstance(entry, Settled):
            self._open.discard((entry.request, entry.attempt))
            if entry.error is not None:
                self.errors[entry.error] += 1
        elif isinstance(entry, GivenUp):
            self.failed[entry.error] += len(entry.keys) // KEY_BYTES
        elif isinstance(entry, Reopened):
            self.failed.clear()
        elif isinstance(entry, Began):  # what an earlier process left open is in doubt, not in flight
            self._open.clear()
            self.errors.clear()


class Pace:
    """Rows a second over the last half minute."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def add(self, at: float, done: int) -> None:
        """So many rows were ``done`` at a time (seconds of any clock that does not jump)."""
        self._marks.append((at, done))
        while self._marks[0][0] < at - WINDOW_S:
            self._marks.popleft()

    @property
    def rate(self) -> float | None:
        """None until two looks lie apart."""
        (began, before), (at, done) = self._marks[0], self._marks[-1]
        return (done - before) / (at - began) if at > began else None


def facts(seen: Seen, tail: Tail, pace: Pace) -> dict[str, str]:
    """What there is to say of a run at work, by name."""
    summary = seen.summary
    rows, credits = summary["rows"], summary["credits"]
    done, rate = rows["answered"] + rows["failed"], pace.rate
    left = f", {duration(rows['pending'] / rate)} left" if rate else ""
    cap = f" of {credits['cap']}" if credits["cap"] is not None else ""
    doubt = f", at most {credits['unknown_max']} more in doubt" if credits["unknown_max"] else ""
    told = {
        "rows": f"{done} of {rows['total']} ({100 * done // max(1, rows['total'])} %)",
        "rate": f"{rate:.1f} rows/s{left}" if rate is not None else "",
        "in flight": f"{tail.in_flight} of {summary.get('concurrency', '?')}",
        "latency": _latency(sorted(tail.latencies)),
        "failed": _kinds(tail.failed) if tail.whole else _lately(rows["failed"], tail.failed),
        "errors": _kinds(tail.errors) + ("" if tail.whole or not tail.errors else " lately"),
        "credits": f"{credits['spent']}{cap}{doubt}",
    }
    return {name: text for name, text in told.items() if text}


def _latency(sorted_s: list[float]) -> str:
    if not sorted_s:
        return ""
    median, slow = (sorted_s[min(len(sorted_s) - 1, int(share * len(sorted_s)))] for share in (0.5, 0.95))
    return f"median {median:.2f} s, 95 % within {slow:.2f} s"


def _kinds(counted: Counter[str]) -> str:
    return ", ".join(f"{number} {screen.safe(kind)}" for kind, number in counted.most_common(6))


def _lately(failed: int, counted: Counter[str]) -> str:
    """So many rows in all, and what is known of the latest."""
    return f"{failed}" + (f", lately {_kinds(counted)}" if counted else "") if failed else ""


def watch(directory: Path, pause: Callable[[float], None] = time.sleep) -> None:
    """Show the run in ``directory`` until it ends: on a terminal as a view that is drawn anew, else as a line now and
    then. ``pause`` waits so many seconds."""
    tail, pace, next_line = Tail(directory / NAME), Pace(), 0.0
    with screen.drawn() as draw:
        while (seen := look(directory)).state == "running":
            now = time.monotonic()
            told = _told(seen, tail, pace, now)
            if draw is not None:
                draw(
                    "\n".join([f"{_name(seen)}: running", *(f"{name + ':':<11}{text}" for name, text in told.items())])
                )
            elif now >= next_line:
                screen.out(f"{_name(seen)}: " + ", ".join(_short(told)))
                next_line = now + LINE_EVERY_S
            pause(EVERY_S)


def _told(seen: Seen, tail: Tail, pace: Pace, now: float) -> dict[str, str]:
    if seen.preparing:
        return {"preparing": "the table is read, every prompt is rendered"}
    tail.read()
    pace.add(now, seen.summary["rows"]["answered"] + seen.summary["rows"]["failed"])
    return facts(seen, tail, pace)


def _name(seen: Seen) -> str:
    return screen.safe(seen.summary.get("job") or seen.directory.name)


def _short(told: dict[str, str]) -> Iterator[str]:
    """Each fact with its name, where it does not say by itself what it is."""
    for name, text in told.items():
        yield text if name in ("rate", "preparing") else f"{name} {text}"
