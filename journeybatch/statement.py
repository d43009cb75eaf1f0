"""Journal → requests.parquet: the statement of a run, one row per attempt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch.archive import let_go, mapped, received
from journeybatch.attempts import BORROWED, CHARGES, SETTLED, request_name
from journeybatch.entries import Received
from journeybatch.errors import ApiFailure, TableError
from journeybatch.history import History
from journeybatch.parquet import write_parquet
from journeybatch.records import Completion, Reply
from journeybatch.transcript import Transcript
from journeybatch.wire import judge

if TYPE_CHECKING:
    import polars as pl

REQUESTS = "requests.parquet"
_ROWS = 10_000


def write_requests(
    history: History,
    journal: Path,
    path: Path,
    run: int,
    metadata: Mapping[str, str],
    transcript: Transcript | None = None,
) -> None:
    """Write the statement of run number ``run``; ``transcript`` has what replies of this process say. Raises
    TableError, OSError."""
    import polars as pl

    a = history.attempts
    sent = (pl.col("run") == run) & pl.col("error").ne_missing(BORROWED)
    sums = a.tables(columns=("run", "error", "credits"))
    parts = [part.filter(sent).select(pl.len(), pl.col("credits").sum()).row(0) for part in sums]
    expected = tuple(map(sum, zip((0, 0), *parts, strict=True)))

    def check(frame: pl.LazyFrame) -> None:
        if frame.select(pl.len(), pl.col("credits").sum()).collect().row(0) != expected:
            raise TableError(f"{path}: what was written reads back differently; the last good file stays")

    def frames() -> Iterator[pl.DataFrame]:
        with mapped(journal) as buffer:
            for at in range(0, len(a), _ROWS):
                yield _attempts(history, a.table(at, at + _ROWS).filter(sent), buffer, transcript)
                let_go(buffer)

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


def _attempts(
    history: History, attempts: pl.DataFrame, journal: memoryview, transcript: Transcript | None
) -> pl.DataFrame:
    """The rows of ``attempts``, which is a part of the table of all."""
    import polars as pl

    if attempts.is_empty():
        return pl.DataFrame(schema=request_columns())
    settled = attempts.filter((pl.col("offset") >= 0) & (pl.col("charge") == SETTLED)).select("index")
    names = _names(settled, history, journal, transcript)
    lines = history.attempts.lines(attempts["index"][0], attempts["index"][-1] + 1)
    keys = lines.group_by(index="attempt").agg(keys=pl.col("key").bin.encode("hex"))
    known = attempts.join(keys, on="index", how="left", maintain_order="left")
    return known.join(names, on="index", how="left", maintain_order="left").select(
        pl.format(request_name("{}"), "request").alias("request"),
        *("attempt", "model"),
        pl.col("keys").list.len().fill_null(0).cast(pl.Int32).alias("rows"),
        pl.col("keys").fill_null([]),
        status_code=pl.when(pl.col("status") > 0).then("status"),
        outcome=pl.col("charge").replace_strict(dict(enumerate(CHARGES)), return_dtype=pl.String),
        credits="credits",
        credits_max="credits_max",
        error="error",
        error_message="message",
        started_at=(pl.col("at") * 1e6).round().cast(pl.Int64).cast(pl.Datetime("us", "UTC")),
        latency_s=pl.when(pl.col("offset") >= 0).then("latency_s"),
        upstream_id="upstream_id",
        upstream_model="upstream_model",
    )


def _names(settled: pl.DataFrame, history: History, journal: memoryview, transcript: Transcript | None) -> pl.DataFrame:
    """What the endpoint called the replies of attempts, and the model that wrote them."""
    import polars as pl

    schema = {"index": pl.Int64(), "upstream_id": pl.String(), "upstream_model": pl.String()}
    names = pl.DataFrame(schema=schema)
    if transcript is not None:
        lines = transcript.lines(settled["index"].to_list(), ("attempt", "upstream_id", "upstream_model"))
        names = lines.rename({"attempt": "index"}).unique("index")
    read = [
        (index, reply.upstream_id, reply.upstream_model)
        for index in settled.join(names, on="index", how="anti")["index"]
        if (reply := _read(received(journal, history, index)))
    ]
    return pl.concat([names, pl.DataFrame(read, schema=schema, orient="row")])


def _read(entry: Received) -> Reply | None:
    try:
        return judge(Completion(entry.status, entry.headers, entry.body, entry.latency_s))
    except ApiFailure:
        return None
