"""Real limits of the system: a disk that is full, files that may not grow, descriptors that run out."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from proofs.checker import Broken, read_bill
from proofs.kills import emulator, environment, run
from proofs.world import KEY, World, command


class Shortage(NamedTuple):
    """What there is too little of: a size for the output's own tmpfs, or a limit of the process."""

    what: str
    tmpfs: str | None = None
    limit: tuple[int, int] | None = None


SHORTAGES = (
    Shortage("a tmpfs that is full before the journal is", tmpfs="size=3m"),
    Shortage("a tmpfs that fills up", tmpfs="size=4608k"),
    Shortage("a tmpfs of few inodes", tmpfs="size=64m,nr_inodes=4"),
    Shortage("no file over 64 KiB", limit=(resource.RLIMIT_FSIZE, 64 * 1024)),
    Shortage("64 descriptors", limit=(resource.RLIMIT_NOFILE, 64)),
)


@contextmanager
def _mounted(output: Path, options: str | None) -> Iterator[bool]:
    """A tmpfs at the output directory, where that is asked for; False where it may not be mounted."""
    if options is None:
        yield True
        return
    output.mkdir(mode=0o700)
    told = ["mount", "-t", "tmpfs", "-o", f"{options},mode=0700", "tmpfs", str(output)]
    if os.geteuid() != 0 or subprocess.run(told, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(output)], check=True)


def _limited(world: World, limit: tuple[int, int] | None) -> tuple[int, str]:
    """The exit code of a run within a limit, and what it said."""
    lower: Callable[[], None] | None = None
    if limit is not None:
        kind, most = limit

        def lower() -> None:
            resource.setrlimit(kind, (most, most))

    done = subprocess.run(
        command("run", world.spec, "--quiet"),
        env=environment(world.path),
        capture_output=True,
        text=True,
        preexec_fn=lower,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def endure(shortage: Shortage, rows: int) -> bool:
    """Run short of it, and again with enough. False: it could not be arranged here. Raises Broken."""
    with TemporaryDirectory() as folder:
        world = World(Path(folder), rows, concurrency=100)
        with emulator(world, "--key", KEY, "--latency", 0.02) as base_url, _mounted(world.output, shortage.tmpfs) as on:
            if not on:
                return False
            world.write(base_url)
            code, said = _limited(world, shortage.limit)
            if code != 3 or "Traceback" in said:
                raise Broken(f"{shortage.what}: exit {code}: {said[-500:]}")
            summary = world.output / "summary.json"
            if read_bill(world.bill) and summary.exists():
                told = json.loads(summary.read_text())
                if told["exit_code"] is not None and told["stopped_by"] != "disk":
                    raise Broken(f"{shortage.what}: stopped by {told['stopped_by']}")
            if shortage.tmpfs:
                more = "remount,size=256m,nr_inodes=10000"
                subprocess.run(["mount", "-o", more, str(world.output)], check=True)
            if (code := run(world)) != 0:
                raise Broken(f"{shortage.what}: the next run ends with {code}")
            world.judge(read_bill(world.bill))
    return True


def prove(rows: int, seed: int) -> tuple[int, str]:
    """Run jobs of so many rows short of everything. Returns the shortages tried and a sentence. Raises Broken."""
    del seed  # nothing is drawn
    tried = [shortage.what for shortage in SHORTAGES if endure(shortage, rows)]
    return len(tried), f"exit 3, `disk`, and carried on with {rows} rows: {', '.join(tried)}"
