"""What a job asks: everything that decides a row's content key, and nothing else.

It is written into the journal as JSON, so that a later run can tell which rows an edited spec would ask anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from journeybatch.errors import TemplateError
from journeybatch.identity import keys_for
from journeybatch.records import Prompt, Role
from journeybatch.template import PromptTemplate

if TYPE_CHECKING:
    import polars as pl


class Ask:
    """A prompt template bound to provider, model and parameters. Turns rows into prompts with keys.

    With ``dedupe`` off, the n-th occurrence of a prompt is asked as something of its own (label n), and ``prompts``
    must see all batches of a table in order.
    """

    def __init__(
        self,
        provider: str,
        model: str,
        parameters: Mapping[str, Any],
        messages: Sequence[tuple[Role, str]],
        columns: Sequence[str],
        *,
        dedupe: bool = True,
    ) -> None:
        self.text = json.dumps(
            {
                "provider": provider,
                "model": model,
                "parameters": dict(parameters),
                "messages": [list(message) for message in messages],
                "dedupe": dedupe,
            },
            sort_keys=True,
            ensure_ascii=False,
        )
        self.template = PromptTemplate(messages, columns)
        self._key = keys_for(provider, model, parameters)
        self._dedupe = dedupe

    @classmethod
    def parse(cls, text: str, columns: Sequence[str]) -> Ask:
        """The Ask that wrote ``text``. Raises TemplateError if it needs a column that is gone."""
        data = json.loads(text)
        messages = [(role, content) for role, content in data["messages"]]
        return cls(data["provider"], data["model"], data["parameters"], messages, columns, dedupe=data["dedupe"])

    def prompts(self, frame: pl.DataFrame, seen: dict[bytes, int]) -> Iterator[Prompt | TemplateError]:
        """One prompt, or the reason why there is none, per row of ``frame``. ``seen`` counts occurrences where
        ``dedupe`` is off: begin each pass over a table with an empty one."""
        key = self._key
        for messages in self.template.render_batch(frame):
            if isinstance(messages, TemplateError):
                yield messages
                continue
            name = key(messages, 0)
            if not self._dedupe:
                label = seen[name] = seen.get(name, -1) + 1
                name = key(messages, label)
            yield Prompt(name, messages)
