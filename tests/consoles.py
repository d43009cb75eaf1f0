"""The console blocks of a page, run word for word in one shell, and what they print held against what the page shows.

On a page, ``$ `` begins a command, ``> `` carries it on, and what follows is its output. ``…`` stands for any text;
alone in a line, for any lines. Times differ from machine to machine, and so does white space between columns: neither
is held.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```console\n(.*?)^```$", flags=re.M | re.S)
SERVES = "journeybatch emulate"
"""A command that goes on: it has a terminal of its own."""
TIMES = re.compile(r"\d+(\.\d+)? s\b|(?<=seconds, about: )\d+\.\d+|\d+\.\d+(?= \d+$)")
"""Spans of time: in a sentence, in a plan, and in the column before the last of an evaluation's table."""
MARK = "@@@ended"


class Step(NamedTuple):
    """One command of a page, and the lines it shows."""

    command: str
    shown: list[str]


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    step: Step
    lines: list[str]
    code: int


def steps(page: Path) -> list[Step]:
    """The commands of all console blocks of a page, in order."""
    found: list[Step] = []
    for block in BLOCK.findall(page.read_text("utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:], []))
            elif line.startswith("> "):
                command, shown = found.pop()
                found.append(Step(f"{command}\n{line[2:]}", shown))
            else:
                found[-1].shown.append(line)
    return found


def perform(
    told: list[Step], folder: Path, environ: Mapping[str, str], aside: Callable[[Step], str], timeout_s: float
) -> list[Said]:
    """Run the commands in one shell in ``folder``. ``aside`` may add a command of the test's own after each."""
    script = ["trap 'kill $(jobs -p) 2> /dev/null' EXIT"]
    for number, step in enumerate(told):
        if step.command.startswith(SERVES):
            script += [f"{step.command} > served 2>&1 < /dev/null &", "until [ -s served ]; do sleep 0.05; done"]
            script.append("cat served; true")
        else:
            script.append(f"{{ {step.command}\n}} 2>&1 < /dev/null")
        script += [f"printf '{MARK} %d %d\\n' {number} $?", aside(step)]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=environ,
        capture_output=True,
        timeout=timeout_s,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert not done.stderr, done.stderr
    said, lines = [], []
    for line in done.stdout.split("\n"):
        text, marked, end = line.partition(MARK)
        if marked:
            said.append(Said(told[int(end.split()[0])], [*lines, text] if text else lines, int(end.split()[1])))
            lines = []
        else:
            lines.append(line)
    assert len(said) == len(told), f"the shell ended early, after {lines}"
    return said


def agrees(said: Said) -> bool:
    """Whether a command printed what its page shows, and failed only where the page shows an error."""
    error = any(line.startswith(("journeybatch: ", "stopped (")) for line in said.step.shown)
    pattern = "".join(".*" if line == "…" else f"{_pattern(line)}\n" for line in said.step.shown)
    printed = "".join(f"{_plain(line)}\n" for line in said.lines)
    return re.fullmatch(pattern, printed, flags=re.S) is not None and (said.code != 0) == error


def _pattern(shown: str) -> str:
    return re.escape(_plain(shown)).replace("…", "[^\n]*")


def _plain(line: str) -> str:
    return TIMES.sub("TIME", " ".join(line.split()))
