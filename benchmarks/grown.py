"""What grows with the rows: a plan, and a job carried on after a kill, over tables larger than a run here could ask.

The table and the journal are made (``made.py``), not run.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from made import journal_bytes, write_journal, write_register, write_table
from measures import Line, Measure
from stage import Upstream, measure, upstream, write_job

COLUMNS = {
    "name": "",
    "rows": "rows",
    "seconds": "s",
    "first_request_s": "first request after s",
    "stopping_s": "end after a signal s",
    "cpu_us_per_row": "CPU µs/row",
    "rss_mib": "RSS MiB",
}
COMMAND = [sys.executable, "-m", "journeybatch"]
RUN = [*COMMAND, "run", "--quiet", "--yes"]


def left_of(rows: int, share: float) -> int:
    """How many rows are left to ask: a share of them where it is below 1, else a number."""
    return round(rows * share) if share < 1 else min(rows, round(share))


def scale(room: Path, rows: int, given: argparse.Namespace) -> list[Line]:
    """A plan of ``rows`` rows, one of rows that an earlier run knew (where they are so many that it keeps what it
    knows), a job carried on that lacks the last of its answers, after a kill and after a stop, and, if it was carried
    on to its end, one more run of it. Raises SystemExit where the disk is too small for them: the journal, its views
    beside it, and the table."""
    left = left_of(rows, given.left)
    needed = 2 * journal_bytes(rows - left, given.reply) + 2 * rows * given.text
    if needed > (free := shutil.disk_usage(room).free):
        raise SystemExit(f"{rows:,} rows would need {needed / 1e9:.0f} GB of disk, and {free / 1e9:.0f} are free")
    place = room / f"scale-{rows}"
    place.mkdir()
    table, began = place / "rows.parquet", time.perf_counter()
    write_table(table, rows, given.text)
    made_s = time.perf_counter() - began
    with upstream(0.0) as server:
        job = write_job(place, table, server.base_url)
        plan = measure([*COMMAND, "plan", str(job)], place / "log")
        write_register(job)
        known = measure([*COMMAND, "plan", str(job)], place / "log")
        began = time.perf_counter()
        write_journal(job, rows - left, given.reply)
        journal_s = time.perf_counter() - began
        size = sum(path.stat().st_size for path in (place / "run").rglob("*") if path.is_file())
        table_gb, journal_gb = table.stat().st_size / 1e9, size / 1e9
        print(f"{rows:,} rows: a table of {table_gb:.2f} GB made in {made_s:.0f} s,", end=" ", file=sys.stderr)
        print(f"a journal of {journal_gb:.2f} GB in {journal_s:.0f} s", file=sys.stderr)
        killed = carry_on(job, place, server, until_first=True)
    with upstream(0.0, more=("--port", str(urlsplit(server.base_url).port))) as server:
        stopped = carry_on(job, place, server, until_first=given.until_first)
        nights = [] if given.until_first else [measure([*RUN, str(job)], place / "log")]
    shutil.rmtree(place)
    first = ", until the first request"
    return [
        Line("plan", 0.0, rows, (plan,)),
        Line("plan, rows known", 0.0, rows, (known,)),
        Line(f"carry on after a kill, {left:,} left{first}", 0.0, rows, (killed,)),
        Line(f"carry on after a stop, {left:,} left{first if given.until_first else ''}", 0.0, rows, (stopped,)),
        *(Line("once more, nothing to ask", 0.0, rows, (night,)) for night in nights),
    ]


def carry_on(job: Path, place: Path, server: Upstream, *, until_first: bool) -> Measure:
    """Carries a job on, to its end or until its first request is with the server, whereupon it is asked to stop."""
    first: list[float] = []

    def seen() -> None:
        first.append(server.first_request_at())

    taken = measure([*RUN, str(job)], place / "log", until=seen if until_first else None)
    if not first:
        seen()
    return replace(taken, first_request_s=first[0] - taken.began_at)


def show_line(line: Line) -> dict[str, object]:
    (taken,) = line.rounds
    first = None if taken.first_request_s is None else round(taken.first_request_s, 2)
    end = None if taken.stopping_s is None else round(taken.stopping_s, 2)
    return {**line.to_dict(), "first_request_s": first, "stopping_s": end, "cpu_us_per_row": round(line.cpu_us, 1)}
