"""Packed requests: many tasks in the last message, one answer for each of them in the reply.

Read by a parser of the emulator's own: with the client's, a mistake in the form would agree with itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from journeybatch.emulator.forms import read_form
from journeybatch.emulator.shapes import Json

Answer = str | Json
Entries = list[tuple[str, Answer]]
"""Ids, each with its answer."""


class Task(NamedTuple):
    """One task of a pack; ``text`` is what its whole message would be if it were asked alone."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Pack:
    """The tasks of a packed request, and whether each answer is to be a JSON object (or else a text)."""

    tasks: tuple[Task, ...]
    structured: bool


def read_pack(message: str) -> Pack | None:
    """The pack that a message is: rules that want ``answers``, then a JSON list of ``id`` and ``task``; None for any
    other message."""
    start = message.find("\n[", message.find('"answers"')) if '"answers"' in message else -1
    if start < 0 or not message.endswith("]"):
        return None
    try:
        listed = json.loads(message[start:])
    except (ValueError, RecursionError):
        return None
    if not listed or not all(isinstance(item, dict) and set(item) == {"id", "task"} for item in listed):
        return None
    form = read_form(message[:start].rstrip())[1]
    after = f"\n\n{form.text}" if form else ""
    return Pack(tuple(Task(str(item["id"]), f"{item['task']}{after}") for item in listed), form is not None)


def as_text(answer: Answer) -> str:
    """An answer as the text of a reply."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def write_entries(entries: Entries, *, structured: bool) -> list[str]:
    """Each entry as it stands in the reply to a pack."""
    return [
        json.dumps({"id": name, "answer": answer if structured else as_text(answer)}, ensure_ascii=False)
        for name, answer in entries
    ]


def join_entries(lines: list[str]) -> str:
    """The reply to a pack, from its entries."""
    return f'{{"answers": [{", ".join(lines)}]}}'
