"""The emulator's own ledger: what it charged for each attempt, in memory and, on demand, in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Billed:
    """One request to chat/completions that arrived.

    ``attempt`` counts from 1. ``status`` is the HTTP status it was answered with, None if it was not answered.
    ``fault`` names what was done to it on purpose, with + between several, None if nothing. ``sha256`` is the first 16
    hex digits of the request body's digest, ``id`` the completion's id where one was computed, ``at_s`` the seconds
    since the emulator began to serve. ``in_flight`` is how many requests, with this one, had a client that waited for
    its answer as this one arrived; None where the server does not count them.
    """

    attempt: int
    model: str | None
    credits: int
    status: int | None
    fault: str | None
    sha256: str
    id: str | None
    at_s: float
    in_flight: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as it stands in the file and goes over HTTP."""
        return asdict(self)


class Bill:
    """A list of ``Billed``; with a path, every record is in the file before the reply to its request leaves.

    An existing file is carried on: its attempts and credits count, so that an account outlives its server.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.attempts: list[Billed] = read_bill(path) if path is not None and Path(path).exists() else []
        self.credits = sum(record.credits for record in self.attempts)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600) if path is not None else None

    @property
    def next_attempt(self) -> int:
        """The number the next attempt gets."""
        return len(self.attempts) + 1

    def add(self, record: Billed) -> None:
        """Take a record in: one ``write(2)`` with one whole line, so that kill -9 leaves no half of it."""
        if self._file is not None:
            os.write(self._file, json.dumps(record.as_json()).encode() + b"\n")
        self.attempts.append(record)
        self.credits += record.credits

    def summary(self, *, totals: bool) -> Mapping[str, Any]:
        """``requests`` and ``billed``, and the list of ``attempts`` unless only totals are wanted."""
        sums: dict[str, Any] = {"requests": len(self.attempts), "billed": self.credits}
        return sums if totals else sums | {"attempts": [record.as_json() for record in self.attempts]}

    def close(self) -> None:
        """Close the file. The list stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_bill(path: str | os.PathLike[str]) -> list[Billed]:
    """The records of a bill file. ValueError for a line that is none, which no kill of ours can produce."""
    records = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        try:
            records.append(Billed(**json.loads(line)))
        except (ValueError, TypeError):
            raise ValueError(f"{path}: line {number} is no record of a bill; give another file, or move it") from None
    return records
