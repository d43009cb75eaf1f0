"""Kill points: a job killed at every system call that could leave a trace, one by one, and carried on.

strace lets the process reach its N-th call of a kind and kills it there, before the kernel has done it: so between
any two neighbours N and N + 1 lies every state that a kill can leave in files and on connections.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from proofs.checker import Broken, read_bill
from proofs.spread import spread
from proofs.world import KEY, World, command

CALLS = ("write", "writev", "pwrite64", "sendmsg", "fsync", "fdatasync", "rename", "unlink", "mkdir", "flock", "openat")
"""Reads and receives change nothing outside of the process: a kill there is a kill at the next of these calls."""
NEVER = 65_535
"""strace counts no further."""


class Point(NamedTuple):
    """The ``number``-th such ``call`` of any thread."""

    call: str
    number: int


def environment(path: Path) -> dict[str, str]:
    return os.environ | {"JOURNEYAPI_KEY": KEY, "XDG_CONFIG_HOME": str(path / "config"), "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def emulator(world: World, *more: object) -> Iterator[str]:
    """An emulator in a process of its own that knows the world's answers; gives its base URL."""
    told = command("emulate", "--port", 0, "--bill", world.bill, "--answers", world.path / "answers.csv", *more)
    with subprocess.Popen(told, stdout=subprocess.PIPE, env=environment(world.path), text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["base_url"]
        finally:
            process.kill()


def run(world: World, *before: object, timeout_s: float = 60.0) -> int:
    """Run the world's job in a process, to its end. Returns its exit code, below 0 for a signal."""
    told = [*map(str, before), *command("run", world.spec, "--quiet")]
    return subprocess.run(
        told, env=environment(world.path), capture_output=True, timeout=timeout_s, check=False
    ).returncode


def traced(world: World, point: Point, log: Path) -> list[str]:
    """The strace command that kills at a point. Of the calls to open, those of the output's files count."""
    inject = f"inject={point.call}:signal=SIGKILL:when={point.number}"
    only = [f"--trace-path={name}" for name in _paths(world)] if point.call == "openat" else []
    return ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={point.call}", *only, "-e", inject]


def _paths(world: World) -> list[Path]:
    names = ("journal", "summary.json", "job.yaml", "results.parquet", "requests.parquet", ".ballast")
    hidden = (f".{name}.tmp" for name in names)
    return [world.output / name for name in (*names, *hidden)]


def killed(world: World, point: Point) -> bool:
    """Whether the job was killed at that point; False if it ended before it got there."""
    code = run(world, *traced(world, point, world.path / "strace.log"))
    return code in (-signal.SIGKILL, 128 + signal.SIGKILL)


def clear(world: World) -> None:
    shutil.rmtree(world.output, ignore_errors=True)


def try_point(world: World, bill: list[dict[str, Any]], first: Point, second: Point | None = None) -> bool:
    """Kill at ``first``, in the recovery at ``second``, carry on, and judge. False: it never got to ``first``."""
    clear(world)
    seen = len(bill)
    reached, kills = killed(world, first), 1
    if second is not None and reached:
        kills += killed(world, second)
    code = run(world)
    bill[:] = read_bill(world.bill)
    mine = bill[seen:]
    if code != 0:
        raise Broken(f"{first}, {second}: the run that carries on ends with {code}")
    try:
        world.judge(mine)
        if len(mine) > world.distinct + kills * world.keys["concurrency"]:
            raise Broken(f"{len(mine)} requests for {world.distinct} rows")
    except Broken as broken:
        raise Broken(f"{first}, {second}: {broken}") from None
    return reached


def points(world: World) -> list[Point]:
    """All points that a whole run passes, counted from a run that nobody kills."""
    found: list[Point] = []
    for call in CALLS:
        clear(world)
        log = world.path / "strace.log"
        assert run(world, *traced(world, Point(call, NEVER), log)) == 0
        threads = Counter(line.split()[0] for line in log.read_text().splitlines() if f" {call}(" in line)
        found += [Point(call, number) for number in range(1, 1 + max(threads.values(), default=0))]
    return found


def prove(share: float, seed: int) -> tuple[int, str]:
    """Kill at a share of all points, at some also in the recovery. Returns the cases and a sentence."""
    rng = random.Random(seed)
    with TemporaryDirectory() as folder:
        world = World(Path(folder), 30, twins=3, concurrency=4)
        with emulator(world, "--key", KEY) as base_url:
            world.write(base_url)
            every = points(world)
            bill = read_bill(world.bill)
            chosen = every if share >= 1 else sorted(rng.sample(every, max(1, round(share * len(every)))))
            twice = sum(
                try_point(world, bill, point, rng.choice(every) if rng.random() < 0.25 else None) for point in chosen
            )
    return len(chosen), f"{len(every)} points in a job of 30 rows; killed at {twice} of {len(chosen)} tried"


def _lines(bill: Path) -> int:
    """How many whole lines a bill has that is being written."""
    return bill.read_bytes().count(b"\n") if bill.exists() else 0


def shoot(world: World, rng: random.Random, kills: int) -> int:
    """Kill a run so many times in a row, each time somewhere, and carry on. Returns the kills that struck."""
    struck = 0
    for _ in range(kills):
        before = len(read_bill(world.bill))
        goal = before + rng.randint(0, 2 * world.keys["concurrency"])
        with subprocess.Popen(
            command("run", world.spec, "--quiet"),
            env=environment(world.path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None and _lines(world.bill) < goal:
                time.sleep(0.005)
            time.sleep(rng.random() * 0.05)
            process.kill()
            struck += process.wait() == -signal.SIGKILL
    if (code := run(world)) != 0:
        raise Broken(f"the run that carries on ends with {code}")
    return struck


def shoot_some(numbers: range, seed: int, rows: int) -> tuple[int, int, int]:
    """Kill jobs of ``rows`` rows at 64 in flight, up to five times each, until so many kills have struck. Returns the
    kills, the jobs, and the requests that were sent again. Raises Broken."""
    rng, struck, jobs, extra = random.Random(f"{seed}:{numbers[0]}"), 0, 0, 0
    while struck < len(numbers):
        with TemporaryDirectory() as folder:
            world = World(Path(folder), rows, twins=20, concurrency=64)
            with emulator(world, "--key", KEY, "--latency", 0.02) as base_url:
                world.write(base_url)
                here = shoot(world, rng, min(rng.randint(1, 5), len(numbers) - struck))
                bill = read_bill(world.bill)
                world.judge(bill)
        more = len(bill) - world.distinct
        if more > here * 64:
            raise Broken(f"seed {seed}: {more} requests were sent again after {here} kills")
        struck, jobs, extra = struck + here, jobs + 1, extra + more
    return struck, jobs, extra


def prove_random(kills: int, seed: int, rows: int = 2000) -> tuple[int, str]:
    """Kill jobs at random moments until so many kills have struck. Returns them and a sentence. Raises Broken."""
    found = spread(shoot_some, range(kills), 10, seed, rows)
    struck, jobs, extra = (sum(column) for column in zip(*found, strict=True))
    said = f"{jobs} jobs of {rows} rows, 64 in flight; {extra:,} requests sent again ({extra / struck:.0f} a kill)"
    return struck, said
