"""The first pass over a table: every row rendered, every key known, every problem found, before a credit is spent.

What the survey keeps of a row is its 16-byte keys (and, for packing, how long its prompt is), and of a batch a digest
of its cells, by which a later pass notices that the input changed under the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from journeybatch.asking import Ask, Messages
from journeybatch.errors import InputChanged, TableError, TemplateError
from journeybatch.identity import Key
from journeybatch.items import spelled
from journeybatch.records import Prompt
from journeybatch.stamp import hashed

if TYPE_CHECKING:
    import polars as pl

SHOWN_PROBLEMS = 20
BLOCK = 10_000
"""Rows per digest. Readers promise an order of rows, not where one batch ends."""
AT_ONCE = 100
"""Prompts rendered together. Who sends them waits meanwhile, and all that is in flight with it."""


class Problem(msgspec.Struct, frozen=True):
    """A row (0-based) that cannot be rendered, and why."""

    row: int
    message: str


class Labels(msgspec.Struct, frozen=True):
    """What ``column`` says: the ``rows`` that it labels, as a table of ``row`` (Int64, among the table's rows) and
    ``label`` (String), and a digest of which prompts have which labels, wherever they stand."""

    column: str
    rows: pl.DataFrame
    digest: bytes


class Survey(msgspec.Struct, frozen=True):
    """All keys of a table in row order, per step of the ask (Binary Series), its problems, and a digest and a size per
    batch. Each row has ``width`` keys beside each other: for each variant that is compared, one for each of
    ``samples``.

    ``extents`` tells, per row and variant, the ``characters`` of its last message as they are spelled in a pack, the
    ``head`` (UInt64: a digest of the messages before it; null where the row cannot be packed) and the
    ``head_characters``; None where nobody packs. ``labels`` are None where the job has no target.
    """

    steps: list[pl.Series]
    problems: list[Problem]
    digests: list[int]
    sizes: list[int]
    samples: int = 1
    width: int = 1
    extents: pl.DataFrame | None = None
    labels: Labels | None = None

    @property
    def keys(self) -> pl.Series:
        """The keys of the first step: what a row of the results is known by."""
        return self.steps[0]

    @property
    def rows(self) -> int:
        """Rows of the results: those of the table, times the width."""
        return len(self.keys)

    def by_way(self, rows: pl.Series) -> list[pl.Series]:
        """The marked ``rows``, apart for each way of asking."""
        import polars as pl

        ways = self.width // self.samples
        if ways == 1:
            return [rows]
        place = pl.int_range(len(rows), eager=True) % self.width // self.samples
        return [rows & (place == way) for way in range(ways)]

    def check_problems(self) -> None:
        """Raises TemplateError with the rows that cannot be rendered, TableError where a target labels no row."""
        if self.problems:
            raise TemplateError(describe(self.problems))
        if self.labels is not None and self.labels.rows.is_empty() and self.rows:
            raise TableError(
                f"the target has no labels: every cell of the column {self.labels.column!r} is empty; fill it for all "
                "rows, or for a random sample of them"
            )


Extent = tuple[int, int | None, int]


def survey(frames: Iterable[pl.DataFrame], ask: Ask, *, packs: bool = False, target: str | None = None) -> Survey:
    """Render every row of ``frames``. A row with a problem has null keys. ``packs``: measure the prompts too.
    ``target``: keep the labels of that column."""
    import polars as pl

    parts: list[list[pl.Series]] = [[pl.Series("jb_key", [], dtype=pl.Binary)] for _ in ask.steps]
    found = Survey([], [], [], [], ask.samples, ask.width)
    extents: list[pl.DataFrame] = [_extents([])]
    labels: list[pl.DataFrame] = [_labels(pl.Series([], dtype=pl.String), 0)]
    nothing: list[bytes | None] = [None] * ask.width
    unmeasured: list[Extent] = [(0, None, 0)] * len(ask.subjects)
    seen: dict[bytes, int] = {}
    row, template, key = 0, ask.templates[0], None if packs else ask.only_key
    for frame in blocks(frames):
        keys: list[list[bytes | None]] = [[] for _ in ask.steps]
        measured: list[Extent] = []
        if key is not None:
            keys[0] = [_key_of(each, key, found, row + at) for at, each in enumerate(template.render_batch(frame))]
        for place, question in enumerate(ask.questions(frame, seen) if key is None else ()):
            if isinstance(question, TemplateError):
                found.problems.append(Problem(row + place, str(question)))
                for column in keys:
                    column.extend(nothing)
                measured += unmeasured
                continue
            for column, step in zip(keys, ask.steps, strict=True):
                column.extend(ask.keys(step, question))
            if packs:
                measured += map(extent, question[0])
        for part, column in zip(parts, keys, strict=True):
            part.append(pl.Series("jb_key", column, dtype=pl.Binary))
        extents.append(_extents(measured))
        if target is not None:
            labels.append(_labels(frame[target], row))
        found.digests.append(digest(frame))
        found.sizes.append(frame.height)
        row += frame.height
    steps = [pl.concat(part) for part in parts]
    return msgspec.structs.replace(
        found,
        steps=steps,
        extents=pl.concat(extents) if packs else None,
        labels=_labelled(target, pl.concat(labels), steps[0].gather_every(ask.width)) if target is not None else None,
    )


def _key_of(messages: Messages | TemplateError, key: Key, found: Survey, row: int) -> bytes | None:
    """The only key of a row; None for one with a problem, which is noted."""
    if isinstance(messages, TemplateError):
        found.problems.append(Problem(row, str(messages)))
        return None
    return key(messages, 0)


def _labels(column: pl.Series, row: int) -> pl.DataFrame:
    import polars as pl

    found = pl.DataFrame({"label": column.cast(pl.String)}).with_row_index("row", offset=row)
    return found.select(pl.col("row").cast(pl.Int64), "label").filter(pl.col("label").str.strip_chars() != "")


def _labelled(column: str, rows: pl.DataFrame, keys: pl.Series) -> Labels:
    named = rows.with_columns(key=keys.gather(rows["row"])).drop_nulls().sort("key", "label")
    told = blake2b(digest_size=16)
    for key, label in named.select("key", "label").iter_rows():
        told.update(key + label.encode() + b"\0")
    return Labels(column, rows, told.digest())


def extent(messages: Messages) -> Extent:
    """(characters of the last message as spelled in a pack, digest of the head, characters of the head)."""
    *head, last = messages
    if last.role != "user":
        return 0, None, 0
    if not head:
        return spelled(last.content), 0, 0
    named = blake2b(msgspec.json.encode(head), digest_size=8).digest()
    return spelled(last.content), int.from_bytes(named, "big"), sum(len(message.content) for message in head)


def _extents(measured: list[Extent]) -> pl.DataFrame:
    import polars as pl

    schema = {"characters": pl.UInt32, "head": pl.UInt64, "head_characters": pl.UInt32}
    return pl.DataFrame(measured, schema=schema, orient="row")


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


def prompts(
    frames: Iterable[pl.DataFrame], surveyed: Survey, ask: Ask, step: int, wanted: pl.Series
) -> Iterator[tuple[int, Prompt]]:
    """The prompts of the rows that ``wanted`` (Booleans, as long as the survey's keys) marks for a ``step`` (its
    place in ``ask.steps``), rendered again; each with its place among the keys.

    Raises:
        InputChanged: the input is not what was surveyed.
    """
    import polars as pl

    keys, samples, width = surveyed.steps[step], surveyed.samples, surveyed.width
    for row, frame in again(frames, surveyed):
        every = wanted.slice(row * width, frame.height * width).arg_true()
        for start in range(0, len(every), AT_ONCE):
            places = every.slice(start, AT_ONCE)
            asked = (places // samples).unique(maintain_order=True)  # a row and a variant
            rendered = dict(_rendered(frame, ask, asked))
            at = places.cast(pl.Int64) + row * width
            for place, key, number in zip(places.to_list(), keys.gather(at).to_list(), at.to_list(), strict=True):
                messages = rendered[place // samples]
                if isinstance(messages, TemplateError):
                    raise _changed(row)
                yield number, Prompt(key, messages)


def _rendered(frame: pl.DataFrame, ask: Ask, asked: pl.Series) -> Iterator[tuple[int, Messages | TemplateError]]:
    """The messages of the rows of ``frame``, each for one variant; both are in the numbers ``asked``."""
    variants = len(ask.templates)
    for variant, template in enumerate(ask.templates):
        mine = asked.filter(asked % variants == variant)
        yield from zip(mine.to_list(), template.render_batch(frame[mine // variants]), strict=True)


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
    """A digest of a frame's cells and their order."""
    told = blake2b("\0".join(frame.columns).encode(), digest_size=8)
    told.update(hashed(frame))
    return int.from_bytes(told.digest(), "big")


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
