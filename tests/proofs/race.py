"""The lock: many processes want one directory at the same moment, by its path, by links to it, by a bind mount."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from proofs.checker import Broken
from proofs.power import folder

CONTENDER = """
import sys
from pathlib import Path
from journeybatch.errors import RunLocked
from journeybatch.journal import open_journal
print("ready", flush=True)
for line in sys.stdin:
    try:
        journal = open_journal(Path(line.strip()))
    except RunLocked:
        print("lost", flush=True)
    else:
        print("won", flush=True)
        sys.stdin.readline()
        journal.close()
        print("left", flush=True)
"""


def roads(place: Path) -> tuple[list[Path], bool]:
    """Ways to one directory, and whether a bind mount is among them."""
    real, link, parent = place / "out", place / "link", place / "road"
    real.mkdir(mode=0o700)
    link.symlink_to(real)
    parent.symlink_to(place)
    bound = place / "bound"
    bound.mkdir()
    mounted = (
        os.geteuid() == 0
        and subprocess.run(["mount", "--bind", real, bound], capture_output=True, check=False).returncode == 0
    )
    return [real, link, parent / "out", *([bound] if mounted else [])], mounted


def prove(rounds: int, seed: int, contenders: int = 4, before: str = "") -> tuple[int, str]:
    """Race for the lock. ``before`` is what each contender does first. Returns the rounds and a sentence."""
    rng = random.Random(seed)
    with folder() as place, ExitStack() as stack:
        ways, mounted = roads(place)
        if mounted:
            stack.callback(subprocess.run, ["umount", str(place / "bound")], check=True)
        command = [sys.executable, "-c", before + CONTENDER]
        racing = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            for _ in range(contenders)
        ]
        for each in racing:
            stack.callback(each.kill)
        said = [_line(each) for each in racing]
        assert said == ["ready"] * contenders, said
        for _ in range(rounds):
            for each in rng.sample(racing, contenders):
                _tell(each, rng.choice(ways))
            ends = [_line(each) for each in racing]
            if ends.count("won") != 1:
                raise Broken(f"{ends.count('won')} of {contenders} hold the lock")
            winner = racing[ends.index("won")]
            _tell(winner, "")
            assert _line(winner) == "left"
    return rounds, f"{contenders} processes a round over {len(ways)} ways, bind mount: {'yes' if mounted else 'no'}"


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _tell(process: subprocess.Popen[str], word: object) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
