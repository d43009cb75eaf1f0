"""What a job asks: everything that decides a row's content keys, and nothing else.

It is written into the journal as JSON, so that a later run can tell which rows an edited spec would ask anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch.errors import TemplateError
from journeybatch.identity import keys_for
from journeybatch.records import Message, Role
from journeybatch.template import PromptTemplate

if TYPE_CHECKING:
    import polars as pl

Messages = tuple[Message, ...]


class Step(msgspec.Struct, frozen=True):
    """One ask of one model on a row's way: models count in ``tier``, cheapest first, and the asks of the same model
    in ``sample``. A job that is no cascade has one step."""

    tier: int
    model: str
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


def climbs(text: str) -> bool:
    """Whether the ``text`` that an Ask wrote is a cascade's."""
    try:
        return len(msgspec.json.decode(text, type=Subject).models) > 1
    except msgspec.MsgspecError:
        return False


class Ask:
    """A subject's prompt template, compiled for a table's columns. Turns rows into messages and keys."""

    def __init__(self, subject: Subject, columns: Sequence[str]) -> None:
        self.text = json.dumps(msgspec.to_builtins(subject), sort_keys=True, ensure_ascii=False)
        self.template = PromptTemplate(subject.messages, columns)
        self.samples = subject.samples
        models = subject.models
        self.steps = tuple(
            Step(tier, model, sample)
            for tier, (model, _) in enumerate(models)
            for sample in range(subject.repeats if tier < len(models) - 1 else 1)
        )
        self._keys = [keys_for(subject.provider, model, parameters) for model, parameters in models]
        self._dedupe = subject.dedupe

    @classmethod
    def parse(cls, text: str, columns: Sequence[str]) -> Ask:
        """The Ask that wrote ``text``. Raises TemplateError if it needs a column that is gone, msgspec.MsgspecError for
        a text that is none."""
        return cls(msgspec.json.decode(text, type=Subject), columns)

    def questions(self, frame: pl.DataFrame, seen: dict[bytes, int]) -> Iterator[tuple[Messages, int] | TemplateError]:
        """The messages of each row of ``frame`` and how often they stood in earlier rows (0 with ``dedupe``), or the
        reason why there are none. ``seen`` counts: begin each pass over a table with an empty one, and go through all
        its batches in order."""
        for messages in self.template.render_batch(frame):
            if isinstance(messages, TemplateError):
                yield messages
                continue
            occurrence = 0
            if not self._dedupe:
                name = self._keys[0](messages, 0)
                occurrence = seen[name] = seen.get(name, -1) + 1
            yield messages, occurrence

    def key(self, step: Step, messages: Messages, occurrence: int, sample: int) -> bytes:
        """The content key of what ``step`` asks for a row's ``sample``."""
        return self._keys[step.tier](messages, occurrence << 32 | (sample + step.sample))
