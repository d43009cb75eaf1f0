"""Proofs from the command line: ``make proofs``, and ``make proofs-full PART=…`` for the long form of one."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

from proofs import (
    calls,
    disk,
    heart,
    kills,
    lanes,
    limits,
    lives,
    mutants,
    outages,
    planted,
    power,
    race,
    replies,
    secrets,
    soak,
    surroundings,
)
from proofs.checker import Broken

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
DRAWN = 100_000
"""With so many rows a soak is worth a picture on the page."""
HEAD = "| proof | cases | what was seen | took | commit |"


class Part(NamedTuple):
    """A kind of proof: what it counts, the size of its part and of its whole. Some have a table to show."""

    prove: Callable[[float, int], tuple[int, str] | tuple[int, str, list[str]]]
    counts: str
    part: float
    whole: float


PARTS = {
    "kills": Part(kills.prove, "kill points", 0.15, 1),
    "shots": Part(lambda n, seed: kills.prove_random(int(n), seed), "random kills", 12, 1000),
    "power": Part(lambda n, seed: power.prove(int(n), seed), "states after a power cut", 4000, 20_000),
    "disk": Part(disk.prove, "refusals of the disk", 0.25, 1),
    "night": Part(lambda n, seed: heart.prove(int(n), seed, whole=20), "simulated nights", 4000, 50_000),
    "calls": Part(calls.prove, "system calls refused", 0.06, 1),
    "lives": Part(lambda n, seed: lives.prove(int(n), seed), "lives of a directory", 300, 5000),
    "outages": Part(lambda n, seed: outages.prove(int(n), seed), "bad days of the endpoint", 2500, 12_000),
    "lanes": Part(lambda n, seed: lanes.prove(int(n), seed), "requests to a server that errs", 20_000, 200_000),
    "replies": Part(lambda n, seed: replies.prove(int(n), seed, min(600, n / 2000)), "replies", 100_000, 10_000_000),
    "soak": Part(
        lambda n, seed: soak.prove(int(n), seed, page=PAGE.parent / "soak.svg" if n >= DRAWN else None),
        "rows of one job",
        20_000,
        1_000_000,
    ),
    "secrets": Part(secrets.prove, "ways to fail", 1, 1),
    "race": Part(lambda n, seed: race.prove(int(n), seed), "races for the lock", 50, 300),
    "limits": Part(lambda n, seed: limits.prove(int(n), seed), "shortages", 1500, 1500),
    "around": Part(surroundings.prove, "odd surroundings", 1, 1),
    "mutants": Part(lambda n, seed: mutants.prove(int(n), seed, 200 if n < 100 else 1e5), "mutants", 40, 10_000),
    "planted": Part(planted.prove, "planted faults", 1, 1),
}


def main() -> int:
    """Run parts, print a table. Returns 1 if a promise was broken."""
    given = argparse.ArgumentParser(prog="proofs", description=__doc__)
    given.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    given.add_argument("--full", action="store_true", help="the long form; its figures go into docs/reliability.md")
    given.add_argument("--size", type=float, help="cases, or a share of them, instead of the usual size")
    given.add_argument("--seed", type=int, default=1)
    told = given.parse_args()
    unknown = set(told.parts) - set(PARTS)
    if unknown or (told.full and len(told.parts) != 1):
        given.error(f"name one of {', '.join(PARTS)}")
    print(HEAD + "\n| --- | --- | --- | --- | --- |")
    broken, tables = 0, []  # type: int, list[list[str]]
    for name in told.parts or PARTS:
        size = told.size or (PARTS[name].whole if told.full else PARTS[name].part)
        line, table = _line(name, size, told.seed)
        print(line or f"| `{name}` | BROKEN | | | |", flush=True)
        broken += line is None
        tables.append(table)
        if told.full and line is not None:
            _publish(name, line, table)
    print("".join("\n" + "\n".join(table) + "\n" for table in tables if table), flush=True)
    return 1 if broken else 0


def _line(name: str, size: float, seed: int) -> tuple[str | None, list[str]]:
    part, began = PARTS[name], time.monotonic()
    try:
        cases, said, *table = part.prove(size, seed)
    except Broken as why:
        print(f"{name}, seed {seed}: {why}", file=sys.stderr)
        return None, []
    line = f"| `{name}` | {cases:,} {part.counts} | {said} | {time.monotonic() - began:.0f} s | {_commit()} |"
    return line, table[0] if table else []


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PAGE.parent, capture_output=True, text=True, check=False
    )
    return f"{done.stdout.strip() or '?'}, {date.today()}"


def _publish(name: str, line: str, table: list[str]) -> None:
    """Put the figure into the table of the page, in place of the one that stood there, and so with a ``table``."""
    page = PAGE.read_text().splitlines()
    if table:
        start = page.index(table[0])
        end = next(place for place in range(start, len(page)) if not page[place].startswith("|"))
        page[start:end] = table
    start = page.index(HEAD) + 2
    end = next(place for place in range(start, len(page)) if not page[place].startswith("|"))
    others = [each for each in page[start:end] if not each.startswith(f"| `{name}` |")]
    PAGE.write_text("\n".join([*page[:start], *sorted([*others, line]), *page[end:], ""]))


if __name__ == "__main__":
    sys.exit(main())
