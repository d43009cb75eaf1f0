"""Journal + input → results.parquet: a view, rebuilt for nothing whenever it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch.answers import Contract
from journeybatch.archive import let_go, mapped, received
from journeybatch.attempts import BORROWED, request_name
from journeybatch.entries import Received
from journeybatch.errors import TableError
from journeybatch.history import History
from journeybatch.parquet import write_parquet
from journeybatch.reading import Reader
from journeybatch.records import Completion, Reply
from journeybatch.scroll import Scroll
from journeybatch.survey import Survey, again
from journeybatch.tally import MICRO, total
from journeybatch.transcript import VALUE, Line, Transcript, frame_of, line_columns, lines_of, value_names
from journeybatch.verdict import ERRORS, REFUSED, Verdict
from journeybatch.wire import judge

if TYPE_CHECKING:
    import polars as pl

RESULTS = "results.parquet"
IN_DOUBT = ("in_doubt", "an attempt may have been charged, and brought no answer")
ROWS = ("total", "answered", "failed", "pending", "reused", "refused")
"""What is counted of rows, in summary.json too."""
_KEPT = 64
ROOM = 4 * 2**20
"""Bytes of rows and of their replies that are put together at a time: both may be long, or short."""
FEWEST, MOST = 1_000, 16_384
"""Rows that are put together at a time."""


def result_columns(contract: Contract, *, sampled: bool = False, compared: bool = False) -> dict[str, pl.DataType]:
    """The columns that results add to the input's, in order, before any prefix."""
    import polars as pl

    credits = pl.Decimal(18, 6)
    return {
        **contract.columns(),
        "jb_row": pl.Int64(),
        **({"jb_variant": pl.String()} if compared else {}),
        **({"jb_sample": pl.Int32()} if sampled else {}),
        "jb_key": pl.String(),
        "jb_status": pl.String(),
        "jb_error": pl.String(),
        "jb_error_message": pl.String(),
        **({"jb_text": pl.String()} if contract.structured else {}),
        "jb_credits": credits,
        "jb_credits_unknown": credits,
        "jb_request": pl.String(),
        "jb_model": pl.String(),
        "jb_upstream_model": pl.String(),
        "jb_finish_reason": pl.String(),
        "jb_attempts": pl.Int32(),
        "jb_prompt_tokens": pl.Int64(),
        "jb_completion_tokens": pl.Int64(),
        "jb_latency_s": pl.Float64(),
        "jb_reused": pl.Boolean(),
        "jb_answered_at": pl.Datetime("us", "UTC"),
    }


def check_collisions(columns: Iterable[str], contract: Contract, prefix: str) -> None:
    """Raises TableError where an input column has the name of a result column."""
    taken = sorted(set(columns) & {prefix + name for name in result_columns(contract, sampled=True, compared=True)})
    if taken:
        names = ", ".join(repr(name) for name in taken)
        raise TableError(
            f"the input already has the column{'s' * (len(taken) > 1)} {names}, which the results would add; "
            "set `output_prefix` (or name the answer's columns otherwise), or leave the column out with `input.columns`"
        )


class View(msgspec.Struct, frozen=True):
    """What a results view is made of: the journal at ``journal`` and its history, a survey of the input and where its
    rows stand, how replies are read, and names.

    ``frames`` yields the surveyed input again. ``metadata`` goes into the Parquet files. ``variants`` names what is
    compared, where something is. ``transcript`` has what replies of this process say.
    """

    journal: Path
    history: History
    surveyed: Survey
    table: Scroll
    frames: Callable[[], Iterator[pl.DataFrame]]
    schema: dict[str, pl.DataType]
    reader: Reader
    prefix: str
    metadata: dict[str, str]
    variants: tuple[str, ...] = ()
    transcript: Transcript | None = None


class Counts(msgspec.Struct, frozen=True):
    """Rows by status; ``refused`` are those failed as a refusal or answered with what reads like one. ``spent`` and
    ``departed`` in credits: of all charged ever, what no row here stands for."""

    total: int
    answered: int
    failed: int
    pending: int
    reused: int
    refused: int
    spent: Decimal
    departed: Decimal

    def rows(self) -> dict[str, int]:
        """The rows as summary.json has them."""
        return {name: getattr(self, name) for name in ROWS}


def count(table: Iterable[pl.DataFrame], history: History) -> Counts:
    """Count rows and credits of a table of facts, in parts of it."""
    import polars as pl

    found, shared = dict.fromkeys(ROWS, 0), 0
    for facts in table:
        found["total"] += facts.height
        for status, rows in facts["status"].value_counts().iter_rows():
            found[status] += rows
        answered = facts.filter(pl.col("status") == "answered")
        refused = facts.filter(pl.col("status") == "failed", pl.col("error") == ERRORS[REFUSED])
        found["reused"] += int(answered["again"].sum())
        found["refused"] += refused.height + int(answered["declined"].sum())
        shared += total(facts["credits"])
    spent = Decimal(history.spent)
    return Counts(**found, spent=spent, departed=spent - _credits(shared))


def write_results(view: View, path: Path) -> Counts:
    """Write results.parquet whole or not at all. Raises InputChanged, TableError."""
    written = {view.prefix + name: dtype for name, dtype in _columns(view).items()}
    row, key, credits = (view.prefix + name for name in ("jb_row", "jb_key", "jb_credits"))
    width = view.surveyed.width

    def check(frame: pl.LazyFrame) -> None:
        import polars as pl

        at = 0
        for facts in view.table:
            found = frame.select(row, key, credits).slice(at, facts.height).collect()
            expected = facts.select(
                ((pl.int_range(pl.len(), dtype=pl.Int64) + at) // width).alias(row),
                pl.col("key").bin.encode("hex").alias(key),
                _decimal(facts["credits"]).alias(credits),
            )
            if not found.equals(expected):
                raise TableError(f"{path}: what was written reads back differently; the last good file stays")
            at += facts.height

    write_parquet(path, _results(view), view.schema | written, view.metadata, check)
    return count(view.table, view.history)


def _columns(view: View) -> dict[str, pl.DataType]:
    return result_columns(view.reader.contract, sampled=view.surveyed.samples > 1, compared=bool(view.variants))


def _results(view: View) -> Iterator[pl.DataFrame]:
    import polars as pl

    width = view.surveyed.width
    with mapped(view.journal) as journal:
        replies = Replies(view.history, view.reader, journal)
        reply = len(journal) // max(1, len(view.history.attempts))
        for first, block in again(view.frames(), view.surveyed):
            together = _together(int(block.estimated_size()) // max(1, block.height) + reply * width)
            for row in range(first, first + block.height, together):
                frame = block.slice(row - first, together)
                every = frame if width == 1 else frame[pl.int_range(frame.height * width, eager=True) // width]
                yield every.hstack(_answers(view, view.table.slice(row * width, every.height), row, replies))
                let_go(journal)


def _together(size: int) -> int:
    """How many rows are put together, of such a ``size`` in bytes with their replies: most of what each time takes is
    the same for a thousand rows and for ten thousand."""
    return max(FEWEST, min(MOST, ROOM // max(1, size)))


class Replies:
    """What attempts answered, read out of the mapped ``journal``. Rows of one pack follow each other closely: the last
    replies are kept as they were read."""

    def __init__(self, history: History, reader: Reader, journal: memoryview) -> None:
        self._history, self._reader, self._journal = history, reader, journal
        self._read: dict[int, tuple[Received, Reply, dict[bytes, Verdict]]] = {}

    def of(self, attempt: int, key: bytes) -> tuple[Received, Reply, Verdict]:
        """The entry, the reply, and the verdict on the prompt with that key."""
        found = self._read.get(attempt)
        if found is None:
            if len(self._read) >= _KEPT:
                del self._read[next(iter(self._read))]
            found = self._read[attempt] = self._open(attempt)
        entry, reply, verdicts = found
        return entry, reply, verdicts[key]

    def lines(self, wanted: Iterable[tuple[int, bytes]]) -> Iterator[Line]:
        """A line for each attempt and key."""
        names = value_names(self._reader.contract)
        for attempt, key in wanted:
            entry, reply, verdict = self.of(attempt, key)
            yield from lines_of(attempt, entry, reply, [(key, verdict)], names)

    def _open(self, attempt: int) -> tuple[Received, Reply, dict[bytes, Verdict]]:
        history = self._history
        entry = received(self._journal, history, attempt)
        reply = judge(Completion(entry.status, entry.headers, entry.body, entry.latency_s))
        keys = history.attempts.keys_of(attempt)
        verdicts = self._reader.read(reply, history.origin(attempt), entry.request, keys)
        return entry, reply, dict(zip(keys, verdicts, strict=True))


def _answers(view: View, facts: pl.DataFrame, first: int, replies: Replies) -> pl.DataFrame:
    """The result columns of the rows from ``first`` on."""
    import polars as pl

    a, contract = view.history.attempts, view.reader.contract
    samples, width = view.surveyed.samples, view.surveyed.width
    answered = pl.col("status") == "answered"
    told = _told(view, facts.select(attempt=pl.when(answered).then("answer"), key="answer_key"), replies)
    carriers = facts.select(pl.when(answered).then("answer").otherwise("last")).to_series()
    chosen = a.pick(carriers, ("request", "model", "error"))
    own = pl.col("request").is_not_null() & pl.col("error").ne_missing(BORROWED)
    in_doubt = facts["doubt"] & (facts["status"] == "pending")
    places = range(first * width, first * width + facts.height)
    columns: dict[str, Any] = {
        **{name: told[VALUE + name] for name in contract.columns()},
        "jb_row": [place // width for place in places],
        "jb_variant": [view.variants[place % width // samples] for place in places] if view.variants else None,
        "jb_sample": [place % samples for place in places],
        "jb_key": facts["key"].bin.encode("hex"),
        "jb_status": facts["status"].cast(pl.String),
        "jb_error": _or(in_doubt, IN_DOUBT[0], facts["error"]),
        "jb_error_message": _or(in_doubt, IN_DOUBT[1], facts["message"]),
        "jb_text": told["text"] if contract.structured else None,
        "jb_credits": _decimal(facts["credits"]),
        "jb_credits_unknown": _decimal(facts["unknown"]),
        "jb_request": chosen.select(pl.when(own).then(pl.format(request_name("{}"), "request"))).to_series(),
        "jb_model": chosen["model"],
        "jb_upstream_model": told["upstream_model"],
        "jb_finish_reason": told["finish_reason"],
        "jb_attempts": facts["attempts"].cast(pl.Int32),
        "jb_prompt_tokens": told["prompt_tokens"],
        "jb_completion_tokens": told["completion_tokens"],
        "jb_latency_s": told["latency_s"],
        "jb_reused": facts["again"],
        "jb_answered_at": told.select((pl.col("at") * 1e6).round().cast(pl.Int64)).to_series(),
    }
    return pl.DataFrame(
        [pl.Series(view.prefix + name, columns[name], dtype=dtype) for name, dtype in _columns(view).items()]
    )


def _told(view: View, asked: pl.DataFrame, replies: Replies) -> pl.DataFrame:
    """What the reply of an ``attempt`` says to a ``key``, in the order of ``asked``; nulls where there is none."""
    import polars as pl

    schema, both = line_columns(view.reader.contract), ["attempt", "key"]
    wanted = asked.drop_nulls("attempt").unique()
    known = pl.DataFrame(schema=schema)
    if view.transcript is not None:
        known = view.transcript.lines(wanted["attempt"].to_list())
    missing = wanted.join(known, on=both, how="anti").sort("attempt")
    lines = pl.concat([known, frame_of(list(replies.lines(missing.iter_rows())), schema)])
    return asked.join(lines, on=both, how="left", maintain_order="left")


def _or(mask: pl.Series, word: str, otherwise: pl.Series) -> pl.Series:
    import polars as pl

    return pl.repeat(word, len(mask), dtype=pl.String, eager=True).zip_with(mask, otherwise)


def _credits(micro: int) -> Decimal:
    return Decimal(micro).scaleb(-6)


def _decimal(micro: pl.Series) -> pl.Series:
    """Micro-credits as Decimal(18, 6) credits. An expression: a Series divided by a Decimal would import numpy."""
    import polars as pl

    credits = pl.col(micro.name).cast(pl.Decimal(38, 6)) / MICRO
    return micro.to_frame().select(credits.cast(pl.Decimal(18, 6))).to_series()
