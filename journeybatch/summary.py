"""summary.json: a run as one JSON object, always whole on the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from journeybatch.costs import Savings
from journeybatch.delivery import Delivery
from journeybatch.hindsight import Share
from journeybatch.replacement import replacement

SUMMARY = "summary.json"


class Credits(msgspec.Struct, frozen=True, kw_only=True):
    """Credits of a run; ``spent_total`` and ``departed`` of its directory, ever. ``departed`` is what was spent for
    keys that are no longer in the input. ``reconciliation`` compares the account's loss with the ledger, for the
    process that was last at work; None until it has ended."""

    planned_min: int
    planned_max: int
    spent: int
    unknown_max: int
    spent_total: int
    departed: float
    cap: int | None
    balance_before: int | float | None = None
    balance_after: int | float | None = None
    reconciliation: dict[str, Any] | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The run as one value; ``concurrency`` is the most in flight; ``started_at`` and ``finished_at`` in Unix seconds,
    None while it has not. ``costs``, ``models`` and ``failures`` are None while the run lasts, and where a signal ended
    it. ``decisions`` are what measurements have found: ``what``, ``value`` and ``why``; ``deliveries`` what came of
    each sink: ``sink``, ``state`` and ``message``; ``workers`` what each worker elsewhere did, in the process that was
    last at work."""

    job: str
    run: int
    api: str
    emulated: bool
    concurrency: int | None
    rows: dict[str, int]
    requests: dict[str, int]
    credits: Credits
    started_at: float
    finished_at: float | None = None
    seconds: float = 0.0
    stopped_by: str | None = None
    exit_code: int | None = None
    costs: Savings | None = None
    models: dict[str, Share] | None = None
    failures: dict[str, int] | None = None
    decisions: list[dict[str, Any]] = []
    deliveries: list[Delivery] = []
    workers: list[dict[str, Any]] = []

    def json(self) -> dict[str, Any]:
        """As it stands in the file: times in ISO 8601, UTC."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        departed = self.credits.departed
        data["credits"]["departed"] = int(departed) if departed == int(departed) else departed
        for name in ("started_at", "finished_at"):
            if data[name] is not None:
                data[name] = datetime.fromtimestamp(data[name], UTC).isoformat(timespec="milliseconds")
        return data


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """What somebody may have to do something about, one sentence each: what the account says of the ledger, where
    that is news, and rows that are held in doubt."""
    pending, found = summary["rows"]["pending"], summary["credits"].get("reconciliation")
    said = []
    if found and found["lost"] is not None and (found["difference"] or found["least"] != found["most"]):
        said.append(str(found["message"]))
    if pending and summary["exit_code"] == 1:
        said.append(
            f"{pending} rows are held in doubt: ask them again with --set retry.on_unknown=retry, or give them "
            "up with --set retry.on_unknown=fail"
        )
    return said


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Replace ``path`` by ``data`` as JSON, whole or not at all. Raises OSError."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``, whole or not at all. Raises OSError."""
    with replacement(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_summary(directory: Path) -> dict[str, Any] | None:
    """The summary in ``directory``, or None where there is none that can be read."""
    return read_json(directory / SUMMARY)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is none that can be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None
