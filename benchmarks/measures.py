"""What a benchmark found: one Measure per round, lines of a table, and all of it as Parquet, one row per round."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import polars as pl

OURS, RAW = "journeybatch", "raw, uvloop"

SCHEMA = {
    "benchmark": pl.String,  # bench, bench-peers, sending, tail, …
    "name": pl.String,  # of the contestant or of the case
    "version": pl.String,
    "rows": pl.Int64,
    "latency_s": pl.Float64,
    "concurrency": pl.Int64,
    "tls": pl.Boolean,
    "round": pl.Int64,
    "wall_s": pl.Float64,
    "cpu_s": pl.Float64,
    "rss_mib": pl.Float64,
    "first_request_s": pl.Float64,  # from the start of the process
    "last_percent": pl.Float64,  # from 99 % answered to the last answer, over the slowest request's own time
    "upstream": pl.String,  # built-in, or its URL
    "cpu": pl.String,
    "cores": pl.Int64,
    "system": pl.String,
    "python": pl.String,
    "date": pl.Datetime("us", "UTC"),
    "commit": pl.String,
}


@dataclass(frozen=True)
class Measure:
    """One whole process: wall and processor seconds, its largest resident set in MiB, and when it was started (epoch
    seconds); where they were looked for, seconds to its first request, how long the last hundredth took, and seconds to
    its end from when it was asked to stop."""

    wall_s: float
    cpu_s: float
    rss_mib: float
    began_at: float = 0.0
    first_request_s: float | None = None
    last_percent: float | None = None
    stopping_s: float | None = None


@dataclass(frozen=True)
class Line:
    """One line of a table: what was run, against which latency, and its rounds."""

    name: str
    latency_s: float
    rows: int
    rounds: tuple[Measure, ...]
    concurrency: int = 256
    version: str = ""
    tls: bool = False
    upstream: str = "built-in"
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def best(self) -> Measure:
        return min(self.rounds, key=lambda measure: measure.wall_s)

    @property
    def median_s(self) -> float:
        return statistics.median(measure.wall_s for measure in self.rounds)

    @property
    def rows_s(self) -> float:
        """Rows a second, of the median round."""
        return self.rows / self.median_s

    @property
    def cpu_us(self) -> float:
        """µs of processor time per row, of the round that needed least."""
        return min(measure.cpu_s for measure in self.rounds) / self.rows * 1e6

    @property
    def times_ideal(self) -> float | None:
        ideal_s = self.rows * self.latency_s / self.concurrency
        return self.median_s / ideal_s if ideal_s else None

    def to_dict(self) -> dict[str, object]:
        return {
            "name": f"{self.name} {self.version}".strip(),
            "rows": self.rows,
            "latency_s": self.latency_s,
            "rounds": len(self.rounds),
            "seconds": round(self.best.wall_s, 3),
            "seconds_median": round(self.median_s, 3),
            "rows_per_s": round(self.rows_s),
            "times_ideal": None if self.times_ideal is None else round(self.times_ideal, 2),
            "cpu_us_per_row": round(self.cpu_us),
            "rss_mib": round(max(measure.rss_mib for measure in self.rounds)),
        }


@cache
def machine() -> dict[str, object]:
    """The columns of SCHEMA that say where and of what this was measured."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": _commit(),
    }


def headline() -> str:
    """Machine and versions in one line."""
    at = machine()
    ours = f"journeybatch {version('journeybatch')}" + (f" ({at['commit']})" if at["commit"] else "")
    today = datetime.now(UTC).date()
    return f"{at['cpu']}, {at['cores']} cores, {at['system']}, Python {at['python']}, {ours}, {today}"


def keep(path: Path, benchmark: str, lines: list[Line]) -> None:
    """Adds every round of ``lines`` to a Parquet file; what is there already stays."""
    found = [
        {
            "benchmark": benchmark,
            "name": line.name,
            "version": line.version or None,
            "rows": line.rows,
            "latency_s": line.latency_s,
            "concurrency": line.concurrency,
            "tls": line.tls,
            "round": number,
            "wall_s": measure.wall_s,
            "cpu_s": measure.cpu_s,
            "rss_mib": measure.rss_mib,
            "first_request_s": measure.first_request_s,
            "last_percent": measure.last_percent,
            "upstream": line.upstream,
            "date": line.made_at,
            **machine(),
        }
        for line in lines
        for number, measure in enumerate(line.rounds)
    ]
    frame = pl.DataFrame(found, schema=SCHEMA)
    if path.exists():
        frame = pl.concat([pl.read_parquet(path), frame])
    frame.write_parquet(path)


def show(columns: dict[str, str], lines: Iterable[dict[str, object]]) -> None:
    """A Markdown table: ``columns`` by key and heading, the first one to the left."""
    print("| " + " | ".join(columns.values()) + " |\n| --- " + "| ---: " * (len(columns) - 1) + "|")
    for line in lines:
        cells = ("–" if (cell := line.get(key)) is None else cell for key in columns)
        print(
            "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |", flush=True
        )


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        told = subprocess.run(command, check=False, cwd=Path(__file__).parent, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return told.stdout.strip() or None
