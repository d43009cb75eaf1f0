"""What replies say, in columns: a line for each prompt that a reply was to answer.

A run keeps one while replies come in, for they have just been read then: its end need not read millions of them out of
the journal again. It is a shortcut and nobody's truth. It lives in a file without a name, which goes with the process,
and what does not stand in it is read from the journal and comes out the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journeybatch.answers import Contract
from journeybatch.entries import Received
from journeybatch.errors import DiskFull
from journeybatch.identity import KEY_BYTES, split
from journeybatch.records import Reply
from journeybatch.scratch import Scratch
from journeybatch.verdict import Verdict

if TYPE_CHECKING:
    import polars as pl

PART = 1_000
"""Lines that are put into columns together: it takes about a millisecond, in which nothing is sent."""
NEARBY = 64
"""Parts that are looked into for a block of rows. Where its answers are in more than that, the journal is quicker."""
ROOM = 64 * 2**20
"""Bytes of these parts; where they have more, since replies are long, the journal takes less memory."""

Line = tuple[Any, ...]
VALUE = "="
"""Before the name of an answer's column, which may be any."""


def line_columns(contract: Contract) -> dict[str, pl.DataType]:
    """The columns of a line. ``at``: when the reply was there, in Unix seconds."""
    import polars as pl

    return {
        "attempt": pl.Int64(),
        "key": pl.Binary(),
        "at": pl.Float64(),
        "latency_s": pl.Float64(),
        "upstream_id": pl.String(),
        "upstream_model": pl.String(),
        "finish_reason": pl.String(),
        "prompt_tokens": pl.Int64(),
        "completion_tokens": pl.Int64(),
        **({"text": pl.String()} if contract.structured else {}),
        **{VALUE + name: dtype for name, dtype in contract.columns().items()},
    }


def value_names(contract: Contract) -> tuple[str | None, ...]:
    """What a line has of a verdict: the answer's columns, and before them its text (None) where that is not the answer
    itself, for texts may be long."""
    return (*((None,) if contract.structured else ()), *contract.columns())


def lines_of(
    attempt: int, entry: Received, reply: Reply, said: Iterable[tuple[bytes, Verdict]], names: Sequence[str | None]
) -> list[Line]:
    """The lines of a reply, as it stands in the journal: the keys of its prompts, or of some of them, and the verdicts
    on these, with their ``value_names``. Of a pack nobody knows which tokens were whose."""
    tokens = (reply.prompt_tokens, reply.completion_tokens) if len(entry.keys) == KEY_BYTES else (None, None)
    head = (entry.at, entry.latency_s, reply.upstream_id, reply.upstream_model, reply.finish_reason, *tokens)
    return [
        (attempt, key, *head, *[verdict.text if name is None else verdict.values.get(name) for name in names])
        for key, verdict in said
    ]


def frame_of(lines: Sequence[Line], columns: dict[str, pl.DataType]) -> pl.DataFrame:
    """``lines`` as a table of ``columns``."""
    import polars as pl

    cells = zip(*lines, strict=True) if lines else [()] * len(columns)
    return pl.DataFrame([pl.Series(*each) for each in zip(columns, cells, columns.values(), strict=True)])


class Transcript:
    """The lines of the replies to attempts from number ``first`` on. A ``contract`` says which columns an answer has.

    They go into a file in ``directory``. Nothing it does raises: if the disk refuses it or gets full, or a value fits
    no column, it forgets everything, and gives back its room."""

    def __init__(self, directory: Path, contract: Contract, first: int) -> None:
        self.columns = line_columns(contract)
        self._names = value_names(contract)
        self._first = first
        self._part_of = array("i")
        self._lines: list[Line] = []
        self._parts: list[tuple[int, int]] = []
        self._sizes = array("q")  # of the parts' texts and all, in memory
        self._scratch: Scratch | None = Scratch(directory)
        self._held: dict[tuple[int, tuple[str, ...]], pl.DataFrame] = {}

    def note(self, attempt: int, entry: Received, reply: Reply, verdicts: Sequence[Verdict]) -> None:
        """Take in what a reply says."""
        if self._scratch is None:
            return
        keys = [entry.keys] if len(verdicts) == 1 else split(entry.keys)
        self._lines += lines_of(attempt, entry, reply, zip(keys, verdicts, strict=True), self._names)
        place = attempt - self._first
        if place >= len(self._part_of):
            self._part_of.extend([-1] * (place + PART - len(self._part_of)))
        self._part_of[place] = len(self._parts)
        if len(self._lines) >= PART:
            self._seal()

    def lines(self, attempts: Collection[int], columns: Sequence[str] = ()) -> pl.DataFrame:
        """All that is known of these attempts, and perhaps of others; nothing, where it lies too far apart. Whoever
        needs only some ``columns`` is spared long texts."""
        import polars as pl

        names = tuple(columns or self.columns)
        nothing = pl.DataFrame(schema={name: self.columns[name] for name in names})
        if self._lines:
            self._seal()
        first, last = self._first, self._first + len(self._part_of)
        wanted = {self._part_of[i - first] for i in attempts if first <= i < last} - {-1}
        if self._scratch is None or len(wanted) > NEARBY:
            return nothing
        if not columns and sum(self._sizes[part] for part in wanted) > ROOM:
            return nothing
        with suppress(DiskFull, pl.exceptions.PolarsError):
            held, scratch, keys = self._held, self._scratch, [(part, names) for part in wanted]
            self._held = {key: held[key] if key in held else self._read(scratch, *key) for key in keys}
            return pl.concat([nothing, *self._held.values()])
        self.close()
        return nothing

    def close(self) -> None:
        """Forget everything."""
        self._lines, self._held = [], {}
        if self._scratch is not None:
            self._scratch.close()
        self._scratch = None

    def _seal(self) -> None:
        import polars as pl

        part = BytesIO()
        try:
            frame = frame_of(self._lines, self.columns)
            frame.write_ipc_stream(part, compression="lz4")
            if self._scratch is not None:
                self._parts.append(self._scratch.put(part.getbuffer()))
                self._sizes.append(int(frame.estimated_size()))
                self._lines = []
        except (OSError, ValueError, TypeError, OverflowError, MemoryError, pl.exceptions.PolarsError):
            self.close()

    def _read(self, scratch: Scratch, part: int, names: tuple[str, ...]) -> pl.DataFrame:
        import polars as pl

        return pl.read_ipc_stream(BytesIO(scratch.get(self._parts[part])), columns=list(names))
