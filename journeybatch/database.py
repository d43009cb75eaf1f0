"""Databases: PostgreSQL, SQLite and DuckDB, each through its own Arrow or DB-API door.

A job file names a database by a URL without a password, or by ``${env:NAME}``, which is looked up only when the
database is opened: so no secret can reach ``job.yaml``, and what a driver says is shown without the URL.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec

from journeybatch.addresses import Kind, database_kind, database_path, expanded
from journeybatch.errors import TableError

if TYPE_CHECKING:
    import polars as pl

ROWS = 10_000
CONNECT_S = 10
_MISSING = "a {} database needs the extra `sql`: pip install 'journeybatch[sql]'"
_NOT_TEXT = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_GROUP = re.compile(r"\([^()]*\)")


class Address(msgspec.Struct, frozen=True):
    """Where a database is: its ``url``, maybe with a password, and ``shown``, as the job file names it."""

    kind: Kind
    url: str
    shown: str

    @property
    def path(self) -> str:
        """The file of an SQLite or DuckDB database."""
        return database_path(self.url)

    @property
    def place(self) -> str:
        """Which database it is: the ``url`` without a password, so that it is the same under a new one."""
        parts, options = urlsplit(self.url), [each for each in _options(self.url) if "password" not in each[0].lower()]
        return f"{self.kind}://{parts.username}@{parts.netloc.rpartition('@')[2]}{parts.path}?{urlencode(options)}"

    def without_secrets(self, text: str) -> str:
        """The first line of ``text``, as one may show it."""
        line = text.strip().partition("\n")[0].replace(self.url, self.shown)
        secrets = [urlsplit(self.url).password, *(value for name, value in _options(self.url) if "password" in name)]
        for secret in {each for found in secrets if found for each in (found, unquote(found))}:
            line = line.replace(secret, "***")
        return line


class Answer(msgspec.Struct, frozen=True):
    """What a query gives: the ``schema`` of its columns, and its rows as ``batches``, to be read once."""

    schema: Mapping[str, pl.DataType]
    batches: Iterator[pl.DataFrame]


def address(text: str, environ: Mapping[str, str]) -> Address:
    """The database that ``text`` names. Raises TableError for a variable that is not set, or is no database."""
    try:
        url = expanded(text, environ)
        found = Address(database_kind(url), url, text.replace(urlsplit(text).password or "\0", "***"))
    except ValueError as error:
        raise TableError(f"database {text}: {error}") from None
    if found.kind != "postgresql" and not Path(found.path).is_absolute():  # the environment's: relative to what?
        raise TableError(f"database {text}: expected {found.kind}:////absolute/path")
    return found


def is_ordered(query: str) -> bool:
    """Whether ``query`` says in which order its rows come."""
    text = _NOT_TEXT.sub(" ", query)
    while (inner := _GROUP.sub(" ", text)) != text:
        text = inner
    return re.search(r"\border\s+by\b", text, re.IGNORECASE) is not None


@contextmanager
def asked(at: Address, query: str) -> Iterator[Answer]:
    """The answer to ``query``, within one read-only transaction. Raises TableError for whatever goes wrong."""
    query = query.strip().rstrip(";")
    ask = {"postgresql": _ask_postgresql, "sqlite": _ask_sqlite, "duckdb": _ask_duckdb}[at.kind]
    with explained(at), ask(at, query) as answer:
        yield answer


@contextmanager
def explained(at: Address) -> Iterator[None]:
    """What a driver says, as a TableError without secrets."""
    try:
        yield
    except TableError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in _DRIVERS:
            raise
        raise TableError(f"database {at.shown}: {at.without_secrets(str(error))}") from None


_DRIVERS = {"sqlite3", "adbc_driver_manager", "_duckdb", "duckdb", "pyarrow", "polars"}


def connect_postgresql(at: Address) -> Any:
    """A connection of ADBC's, which copies rows in binary both ways. Raises TableError where it is not installed."""
    try:
        import adbc_driver_postgresql.dbapi as driver
    except ImportError:
        raise TableError(_MISSING.format("PostgreSQL")) from None
    waits = any(name == "connect_timeout" for name, _ in _options(at.url))
    more = "" if waits else f"{'&' if '?' in at.url else '?'}connect_timeout={CONNECT_S}"
    return driver.connect(at.url + more)


def connect_duckdb(at: Address, *, read_only: bool) -> Any:
    """A connection to a DuckDB file. Raises TableError where DuckDB is not installed."""
    try:
        import duckdb
    except ImportError:
        raise TableError(_MISSING.format("DuckDB")) from None
    return duckdb.connect(at.path, read_only=read_only)


def connect_sqlite(at: Address, *, read_only: bool) -> sqlite3.Connection:
    """A connection to an SQLite file, without implicit transactions; polars may read it on a thread of its own."""
    mode = urlencode({"mode": "ro" if read_only else "rwc"})
    return sqlite3.connect(
        f"{Path(at.path).absolute().as_uri()}?{mode}", uri=True, isolation_level=None, check_same_thread=False
    )


def quoted(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


# -- questions ------------------------------------------------------------------------------------------------


@contextmanager
def _ask_postgresql(at: Address, query: str) -> Iterator[Answer]:
    with closing(connect_postgresql(at)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("set transaction read only")
        cursor.execute(query)
        yield answer_of(cursor.fetch_record_batch())


@contextmanager
def _ask_duckdb(at: Address, query: str) -> Iterator[Answer]:
    with closing(connect_duckdb(at, read_only=True)) as connection:
        import pyarrow

        relation = connection.sql(query)
        if relation is None:
            raise TableError("input.query: expected a query that gives rows")
        yield answer_of(pyarrow.RecordBatchReader.from_stream(relation))


@contextmanager
def _ask_sqlite(at: Address, query: str) -> Iterator[Answer]:
    """SQLite types cells, not columns: what a column holds is asked first, within the same transaction."""
    import polars as pl

    with closing(connect_sqlite(at, read_only=True)) as connection:
        connection.execute("begin")
        names = [column[0] for column in connection.execute(query).description or ()]
        _check_names(names)
        kinds = ", ".join(f"group_concat(distinct typeof({quoted(name)}))" for name in names)
        held = connection.execute(f"select {kinds} from ({query}\n)").fetchone()  # noqa: S608  the user's own query
        columns: dict[str, pl.DataType] = {}
        for name, words in zip(names, held, strict=True):
            found = set((words or "").split(",")) - {"null", ""}
            if "blob" in found and len(found) > 1:
                raise TableError(f"input.query: column {name!r} holds binary and other values; cast it to one type")
            integers, numbers = found == {"integer"}, bool(found) and found <= {"integer", "real"}
            columns[name] = pl.Binary() if "blob" in found else pl.String()
            columns[name] = pl.Int64() if integers else pl.Float64() if numbers else columns[name]
        texts = [f"cast({quoted(n)} as text)" if t == pl.String else quoted(n) for n, t in columns.items()]
        cursor = connection.execute(f"select {', '.join(texts)} from ({query}\n)")  # noqa: S608
        cursor.arraysize = ROWS
        yield Answer(columns, _fetched(cursor, columns))


def _fetched(cursor: sqlite3.Cursor, schema: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    import polars as pl

    while rows := cursor.fetchmany():
        yield pl.DataFrame(rows, schema=dict(schema), orient="row")


def answer_of(reader: Any) -> Answer:
    """A stream of Arrow batches as polars frames."""
    _check_names(reader.schema.names)
    empty = _frame(reader.schema.empty_table())
    return Answer(dict(empty.schema), (_frame(batch) for batch in reader))


def _frame(found: Any) -> pl.DataFrame:
    """Extension types as what they hold: ``numeric`` is exact text, ``uuid`` its usual form, ``json`` its text."""
    import polars as pl
    import pyarrow

    columns = {}
    for name, column in zip(found.schema.names, found.columns, strict=True):
        kind = str(getattr(column.type, "extension_name", ""))
        plain = column.cast(column.type.storage_type) if kind else column
        if pyarrow.types.is_interval(plain.type) or (kind == "arrow.opaque" and not _is_text(plain.type)):
            what = getattr(column.type, "type_name", column.type)
            raise TableError(f"input.query: column {name!r} is of the type {what}; cast it to text in the query")
        columns[name] = pl.Series(name, pl.from_arrow(plain))
        if kind == "arrow.uuid":
            columns[name] = _uuids(columns[name])
    return pl.DataFrame(columns)


def _is_text(dtype: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_string(dtype) or pyarrow.types.is_large_string(dtype))


def _uuids(column: pl.Series) -> pl.Series:
    import polars as pl

    digits = pl.col(column.name).cast(pl.Binary).bin.encode("hex")
    parts = [digits.str.slice(start, length) for start, length in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
    return column.to_frame().select(pl.concat_str(parts, separator="-").alias(column.name)).to_series()


def _check_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise TableError(f"input.query: two columns are called {name!r}; name each its own with `as`")


def _options(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query)
