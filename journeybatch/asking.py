"""What a job asks: everything that decides a row's content keys, and nothing else.

It is written into the journal as JSON, so that a later run can tell which rows an edited spec would ask anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch.errors import TemplateError
from journeybatch.identity import Key, keys_for
from journeybatch.records import Message, Role
from journeybatch.template import PromptTemplate

if TYPE_CHECKING:
    import polars as pl

Messages = tuple[Message, ...]
Question = tuple[tuple[Messages, ...], int]
"""A row's messages, by variant, and how often they stood in earlier rows."""


class Step(msgspec.Struct, frozen=True):
    """One ask of one model on a row's way: models count in ``tier``, cheapest first, and the asks of the same model
    in ``sample``. A job that is no cascade has one step."""

    tier: int
    sample: int = 0


class Subject(msgspec.Struct, frozen=True):
    """All that decides what is asked, but for the rows.

    ``models`` with their parameters are more than one in a cascade; all but the last are asked ``repeats`` times, to
    see whether they agree with themselves. ``samples`` is how often each row is asked on purpose. With ``dedupe``
    off, the n-th occurrence of a prompt is asked as something of its own.
    """

    provider: str
    models: tuple[tuple[str, dict[str, Any]], ...]
    messages: tuple[tuple[Role, str], ...]
    samples: int = 1
    repeats: int = 1
    dedupe: bool = True

    def has(self, step: Step) -> bool:
        """Whether a row's way leads through ``step``."""
        last = len(self.models) - 1
        return step.tier <= last and step.sample < (self.repeats if step.tier < last else 1)


def climbs(text: str) -> bool:
    """Whether the ``text`` that an Ask wrote is a cascade's."""
    try:
        found = msgspec.json.decode(text, type=Subject | list[Subject])
    except msgspec.MsgspecError:
        return False
    return any(len(subject.models) > 1 for subject in (found if isinstance(found, list) else [found]))


class Ask:
    """What a job asks, compiled for a table's columns: one subject, or several that are compared (its variants).
    Turns rows into messages and keys.

    A row is asked ``width`` times: for each variant, ``samples`` times. In this order its keys stand beside each other.
    """

    def __init__(self, subjects: Sequence[Subject], columns: Sequence[str]) -> None:
        told = [msgspec.to_builtins(subject) for subject in subjects]
        self.text = json.dumps(told[0] if len(told) == 1 else told, sort_keys=True, ensure_ascii=False)
        self.subjects = tuple(subjects)
        self.templates = [PromptTemplate(subject.messages, columns) for subject in subjects]
        self.samples = subjects[0].samples
        self.width = len(subjects) * self.samples
        steps = (
            Step(tier, sample)
            for tier in range(max(len(subject.models) for subject in subjects))
            for sample in range(max(subject.repeats for subject in subjects))
        )
        self.steps = tuple(step for step in steps if any(subject.has(step) for subject in subjects))
        self._keys = [
            [keys_for(subject.provider, model, parameters) for model, parameters in subject.models]
            for subject in subjects
        ]
        self._at = {
            step: [
                keys[step.tier] if subject.has(step) else None
                for subject, keys in zip(subjects, self._keys, strict=True)
            ]
            for step in self.steps
        }
        self.dedupe = subjects[0].dedupe

    @property
    def only_key(self) -> Key | None:
        """What makes a row's key of its messages, where each row has just one and is asked once however often it
        stands there."""
        return self._keys[0][0] if self.width == len(self.steps) == len(self.subjects) == 1 and self.dedupe else None

    @classmethod
    def parse(cls, text: str, columns: Sequence[str]) -> Ask:
        """The Ask that wrote ``text``. Raises TemplateError if it needs a column that is gone, msgspec.MsgspecError for
        a text that is none."""
        found = msgspec.json.decode(text, type=Subject | list[Subject])
        return cls(found if isinstance(found, list) else [found], columns)

    def questions(self, frame: pl.DataFrame, seen: dict[bytes, int]) -> Iterator[Question | TemplateError]:
        """The messages of each row of ``frame``, one for each variant, and how often they stood in earlier rows (0 with
        ``dedupe``); or the reason why there are none. ``seen`` counts: begin each pass over a table with an empty one,
        and go through all its batches in order."""
        for rendered in zip(*(template.render_batch(frame) for template in self.templates), strict=True):
            if wrong := next((each for each in rendered if isinstance(each, TemplateError)), None):
                yield wrong
                continue
            occurrence = 0
            if not self.dedupe:
                name = b"".join(keys[0](messages, 0) for keys, messages in zip(self._keys, rendered, strict=True))
                occurrence = seen[name] = seen.get(name, -1) + 1
            yield rendered, occurrence

    def keys(self, step: Step, question: Question) -> list[bytes | None]:
        """The content keys of what ``step`` asks for a row, ``width`` of them; None where a variant lacks the step."""
        rendered, occurrence = question
        label = occurrence << 32 | step.sample
        asked = zip(self._at[step], rendered, strict=True)
        return [key and key(messages, label + sample) for key, messages in asked for sample in range(self.samples)]

    def key(self, step: Step, place: int, messages: Messages) -> bytes | None:
        """The one of those ``keys`` at ``place``, of a row that stands there for the first time."""
        variant, sample = divmod(place, self.samples)
        key = self._at[step][variant]
        return key and key(messages, step.sample + sample)
