"""Odd surroundings: standard streams that are closed, full or broken, an ASCII locale, no home, a process that is
suspended in the middle, signals in every phase. The results are the same, or come with the next run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from proofs.checker import Broken, read_bill
from proofs.kills import emulator, environment, run
from proofs.world import KEY, World, command

ROWS = 40


def _spawn(world: World, **how: Any) -> subprocess.Popen[bytes]:
    """The world's job, with a summary on stdout and messages on stderr; ``env`` adds to the environment."""
    env = environment(world.path) | how.pop("env", {})
    for name in how.pop("without", ()):
        env.pop(name, None)
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command("run", world.spec, "--json"), env=env, **(nowhere | how))


def _ended(world: World, **how: Any) -> None:
    with _spawn(world, **how) as process:
        if (code := process.wait(60)) not in (0, 1, 120):  # 120: what was printed could not be written
            raise Broken(f"it ends with {code}")


def _closed(world: World) -> None:
    _ended(world, stdout=None, stderr=None, preexec_fn=lambda: [os.close(fd) for fd in (0, 1, 2)])


def _full(world: World) -> None:
    with open("/dev/full", "wb") as full:
        _ended(world, stdout=full, stderr=full)


def _broken(world: World) -> None:
    read, write = os.pipe()
    os.close(read)
    _ended(world, stdout=write, stderr=write)
    os.close(write)


def _ascii(world: World) -> None:
    _ended(world, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"})


def _homeless(world: World) -> None:
    _ended(world, without=("HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME", "TERM"))


def _some(world: World, process: subprocess.Popen[bytes], requests: int) -> None:
    while process.poll() is None and len(read_bill(world.bill)) < requests:
        time.sleep(0.005)


def _suspended(world: World) -> None:
    with _spawn(world) as process:
        for requests in (1, 10, 20):
            _some(world, process, requests)
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            process.send_signal(signal.SIGCONT)
        if (code := process.wait(60)) != 0:
            raise Broken(f"it ends with {code}")


def _signalled(number: signal.Signals, after: Callable[[random.Random], float]) -> Callable[[World], None]:
    def send(world: World) -> None:
        with _spawn(world) as process:
            time.sleep(after(random.Random(number)))
            process.send_signal(number)
            began = time.monotonic()
            code = process.wait(60)
            if code not in (0, 130, 143, -number):
                raise Broken(f"it ends with {code}")
            if time.monotonic() - began > 9.5:
                raise Broken(f"it takes {time.monotonic() - began:.1f} s to end")

    return send


CASES: dict[str, Callable[[World], None]] = {
    "closed streams": _closed,
    "full streams": _full,
    "broken streams": _broken,
    "an ASCII locale": _ascii,
    "no home": _homeless,
    "suspended three times": _suspended,
} | {
    f"{number.name} after {tenths / 10} s": _signalled(number, lambda rng, s=tenths / 10: s + rng.random() / 10)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for tenths in (0, 3, 6, 9, 12, 15)
}


def prove(share: float, seed: int) -> tuple[int, str]:
    """A share of the cases. Returns their number and a sentence. Raises Broken."""
    chosen = list(CASES) if share >= 1 else random.Random(seed).sample(list(CASES), max(1, round(share * len(CASES))))
    for name in chosen:
        with TemporaryDirectory() as folder:
            world = World(Path(folder), ROWS, concurrency=4, prompt="Größe ☃: {{ text }}")
            with emulator(world, "--key", KEY, "--latency", 0.05) as base_url:
                world.write(base_url)
                try:
                    CASES[name](world)
                    if (code := run(world)) != 0:
                        raise Broken(f"the next run ends with {code}")
                    world.judge(read_bill(world.bill))
                except Broken as broken:
                    raise Broken(f"{name}: {broken}") from None
    return len(chosen), f"the same results each time, at once or with the next run, of {len(CASES)} cases"
