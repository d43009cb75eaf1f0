"""Journal + input → results.parquet and requests.parquet: views, rebuilt for nothing whenever they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch.entries import Received
from journeybatch.errors import ApiFailure, TableError
from journeybatch.history import CHARGES, SETTLED, History, mapped, received
from journeybatch.parquet import write_parquet
from journeybatch.records import Completion, Reply
from journeybatch.survey import Survey, again
from journeybatch.tally import MICRO, by_row, tally
from journeybatch.wire import judge

if TYPE_CHECKING:
    import polars as pl

RESULTS = "results.parquet"
REQUESTS = "requests.parquet"
IN_DOUBT = ("in_doubt", "an attempt may have been charged, and brought no answer")
_ROWS = 10_000


def result_columns(answer: str) -> dict[str, pl.DataType]:
    """The columns that results add to the input's, in order, before any prefix."""
    import polars as pl

    credits = pl.Decimal(18, 6)
    return {
        answer: pl.String(),
        "jb_row": pl.Int64(),
        "jb_key": pl.String(),
        "jb_status": pl.String(),
        "jb_error": pl.String(),
        "jb_error_message": pl.String(),
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


def check_collisions(columns: Iterable[str], answer: str, prefix: str) -> None:
    """Raises TableError where an input column has the name of a result column."""
    taken = sorted(set(columns) & {prefix + name for name in result_columns(answer)})
    if taken:
        names = ", ".join(repr(name) for name in taken)
        raise TableError(
            f"the input already has the column{'s' * (len(taken) > 1)} {names}, which the results would add; "
            "set `output_prefix` (or `answer: {column: …}`), or leave the column out with `input.columns`"
        )


class View(msgspec.Struct, frozen=True):
    """What a results view is made of: the journal at ``journal`` and its history, a survey of the input, and names.

    ``frames`` yields the surveyed input again. ``metadata`` goes into the Parquet files.
    """

    journal: Path
    history: History
    surveyed: Survey
    frames: Callable[[], Iterator[pl.DataFrame]]
    schema: dict[str, pl.DataType]
    answer: str
    prefix: str
    metadata: dict[str, str]


class Counts(msgspec.Struct, frozen=True):
    """Rows by status; ``spent`` and ``departed`` in credits: of all charged ever, what no row here stands for."""

    total: int
    answered: int
    failed: int
    pending: int
    reused: int
    spent: Decimal
    departed: Decimal

    def rows(self) -> dict[str, int]:
        """The rows as summary.json has them."""
        return {name: getattr(self, name) for name in ("total", "answered", "failed", "pending", "reused")}


def row_facts(history: History, keys: pl.Series) -> pl.DataFrame:
    """The tally of every row (see ``tally.by_row``) with its ``status``."""
    import polars as pl

    failed = pl.Series("key", list(history.given_up), dtype=pl.Binary)
    return by_row(keys, tally(history)).with_columns(
        status=pl.when(pl.col("answer").is_not_null())
        .then(pl.lit("answered"))
        .when(pl.col("key").is_in(failed.implode()))
        .then(pl.lit("failed"))
        .otherwise(pl.lit("pending"))
    )


def count(facts: pl.DataFrame, history: History) -> Counts:
    """Count rows and credits."""
    import polars as pl

    status = dict(facts["status"].value_counts().iter_rows())
    answered = facts.filter(pl.col("status") == "answered")
    spent = history.spent
    return Counts(
        total=facts.height,
        answered=status.get("answered", 0),
        failed=status.get("failed", 0),
        pending=status.get("pending", 0),
        reused=int(answered["again"].sum()),
        spent=Decimal(spent),
        departed=Decimal(spent) - _credits(int(facts["credits"].sum())),
    )


def write_results(view: View, path: Path) -> Counts:
    """Write results.parquet whole or not at all. Raises InputChanged, TableError."""
    facts = row_facts(view.history, view.surveyed.keys)
    written = {view.prefix + name: dtype for name, dtype in result_columns(view.answer).items()}
    row, key, credits = (view.prefix + name for name in ("jb_row", "jb_key", "jb_credits"))

    def check(frame: pl.LazyFrame) -> None:
        import polars as pl

        sums = frame.select(pl.len(), pl.col(row).sum(), pl.col(key).n_unique(), pl.col(credits).sum()).collect()
        rows = facts.height
        expected = (rows, rows * (rows - 1) // 2, facts["key"].n_unique(), _credits(int(facts["credits"].sum())))
        if sums.row(0) != expected:
            raise TableError(f"{path}: what was written reads back differently; the last good file stays")

    write_parquet(path, _results(view, facts), view.schema | written, view.metadata, check)
    return count(facts, view.history)


def _results(view: View, facts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    with mapped(view.journal) as journal:
        for row, frame in again(view.frames(), view.surveyed):
            yield frame.hstack(_answers(view, facts.slice(row, frame.height), row, journal))


def _answers(view: View, facts: pl.DataFrame, first: int, journal: memoryview) -> pl.DataFrame:
    """The result columns of the rows from ``first`` on."""
    import polars as pl

    a, given_up = view.history.attempts, view.history.given_up
    answered = [status == "answered" for status in facts["status"]]
    chosen = [
        answer if whole else last for whole, answer, last in zip(answered, facts["answer"], facts["last"], strict=True)
    ]
    entries = [received(journal, a.offset[i]) if whole else None for whole, i in zip(answered, chosen, strict=True)]
    replies = [_read(entry) if entry else None for entry in entries]
    errors = [
        given_up[key] if status == "failed" else IN_DOUBT if doubt and status == "pending" else (None, None)
        for key, status, doubt in facts.select("key", "status", "doubt").iter_rows()
    ]
    columns: dict[str, Any] = {
        view.answer: [reply and reply.text for reply in replies],
        "jb_row": range(first, first + facts.height),
        "jb_key": facts["key"].bin.encode("hex"),
        "jb_status": facts["status"],
        "jb_error": [error for error, _ in errors],
        "jb_error_message": [message for _, message in errors],
        "jb_credits": _decimal(facts["credits"]),
        "jb_credits_unknown": _decimal(facts["unknown"]),
        "jb_request": [None if i is None else request_name(a.request[i]) for i in chosen],
        "jb_model": [None if i is None else a.model[i] for i in chosen],
        "jb_upstream_model": [reply and reply.upstream_model for reply in replies],
        "jb_finish_reason": [reply and reply.finish_reason for reply in replies],
        "jb_attempts": facts["attempts"],
        "jb_prompt_tokens": [reply and reply.prompt_tokens for reply in replies],
        "jb_completion_tokens": [reply and reply.completion_tokens for reply in replies],
        "jb_latency_s": [entry and entry.latency_s for entry in entries],
        "jb_reused": facts["again"] & (facts["status"] == "answered"),
        "jb_answered_at": [entry and datetime.fromtimestamp(entry.at, UTC) for entry in entries],
    }
    schema = result_columns(view.answer)
    return pl.DataFrame([pl.Series(view.prefix + name, values, dtype=schema[name]) for name, values in columns.items()])


def write_requests(view: View, path: Path, run: int) -> None:
    """Write the ledger of run number ``run``: one row per attempt."""
    a = view.history.attempts
    chosen = [i for i in range(len(a)) if a.run[i] == run]
    spent = sum(a.credits[i] for i in chosen)

    def check(frame: pl.LazyFrame) -> None:
        import polars as pl

        if frame.select(pl.len(), pl.col("credits").sum()).collect().row(0) != (len(chosen), spent):
            raise TableError(f"{path}: what was written reads back differently; the last good file stays")

    def frames() -> Iterator[pl.DataFrame]:
        with mapped(view.journal) as journal:
            for at in range(0, len(chosen), _ROWS):
                yield _attempts(view.history, chosen[at : at + _ROWS], journal)

    write_parquet(path, frames(), request_columns(), view.metadata, check)


def request_columns() -> dict[str, pl.DataType]:
    """The columns of requests.parquet, in order."""
    import polars as pl

    return {
        "request": pl.String(),
        "attempt": pl.Int32(),
        "model": pl.String(),
        "rows": pl.Int32(),
        "keys": pl.List(pl.String()),
        "status_code": pl.Int32(),
        "outcome": pl.String(),
        "credits": pl.Int64(),
        "credits_max": pl.Int64(),
        "error": pl.String(),
        "error_message": pl.String(),
        "started_at": pl.Datetime("us", "UTC"),
        "latency_s": pl.Float64(),
        "upstream_id": pl.String(),
        "upstream_model": pl.String(),
    }


def _attempts(history: History, chosen: list[int], journal: memoryview) -> pl.DataFrame:
    import polars as pl

    a = history.attempts
    keys = [[key.hex() for key in a.keys_of(i)] for i in chosen]
    replies = [
        _read(received(journal, a.offset[i])) if a.offset[i] >= 0 and a.charge[i] == SETTLED else None for i in chosen
    ]
    columns: dict[str, Any] = {
        "request": [request_name(a.request[i]) for i in chosen],
        "attempt": [a.attempt[i] for i in chosen],
        "model": [a.model[i] for i in chosen],
        "rows": [len(asked) for asked in keys],
        "keys": keys,
        "status_code": [a.status[i] or None for i in chosen],
        "outcome": [CHARGES[a.charge[i]] for i in chosen],
        "credits": [a.credits[i] for i in chosen],
        "credits_max": [a.credits_max[i] for i in chosen],
        "error": [a.error[i] for i in chosen],
        "error_message": [a.message.get(i) for i in chosen],
        "started_at": [datetime.fromtimestamp(a.at[i], UTC) for i in chosen],
        "latency_s": [a.latency_s[i] if a.offset[i] >= 0 else None for i in chosen],
        "upstream_id": [reply and reply.upstream_id for reply in replies],
        "upstream_model": [reply and reply.upstream_model for reply in replies],
    }
    schema = request_columns()
    return pl.DataFrame([pl.Series(name, values, dtype=schema[name]) for name, values in columns.items()])


def request_name(number: int) -> str:
    """How a request is called in tables."""
    return f"q{number}"


def _read(entry: Received) -> Reply | None:
    try:
        return judge(Completion(entry.status, entry.headers, entry.body, entry.latency_s))
    except ApiFailure:
        return None


def _credits(micro: int) -> Decimal:
    return Decimal(micro).scaleb(-6)


def _decimal(micro: pl.Series) -> pl.Series:
    """Micro-credits as Decimal(18, 6) credits."""
    import polars as pl

    return (micro.cast(pl.Decimal(38, 6)) / Decimal(MICRO)).cast(pl.Decimal(18, 6))
