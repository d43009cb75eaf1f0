"""What ``make bench-full`` runs: whole processes against the upstream, and tables far larger than a run here could ask.

``sending`` runs jobs at several latencies and numbers in flight, with and without TLS. ``scale`` makes a table and the
journal of a run that was killed a thousand rows before its end, plans a job like it, and carries it on: what is
measured is everything that grows with the rows. ``--to FILE`` keeps all measures as Parquet.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from made import write_journal
from made import write_table as write_parquet
from run import CORES, Line, Measure, measure, run_ours, upstream, write_job, write_table

LEFT = 1_000
"""Rows that a job carried on has yet to ask."""


@dataclass(frozen=True)
class Case:
    name: str
    rows: int
    latency_s: float
    concurrency: int = 256
    tls: bool = False


CASES = [
    Case("10,000 rows", 10_000, 0.05),
    Case("100,000 rows", 100_000, 0.05),
    Case("nothing to wait for", 100_000, 0.0),
    Case("1,000 in flight", 100_000, 0.05, 1_000),
    Case("the same over TLS", 100_000, 0.05, 1_000, tls=True),
    Case("2,000 in flight", 100_000, 0.05, 2_000),
    Case("4,000 in flight", 100_000, 0.05, 4_000),
]


def certificate(room: Path) -> Path:
    """A key and a certificate for 127.0.0.1 in one file."""
    path = room / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", path, "-out", room / "cert.pem"], check=True, capture_output=True)
    path.write_text(path.read_text() + (room / "cert.pem").read_text())
    return path


def sending(room: Path, case: Case, rounds: int) -> Line:
    table = room / f"{case.rows}.csv"
    if not table.exists():
        write_table(table, case.rows)
    pem = certificate(room) if case.tls else None
    environ = {**os.environ, **({"SSL_CERT_FILE": str(pem)} if pem else {})}
    taken: list[Measure] = []
    with upstream(case.latency_s, pem) as base_url:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(dir=room) as fresh:
                taken.append(run_ours(Path(fresh), table, base_url, case.concurrency, environ))
    return Line(case.name, case.latency_s, case.rows, tuple(taken), case.concurrency)


def scale(room: Path, rows: int) -> list[dict[str, object]]:
    """A plan of ``rows`` rows of 1,000 characters, and a job carried on that lacks the last thousand of its answers,
    each of 2,000 characters."""
    room.mkdir()
    table = room / "rows.parquet"
    write_parquet(table, rows, 1_000)
    lines = []
    with upstream(0.0) as base_url:
        job = write_job(room, table, base_url)
        command = [sys.executable, "-m", "journeybatch"]
        lines.append(told("plan", rows, measure([*command, "plan", str(job)], room / "log")))
        write_journal(job, rows - LEFT, 2_000)
        began = time.time()
        taken = measure([*command, "run", str(job), "--quiet", "--yes"], room / "log")
        sent = pl.scan_parquet(room / "run" / "requests.parquet").select("started_at").tail(LEFT).collect()
        first_s = sent["started_at"].min().timestamp() - began  # type: ignore[union-attr]
        lines.append({**told("carry on", rows, taken), "first_request_s": round(first_s, 2)})
    return lines


def told(name: str, rows: int, taken: Measure) -> dict[str, object]:
    return {
        "name": name,
        "rows": rows,
        "seconds": round(taken.wall_s, 2),
        "cpu_us_per_row": round(taken.cpu_s / rows * 1e6, 1),
        "rss_mib": round(taken.rss_mib),
    }


def show(line: Line) -> dict[str, object]:
    """One line of the table of sending, as it is measured."""
    one = {**line.to_dict(), "rows": line.rows, "concurrency": line.concurrency}
    median = line.rows / statistics.median(measure.wall_s for measure in line.rounds)
    shown = (line.name, f"{line.rows:,}", f"{line.concurrency:,}", f"{line.latency_s * 1000:.0f} ms")
    figures = (one["rows_per_s"], round(median), one["times_ideal"] or "–", one["cpu_us_per_row"], one["rss_mib"])
    print("| " + " | ".join(map(str, (*shown, *figures))) + " |", flush=True)
    return one


def show_scale(lines: list[dict[str, object]]) -> None:
    print("\n| | rows | s | first request after s | CPU µs/row | RSS MiB |\n| --- | " + " | ".join(["---:"] * 5) + " |")
    for line in lines:
        names = ("name", "rows", "seconds", "first_request_s", "cpu_us_per_row", "rss_mib")
        print("| " + " | ".join(str(line.get(name, "–")) for name in names) + " |")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", help="cases whose name has this text (the empty text: all)", default="")
    options.add_argument("--scale", type=int, nargs="*", default=[100_000, 300_000, 1_000_000], help="rows")
    options.add_argument("--to", type=Path, help="a Parquet file for all measures")
    given = options.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[:1])
    with tempfile.TemporaryDirectory(prefix="journeybatch-bench-") as folder:
        room = Path(folder)
        print("| | rows | in flight | latency | rows/s | median | × ideal | CPU µs/row | RSS MiB |")
        print("| --- | " + " | ".join(["---:"] * 8) + " |")
        found = [show(sending(room, case, given.rounds)) for case in CASES if given.only in case.name]
        grown = [line for rows in given.scale for line in scale(room / f"scale-{rows}", rows)]
    show_scale(grown)
    if given.to is not None:
        pl.DataFrame([*found, *grown], infer_schema_length=None).write_parquet(given.to)


if __name__ == "__main__":
    main()
