"""Results as OpenAI's Batch API writes them: one line per row, with the reply as it came where there is one.

``response.body`` is the endpoint's own reply for a row that was asked alone. Where a reply carried several rows, came
as a stream, or was taken over from elsewhere, it is a chat completion made of the row's text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from journeybatch.archive import mapped, received
from journeybatch.attempts import BORROWED, SETTLED, request_name
from journeybatch.entries import Received
from journeybatch.errors import TableError
from journeybatch.history import History
from journeybatch.interchange.batch import ID

_NEEDED = [
    *("row", "status", "error", "error_message", "request", "model"),
    *("finish_reason", "prompt_tokens", "completion_tokens", "answered_at"),
]


class Names(msgspec.Struct, frozen=True):
    """Columns of results: ``id`` names a row for others (empty: its number does), ``text`` is what was answered,
    ``prefix`` stands before the jb_ columns."""

    id: str
    text: str
    prefix: str = ""


class Told(msgspec.Struct, frozen=True):
    """One line of an output file, and whether it is one of the error file."""

    failed: bool
    text: str


def output_lines(results: Path, history: History, journal: Path, names: Names) -> Iterator[Told]:
    """The rows of ``results`` in their order. Raises TableError for a column that is not there."""
    import polars as pl

    frame = pl.scan_parquet(results, glob=False)
    columns = frame.collect_schema().names()
    if names.id and names.id not in columns:
        raise TableError(f"{results}: no column is called {names.id!r} (columns: {', '.join(columns)})")
    made = {name: pl.col(f"{names.prefix}jb_{name}") for name in _NEEDED}
    more = [pl.col(f"{names.prefix}jb_{name}").cast(pl.String) for name in ("variant", "sample")]
    suffix = [column for column in more if column.meta.output_name() in columns]
    own = pl.col(names.id).cast(pl.String) if names.id else pl.lit("row-") + made["row"].cast(pl.String)
    selected = frame.select(
        pl.concat_str([own.fill_null(""), *suffix], separator="/").alias("id"),
        pl.col(names.text).alias("text"),
        **made,
    )
    requests = _replies(history)
    with mapped(journal) as buffer:
        for batch in selected.collect_batches(chunk_size=5_000, maintain_order=True):
            for row in batch.iter_rows(named=True):
                index = requests.get(row["request"])
                entry = None if index is None else received(buffer, history, index)
                alone = index is not None and history.attempts.prompts(index) == 1
                yield _told(row, entry, alone, history.id)


def id_column(results: Path) -> str:
    """The column that names rows, where a file from the Batch API brought one; else none."""
    import polars as pl

    return ID if ID in pl.scan_parquet(results, glob=False).collect_schema() else ""


def _replies(history: History) -> dict[str, int]:
    """The attempt that brought each request's reply, by the request's name. Those of other directories have names of
    their own there."""
    a = history.attempts
    whole = (i for i in range(len(a)) if a.charge[i] == SETTLED and a.offset[i] >= 0 and a.error[i] != BORROWED)
    return {request_name(a.request[i]): i for i in whole}


def _told(row: Mapping[str, Any], entry: Received | None, alone: bool, journal: bytes) -> Told:
    answered = row["status"] == "answered"
    name = blake2b(b"%b%d" % (journal, row["row"]), digest_size=16).hexdigest()
    error = response = None
    if answered or (entry is not None and alone):
        whole = _whole(entry.body) if entry is not None and alone else None
        asked = (entry.headers.get("x-request-id") if entry is not None else None) or row["request"] or ""
        status = entry.status if entry is not None else 200
        response = {"status_code": status, "request_id": asked, "body": whole or _made(row, name)}
    if not answered:
        error = {"code": row["error"] or row["status"], "message": row["error_message"] or "not asked yet"}
    line = {"id": f"batch_req_{name}", ID: row["id"], "response": response, "error": error}
    return Told(not answered, json.dumps(line, ensure_ascii=False))


def _whole(body: bytes) -> dict[str, Any] | None:
    """The reply as it came, if it is a chat completion in one piece."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return data if isinstance(data, dict) and data.get("choices") else None


def _made(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A chat completion that says what the row says."""
    counts = [row["prompt_tokens"] or 0, row["completion_tokens"] or 0]
    usage = {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": sum(counts)}
    message = {"role": "assistant", "content": row["text"], "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": row["finish_reason"] or "stop"}
    return {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": int(row["answered_at"].timestamp()) if row["answered_at"] else 0,
        "model": row["model"],
        "choices": [choice],
        **({"usage": usage} if row["prompt_tokens"] is not None else {}),
    }
