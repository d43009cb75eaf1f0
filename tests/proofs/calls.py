"""The N-th fault below Python: system calls on sockets, and those that polars makes in Rust, refused one by one.

strace lets a call return an error instead of being made. On a socket the run has to go on or to stop in order; where
Parquet is written it ends with exit 3 and ``disk``, or well. The next run carries on, and nothing is lost.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from proofs.checker import Broken, read_bill
from proofs.kills import clear, emulator, environment, run
from proofs.spread import spread
from proofs.world import KEY, World, command

ON_SOCKETS = {
    "socket": ("EMFILE", "ENOBUFS", "ENOMEM", "EACCES"),
    "connect": ("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EADDRNOTAVAIL"),
    "write": ("ECONNRESET", "EPIPE", "ENOBUFS", "EIO"),
    "read": ("ECONNRESET", "ETIMEDOUT", "ENOMEM", "EIO"),
}
ON_TABLES = {"openat": ("EIO", "EMFILE", "ENOSPC", "EROFS"), "write": ("EIO", "ENOSPC", "EDQUOT"), "rename": ("EIO",)}
TABLES = tuple(
    f"{dot}{name}.parquet{tmp}" for name in ("results", "requests") for dot, tmp in ((".", ".tmp"), ("", ""))
)

PATIENCE_S = 40.0
TRIES = 4
MOST = 480
"""There are fewer faults: no more than so many calls with an error each."""


class Fault(NamedTuple):
    """The ``number``-th such ``call`` of a thread (``on`` a socket, or a table) returns ``error``."""

    call: str
    number: int
    error: str
    on: str


def _strace(world: World, call: str, on: str, inject: str = "") -> list[str]:
    only = [f"--trace-path={world.output / name}" for name in TABLES] if on == "table" else []
    more = ["-e", f"inject={inject}"] if inject else []
    log = str(world.path / "strace.log")
    threads = [] if on == "socket" else ["-f"]  # all of a run's sockets are its main thread's
    return ["strace", *threads, "-y", "-qq", "-s", "16", "-o", log, "-e", f"trace={call}", *only, *more]


def _lines(world: World) -> list[str]:
    log = world.path / "strace.log"
    return log.read_text(errors="replace").splitlines() if log.exists() else []


def _on_socket(line: str) -> bool:
    return re.search(r"\(\d+<(TCP|socket|UDP)", line) is not None or re.search(r"\bsocket\(AF_INET", line) is not None


def faults(world: World) -> list[Fault]:
    """All faults there can be, counted from runs that nobody disturbs."""
    found: list[Fault] = []
    for on, calls in (("socket", ON_SOCKETS), ("table", ON_TABLES)):
        for call, errors in calls.items():
            clear(world)
            assert run(world, *_strace(world, call, on)) == 0
            seen, numbers = Counter[str](), defaultdict[int, None]()
            for line in _lines(world):
                thread, told = re.match(r"(\d*) *(.*)", line).groups()  # type: ignore[union-attr]
                if told.startswith(f"{call}("):
                    seen[thread] += 1
                    if on == "table" or _on_socket(line):
                        numbers[seen[thread]] = None
            found += [Fault(call, number, error, on) for number in numbers for error in errors]
    return found


def _hit(world: World) -> list[str]:
    return [line for line in _lines(world) if "INJECTED" in line]


def _astray(world: World, fault: Fault) -> bool:
    """Whether it struck what it was not meant for: the event loop wakes itself through a descriptor that is no socket,
    and a loop that cannot is none any more."""
    return fault.on == "socket" and not all(map(_on_socket, _hit(world)))


def endure(world: World, fault: Fault) -> int | None:
    """Run with a fault, and again without. Returns the exit code; None where the call hit something else. Raises
    Broken."""
    clear(world)
    (world.path / "strace.log").unlink(missing_ok=True)
    before = len(read_bill(world.bill))
    inject = f"{fault.call}:error={fault.error}:when={fault.number}"
    told = [*_strace(world, fault.call, fault.on, inject), *command("run", world.spec, "--quiet")]
    stderr, until = world.path / "stderr", time.monotonic() + PATIENCE_S
    with stderr.open("w") as out:
        process = subprocess.Popen(
            told, env=environment(world.path), stdout=out, stderr=out, text=True, start_new_session=True
        )
    while (running := process.poll() is None) and not _astray(world, fault) and time.monotonic() < until:
        time.sleep(0.05)
    if running:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said, late = stderr.read_text(), running
    hit = _hit(world)
    if not hit or _astray(world, fault):
        return None
    if late:
        raise Broken(f"{fault}: it does not end: {hit}")
    if "Traceback" in said or process.returncode not in (0, 1, 3):
        raise Broken(f"{fault}: exit {process.returncode}: {said[-800:]}")
    if process.returncode == 3:
        stopped = json.loads((world.output / "summary.json").read_text())["stopped_by"]
        if stopped not in (("disk", "outage") if fault.on == "socket" else ("disk",)):
            raise Broken(f"{fault}: stopped by {stopped}")
    if (code := run(world)) != 0:
        raise Broken(f"{fault}: the next run ends with {code}")
    bill = read_bill(world.bill)[before:]
    try:
        world.judge(bill)
    except Broken as broken:
        raise Broken(f"{fault}: {broken}") from None
    if len(bill) > world.distinct + world.keys["concurrency"]:
        raise Broken(f"{fault}: {len(bill)} requests for {world.distinct} rows")
    return process.returncode


def some(places: range, share: float, seed: int) -> tuple[Counter[int | None], int]:
    """Try the faults at these places of a share of all. Returns what came of them, and how many there are. What goes
    astray, since nobody can tell which call of a thread the N-th will be, is tried again."""
    rng, ends = random.Random(seed), Counter[int | None]()
    with TemporaryDirectory() as folder:
        world = World(Path(folder), 20, twins=2, concurrency=4)
        with emulator(world, "--key", KEY) as base_url:
            world.write(base_url)
            every = faults(world)
            rng.shuffle(every)
            chosen = every[: max(1, round(share * len(every)))]
            for fault in chosen[places.start : places.stop]:
                tries = (endure(world, fault) for _ in range(TRIES))
                ends[next((end for end in tries if end is not None), None)] += 1
    return ends, len(every)


def prove(share: float, seed: int) -> tuple[int, str]:
    """Try a share of all faults. Returns those that struck, and a sentence. Raises Broken."""
    found = list(spread(some, range(round(share * MOST)), 40, share, seed))
    ends, there = sum((each for each, _ in found), Counter[int | None]()), found[0][1]
    struck = sum(ends.values()) - ends[None]
    said = f"{ends[0]} runs did not mind, {ends[1]} had rows that failed, {ends[3]} stopped; all carried on"
    return struck, f"{there} faults there are; {said}; {ends[None]} went astray {TRIES} times"
