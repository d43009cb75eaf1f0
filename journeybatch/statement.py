"""Journal → requests.parquet: the statement of a run, one row per attempt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journeybatch.archive import mapped, received
from journeybatch.attempts import BORROWED, CHARGES, SETTLED, request_name
from journeybatch.entries import Received
from journeybatch.errors import ApiFailure, TableError
from journeybatch.history import History
from journeybatch.parquet import write_parquet
from journeybatch.records import Completion, Reply
from journeybatch.wire import judge

if TYPE_CHECKING:
    import polars as pl

REQUESTS = "requests.parquet"
_ROWS = 10_000


def write_requests(history: History, journal: Path, path: Path, run: int, metadata: Mapping[str, str]) -> None:
    """Write the statement of run number ``run``. Raises TableError, OSError."""
    a = history.attempts
    chosen = [i for i in range(len(a)) if a.run[i] == run and a.error[i] != BORROWED]
    spent = sum(a.credits[i] for i in chosen)

    def check(frame: pl.LazyFrame) -> None:
        import polars as pl

        if frame.select(pl.len(), pl.col("credits").sum()).collect().row(0) != (len(chosen), spent):
            raise TableError(f"{path}: what was written reads back differently; the last good file stays")

    def frames() -> Iterator[pl.DataFrame]:
        with mapped(journal) as buffer:
            for at in range(0, len(chosen), _ROWS):
                yield _attempts(history, chosen[at : at + _ROWS], buffer)

    write_parquet(path, frames(), request_columns(), dict(metadata), check)


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


def _read(entry: Received) -> Reply | None:
    try:
        return judge(Completion(entry.status, entry.headers, entry.body, entry.latency_s))
    except ApiFailure:
        return None
