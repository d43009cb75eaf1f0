"""What every benchmark stands on: a table, an upstream on a core of its own, and whole processes on the other core."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from measures import Measure

HERE = Path(__file__).parent
OURS = ("-m", "journeybatch")
CONCURRENCY = 256
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
CEILING_ROWS = 50_000
WORDS = """order invoice refund parcel late twice charged account password address cancel broken screen please again
yesterday support nobody answered thanks quickly price colour wrong size exchange warranty Tuesday café"""


@dataclass(frozen=True)
class Upstream:
    """A server under measurement: its base URL, and its process where it is ours."""

    base_url: str
    process: subprocess.Popen[bytes] | None = None

    def first_request_at(self) -> float:
        """When the first request came in (epoch seconds); only of ours, and once."""
        assert self.process and self.process.stdout
        return float(json.loads(self.process.stdout.readline())["first_request_at"])

    def cpu_s(self) -> float | None:
        """Processor seconds it has taken so far; None where that cannot be seen."""
        if self.process is None or sys.platform != "linux":
            return None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def take_the_core() -> None:
    """This process and its children keep to the client's core, and may hold as many connections as the system lets
    them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[:1])


def add_options(options: argparse.ArgumentParser) -> None:
    """The options that all benchmarks have."""
    options.add_argument(
        "--upstream",
        action="append",
        default=[],
        metavar="SECONDS=URL",
        help="a server of your own that answers after so many seconds, instead of the built-in one: "
        "0.05=http://127.0.0.1:8050/api/v1 (as often as there are latencies; https:// for the cases with TLS)",
    )
    options.add_argument("--to", type=Path, help="a Parquet file that every round is added to")


def read_upstreams(given: list[str]) -> dict[tuple[float, str], str]:
    """``--upstream`` by latency and scheme. Raises SystemExit for what is not one."""
    found = {}
    for one in given:
        seconds, _, url = one.partition("=")
        try:
            found[float(seconds), url.partition(":")[0]] = url.rstrip("/")
        except ValueError:
            sys.exit(f"--upstream {one}: expected SECONDS=URL, such as 0.05=http://127.0.0.1:8050/api/v1")
    return found


def write_table(path: Path, rows: int) -> None:
    """``rows`` distinct customer messages of some 120 characters: nothing to deduplicate."""
    dice = random.Random(7)
    texts = [f"Ticket {row}: " + " ".join(dice.choices(WORDS.split(), k=16)) for row in range(rows)]
    pl.DataFrame({"id": range(rows), "text": texts}).write_csv(path)


@contextlib.contextmanager
def upstream(
    latency_s: float,
    certificate: Path | None = None,
    own: Mapping[tuple[float, str], str] | None = None,
    more: tuple[str, ...] = (),
) -> Iterator[Upstream]:
    """A server for as long as the block lasts, over TLS with a ``certificate``: one of ``own`` where there is one of
    that latency, else a process of the built-in one, with ``more`` options."""
    given = (own or {}).get((latency_s, "https" if certificate else "http"))
    if given is not None:
        yield Upstream(given)
        return
    command = [sys.executable, str(HERE / "upstream.py"), "--latency", str(latency_s), *more]
    if len(CORES) > 1:
        command += ["--core", str(CORES[1])]
    if certificate is not None:
        command += ["--certificate", str(certificate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        yield Upstream(json.loads(process.stdout.readline())["base_url"], process)
        process.stdin.close()


def measure(
    command: list[str],
    log: Path,
    environ: Mapping[str, str] | None = None,
    until: Callable[[], object] | None = None,
) -> Measure:
    """Runs one whole process on the client's core; raises SystemExit when it does not end with 0. ``until`` waits for
    something, whereupon the process is asked to stop."""
    report = log.with_suffix(".report")
    launch = [sys.executable, "-S", "-E", str(HERE / "launch.py"), str(report), *command]
    with log.open("wb") as out:
        process = subprocess.Popen(launch, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ)
        if until is not None:
            until()
            process.terminate()
        asked_at = time.monotonic()
        code = process.wait()
        stopping_s = time.monotonic() - asked_at
    if code != (0 if until is None else 128 + signal.SIGTERM):
        raise SystemExit(f"{' '.join(command)} ended with {code}:\n{log.read_text()[-4000:]}")
    taken = Measure(**json.loads(report.read_text()))
    return taken if until is None else replace(taken, stopping_s=stopping_s)


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
    program: tuple[str, ...] = OURS,
) -> Measure:
    """A job over the whole table in an empty ``room``; every row has to be answered."""
    job, output = write_job(room, table, base_url, concurrency), room / "run"
    taken = measure([sys.executable, *program, "run", str(job), "--quiet"], room / "log", environ)
    results = pl.read_parquet(output / "results.parquet", columns=["jb_status", "response"])
    answered = results.filter((pl.col("jb_status") == "answered") & (pl.col("response").str.len_chars() > 0))
    expect_all(table, answered.height)
    return replace(taken, last_percent=last_percent(output))


def last_percent(output: Path) -> float | None:
    """How long the last hundredth of a run's answers took, over the slowest request's own time."""
    ledger = pl.read_parquet(output / "requests.parquet", columns=["started_at", "latency_s"])
    ended = (ledger["started_at"].dt.epoch("us") / 1e6 + ledger["latency_s"]).sort()
    slowest = ledger["latency_s"].max()
    if ledger.height < 100 or not slowest:
        return None
    return float(ended[-1] - ended[ledger.height * 99 // 100 - 1]) / float(slowest)  # type: ignore[arg-type]


def expect_all(table: Path, answered: int) -> None:
    """Raises SystemExit where a row has no answer."""
    expected = pl.scan_csv(table).select(pl.len()).collect().item()
    if answered != expected:
        raise SystemExit(f"only {answered} of {expected} rows were answered")


def ceiling(room: Path, own: Mapping[tuple[float, str], str]) -> str:
    """What the upstream itself can do, in one sentence: the raw client asks it as fast as it can."""
    table = room / "ceiling.csv"
    write_table(table, CEILING_ROWS)
    with upstream(0.0, own=own) as server:
        command = [sys.executable, str(HERE / "raw.py"), str(table), str(room / "ceiling.json"), server.base_url, "256"]
        before = server.cpu_s()
        measure(command, room / "ceiling.log")
        after = server.cpu_s()
    told = json.loads((room / "ceiling.json").read_text())
    sentence = f"The upstream answers the raw client {CEILING_ROWS / told['sending_s']:,.0f} requests/s at 0 ms"
    if before is None or after is None:
        return sentence + "."
    return sentence + f", for {(after - before) / CEILING_ROWS * 1e6:.0f} µs of its own core each."
