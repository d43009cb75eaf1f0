"""What every program here shares: the prompts out of the table, and the answers written once, at the end.

Standard library only, so that no peer pays for more than it brings. ``python PROGRAM INPUT.csv OUTPUT.json BASE_URL C``
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

MODEL = "deepseek-chat"


def arguments() -> tuple[Path, Path, str, int]:
    """The table, the file for the answers, the endpoint's base URL, and how many requests may be in flight."""
    table, target, base_url, concurrency = sys.argv[1:]
    return Path(table), Path(target), base_url, int(concurrency)


def prompts(table: Path) -> list[str]:
    with table.open(newline="", encoding="utf-8") as lines:
        return [f"Classify this customer message: {row['text']}" for row in csv.DictReader(lines)]


def write(target: Path, answers: list[str | None]) -> None:
    target.write_text(json.dumps(answers), encoding="utf-8")
