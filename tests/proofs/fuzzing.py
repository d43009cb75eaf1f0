"""Replies made by a fuzzer that is led by coverage (atheris, on libFuzzer), from the kept corpus on.

It runs in a process of its own: ``make .venv-fuzz/made`` puts atheris into a folder of its own, beside the other
packages. The first byte of an input chooses what the rest is: a body with a status, or HTTP.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from proofs.checker import Broken

FOLDER = Path(__file__).parents[2] / ".venv-fuzz"
WATCHED = ["wire", "lane", "answers", "repair", "items", "reading", "fields", "wish"]


def missing() -> str | None:
    """Why there can be no such fuzzing here; None where there can."""
    return None if (FOLDER / "made").exists() else "atheris is missing (make .venv-fuzz/made)"


def guided(seconds: float, seed: int, keep: Path | None = None) -> tuple[int, int]:
    """Fuzz for so long. Returns the inputs tried and the features of the code that they reached; what was new goes
    into the folder ``keep``. Raises Broken with an input that should not have been possible."""
    with TemporaryDirectory() as folder:
        found, seeds = keep or Path(folder) / "found", Path(folder) / "seeds"
        found.mkdir(exist_ok=True)
        seeds.mkdir()
        from proofs.replies import corpus

        for place, body in enumerate(corpus()):
            for first in (0, 1, 255):
                (seeds / f"{place}-{first}").write_bytes(bytes([first]) + body)
        options = (
            f"-max_total_time={round(seconds)}",
            f"-seed={seed}",
            "-max_len=4096",
            "-timeout=10",
            "-rss_limit_mb=4096",
        )
        done = subprocess.run(
            [sys.executable, "-m", "proofs.fuzzing", str(found), str(seeds), *options, f"-artifact_prefix={folder}/"],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"PYTHONPATH": str(FOLDER)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            crash = next(Path(folder).glob("[cto]*-*"), None)
            culprit = json.dumps(crash.read_bytes().decode("latin-1")) if crash else "?"
            raise Broken(f"fuzzing, seed {seed}: {_last(done.stderr)}; by {culprit[:600]}")
    tried, reached = (re.findall(pattern, done.stderr) for pattern in (r"Done (\d+) runs", r"ft: (\d+)"))
    return int(tried[-1]), int(reached[-1])


def _last(told: str) -> str:
    lines = [line for line in told.splitlines() if "Broken" in line or "Error" in line or "ALARM" in line]
    return (lines or told.splitlines() or ["?"])[0][:500]


def main() -> None:
    """The fuzzer's own process."""
    import atheris

    with atheris.instrument_imports(include=[f"journeybatch.{name}" for name in WATCHED]):
        from proofs import replies

    line = replies.Line()

    def one(data: bytes) -> None:
        first, rest = (data[0], data[1:]) if data else (0, b"")
        if first >= 192:
            replies.check_http(line, rest, random.Random(first))
            return
        for known, ours in zip(replies.tongue.TOKENS, replies.TOKENS, strict=True):
            rest = rest.replace(known.encode(), ours.encode())
        replies.check_body(replies.STATUSES[first % len(replies.STATUSES)], rest)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
