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
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from proofs.checker import Broken, read_bill
from proofs.kills import clear, emulator, environment, run
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
    return ["strace", "-f", "-y", "-qq", "-s", "16", "-o", log, "-e", f"trace={call}", *only, *more]


def _lines(world: World) -> list[str]:
    return (world.path / "strace.log").read_text(errors="replace").splitlines()


def _on_socket(line: str) -> bool:
    return re.search(r"\(\d+<(TCP|socket|UDP)", line) is not None or re.search(r" socket\(AF_INET", line) is not None


def faults(world: World) -> list[Fault]:
    """All faults there can be, counted from runs that nobody disturbs."""
    found: list[Fault] = []
    for on, calls in (("socket", ON_SOCKETS), ("table", ON_TABLES)):
        for call, errors in calls.items():
            clear(world)
            assert run(world, *_strace(world, call, on)) == 0
            seen, numbers = Counter[str](), defaultdict[int, None]()
            for line in _lines(world):
                thread, _, told = line.partition(" ")
                if told.strip().startswith(f"{call}("):
                    seen[thread] += 1
                    if on == "table" or _on_socket(line):
                        numbers[seen[thread]] = None
            found += [Fault(call, number, error, on) for number in numbers for error in errors]
    return found


def endure(world: World, fault: Fault) -> int | None:
    """Run with a fault, and again without. Returns the exit code; None where the call hit something else. Raises
    Broken."""
    clear(world)
    before = len(read_bill(world.bill))
    inject = f"{fault.call}:error={fault.error}:when={fault.number}"
    told = [*_strace(world, fault.call, fault.on, inject), *command("run", world.spec, "--quiet")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(told, env=environment(world.path), **quiet) as process:  # type: ignore[call-overload]
        try:
            said, late = process.communicate(timeout=PATIENCE_S)[1], False
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(process.pid, signal.SIGKILL)
            said = process.communicate()[1]
    hit = [line for line in _lines(world) if "INJECTED" in line]
    if not hit or (fault.on == "socket" and not all(map(_on_socket, hit))):
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


def prove(share: float, seed: int) -> tuple[int, str]:
    """Try a share of all faults. Returns those that struck, and a sentence. Raises Broken."""
    rng, ends = random.Random(seed), Counter[int | None]()
    with TemporaryDirectory() as folder:
        world = World(Path(folder), 20, twins=2, concurrency=4)
        with emulator(world, "--key", KEY) as base_url:
            world.write(base_url)
            every = faults(world)
            for fault in every if share >= 1 else rng.sample(every, max(1, round(share * len(every)))):
                ends[endure(world, fault)] += 1
    struck = sum(ends.values()) - ends[None]
    said = f"{ends[0]} runs did not mind, {ends[1]} had rows that failed, {ends[3]} stopped; all carried on"
    return struck, f"{len(every)} faults there are; {said}"
