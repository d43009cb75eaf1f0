"""Who is measured: journeybatch, the raw client, and peers, each in an environment of its own (``make peers``).

Every peer is a small program in ``peers/`` that asks the same prompts at the same endpoint, with as many requests in
flight, and writes the answers once, at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from measures import OURS, RAW, Measure
from stage import HERE, expect_all, measure, run_ours

ROOT = HERE.parent
ENVIRONMENTS = ROOT / ".venv-peers"
NODE_MODULES = HERE / "peers" / "node_modules"
SCRIPT = "openai"
"""The name of the script that people write themselves."""


@dataclass(frozen=True)
class Contestant:
    """A name, the program with its last arguments, the environment and the package whose version counts, and how many
    rows it is given at most, since some are slow."""

    name: str
    program: str
    environment: str
    package: str
    more: tuple[str, ...] = ()
    at_most: int = 10_000

    @property
    def interpreter(self) -> Path:
        if self.name == RAW or self.environment == "":
            return Path(sys.executable)
        if self.program.endswith(".mjs"):
            return ENVIRONMENTS / "tools" / "bin" / "node"
        return ENVIRONMENTS / self.environment / "bin" / "python"

    def version(self) -> str:
        """Of the package, as it is installed. Raises SystemExit with the reason where it is not."""
        if self.program.endswith(".mjs"):
            about = NODE_MODULES / self.package / "package.json"
            if not about.exists() or not self.interpreter.exists():
                raise SystemExit("not installed: make peers")
            return str(json.loads(about.read_text())["version"])
        if self.environment == "":
            return version(self.package)
        if not self.interpreter.exists():
            raise SystemExit("not installed: make peers")
        code = f"from importlib.metadata import version; print(version({self.package!r}))"
        told = subprocess.run([self.interpreter, "-c", code], check=False, capture_output=True, text=True)
        if told.returncode != 0:
            raise SystemExit("not installed whole: make peers")
        return told.stdout.strip()

    def run(self, room: Path, table: Path, base_url: str, concurrency: int) -> Measure:
        """One whole process in an empty ``room``, which is its home, too: no cache of an earlier round. Raises
        SystemExit where it fails or a row has no answer."""
        if self.name == OURS:
            return run_ours(room, table, base_url, concurrency)
        target = room / "answers.json"
        command = [self.interpreter, HERE / self.program, table, target, base_url, concurrency, *self.more]
        taken = measure(list(map(str, command)), room / "log", {**os.environ, "HOME": str(room)})
        told = json.loads(target.read_text())
        expect_all(table, told["answered"] if self.name == RAW else sum(bool(answer) for answer in told))
        return taken


CONTESTANTS = [
    Contestant(OURS, "", "", "journeybatch", at_most=sys.maxsize),
    Contestant(RAW, "raw.py", "", "uvloop", at_most=sys.maxsize),
    Contestant(SCRIPT, "peers/diy.py", "openai", "openai"),
    Contestant("openai, aiohttp", "peers/diy.py", "openai", "openai", ("aiohttp",)),
    Contestant("promptfoo", "peers/with_promptfoo.mjs", "tools", "promptfoo", at_most=2_000),
    Contestant("curator", "peers/with_curator.py", "curator", "bespokelabs-curator"),
    Contestant("litellm", "peers/with_litellm.py", "litellm", "litellm"),
    Contestant("inspect", "peers/with_inspect.py", "inspect", "inspect-ai", at_most=2_000),
]
SHORT = [CONTESTANTS[0], CONTESTANTS[1], Contestant(SCRIPT, "peers/diy.py", "", "openai")]
"""Those of ``make bench``, which needs no environment but the tests'."""
