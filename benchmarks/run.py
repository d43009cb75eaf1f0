"""What ``make bench`` runs: whole processes, start-up included, against an upstream on loopback.

Every round asks the same table, journeybatch and the do-it-yourself script (``diy.py``) in turn; the client has one
processor core and the upstream another. The best round counts, since everything else on the machine only slows
one down; the median stands beside it. Everything is written to a temporary directory. Exit 1 when a target is
missed and ``--check`` given, or when a run did not answer every row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
CONCURRENCY = 256
LATENCY_S = 0.05
IDEAL_TARGET, DIY_TARGET = 2.5, 8.0
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
WORDS = """order invoice refund parcel late twice charged account password address cancel broken screen please again
yesterday support nobody answered thanks quickly price colour wrong size exchange warranty Tuesday café"""


@dataclass(frozen=True)
class Measure:
    """One whole process: wall and processor seconds, and its largest resident set in MiB."""

    wall_s: float
    cpu_s: float
    rss_mib: float


@dataclass(frozen=True)
class Line:
    """One line of the table: what was run, against which latency, and its rounds."""

    name: str
    latency_s: float
    rows: int
    rounds: tuple[Measure, ...]
    concurrency: int = CONCURRENCY

    @property
    def best(self) -> Measure:
        return min(self.rounds, key=lambda measure: measure.wall_s)

    @property
    def times_ideal(self) -> float | None:
        ideal_s = self.rows * self.latency_s / self.concurrency
        return self.best.wall_s / ideal_s if ideal_s else None

    def to_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "latency_s": self.latency_s,
            "rounds": len(self.rounds),
            "seconds": round(self.best.wall_s, 3),
            "seconds_median": round(statistics.median(measure.wall_s for measure in self.rounds), 3),
            "rows_per_s": round(self.rows / self.best.wall_s),
            "times_ideal": None if self.times_ideal is None else round(self.times_ideal, 2),
            "cpu_us_per_row": round(min(measure.cpu_s for measure in self.rounds) / self.rows * 1e6),
            "rss_mib": round(max(measure.rss_mib for measure in self.rounds)),
        }


def write_table(path: Path, rows: int) -> None:
    """``rows`` distinct customer messages of some 120 characters: nothing to deduplicate."""
    dice = random.Random(7)
    texts = [f"Ticket {row}: " + " ".join(dice.choices(WORDS.split(), k=16)) for row in range(rows)]
    pl.DataFrame({"id": range(rows), "text": texts}).write_csv(path)


@contextlib.contextmanager
def upstream(latency_s: float, certificate: Path | None = None) -> Iterator[str]:
    """An upstream process for as long as the block lasts, over TLS with a ``certificate``; gives its base URL."""
    command = [sys.executable, str(HERE / "upstream.py"), "--latency", str(latency_s)]
    if len(CORES) > 1:
        command += ["--core", str(CORES[1])]
    if certificate is not None:
        command += ["--certificate", str(certificate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        yield json.loads(process.stdout.readline())["base_url"]
        process.stdin.close()


def measure(command: list[str], log: Path, environ: Mapping[str, str] | None = None) -> Measure:
    """Runs one whole process on the client's core; raises when it does not end with 0."""
    with log.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()[-4000:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Measure(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def write_job(room: Path, table: Path, base_url: str, concurrency: int = CONCURRENCY) -> Path:
    job = room / "job.yaml"
    spec = {
        "input": str(table),
        "prompt": "Classify this customer message: {{ text }}",
        "model": "deepseek-chat",
        "concurrency": concurrency,
        "api": {"base_url": base_url, "auth": "none"},
        "output": str(room / "run"),
    }
    job.write_text(json.dumps(spec))
    return job


def run_ours(
    room: Path,
    table: Path,
    base_url: str,
    concurrency: int = CONCURRENCY,
    environ: Mapping[str, str] | None = None,
) -> Measure:
    job, output = write_job(room, table, base_url, concurrency), room / "run"
    taken = measure([sys.executable, "-m", "journeybatch", "run", str(job), "--quiet"], room / "log", environ)
    results = pl.read_parquet(output / "results.parquet", columns=["jb_status", "response"])
    expect_all(table, results.filter((pl.col("jb_status") == "answered") & (pl.col("response").str.len_chars() > 0)))
    return taken


def run_diy(room: Path, table: Path, base_url: str) -> Measure:
    target = room / "diy.parquet"
    taken = measure([sys.executable, str(HERE / "diy.py"), str(table), str(target), base_url], room / "log")
    expect_all(table, pl.read_parquet(target).filter(pl.col("response").str.len_chars() > 0))
    return taken


def expect_all(table: Path, answered: pl.DataFrame) -> None:
    expected = pl.scan_csv(table).select(pl.len()).collect().item()
    if answered.height != expected:
        raise SystemExit(f"only {answered.height} of {expected} rows were answered")


def race(table: Path, rows: int, rounds: dict[str, int], latency_s: float) -> list[Line]:
    """The contestants in turn, round by round, each in a directory of its own."""
    runs = {"journeybatch": run_ours, "openai + gather": run_diy}
    taken: dict[str, list[Measure]] = {name: [] for name in runs if rounds[name]}
    with upstream(latency_s) as base_url:
        for turn in range(max(rounds.values())):
            for name, measures in taken.items():
                if turn < rounds[name]:
                    with tempfile.TemporaryDirectory(dir=table.parent) as room:
                        measures.append(runs[name](Path(room), table, base_url))
    return [Line(name, latency_s, rows, tuple(measures)) for name, measures in taken.items()]


def ratio(lines: list[Line]) -> float | None:
    """How many times faster ours is than the script, at the latency that counts."""
    best = {line.name: line.best.wall_s for line in lines if line.latency_s == LATENCY_S}
    return best["openai + gather"] / best["journeybatch"] if len(best) == 2 else None


def print_table(lines: list[Line], faster: float | None) -> None:
    print(
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores,",
        end=" ",
    )
    print(f"{lines[0].rows:,} rows, concurrency {CONCURRENCY}, whole processes\n")
    columns = ["", "latency", "rounds", "best s", "median s", "rows/s", "× ideal", "CPU µs/row", "RSS MiB"]
    print("| " + " | ".join(columns) + " |")
    print("| --- " + "| ---: " * (len(columns) - 1) + "|")
    for line in lines:
        shown = line.to_dict()
        shown["latency_s"] = f"{line.latency_s * 1000:.0f} ms"
        shown["times_ideal"] = shown["times_ideal"] or "–"
        print("| " + " | ".join(str(value) for value in shown.values()) + " |")
    if faster is not None:
        print(f"\njourneybatch is {faster:.1f} × as fast as the script.")


def missed(lines: list[Line], faster: float | None) -> list[str]:
    ours = next(line for line in lines if line.name == "journeybatch" and line.latency_s == LATENCY_S)
    found = []
    if (times := ours.times_ideal) is not None and times > IDEAL_TARGET:
        found.append(f"{times:.2f} × ideal, wanted at most {IDEAL_TARGET}")
    if faster is not None and faster < DIY_TARGET:
        found.append(f"{faster:.1f} × as fast as the script, wanted at least {DIY_TARGET}")
    return found


def parse() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=3, help="of journeybatch (3)")
    options.add_argument("--diy-rounds", type=int, default=1, help="of the script, which is slow (1; 0 leaves it out)")
    options.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    return options.parse_args()


def main() -> int:
    given = parse()
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[:1])  # the contestants inherit it; the upstream moves to the other core
    with tempfile.TemporaryDirectory(prefix="journeybatch-bench-") as room:
        table = Path(room) / "messages.csv"
        write_table(table, given.rows)
        lines = race(table, given.rows, {"journeybatch": given.rounds, "openai + gather": given.diy_rounds}, LATENCY_S)
        lines += race(table, given.rows, {"journeybatch": given.rounds, "openai + gather": 0}, 0.0)
    faster = ratio(lines)
    if given.json:
        print(json.dumps({"rows": given.rows, "lines": [line.to_dict() for line in lines], "faster": faster}))
    else:
        print_table(lines, faster)
    problems = missed(lines, faster)
    for problem in problems:
        print(f"target missed: {problem}", file=sys.stderr)
    return 1 if problems and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
