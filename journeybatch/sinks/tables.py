"""Tables of databases: rows are put in by their key, those that differ are updated, in one transaction.

To deliver the same results again changes nothing. So a process may be killed between a database's commit and its own
note of it, and whoever delivers anew neither doubles a row nor touches one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journeybatch.database import (
    Address,
    address,
    connect_duckdb,
    connect_postgresql,
    connect_sqlite,
    explained,
    quoted,
)
from journeybatch.errors import TableError
from journeybatch.export import plain_nested
from journeybatch.outlets import Sink

if TYPE_CHECKING:
    import polars as pl

STAGE = "jb_stage"
_INDEXES = """
select array_agg(a.attname::text) from pg_index i
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey[0:i.indnkeyatts - 1])
where i.indrelid = {}::regclass and i.indisunique and i.indpred is null and i.indexprs is null group by i.indexrelid"""
_TYPES = """
select attname::text, format_type(atttypid, atttypmod) from pg_attribute
where attrelid = {}::regclass and attnum > 0 and not attisdropped order by attnum"""


def check(sink: Sink, columns: Sequence[str], environ: Mapping[str, str]) -> None:
    """Raises TableError where the database cannot be had, or its table lacks a column or a unique key."""
    at = address(sink.database or "", environ)
    if at.kind != "postgresql" and not Path(at.path).exists():
        if not Path(at.path).parent.is_dir():
            raise TableError(f"{sink.name}: the directory {Path(at.path).parent} does not exist")
        return  # the file is made when it gets its first rows
    with explained(at), closing(_connect(at, read_only=True)) as connection:
        _fits(sink, columns, *_known(at, connection, sink))


def deliver(sink: Sink, frame: pl.LazyFrame, environ: Mapping[str, str]) -> None:
    """Put the rows of ``frame`` into the table, made where it is missing. Raises TableError."""
    at = address(sink.database or "", environ)
    columns = frame.collect_schema().names()
    put = {"postgresql": _put_postgresql, "duckdb": _put_duckdb, "sqlite": _put_sqlite}[at.kind]
    with explained(at), closing(_connect(at, read_only=False)) as connection:
        types, keys = _known(at, connection, sink)
        _fits(sink, columns, types, keys)
        put(connection, sink, plain_nested(frame), types)


def _connect(at: Address, *, read_only: bool) -> Any:
    if at.kind == "postgresql":
        return connect_postgresql(at)
    if at.kind == "duckdb":
        return connect_duckdb(at, read_only=read_only)
    return connect_sqlite(at, read_only=read_only)


def _known(at: Address, connection: Any, sink: Sink) -> tuple[dict[str, str], list[set[str]]]:
    """The table's columns with their types, and the sets of columns that are unique; neither where there is none."""
    name = _name(sink)
    literal = "'" + name.replace("'", "''") + "'"
    if at.kind == "postgresql":
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"select to_regclass({literal})::text")
            if cursor.fetchone()[0] is None:
                return {}, []
            cursor.execute(_TYPES.format(literal))
            types = dict(cursor.fetchall())
            cursor.execute(_INDEXES.format(literal))
            return types, [set(names) for (names,) in cursor.fetchall()]
    if at.kind == "duckdb":
        return _known_to_duckdb(connection, sink)
    bare = _parts(sink)[-1]
    types = {row[0]: row[1] for row in connection.execute("select name, type from pragma_table_info(?)", [bare])}
    unique = connection.execute('select name from pragma_index_list(?) where "unique" and not partial', [bare])
    keys = [
        {row[0] for row in connection.execute("select name from pragma_index_info(?)", [index])}
        for (index,) in unique.fetchall()
    ]
    primary = {row[0] for row in connection.execute("select name from pragma_table_info(?) where pk > 0", [bare])}
    return types, [*keys, primary] if primary else keys


def _known_to_duckdb(connection: Any, sink: Sink) -> tuple[dict[str, str], list[set[str]]]:
    *schema, table = _parts(sink)
    here = [table, *(schema or ["main"])[-1:]]
    types = dict(
        connection.execute(
            "select column_name, data_type from duckdb_columns() where table_name = ? and schema_name = ?", here
        ).fetchall()
    )
    constraints = connection.execute(
        "select constraint_column_names from duckdb_constraints() where table_name = ? and schema_name = ? "
        "and constraint_type in ('PRIMARY KEY', 'UNIQUE')",
        here,
    ).fetchall()
    indexes = connection.execute(
        "select expressions from duckdb_indexes() where table_name = ? and schema_name = ? and is_unique", here
    ).fetchall()
    lists = [[part.strip(" '\"") for part in text.strip("[]").split(",")] for (text,) in indexes]
    return types, [set(names) for names in [*(names for (names,) in constraints), *lists]]


def _fits(sink: Sink, columns: Sequence[str], types: Mapping[str, str], keys: Sequence[set[str]]) -> None:
    if not types:
        return
    key = set(sink.key or ())
    if lacking := [name for name in columns if name not in types]:
        raise TableError(
            f"{sink.name}: the table has no column {lacking[0]!r} (columns: {', '.join(types)}); choose with `columns` "
            "what to write, or let the table be made"
        )
    if key not in keys:
        words = ", ".join(sink.key or ())
        raise TableError(
            f"{sink.name}: no primary key or unique index of the table is on just ({words}); "
            f"create unique index on {sink.table} ({words})"
        )


# -- three ways to put rows in --------------------------------------------------------------------------------


def _put_postgresql(connection: Any, sink: Sink, frame: pl.LazyFrame, types: Mapping[str, str]) -> None:
    """The rows are copied into a table that only this transaction sees, and put in from there; or right into a table
    that is new. What is there already is found by a join, since a conflict costs as much as an insert."""
    columns = frame.collect_schema().names()
    with closing(connection.cursor()) as cursor:
        if not types:
            *schema, table = _parts(sink)
            cursor.adbc_ingest(table, _reader(frame), mode="create", db_schema_name=schema[0] if schema else None)
            cursor.execute(_index(sink))
        else:
            cursor.adbc_ingest(STAGE, _reader(frame), mode="create", temporary=True)
            cursor.execute(f"analyze {STAGE}")
            cast = ", ".join(f"cast({quoted(name)} as {types[name]}) as {quoted(name)}" for name in columns)
            staged = f"(select {cast} from {STAGE}) as excluded"  # noqa: S608
            same = " and ".join(f"old.{quoted(name)} = excluded.{quoted(name)}" for name in sink.key or ())
            changes, differs = _changes(sink, columns, types)
            if changes:
                where = f"from {staged} where {same} and ({differs})"
                cursor.execute(f"update {_name(sink)} as old set {changes} {where}")  # noqa: S608
            absent = f"select * from {staged} where not exists (select from {_name(sink)} as old where {same})"  # noqa: S608
            cursor.execute(_upsert(sink, columns, absent, types))
            cursor.execute(f"drop table {STAGE}")
    connection.commit()


def _put_duckdb(connection: Any, sink: Sink, frame: pl.LazyFrame, types: Mapping[str, str]) -> None:
    columns = frame.collect_schema().names()
    names = ", ".join(map(quoted, columns))
    connection.execute("begin")
    if not types:
        connection.register(STAGE, _reader(frame.head(0)))
        connection.execute(f"create table {_name(sink)} as select * from {STAGE}")  # noqa: S608
        connection.execute(_index(sink))
    connection.register(STAGE, _reader(frame))
    connection.execute(_upsert(sink, columns, f"select {names} from {STAGE}", types))  # noqa: S608
    connection.execute("commit")


def _put_sqlite(connection: Any, sink: Sink, frame: pl.LazyFrame, types: Mapping[str, str]) -> None:
    import polars as pl
    import polars.selectors as cs

    columns = frame.collect_schema().names()
    frame = frame.with_columns(cs.decimal().cast(pl.Float64), cs.temporal().dt.to_string("iso:strict"))
    connection.execute("begin immediate")
    if not types:
        connection.execute(f"create table {_name(sink)} ({', '.join(map(quoted, columns))})")
        connection.execute(_index(sink))
    put = _upsert(sink, columns, f"values ({', '.join('?' * len(columns))})", types)
    for batch in frame.collect_batches(chunk_size=10_000, maintain_order=True):
        connection.executemany(put, batch.iter_rows())
    connection.execute("commit")


def _upsert(sink: Sink, columns: Sequence[str], rows: str, types: Mapping[str, str]) -> str:
    """Insert ``rows``; where the key is there, update what differs."""
    changes, differs = _changes(sink, columns, types)
    then = f"update set {changes} where {differs}" if changes else "nothing"
    return (
        f"insert into {_name(sink)} as old ({', '.join(map(quoted, columns))}) {rows} "
        f"on conflict ({', '.join(map(quoted, sink.key or ()))}) do {then}"
    )


def _changes(sink: Sink, columns: Sequence[str], types: Mapping[str, str]) -> tuple[str, str]:
    """What becomes of a row ``old`` where ``excluded`` has its key, and where anything does. PostgreSQL cannot compare
    its type json."""
    others = [name for name in columns if name not in (sink.key or ())]
    changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in others)
    compared = [f"cast({{}}.{quoted(n)} as text)" if types.get(n) == "json" else f"{{}}.{quoted(n)}" for n in others]
    return changes, " or ".join(f"{one.format('old')} is distinct from {one.format('excluded')}" for one in compared)


def _index(sink: Sink) -> str:
    table = _parts(sink)[-1]
    return f"create unique index {quoted(f'{table}_key')} on {_name(sink)} ({', '.join(map(quoted, sink.key or ()))})"


def _parts(sink: Sink) -> list[str]:
    return (sink.table or "").split(".")


def _name(sink: Sink) -> str:
    return ".".join(map(quoted, _parts(sink)))


def _reader(frame: pl.LazyFrame) -> Any:
    """``frame`` as a stream of Arrow batches."""
    import pyarrow

    schema = frame.head(0).collect().to_arrow().schema

    def batches() -> Iterator[Any]:
        for batch in frame.collect_batches(chunk_size=50_000, maintain_order=True):
            yield from batch.to_arrow().cast(schema).to_batches()

    return pyarrow.RecordBatchReader.from_batches(schema, batches())
