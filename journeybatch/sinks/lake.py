"""Delta tables: merged by a key, or appended to. A commit names the results it holds, so none is made twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from journeybatch.errors import TableError
from journeybatch.outlets import Sink

if TYPE_CHECKING:
    import polars as pl

MARK = "journeybatch.results"
_LOOK_BACK = 100


def check(sink: Sink, schema: dict[str, pl.DataType]) -> None:
    """Raises TableError where columns of ``schema`` are missing from the table, or it cannot be had."""
    with _explained(sink):
        import polars as pl
        from deltalake import DeltaTable

        if DeltaTable.is_deltatable(sink.delta or ""):
            known = pl.scan_delta(sink.delta or "").collect_schema().names()
            if lacking := [name for name in schema if name not in known]:
                raise TableError(
                    f"{sink.delta}: the Delta table has no column {lacking[0]!r} (columns: {', '.join(known)}); "
                    "choose with `columns` what to write"
                )


def deliver(sink: Sink, frame: pl.LazyFrame, results: str) -> None:
    """Merge or append ``frame`` as one commit, unless one with the mark ``results`` is there. Raises TableError."""
    with _explained(sink):
        from deltalake import CommitProperties, DeltaTable, write_deltalake

        place, mark = sink.delta or "", CommitProperties(custom_metadata={MARK: results})
        exists = DeltaTable.is_deltatable(place)
        if exists and any(commit.get(MARK) == results for commit in DeltaTable(place).history(_LOOK_BACK)):
            return
        rows = frame.collect(engine="streaming")
        if sink.key is None or not exists:
            write_deltalake(place, rows, mode="append", commit_properties=mark)
            return
        same = " and ".join(f"old.{_quoted(name)} = new.{_quoted(name)}" for name in sink.key)
        others = [name for name in rows.columns if name not in sink.key]
        changed = " or ".join(f"(old.{_quoted(name)} is distinct from new.{_quoted(name)})" for name in others)
        merge = DeltaTable(place).merge(
            rows, predicate=same, source_alias="new", target_alias="old", commit_properties=mark
        )
        if others:
            merge = merge.when_matched_update({_quoted(n): f"new.{_quoted(n)}" for n in others}, predicate=changed)
        merge.when_not_matched_insert({_quoted(n): f"new.{_quoted(n)}" for n in rows.columns}).execute()


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


@contextmanager
def _explained(sink: Sink) -> Iterator[None]:
    try:
        import deltalake  # noqa: F401
    except ImportError:
        raise TableError("Delta tables need the extra `delta`: pip install 'journeybatch[delta]'") from None
    try:
        yield
    except TableError:
        raise
    except Exception as error:  # noqa: BLE001  it raises bare Exceptions, drawn as a tree, the cause in the last line
        last = re.sub(r"\x1b\[[0-9;]*m|[↳╰─▶]", "", str(error).strip().rpartition("\n")[2]).strip()
        raise TableError(f"{sink.delta} cannot be reached or written: {last}") from None
