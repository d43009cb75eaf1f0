"""Real limits of the system: a disk that is full, files that may not grow, descriptors and memory that run out."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from proofs.checker import Broken, Evidence, judge, read_bill
from proofs.kills import emulator, environment, run
from proofs.world import CHEAP, KEY, World, answer, command


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

SQUEEZES = ((4, 1), (2, 500_000), (8, 500_000), (24, 500_000))
"""How many MB more than it has at its middle a process may get, and how long an answer is."""
STRUCK = {-signal.SIGABRT: "aborted", -signal.SIGSEGV: "aborted", -signal.SIGKILL: "hung and killed", 0: "ended well"}
STRUCK |= {1: "went on", 3: "stopped"}
"""What may become of it: a library in another language that gets no memory takes the process with it, like a kill, or
does not pass on what arrived, and the attempt ends with its time. polars may wait for ever for a thread of its own that
got none while tables are written: somebody has to kill that."""
HUNG_S = 45.0
PATIENT = {"retry": {"timeout_s": 20}}


class Verbose(World):
    """A world whose answers have ``size`` letters, and a few."""

    size = 1

    @classmethod
    def told(cls, texts: Sequence[str]) -> list[dict[str, str]]:
        """The emulator's answer key."""
        return [{"question": text, CHEAP: cls.say(text)} for text in texts]

    @classmethod
    def say(cls, text: str) -> str:
        return answer(text, CHEAP) + "." * cls.size

    def judge(self, bill: Sequence[dict[str, Any]], **terms: Any) -> Any:
        """Have the checker look at it."""
        return judge(
            Evidence(
                table=self.table,
                output=self.output,
                bill=bill,
                right=lambda row, _: {"response": self.say(row["text"])},
                **terms,
            )
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


def _stopped_by(world: World) -> Any:
    return json.loads((world.output / "summary.json").read_text())["stopped_by"]


def squeeze(more_mb: int, size: int, rows: int) -> str:
    """Let a process that is at work have so much more memory, and run again with enough. Returns what became of it.
    Raises Broken."""
    what = f"{more_mb} MB more memory, answers of {size} bytes"
    with TemporaryDirectory() as folder:
        kind = type("Sized", (Verbose,), {"size": size})
        world = kind(Path(folder), rows, concurrency=50, **PATIENT)
        with emulator(world, "--key", KEY, "--latency", 0.02) as base_url:
            world.write(base_url)
            told = command("run", world.spec, "--quiet")
            pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
            with subprocess.Popen(told, env=environment(world.path), **pipes) as process:  # type: ignore[call-overload]
                while process.poll() is None and len(read_bill(world.bill)) < min(rows // 2, 40):
                    time.sleep(0.002)
                status = Path(f"/proc/{process.pid}/status").read_text()
                if "VmSize" in status:  # else it has ended
                    most = int(status.split("VmSize:")[1].split()[0]) * 1024 + more_mb * 2**20
                    resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
                try:
                    said = process.communicate(timeout=HUNG_S)[1]
                except subprocess.TimeoutExpired:
                    process.kill()
                    said = process.communicate()[1]
            code = process.returncode
            if code not in STRUCK or "Traceback" in said or "bug" in said:
                raise Broken(f"{what}: exit {code}: {said[-500:]}")
            if code == 3 and (why := _stopped_by(world)) not in ("memory", "disk"):
                raise Broken(f"{what}: stopped by {why}")
            again = subprocess.run(
                [*told, "--retry-failed"], env=environment(world.path), capture_output=True, check=False
            )
            if again.returncode != 0:
                raise Broken(f"{what}: the next run ends with {again.returncode}")
            world.judge(read_bill(world.bill))
    return STRUCK[code]


def prove(rows: int, seed: int) -> tuple[int, str]:
    """Run jobs of so many rows short of everything. Returns the shortages tried and a sentence. Raises Broken."""
    del seed  # nothing is drawn
    tried = [shortage.what for shortage in SHORTAGES if endure(shortage, rows)]
    ends = Counter(squeeze(more_mb, size, rows if size == 1 else 60) for more_mb, size in SQUEEZES)
    told = ", ".join(f"{n} {end}" for end, n in sorted(ends.items()))
    said = f"exit 3, `disk`, and carried on with {rows} rows: {', '.join(tried)}; little memory: {told}, all carried on"
    return len(tried) + len(SQUEEZES), said
