"""What ``make bench-full`` runs: whole processes against the upstream, and tables far larger than a run here could ask.

- ``sending``: jobs at several latencies and numbers in flight, with and without TLS;
- ``tail``: latencies with a heavy tail, and how long the last hundredth of the answers takes;
- ``start``: ``--version``, and the first request of a small job;
- ``scale``: a plan, and a job carried on after a kill: what is measured is everything that grows with the rows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from grown import COLUMNS as SCALE_COLUMNS
from grown import scale, show_line
from measures import Line, Measure, headline, keep, show
from small import show_starts, starts
from stage import HERE, OURS, add_options, ceiling, read_upstreams, run_ours, take_the_core, upstream, write_table

SIGMA, CAP_S = 1.0, 3.0
TAIL = ("--tail", str(SIGMA), "--cap", str(CAP_S))
PARTS = ("sending", "tail", "start", "scale")
COLUMNS = {
    "name": "",
    "rows": "rows",
    "concurrency": "in flight",
    "latency": "latency",
    "seconds_median": "median s",
    "rows_per_s": "rows/s",
    "times_ideal": "× ideal",
    "cpu_us_per_row": "CPU µs/row",
    "rss_mib": "RSS MiB",
}


UNSYNCED = (str(HERE / "unsynced.py"),)


@dataclass(frozen=True)
class Case:
    name: str
    rows: int
    latency_s: float
    concurrency: int = 256
    tls: bool = False
    program: tuple[str, ...] = OURS


CASES = [
    Case("10,000 rows", 10_000, 0.05),
    Case("100,000 rows", 100_000, 0.05),
    Case("1,000 rows, nothing to wait for", 1_000, 0.0),
    Case("10,000 rows, nothing to wait for", 10_000, 0.0),
    Case("100,000 rows, nothing to wait for", 100_000, 0.0),
    Case("1,000 in flight", 100_000, 0.05, 1_000),
    Case("the same over TLS", 100_000, 0.05, 1_000, tls=True),
    Case("2,000 in flight", 100_000, 0.05, 2_000),
    Case("5,000 in flight", 100_000, 0.05, 5_000),
    Case("100,000 rows, without syncs", 100_000, 0.05, program=UNSYNCED),
    Case("nothing to wait for, without syncs", 100_000, 0.0, program=UNSYNCED),
]


def certificate(room: Path) -> Path:
    """A key and a certificate for 127.0.0.1 in one file."""
    path = room / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", path, "-out", room / "cert.pem"], check=True, capture_output=True)
    path.write_text(path.read_text() + (room / "cert.pem").read_text())
    return path


def sending(room: Path, case: Case, given: argparse.Namespace, more: tuple[str, ...] = ()) -> Line:
    """A case, so many rounds of it; with ``more`` options for the built-in upstream."""
    table = room / f"{case.rows}.csv"
    if not table.exists():
        write_table(table, case.rows)
    pem = certificate(room) if case.tls else None
    own = {} if more else read_upstreams(given.upstream)
    taken: list[Measure] = []
    with upstream(case.latency_s, pem, own, more) as server:
        # a server of one's own is trusted by what the environment says
        environ = {**os.environ, **({"SSL_CERT_FILE": str(pem)} if pem and server.process else {})}
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory(dir=room) as fresh:
                room_of = Path(fresh)
                taken.append(run_ours(room_of, table, server.base_url, case.concurrency, environ, case.program))
        named = "built-in" if server.process else server.base_url
    return Line(case.name, case.latency_s, case.rows, tuple(taken), case.concurrency, tls=case.tls, upstream=named)


def show_sending(line: Line) -> dict[str, object]:
    return {
        **line.to_dict(),
        "name": line.name,
        "concurrency": line.concurrency,
        "latency": f"{line.latency_s * 1e3:.0f} ms",
    }


def show_tail(line: Line) -> None:
    taken = statistics.median(one.last_percent or 0.0 for one in line.rounds)
    print(
        f"\nLatencies with a heavy tail (lognormal, median {line.latency_s * 1000:.0f} ms, sigma {SIGMA}, at most",
        end=" ",
    )
    print(
        f"{CAP_S:.0f} s), {line.rows:,} rows: the last hundredth took {taken:.2f} × the slowest request's own time",
        end=" ",
    )
    print(f"(median of {len(line.rounds)}; wanted: 1); {line.median_s:.2f} s in all")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="(all)")
    options.add_argument("--only", help="cases of sending whose name has this text (the empty text: all)", default="")
    options.add_argument("--more", type=int, nargs="*", default=[], help="sending so many rows, too, at 0 ms")
    options.add_argument("--scale", type=int, nargs="*", default=[100_000, 300_000, 1_000_000], help="rows")
    options.add_argument(
        "--left", type=float, default=1_000, help="rows to carry on with, or below 1 their share (1,000)"
    )
    options.add_argument("--until-first", action="store_true", help="carry on no further than to the first request")
    options.add_argument("--text", type=int, default=1_000, help="characters of a row in scale (1,000)")
    options.add_argument("--reply", type=int, default=2_000, help="characters of a reply in scale (2,000)")
    add_options(options)
    given = options.parse_args()
    take_the_core()
    with tempfile.TemporaryDirectory(prefix="journeybatch-bench-") as folder:
        room = Path(folder)
        print(headline())
        if "sending" in given.parts:
            print(ceiling(room, read_upstreams(given.upstream)) + "\n")
            cases = [*CASES, *(Case(f"{rows:,} rows, nothing to wait for", rows, 0.0) for rows in given.more)]
            wanted = [case for case in cases if given.only in case.name]
            told(given, "sending", COLUMNS, show_sending, ([sending(room, case, given)] for case in wanted))
        if "tail" in given.parts:
            line = sending(room, Case("heavy tail", 10_000, 0.05), given, TAIL)
            show_tail(line)
            kept(given, "tail", [line])
        if "start" in given.parts:
            lines = starts(room)
            show_starts(lines)
            kept(given, "start", lines)
        if "scale" in given.parts and given.scale:
            print()
            told(given, "scale", SCALE_COLUMNS, show_line, (scale(room, rows, given) for rows in given.scale))


def told(
    given: argparse.Namespace,
    benchmark: str,
    columns: dict[str, str],
    shown: Callable[[Line], dict[str, object]],
    measured: Iterable[list[Line]],
) -> None:
    """Shows and keeps each line as soon as it is there."""

    def lines() -> Iterator[dict[str, object]]:
        for some in measured:
            kept(given, benchmark, some)
            yield from map(shown, some)

    show(columns, lines())


def kept(given: argparse.Namespace, benchmark: str, lines: list[Line]) -> None:
    if given.to is not None:
        keep(given.to, benchmark, lines)


if __name__ == "__main__":
    main()
