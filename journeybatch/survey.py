"""The first pass over a table: every row rendered, every key known, every problem found, before a credit is spent.

What the survey keeps of a row is its 16-byte key, and of a batch a digest of its cells, by which a later pass
notices that the input changed under the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from journeybatch.asking import Ask
from journeybatch.errors import InputChanged, TemplateError
from journeybatch.records import Prompt

if TYPE_CHECKING:
    import polars as pl

SHOWN_PROBLEMS = 20
BLOCK = 10_000
"""Rows per digest. Readers promise an order of rows, not where one batch ends."""


class Problem(msgspec.Struct, frozen=True):
    """A row (0-based) that cannot be rendered, and why."""

    row: int
    message: str


class Survey(msgspec.Struct, frozen=True):
    """All keys of a table in row order (a Binary Series), its problems, and a digest and a size per batch."""

    keys: pl.Series
    problems: list[Problem]
    digests: list[int]
    sizes: list[int]

    @property
    def rows(self) -> int:
        """Rows in the table."""
        return len(self.keys)

    def check_problems(self) -> None:
        """Raises TemplateError with the rows that cannot be rendered."""
        if self.problems:
            raise TemplateError(describe(self.problems))


def survey(frames: Iterable[pl.DataFrame], ask: Ask) -> Survey:
    """Render every row of ``frames``. A row with a problem has a null key."""
    import polars as pl

    found = Survey(pl.Series("jb_key", [], dtype=pl.Binary), [], [], [])
    parts = [found.keys]
    seen: dict[bytes, int] = {}
    row = 0
    for frame in blocks(frames):
        keys: list[bytes | None] = []
        for prompt in ask.prompts(frame, seen):
            if isinstance(prompt, TemplateError):
                found.problems.append(Problem(row + len(keys), str(prompt)))
                keys.append(None)
            else:
                keys.append(prompt.key)
        parts.append(pl.Series("jb_key", keys, dtype=pl.Binary))
        found.digests.append(digest(frame))
        found.sizes.append(frame.height)
        row += frame.height
    return msgspec.structs.replace(found, keys=pl.concat(parts))


def again(frames: Iterable[pl.DataFrame], surveyed: Survey) -> Iterator[tuple[int, pl.DataFrame]]:
    """The same frames once more, as (first row, frame).

    Raises:
        InputChanged: they are not what was surveyed.
    """
    row = batches = 0
    for frame in blocks(frames):
        if batches >= len(surveyed.sizes) or digest(frame) != surveyed.digests[batches]:
            raise _changed(row)
        yield row, frame
        batches += 1
        row += frame.height
    if batches != len(surveyed.sizes):
        raise _changed(row)


def prompts(frames: Iterable[pl.DataFrame], surveyed: Survey, ask: Ask, wanted: pl.Series) -> Iterator[Prompt]:
    """The prompts of the rows that ``wanted`` (Booleans in row order) marks, rendered again.

    Raises:
        InputChanged: the input is not what was surveyed.
    """
    for row, frame in again(frames, surveyed):
        mask = wanted.slice(row, frame.height)
        if not mask.any():
            continue
        keys = surveyed.keys.slice(row, frame.height).filter(mask)
        for key, messages in zip(keys, ask.template.render_batch(frame.filter(mask)), strict=True):
            if isinstance(messages, TemplateError):
                raise _changed(row)
            yield Prompt(key, messages)


def blocks(frames: Iterable[pl.DataFrame], rows: int = BLOCK) -> Iterator[pl.DataFrame]:
    """The same rows in frames of exactly ``rows`` rows, but for the last."""
    import polars as pl

    held: list[pl.DataFrame] = []
    height = 0
    for frame in frames:
        held.append(frame)
        height += frame.height
        while height >= rows:
            whole = held[0] if len(held) == 1 else pl.concat(held)
            yield whole.head(rows)
            held, height = [whole.slice(rows)], height - rows
    if height:
        yield pl.concat(held)


def digest(frame: pl.DataFrame) -> int:
    """A digest of a frame's cells and their order, good within this process."""
    return hash((tuple(frame.columns), tuple(frame.hash_rows(seed=0).to_list())))


def describe(problems: list[Problem]) -> str:
    """All problems as one message; the first twenty by row."""
    lines = [f"  row {problem.row}: {problem.message}" for problem in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  … and {len(problems) - SHOWN_PROBLEMS} more")
    rows = "1 row" if len(problems) == 1 else f"{len(problems)} rows"
    return "\n".join([f"{rows} cannot be rendered (rows count from 0); nothing was sent:", *lines])


def _changed(row: int) -> InputChanged:
    return InputChanged(
        f"the input changed while it was being read (at or after row {row}); all replies so far are safe: "
        "run again when it is at rest"
    )
