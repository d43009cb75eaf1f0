"""Results on their way to the sinks of a job: what must fit before a credit is spent, and what came of it.

A delivery is noted in the journal under the digests of its sink and of the results file, so results that have not
changed go nowhere twice. What fails is told, and goes again with the next `run` or `export`, for 0 credits.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from journeybatch.database import Address, address
from journeybatch.entries import Delivered
from journeybatch.errors import TableError, Undelivered
from journeybatch.journal import Journal
from journeybatch.location import is_delta
from journeybatch.outlets import Sink
from journeybatch.sinks import files, lake, tables

if TYPE_CHECKING:
    import polars as pl


class Delivery(msgspec.Struct, frozen=True):
    """What came of one sink: results were ``delivered`` now, stood there ``already``, or ``failed`` with a message."""

    sink: str
    state: Literal["delivered", "already", "failed"]
    message: str | None = None


def check_columns(sinks: Sequence[Sink], schema: Mapping[str, pl.DataType]) -> None:
    """Raises TableError where a sink names a column that results of this ``schema`` will not have."""
    several = [name for name in schema if name.endswith(("jb_variant", "jb_sample"))]
    for number, sink in enumerate(sinks):
        if sink.key is not None and (lacking := [name for name in several if name not in sink.key]):
            raise TableError(f"sinks.{number}.key: an input row has several results here; add {lacking[0]!r}")
        for key in ("columns", "key", "partition_by"):
            for name in getattr(sink, key) or ():
                if name not in schema:
                    raise TableError(
                        f"sinks.{number}.{key}: results have no column {name!r} (columns: {', '.join(schema)})"
                    )


def check_sinks(
    sinks: Sequence[Sink],
    schema: Mapping[str, pl.DataType],
    environ: Mapping[str, str],
    frames: Callable[[], Iterator[pl.DataFrame]],
) -> None:
    """Look at each sink as it stands, and at the keys in the input's ``frames``, before anything is sent.

    Raises:
        TableError: a sink cannot be had, lacks a column or a unique key, or rows of the input share one.
    """
    for sink in sinks:
        chosen = {name: schema[name] for name in sink.columns or schema}
        if sink.database is not None:
            tables.check(sink, list(chosen), environ)
        elif sink.delta is not None:
            lake.check(sink, chosen)
        else:
            files.check(sink)
        if sink.key is not None:
            _check_keys(sink, frames())


def deliver(sinks: Sequence[Sink], results: Path, journal: Journal, environ: Mapping[str, str]) -> list[Delivery]:
    """Bring the file ``results`` to every sink that lacks it, and note that in ``journal``. Raises DiskFull, OSError
    for the journal and the file; what is wrong with a sink stands in its Delivery."""
    if not sinks:
        return []
    with results.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()[:16]
    found = []
    for sink in sinks:
        try:
            at = address(sink.database, environ) if sink.database is not None else None
            mark = _mark(sink, at)
            if journal.history.delivered.get(mark) == digest and _stands(sink, at):
                found.append(Delivery(sink.name, "already"))
                continue
            _deliver(sink, results, digest.hex(), environ)
        except (TableError, OSError) as error:
            found.append(Delivery(sink.name, "failed", str(error)))
            continue
        journal.write(Delivered(mark, digest, time.time()))
        journal.flush()
        found.append(Delivery(sink.name, "delivered"))
    return found


def undelivered(deliveries: Iterable[Delivery]) -> Undelivered | None:
    """What to tell where a sink could not be reached; None where all could."""
    failed = [delivery for delivery in deliveries if delivery.state == "failed"]
    if not failed:
        return None
    return Undelivered(
        f"{len(failed)} sink{'s' * (len(failed) > 1)} did not get the results; every answer is safe in "
        "results.parquet, and the next run, or `journeybatch export`, delivers them for 0 credits: "
        + "; ".join(each.message or each.sink for each in failed)
    )


def _mark(sink: Sink, at: Address | None) -> bytes:
    """What a sink goes by in the journal: also where a variable names its database, another one is another sink."""
    return hashlib.sha256((sink.model_dump_json() + (at.place if at else "")).encode()).digest()[:16]


def _stands(sink: Sink, at: Address | None) -> bool:
    """Whether what was delivered can be there still: what lies on this machine's disk may have been taken away."""
    if at is not None:
        return at.kind == "postgresql" or Path(at.path).exists()
    if sink.delta is not None:
        return "://" in sink.delta or is_delta(sink.delta)
    return sink.path is None or "://" in sink.path or Path(sink.path).exists()


def _deliver(sink: Sink, results: Path, digest: str, environ: Mapping[str, str]) -> None:
    import polars as pl

    frame = pl.scan_parquet(results, glob=False)
    if sink.answered_only:
        status = next(name for name in reversed(frame.collect_schema().names()) if name.endswith("jb_status"))
        frame = frame.filter(pl.col(status) == "answered")
    if sink.columns is not None:
        frame = frame.select(sink.columns)
    if sink.key is not None:
        _check_keys(sink, iter([frame.select(sink.key).collect()]))
    if sink.database is not None:
        tables.deliver(sink, frame, environ)
    elif sink.delta is not None:
        lake.deliver(sink, frame, digest)
    else:
        files.deliver(sink, frame)


def _check_keys(sink: Sink, frames: Iterator[pl.DataFrame]) -> None:
    """Raises TableError where rows have no key, or share one. A key of columns that are yet to come is not checked."""
    import polars as pl

    names = list(sink.key or ())
    parts = []
    for frame in frames:
        if not set(names) <= set(frame.columns):
            return
        parts.append(frame.select(names))
    if not parts:
        return
    keys = pl.concat(parts)
    if (empty := keys.select(pl.any_horizontal(pl.all().is_null())).to_series()).any():
        raise TableError(f"{sink.name}: {int(empty.sum())} rows have no value in the key ({', '.join(names)})")
    if (twice := keys.is_duplicated()).any():
        example = ", ".join(f"{name}={value!r}" for name, value in keys.filter(twice).row(0, named=True).items())
        raise TableError(
            f"{sink.name}: {int(twice.sum())} rows share a key with another ({example}); name more columns in `key`"
        )
