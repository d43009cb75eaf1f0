"""What all proofs run: a table whose every answer is known, a job over it, and an emulator that has the answers."""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from proofs.checker import Evidence, Sums, judge

KEY = "proof-key-0123456789"
CHEAP, STRONG = "deepseek-chat", "gpt-4o"


def answer(text: str, model: str) -> str:
    """What ``model`` says to a row's ``text``."""
    return f"about {text}: {sha256(f'{model} {text}'.encode()).hexdigest()[:12]}"


class World:
    """A directory with ``rows`` different questions (and a second row for each of the first ``twins``)."""

    def __init__(self, path: Path, rows: int, *, twins: int = 0, **keys: Any) -> None:
        self.path, self.output, self.keys = path, path / "out", keys
        self.bill, self.spec = path / "bill.jsonl", path / "job.json"
        texts = [f"thing {n:04}." for n in (*range(rows), *range(twins))]
        self.table = [{"id": f"{place:05}", "text": text} for place, text in enumerate(texts)]
        self.distinct, self.texts = rows, texts[:rows]
        write_table(path / "rows.csv", self.table)
        write_table(path / "answers.csv", self.told(self.texts))

    def edit(self, rng: random.Random) -> None:
        """Put the rows into another order, and take some away."""
        rng.shuffle(self.table)
        del self.table[rng.randint(len(self.table) * 2 // 3, len(self.table)) or 1 :]
        write_table(self.path / "rows.csv", self.table)

    @staticmethod
    def told(texts: Sequence[str]) -> list[dict[str, str]]:
        """The emulator's answer key."""
        return [{"question": text} | {model: answer(text, model) for model in (CHEAP, STRONG)} for text in texts]

    def job(self, base_url: str = "http://127.0.0.1/api/v1") -> dict[str, Any]:
        return {
            "name": "proof",
            "input": str(self.path / "rows.csv"),
            "prompt": "Say something about {{ text }}",
            "model": CHEAP,
            "concurrency": 4,
            "api": {"base_url": base_url},
            "output": str(self.output),
        } | self.keys

    def write(self, base_url: str) -> Path:
        """The job as a file."""
        self.spec.write_text(json.dumps(self.job(base_url)))
        return self.spec

    def judge(self, bill: Sequence[dict[str, Any]], **terms: Any) -> Sums:
        """Have the checker look at what stands in the output directory."""
        return judge(Evidence(table=self.table, output=self.output, bill=bill, right=right, **terms))


def right(row: Any, model: str) -> dict[str, str]:
    return {"response": answer(row["text"], model)}


def write_table(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows(rows)


PLANTED: list[int] = []
"""The number of what is planted in all processes that ``command`` starts, too, if anything is."""
PLANTER = """
import runpy, sys
sys.path.insert(0, {here!r})
import proofs.planted
proofs.planted.plant({number})
runpy.run_module("journeybatch", run_name="__main__", alter_sys=True)
"""


def command(*arguments: object) -> list[str]:
    """The command line's, with these arguments."""
    start = ["-m", "journeybatch"]
    if PLANTED:
        start = ["-c", PLANTER.format(here=str(Path(__file__).parents[1]), number=PLANTED[0])]
    return [sys.executable, *start, *map(str, arguments)]
