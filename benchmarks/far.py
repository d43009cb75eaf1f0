"""What Ray costs and what it brings: ``python benchmarks/far.py`` (needs the extra ``ray``; some three minutes).

A cluster of two nodes and the upstream, all on this machine; jobs are whole processes. Rows a second are counted
between the first attempt and the last one in the ledger, so that start-up is a line of its own; processor time is the
driver's, of what many rows cost more than a few, so that start-up is not in it. The ceiling: workers that answer from
memory, so that the driver and the way to the workers are all there is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from stage import CONCURRENCY, measure, upstream, write_table
from upstream import COMPLETION

from journeybatch.distributed import Worker
from journeybatch.parcels import Delivered, Parcel

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
KEY = "no-key-at-all"
TEN = ("engine.workers=10", "--set", "engine.cpus=0.1", "--concurrency", 2000)
BODY = COMPLETION.partition(b"\r\n\r\n")[2]


class Echo(Worker):
    """A worker that answers from memory."""

    async def _attempt(self, parcel: Parcel) -> None:
        headers = {"content-type": "application/json"}
        self._hand_over(Delivered(parcel.request, parcel.attempt, 200, headers, BODY, 0.001))


@dataclass(frozen=True)
class Run:
    """One job's run: rows a second while it was sending, the driver's processor seconds, seconds until the first
    attempt."""

    rows: int
    rows_s: float
    cpu_s: float
    start_s: float


def run(
    room: Path, rows: int, base_url: str, *arguments: object, concurrency: int = CONCURRENCY, echo: bool = False
) -> Run:
    """A job of so many rows with more ``arguments``, in a process of its own."""
    place = Path(tempfile.mkdtemp(dir=room))
    write_table(place / "rows.csv", rows)
    job = {
        "input": str(place / "rows.csv"),
        "prompt": "Classify this customer message: {{ text }}",
        "model": "deepseek-chat",
        "concurrency": concurrency,
        "api": {"base_url": base_url, "auth": "none"},
        "output": str(place / "run"),
    }
    (place / "job.yaml").write_text(json.dumps(job))
    program = [__file__, "--echo"] if echo else ["-m", "journeybatch"]
    command = [sys.executable, *program, "run", str(place / "job.yaml"), "--quiet", *map(str, arguments)]
    began = time.time()
    taken = measure(command, place / "log")
    ledger = pl.read_parquet(place / "run" / "requests.parquet", columns=["started_at", "latency_s", "outcome"])
    if ledger.height != rows or set(ledger["outcome"]) != {"settled"}:
        raise SystemExit(f"{rows} rows, {ledger.height} attempts: {ledger['outcome'].value_counts()}")
    first, last = (ledger["started_at"].dt.epoch("us").sort().gather([0, -1]) / 1e6).to_list()
    return Run(rows, rows / (last - first), taken.cpu_s, first - began)


def best(runs: list[Run]) -> Run:
    return max(runs, key=lambda taken: taken.rows_s)


def cpu_us(long: list[Run], short: list[Run]) -> float:
    """Processor time of a row, in µs."""
    more = min(taken.cpu_s for taken in long) - min(taken.cpu_s for taken in short)
    return more / (long[0].rows - short[0].rows) * 1e6


def compare(room: Path, given: argparse.Namespace, address: str) -> None:
    far = ("--engine", "ray", "--address", address, "--set", "engine.workers=1")
    runs: dict[str, tuple[list[Run], list[Run]]] = {}
    with upstream(0.0) as server:
        fast = server.base_url
        for name, arguments, echo in (
            ("local, 0 ms", (), False),
            ("ray, 1 worker, 0 ms", far, False),
            ("the driver's ceiling, 1 worker", far, True),
            ("the same, 10 workers, 2,000 in flight", (*far[:-1], *TEN), True),
        ):
            short = [run(room, 500, fast, *arguments, echo=echo) for _ in range(given.rounds)]
            long = [run(room, given.rows, fast, *arguments, echo=echo) for _ in range(given.rounds)]
            runs[name] = long, short
            print(f"| {name} | {best(long).rows_s:,.0f} | {cpu_us(long, short):.0f} |", flush=True)
        own = run(room, 500, fast, "--engine", "ray")
    here, there, *_ = (min(taken.start_s for taken in (*long, *short)) for long, short in runs.values())
    print(f"| seconds to the first request: {here:.2f} local, {there:.2f} on a cluster that is there,", end=" ")
    print(f"{own.start_s:.2f} on a Ray of its own | | |", flush=True)


def scale(room: Path, given: argparse.Namespace, address: str) -> None:
    """Each worker brings so many requests in flight to an upstream that takes a second for each."""
    with upstream(1.0) as server:
        slow = server.base_url
        for workers in (1, 2):
            far = ("--engine", "ray", "--address", address, "--set", f"engine.workers={workers}")
            lanes = given.lanes * workers
            taken = run(room, 8 * lanes, slow, *far, concurrency=lanes)
            print(f"| {workers} × {given.lanes} in flight, 1 s | {taken.rows_s:,.0f} of {lanes} | |")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--lanes", type=int, default=500, help="in flight for each worker, of an upstream of 1 s")
    given = options.parse_args()
    import cluster

    environ = {"JOURNEYAPI_KEY": KEY, "PYTHONPATH": str(Path(__file__).parent)}  # where workers find Echo
    with tempfile.TemporaryDirectory(prefix="journeybatch-bench-") as room, cluster.started(**environ) as two:
        print("| | rows/s | driver's µs/row |\n| --- | ---: | ---: |")
        compare(Path(room), given, two.address)
        scale(Path(room), given, two.address)


def run_echo() -> None:
    """The command line with workers that answer from memory."""
    from far import Echo as Found  # by the name that workers can import it by

    from journeybatch import cli, distributed

    found: Any = distributed
    found.Worker = Found
    sys.argv = ["journeybatch", *sys.argv[2:]]
    cli.main()


if __name__ == "__main__":
    os.environ.setdefault("JOURNEYAPI_KEY", KEY)
    run_echo() if sys.argv[1:2] == ["--echo"] else main()
