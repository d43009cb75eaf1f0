"""What a user waits for at the very start: ``--version``, and the first request of a small job."""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from measures import Line
from stage import measure, run_ours, upstream, write_table

ROWS, ROUNDS = 10, 11
VERSION_TARGET_S, FIRST_TARGET_S = 0.120, 0.800


def starts(room: Path, rounds: int = ROUNDS) -> list[Line]:
    """``journeybatch --version`` and a job of ten rows, so many times each, in turns."""
    table = room / "ten.csv"
    write_table(table, ROWS)
    told, asked = [], []
    for _ in range(rounds):
        told.append(measure([sys.executable, "-m", "journeybatch", "--version"], room / "log"))
        with upstream(0.05) as server, tempfile.TemporaryDirectory(dir=room) as fresh:
            taken = run_ours(Path(fresh), table, server.base_url)
            asked.append(replace(taken, first_request_s=server.first_request_at() - taken.began_at))
    return [Line("--version", 0.0, 1, tuple(told)), Line("ten rows", 0.05, ROWS, tuple(asked))]


def show_starts(lines: list[Line]) -> None:
    version, ten = lines
    first = [one.first_request_s or 0.0 for one in ten.rounds]
    print(f"\nMedians of {len(first)}, from the start of the process:")
    print(f"- `journeybatch --version`: {version.median_s * 1000:.0f} ms (wanted: {VERSION_TARGET_S * 1000:.0f})")
    median = statistics.median(first) * 1000
    print(f"- a job of {ROWS} rows: first request at the upstream after {median:.0f} ms", end=" ")
    print(f"(wanted: {FIRST_TARGET_S * 1000:.0f}), all done after {ten.median_s * 1000:.0f} ms")
