"""Prompts that only put whole cells between fixed texts, as most do, filled in without the template engine.

It is a short cut, at a fifth of the time: which texts are fixed is the engine's own word, for it renders the prompt
once, with marks in the cells' places; and a block where some cell is no text, or is long, is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING

import msgspec

from journeybatch.errors import TemplateError
from journeybatch.records import Message, Role

if TYPE_CHECKING:
    import polars as pl

SHORT = 100_000
"""Characters of a prompt, far from the limits of the engine and ours. Longer ones are its to make, or to refuse."""

_CELL = re.compile(r"\{\{[-+]?\s*([^\W\d]\w*)\s*[-+]?\}\}")
_CODE = re.compile(r"\{[{%#]")
_MARK = "\0{}\0"
_MARKED = re.compile(r"\0(\w+)\0")


class Filling(msgspec.Struct, frozen=True):
    """What a prompt is made of: per message a role, and the ``strands`` of its text, which are fixed texts and the
    names of columns by turns, a text first and last."""

    roles: tuple[Role, ...]
    strands: tuple[tuple[str, ...], ...]

    @classmethod
    def of(
        cls, messages: Sequence[tuple[Role, str]], render: Callable[[dict[str, str]], Sequence[Message]]
    ) -> Filling | None:
        """What fills in the same as ``render`` does, which is given cells by column; None for messages that do more
        with a cell than to print it."""
        sources = [source for _, source in messages]
        names = [_CELL.findall(source) for source in sources]
        if not any(names) or any("\0" in source or _CODE.search(_CELL.sub("", source)) for source in sources):
            return None
        try:
            told = render({name: _MARK.format(name) for name in chain(*names)})
        except TemplateError:
            return None
        strands = tuple(tuple(_MARKED.split(message.content)) for message in told)
        if [list(strand[1::2]) for strand in strands] != names:  # some name has a meaning of its own, such as `true`
            return None
        return cls(tuple(role for role, _ in messages), strands)

    def fill(self, frame: pl.DataFrame) -> Iterator[tuple[Message, ...]] | None:
        """The messages of every row of ``frame``, in order; None where that is the engine's work."""
        import polars as pl

        columns = {name: frame[name] for strand in self.strands for name in strand[1::2]}
        if any(column.dtype != pl.String or column.has_nulls() for column in columns.values()):
            return None
        cells = {name: column.to_list() for name, column in columns.items()}
        longest = {name: max(map(len, texts), default=0) for name, texts in cells.items()}
        sizes = (longest[part] if at % 2 else len(part) for strand in self.strands for at, part in enumerate(strand))
        if sum(sizes) > SHORT:
            return None
        messages = (
            map(Message, repeat(role), _filled(strand, cells))
            for role, strand in zip(self.roles, self.strands, strict=True)
        )
        return zip(*messages, strict=False)


def _filled(strand: Sequence[str], cells: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The texts of one message; without an end where there is no cell in it."""
    parts = (cells[part] if at % 2 else repeat(part) for at, part in enumerate(strand))
    return map("".join, zip(*parts, strict=False))
