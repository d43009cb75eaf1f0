"""What ``make bench`` and ``make bench-peers`` run: whole processes, start-up included, against a server on loopback.

Every round asks the same table, the contestants (``contestants.py``) in turn; the client has one processor core and the
upstream another. Rows a second and all ratios are of median rounds. Everything is written to a temporary directory.
Exit 1 when a target is missed and ``--check`` given, or when journeybatch did not answer every row; a peer that cannot
be run is named with the reason, and left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from contestants import CONTESTANTS, SCRIPT, SHORT, Contestant
from measures import OURS, RAW, Line, Measure, headline, keep, show
from stage import CONCURRENCY, add_options, ceiling, read_upstreams, take_the_core, upstream, write_table

LATENCY_S = 0.05
IDEAL_TARGET, DIY_TARGET = 2.5, 8.0
COLUMNS = {
    "name": "",
    "rows": "rows",
    "latency": "latency",
    "rounds": "rounds",
    "seconds": "best s",
    "seconds_median": "median s",
    "rows_per_s": "rows/s",
    "times_ideal": "× ideal",
    "times_raw": "× raw",
    "times_ours": "× ours",
    "cpu_us_per_row": "CPU µs/row",
    "times_our_cpu": "× our CPU",
    "rss_mib": "RSS MiB",
}


def installed(wanted: list[Contestant]) -> dict[Contestant, str]:
    """The contestants that are here, with their versions; the others are named."""
    found = {}
    for contestant in wanted:
        try:
            found[contestant] = contestant.version()
        except SystemExit as reason:
            print(f"left out: {contestant.name}: {reason}", file=sys.stderr)
    return found


def race(
    room: Path,
    contestants: dict[Contestant, str],
    given: argparse.Namespace,
    latency_s: float,
    own: dict[tuple[float, str], str],
) -> list[Line]:
    """The contestants in turn, round by round, each in a directory of its own."""
    taken: dict[Contestant, list[Measure]] = {contestant: [] for contestant in contestants}
    with upstream(latency_s, own=own) as server:
        for turn in range(max(given.rounds, given.peer_rounds)):
            for contestant in list(taken):
                rounds = given.rounds if contestant.name in (OURS, RAW) else given.peer_rounds
                if turn >= rounds:
                    continue
                table = table_of(room, min(given.rows, contestant.at_most))
                with tempfile.TemporaryDirectory(dir=room) as fresh:
                    try:
                        taken[contestant].append(contestant.run(Path(fresh), table, server.base_url, CONCURRENCY))
                    except SystemExit as reason:
                        if contestant.name == OURS:
                            raise
                        told = str(reason).strip().splitlines()
                        print(f"left out: {contestant.name}: {told[0]} {told[-1]}", file=sys.stderr)
                        del taken[contestant]
        named = "built-in" if server.process else server.base_url
    return [
        Line(
            contestant.name,
            latency_s,
            min(given.rows, contestant.at_most),
            tuple(measures),
            version=contestants[contestant],
            upstream=named,
        )
        for contestant, measures in taken.items()
        if measures
    ]


def table_of(room: Path, rows: int) -> Path:
    table = room / f"{rows}.csv"
    if not table.exists():
        write_table(table, rows)
    return table


def compared(lines: list[Line]) -> list[dict[str, object]]:
    """Each line with its ratios to ours and to the raw client at the same latency."""
    found = []
    for line in lines:
        beside = {other.name: other for other in lines if other.latency_s == line.latency_s}
        ours, raw = beside.get(OURS), beside.get(RAW)
        more = {
            "latency": f"{line.latency_s * 1000:.0f} ms",
            "times_raw": round(raw.rows_s / line.rows_s, 2) if raw else None,
            "times_ours": round(ours.rows_s / line.rows_s, 2) if ours else None,
            "times_our_cpu": round(line.cpu_us / ours.cpu_us, 2) if ours else None,
        }
        found.append({**line.to_dict(), **more})
    return found


def best_peer(lines: list[Line], latency_s: float) -> tuple[Line, Line] | None:
    """Ours and the quickest of the others at this latency."""
    there = {line.name: line for line in lines if line.latency_s == latency_s}
    ours = there.pop(OURS)
    there.pop(RAW, None)
    return (ours, max(there.values(), key=lambda line: line.rows_s)) if there else None


def say_ratio(lines: list[Line], latency_s: float) -> None:
    if (pair := best_peer(lines, latency_s)) is None:
        return
    ours, peer = pair
    faster, lighter = ours.rows_s / peer.rows_s, peer.cpu_us / ours.cpu_us
    print(
        f"\nAt {latency_s * 1000:.0f} ms, journeybatch is {faster:.1f} × as fast as {peer.name} {peer.version}",
        end=", ",
    )
    print(f"the best of the others, which takes {lighter:.1f} × its processor time.")


def missed(lines: list[Line]) -> list[str]:
    ours = next(line for line in lines if line.name == OURS and line.latency_s == LATENCY_S)
    found = []
    if (times := ours.times_ideal) is not None and times > IDEAL_TARGET:
        found.append(f"{times:.2f} × ideal, wanted at most {IDEAL_TARGET}")
    for line in lines:
        if line.name == SCRIPT and (faster := ours.rows_s / line.rows_s) < DIY_TARGET:
            found.append(f"{faster:.1f} × as fast as the script, wanted at least {DIY_TARGET}")
    return found


def parse() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000, help="(10,000; slow peers take fewer)")
    options.add_argument("--rounds", type=int, default=3, help="of journeybatch and the raw client (3)")
    options.add_argument(
        "--peer-rounds", type=int, default=1, help="of the others, which are slow (1; 0 leaves them out)"
    )
    options.add_argument("--peers", action="store_true", help="all peers that make peers has installed")
    options.add_argument(
        "--peers-at", type=float, nargs="*", default=[LATENCY_S], help="latencies the others are asked at, too (0.05)"
    )
    options.add_argument("--peer-rows", type=int, help="rows that the others get at most (10,000, slow ones 2,000)")
    options.add_argument("--only", nargs="*", default=[], help="peers whose name has one of these texts")
    options.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    add_options(options)
    return options.parse_args()


def main() -> int:
    given = parse()
    own = read_upstreams(given.upstream)
    take_the_core()  # the contestants inherit it; the upstream moves to the other core
    wanted = [
        contestant
        for contestant in (CONTESTANTS if given.peers else SHORT)
        if contestant.name in (OURS, RAW) or not given.only or any(text in contestant.name for text in given.only)
    ]
    if given.peer_rows is not None:
        wanted = [each if each.name in (OURS, RAW) else replace(each, at_most=given.peer_rows) for each in wanted]
    contestants = installed(wanted)
    own_two = {contestant: version for contestant, version in contestants.items() if contestant.name in (OURS, RAW)}
    with tempfile.TemporaryDirectory(prefix="journeybatch-bench-") as room:
        limit = ceiling(Path(room), own)
        lines = []
        for latency_s in (LATENCY_S, 0.0):
            lines += race(Path(room), contestants if latency_s in given.peers_at else own_two, given, latency_s, own)
    shown = compared(lines)
    if given.json:
        print(json.dumps({"machine": headline(), "ceiling": limit, "lines": shown}))
    else:
        print(f"{headline()}; {CONCURRENCY} in flight, whole processes\n{limit}\n")
        show(COLUMNS, shown)
        for latency_s in given.peers_at:
            say_ratio(lines, latency_s)
    if given.to is not None:
        keep(given.to, "bench-peers" if given.peers else "bench", lines)
    problems = missed(lines)
    for problem in problems:
        print(f"target missed: {problem}", file=sys.stderr)
    return 1 if problems and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
