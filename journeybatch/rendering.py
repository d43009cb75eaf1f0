"""Rows rendered, a block at a time: the keys of each row, how long its prompt is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from journeybatch.asking import Ask, Messages
from journeybatch.errors import TemplateError
from journeybatch.items import spelled

if TYPE_CHECKING:
    import polars as pl

BLOCK = 10_000
"""Rows in a block. Readers promise an order of rows, not where one batch ends."""
Extent = tuple[int, int | None, int]


class Problem(msgspec.Struct, frozen=True):
    """A row (0-based) that cannot be rendered, and why."""

    row: int
    message: str


class Block(msgspec.Struct, frozen=True):
    """What a block of rows comes to: its keys per step (Binary Series, null where a variant lacks the step) and, where
    prompts are packed, their extents."""

    steps: list[pl.Series]
    extents: pl.DataFrame | None = None

    def same(self, other: Block) -> bool:
        """Whether both say the same of the same rows."""
        if self.extents is not None and (other.extents is None or not self.extents.equals(other.extents)):
            return False
        return all(mine.equals(its) for mine, its in zip(self.steps, other.steps, strict=True))


def blocks(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in frames of exactly ``BLOCK`` rows, but for the last."""
    import polars as pl

    held: list[pl.DataFrame] = []
    height = 0
    for frame in frames:
        held.append(frame)
        height += frame.height
        while height >= BLOCK:
            whole = held[0] if len(held) == 1 else pl.concat(held)
            yield whole.head(BLOCK)
            held, height = [whole.slice(BLOCK)], height - BLOCK
    if height:
        yield pl.concat(held)


def render(
    frame: pl.DataFrame, *, ask: Ask, row: int, problems: list[Problem], seen: dict[bytes, int], packs: bool
) -> Block:
    """What the rows of ``frame`` come to, ``row`` and those after it. What is wrong with them goes to ``problems``;
    ``seen`` counts prompts from block to block."""
    import polars as pl

    keys: list[list[bytes | None]] = [[] for _ in ask.steps]
    measured: list[Extent] = []
    only = None if packs else ask.only_key
    if only is not None:
        for place, messages in enumerate(ask.templates[0].render_batch(frame)):
            if isinstance(messages, TemplateError):
                problems.append(Problem(row + place, str(messages)))
                keys[0].append(None)
            else:
                keys[0].append(only(messages, 0))
    for place, question in enumerate(ask.questions(frame, seen) if only is None else ()):
        if isinstance(question, TemplateError):
            problems.append(Problem(row + place, str(question)))
            for column in keys:
                column.extend([None] * ask.width)
            measured += [(0, None, 0)] * len(ask.subjects)
            continue
        for column, step in zip(keys, ask.steps, strict=True):
            column.extend(ask.keys(step, question))
        if packs:
            measured += map(extent, question[0])
    steps = [pl.Series("jb_key", column, dtype=pl.Binary) for column in keys]
    return Block(steps, extents_of(measured) if packs else None)


def extent(messages: Messages) -> Extent:
    """(characters of the last message as spelled in a pack, digest of the head, characters of the head)."""
    *head, last = messages
    if last.role != "user":
        return 0, None, 0
    if not head:
        return spelled(last.content), 0, 0
    named = blake2b(msgspec.json.encode(head), digest_size=8).digest()
    return spelled(last.content), int.from_bytes(named, "big"), sum(len(message.content) for message in head)


def extents_of(measured: list[Extent]) -> pl.DataFrame:
    """Extents as a table."""
    import polars as pl

    schema = {"characters": pl.UInt32, "head": pl.UInt64, "head_characters": pl.UInt32}
    return pl.DataFrame(measured, schema=schema, orient="row")
