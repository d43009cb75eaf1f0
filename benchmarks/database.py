"""``make bench-database``: a table of a million rows out of PostgreSQL and results back into it, beside its own COPY.

A server of the system's own binaries is started on loopback, or ``--url`` names one, in which the schema ``bench`` is
made anew. Each figure is the best of so many rounds; ours and COPY's take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from components import postgres_binaries, postgres_server

from journeybatch.intake import spool
from journeybatch.outlets import Sink
from journeybatch.sections import Input
from journeybatch.sinks import tables

QUERY = "select id, review from bench.reviews order by id"
FILL = """
drop schema if exists bench cascade; create schema bench;
create table bench.reviews (id bigint primary key, review text);
insert into bench.reviews select n, n || repeat(md5(n::text), 6) from generate_series(1, {rows}) n;
vacuum analyze bench.reviews;
"""
MAKE = "drop table if exists bench.copied; create table bench.copied (id bigint, label text, credits numeric(18, 6));"
INDEX = "create unique index on bench.copied (id);"


def psql(url: str, *commands: str) -> None:
    told = [part for command in commands for part in ("-c", command)]
    subprocess.run(["psql", url, "-qX", "-v", "ON_ERROR_STOP=1", *told], check=True, stdout=subprocess.DEVNULL)


def taken(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(url: str, rows: int, rounds: int, room: Path) -> dict[str, float]:
    """Seconds, the best of all rounds, by what was done."""
    psql(url, *FILL.format(rows=rows).strip().split("\n"))
    results, copied = room / "results.parquet", room / "copied"
    labels = pl.select(id=pl.int_range(1, rows + 1)).with_columns(
        label=pl.concat_str(pl.lit("positive: "), pl.col("id").hash().cast(pl.String)),
        credits=pl.lit(1.0).cast(pl.Decimal(18, 6)),
    )
    labels.write_parquet(results)
    labels.write_csv(room / "labels.csv", include_header=False)
    sink = Sink(database="${env:DB}", table="bench.labels", key=("id",))
    environ, found = {"DB": url}, dict[str, float]()
    steps: dict[str, Callable[[], object]] = {
        "copy out": lambda: psql(url, f"\\copy ({QUERY}) to '{copied}'"),
        "ours out": lambda: spool(Input(database="${env:DB}", query=QUERY), room / "input.arrow", environ),
        "copy in": lambda: psql(url, MAKE, INDEX, f"\\copy bench.copied from '{room}/labels.csv' csv"),
        "ours in": lambda: tables.deliver(sink, pl.scan_parquet(results), environ),
        "ours in again": lambda: tables.deliver(sink, pl.scan_parquet(results), environ),
    }
    for _ in range(rounds):
        psql(url, "drop table if exists bench.labels")
        for name, step in steps.items():
            found[name] = min(found.get(name, float("inf")), taken(step))
    assert pl.scan_ipc(room / "input.arrow").select(pl.len()).collect().item() == rows
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--url", help="a PostgreSQL server; by default one is started")
    given = options.parse_args()
    binaries = postgres_binaries()
    if given.url is None and binaries is None:
        sys.exit("PostgreSQL's server is not installed here: apt-get install postgresql, or give --url")
    os.umask(0o077)
    with (
        TemporaryDirectory(prefix="journeybatch-bench-") as room,
        nullcontext(given.url) if given.url else postgres_server(binaries) as url,  # type: ignore[arg-type]
    ):
        found = measure(url, given.rows, given.rounds, Path(room))
    print(f"| {given.rows:,} rows | s | rows/s | × COPY |\n| --- | ---: | ---: | ---: |")
    for name, seconds in found.items():
        limit = found["copy out" if name.endswith("out") else "copy in"]
        print(f"| {name} | {seconds:.2f} | {given.rows / seconds:,.0f} | {seconds / limit:.2f} |")
    whole = [found["copy out"] + found["copy in"], found["ours out"] + found["ours in"]]
    print(f"| there and back: COPY | {whole[0]:.2f} | {given.rows / whole[0]:,.0f} | 1.00 |")
    print(f"| there and back: ours | {whole[1]:.2f} | {given.rows / whole[1]:,.0f} | {whole[1] / whole[0]:.2f} |")


if __name__ == "__main__":
    main()
