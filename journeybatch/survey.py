"""The first pass over a table: every key known, every problem found, before a credit is spent.

What the survey keeps of a row is its 16-byte keys (and, for packing, how long its prompt is), and of a batch a digest
of its cells, by which a later pass notices that the input changed under the run. Rows are rendered for that, but for
blocks of them that the register of an earlier pass knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import msgspec

from journeybatch.asking import Ask, Messages
from journeybatch.errors import InputChanged, TableError, TemplateError
from journeybatch.labels import Labels, labelled, labels_of, noting
from journeybatch.records import Prompt
from journeybatch.register import NAME, Register, write
from journeybatch.rendering import Block, Problem, blocks, extents_of, render
from journeybatch.stamp import fingerprint

if TYPE_CHECKING:
    import polars as pl

SHOWN_PROBLEMS = 20
WORTH = 100_000
"""Rows that were rendered, from which on their keys are kept: the next pass would take a second for them."""
AT_ONCE = 100
"""Prompts rendered together. Who sends them waits meanwhile, and all that is in flight with it."""


class Survey(msgspec.Struct, frozen=True):
    """All keys of a table in row order, per step of the ask (Binary Series), its problems, and a fingerprint and a
    size per batch. Each row has ``width`` keys beside each other: for each variant that is compared, one for each of
    ``samples``.

    ``extents`` tells, per row and variant, the ``characters`` of its last message as they are spelled in a pack, the
    ``head`` (UInt64: a digest of the messages before it; null where the row cannot be packed) and the
    ``head_characters``; None where nobody packs. ``labels`` are None where the job has no target.

    ``kept`` says of each batch whether the ``register`` said its keys; None where there was none to look into.
    ``contents``: a digest of the table's files before they were read, where that was made.
    """

    steps: list[pl.Series]
    problems: list[Problem]
    digests: list[bytes]
    sizes: list[int]
    samples: int = 1
    width: int = 1
    extents: pl.DataFrame | None = None
    labels: Labels | None = None
    register: Register | None = None
    kept: list[bool] = []
    contents: bytes | None = None

    @property
    def refuted(self) -> bool:
        """Whether keys are the word of a register that has turned out to be wrong."""
        return self.register is not None and self.register.refuted

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


def survey(
    frames: Iterable[pl.DataFrame],
    ask: Ask,
    *,
    packs: bool = False,
    target: str | None = None,
    register: Register | None = None,
    contents: bytes | None = None,
) -> Survey:
    """Render every row of ``frames`` that is not found in the ``register``. A row with a problem has null keys.
    ``packs``: measure the prompts too. ``target``: keep the labels of that column. ``contents``: see ``Survey``."""
    import polars as pl

    parts = [Block([pl.Series("jb_key", [], dtype=pl.Binary) for _ in ask.steps], extents_of([]) if packs else None)]
    found = Survey([], [], [], [], ask.samples, ask.width, register=register, contents=contents)
    labels: list[pl.DataFrame] = [labels_of(pl.Series([], dtype=pl.String), 0)]
    make = partial(render, ask=ask, problems=found.problems, seen={}, packs=packs)
    if target is not None:
        frames, contents = noting(frames, target, labels), None  # no row goes by unseen
    for digest, rows, block, kept in _looked_up(frames, make, register, contents):
        parts.append(block)
        found.digests.append(digest)
        found.sizes.append(rows)
        found.kept.append(kept)
    steps = [pl.concat(part.steps[step] for part in parts) for step in range(len(ask.steps))]
    return msgspec.structs.replace(
        found,
        steps=steps,
        extents=pl.concat(part.extents for part in parts if part.extents is not None) if packs else None,
        labels=labelled(target, pl.concat(labels), steps[0].gather_every(ask.width)) if target is not None else None,
    )


def _looked_up(
    frames: Iterable[pl.DataFrame],
    make: Callable[..., Block],
    register: Register | None,
    contents: bytes | None,
) -> Iterator[tuple[bytes, int, Block, bool]]:
    """Each block's fingerprint, rows, what it comes to, and whether that is the register's word. Of a table that has
    the ``contents`` that the register is about, no more than the first block is read."""
    row = 0
    for frame in blocks(frames):
        digest, made = fingerprint(frame), partial(make, frame, row=row)
        if register is None:
            yield digest, frame.height, made(), False
        elif row == 0 and contents is not None and contents == register.contents:
            first = made()
            if known := register.entire(digest, first):
                yield from ((*each, place > 0) for place, each in enumerate(known))
                return
            yield digest, frame.height, first, False
        else:
            yield digest, frame.height, *register.look_up(digest, frame.height, made)
        row += frame.height


def keep(surveyed: Survey, contents: Callable[[], bytes | None] = lambda: None) -> None:
    """Keep what was found for the next pass, where it took work to find. A disk that does not take it is no harm.
    ``contents`` says what the table's files are now: only if nobody has changed them since before they were surveyed,
    it is of them that all this was found."""
    register, width = surveyed.register, surveyed.width
    if register is None or surveyed.problems:
        return
    of_another = surveyed.contents not in (None, register.contents)
    rows = (size for size, kept in zip(surveyed.sizes, surveyed.kept, strict=True) if of_another or not kept)
    if sum(rows) < WORTH:
        return

    def found() -> Iterator[tuple[bytes, int, Block]]:
        row, ways, extents = 0, width // surveyed.samples, surveyed.extents
        for digest, size in zip(surveyed.digests, surveyed.sizes, strict=True):
            steps = [keys.slice(row * width, size * width) for keys in surveyed.steps]
            yield digest, size, Block(steps, None if extents is None else extents.slice(row * ways, size * ways))
            row += size

    same = surveyed.contents is not None and contents() == surveyed.contents
    with suppress(OSError):
        write(register.path, register.terms, found(), surveyed.contents if same else None)


def again(
    frames: Iterable[pl.DataFrame], surveyed: Survey, asked: Sequence[bool] | None = None
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The same frames once more, as (first row, frame). ``asked`` says which batches are asked about; ``frames`` begin
    with the first of these, and what is not asked about is not looked at.

    Raises:
        InputChanged: they are not what was surveyed, or the register has turned out to be wrong about them.
    """
    batches = 0 if asked is None else asked.index(True)
    row = sum(surveyed.sizes[:batches])
    for frame in blocks(frames):
        if surveyed.refuted:
            raise _refuted(row)
        if batches >= len(surveyed.sizes) or frame.height != surveyed.sizes[batches]:
            raise changed(surveyed, row)
        if asked is None or asked[batches]:
            if fingerprint(frame) != surveyed.digests[batches]:
                raise changed(surveyed, row)
            yield row, frame
        batches += 1
        row += frame.height
    if batches != len(surveyed.sizes):
        raise changed(surveyed, row)


def prompts(
    frames: Callable[[int], Iterable[pl.DataFrame]], surveyed: Survey, ask: Ask, step: int, wanted: pl.Series
) -> Iterator[tuple[int, Prompt]]:
    """The prompts of the rows that ``wanted`` (Booleans, as long as the survey's keys) marks for a ``step`` (its
    place in ``ask.steps``), rendered again; each with its place among the keys. ``frames`` yields the rows from a
    given one on. A key that the register said is made again, too: an answer must not go under another row's.

    Raises:
        InputChanged: the input is not what was surveyed, or the register was wrong about it.
    """
    import polars as pl

    keys, samples, width = surveyed.steps[step], surveyed.samples, surveyed.width
    starts = list(accumulate(surveyed.sizes, initial=0))
    asked = [bool(wanted.slice(start * width, (end - start) * width).any()) for start, end in pairwise(starts)]
    if True not in asked:
        return
    kept = dict(zip(starts, surveyed.kept, strict=False))
    for row, frame in again(frames(starts[asked.index(True)]), surveyed, asked):
        every = wanted.slice(row * width, frame.height * width).arg_true()
        known = keys.gather(every.cast(pl.Int64) + row * width).to_list()
        all_places = every.to_list()
        for start in range(0, len(every), AT_ONCE):
            places = all_places[start : start + AT_ONCE]
            rendered = dict(_rendered(frame, ask, dict.fromkeys(place // samples for place in places)))
            for place, key in zip(places, known[start : start + AT_ONCE], strict=True):
                number, messages = row * width + place, rendered[place // samples]
                if isinstance(messages, TemplateError):
                    raise changed(surveyed, row)
                if kept[row] and ask.key(ask.steps[step], place % width, messages) != key:
                    if surveyed.register is not None:
                        surveyed.register.refute()
                    raise _refuted(number // width)
                yield number, Prompt(key, messages)


def _rendered(frame: pl.DataFrame, ask: Ask, asked: Iterable[int]) -> Iterator[tuple[int, Messages | TemplateError]]:
    """The messages of the rows of ``frame``, each for one variant; both are in the numbers ``asked``, which rise."""
    variants = len(ask.templates)
    for variant, template in enumerate(ask.templates):
        mine = [number for number in asked if number % variants == variant]
        if not mine:
            continue
        rows = [number // variants for number in mine]
        side_by_side = rows[-1] - rows[0] == len(rows) - 1  # as a rule; to pick rows out takes polars ten times as long
        some = frame.slice(rows[0], len(rows)) if side_by_side else frame[rows]
        yield from zip(mine, template.render_batch(some), strict=True)


def describe(problems: list[Problem]) -> str:
    """All problems as one message; the first twenty by row."""
    lines = [f"  row {problem.row}: {problem.message}" for problem in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  … and {len(problems) - SHOWN_PROBLEMS} more")
    rows = "1 row" if len(problems) == 1 else f"{len(problems)} rows"
    return "\n".join([f"{rows} cannot be rendered (rows count from 0); nothing was sent:", *lines])


def changed(surveyed: Survey, row: int) -> InputChanged:
    """What is raised where the input is no longer what was surveyed, from about ``row`` on. Or else a register has said
    what is not so: the next run does without its word."""
    if surveyed.register is not None and True in surveyed.kept:
        surveyed.register.forget()
    return InputChanged(
        f"the input changed while it was being read (at or after row {row}); all replies so far are safe: "
        "run again when it is at rest"
    )


@contextmanager
def reading_again() -> Iterator[None]:
    """A surveyed table that cannot be read once more has changed. Raises InputChanged."""
    try:
        yield
    except TableError as error:
        raise InputChanged(f"{error}; all replies so far are safe: run again once that is mended") from None


def _refuted(row: int) -> InputChanged:
    return InputChanged(
        f"{NAME} in the output directory, which spares a run the work of an earlier one, is wrong about row {row} or "
        "one near it: no request was sent for that row, the file is removed, and all replies so far are safe; run again"
    )
