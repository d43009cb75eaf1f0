"""Rows are put into a table by their key, in one transaction, and a second time changes nothing."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest
from components import PASSWORD

from journeybatch.errors import TableError
from journeybatch.outlets import Sink
from journeybatch.sinks import tables

FRAME = pl.DataFrame(
    {
        "id": [1, 2],
        "a label": ["good", None],
        "credits": pl.Series(["1.5", "2"]).cast(pl.Decimal(18, 6)),
        "tags": [["x", 'y"'], None],
        "ok": [True, None],
        "at": pl.Series([0, None], dtype=pl.Datetime("us", "UTC")),
    }
)
KINDS = ("postgresql", "sqlite", "duckdb")


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    """A database's URL, and a function that runs SQL there and gives its rows."""
    if request.param == "postgresql":
        shop = request.getfixturevalue("shop")
        return shop.url, shop.sql
    connect = {"sqlite": sqlite3.connect, "duckdb": duckdb.connect}[request.param]
    path = str(tmp_path / "shop.db")

    def sql(*statements: str):
        connection = connect(path)
        try:
            for statement in statements:
                found = connection.execute(statement).fetchall()
            if request.param == "sqlite":
                connection.commit()
            return found
        finally:
            connection.close()

    sql("create table other (x integer)")
    return f"{request.param}:///{path}", sql


def sink(url: str, **keys) -> tuple[Sink, dict[str, str]]:
    return Sink.model_validate({"database": "${env:DB}", "table": "labels", "key": ["id"], **keys}), {"DB": url}


def put(frame: pl.DataFrame, url: str, **keys) -> None:
    where, environ = sink(url, **keys)
    tables.check(where, frame.columns, environ)
    tables.deliver(where, frame.lazy(), environ)


def refused(frame: pl.DataFrame, url: str, **keys) -> str:
    where, environ = sink(url, **keys)
    with pytest.raises(TableError) as error:
        tables.check(where, frame.columns, environ)
    assert PASSWORD not in str(error.value)
    return str(error.value)


def test_a_table_is_made_filled_and_brought_up_to_date(place):
    url, sql = place
    put(FRAME, url)
    later = FRAME.with_columns(pl.Series("a label", ["good", "bad"]), id=pl.Series([2, 3]))
    put(later, url)
    found = sql('select id, "a label", tags from labels order by id')
    assert [tuple(row) for row in found] == [
        (1, "good", '["x","y\\""]'),
        (2, "good", '["x","y\\""]'),
        (3, "bad", None),
    ]
    assert float(sql("select credits from labels where id = 1")[0][0]) == 1.5


def test_the_same_rows_again_change_none(shop):
    put(FRAME, shop.url)
    before = shop.sql("select ctid::text, xmin::text from labels order by id")
    put(FRAME, shop.url)
    assert shop.sql("select ctid::text, xmin::text from labels order by id") == before
    put(FRAME.with_columns(ok=pl.Series([True, False])), shop.url)
    after = shop.sql("select ctid::text, xmin::text from labels order by id")
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_table_of_ones_own_keeps_its_types_and_other_columns(shop):
    shop.sql(
        'create table labels (id bigint primary key, "a label" varchar(10), credits numeric(10,2), tags jsonb, '
        "ok boolean, at timestamptz, note text default 'mine')",
        "insert into labels (id, note) values (2, 'kept')",
    )
    put(FRAME, shop.url)
    assert shop.sql("select tags->>1, note, credits::text, at from labels order by id") == [
        ('y"', "mine", "1.50", datetime(1970, 1, 1, tzinfo=UTC)),
        (None, "kept", "2.00", None),
    ]


def test_a_column_of_the_type_json_can_be_brought_up_to_date(shop):
    shop.sql("create table labels (id int primary key, tags json)")
    put(FRAME.select("id", "tags"), shop.url)
    put(FRAME.select("id", "tags").with_columns(tags=pl.Series([["z"], ["z"]])), shop.url)
    assert shop.sql("select tags::text from labels") == [('["z"]',)] * 2


def test_what_does_not_fit_is_said_before_anything_is_written(place):
    url, sql = place
    sql("create table labels (id integer, other text)")
    assert "has no column 'a label' (columns: id, other)" in refused(FRAME, url)
    assert "no primary key or unique index of the table is on just (id)" in refused(FRAME.select("id"), url)
    sql("create unique index u on labels (id, other)")
    assert "create unique index on labels (id)" in refused(FRAME.select("id"), url)


def test_a_table_in_a_schema_has_its_schemas_name(shop):
    put(FRAME, shop.url, table="shop.labels")
    assert shop.sql("select count(*) from shop.labels") == [(2,)]
    assert "schema" in refused_late(FRAME, shop.url, table="nowhere.labels")


def refused_late(frame: pl.DataFrame, url: str, **keys) -> str:
    where, environ = sink(url, **keys)
    with pytest.raises(TableError) as error:
        tables.deliver(where, frame.lazy(), environ)
    assert PASSWORD not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_value_that_does_not_fit_leaves_the_table_as_it_was(place):
    url, sql = place
    sql('create table labels (id integer primary key, "a label" text check ("a label" <> \'bad\'))')
    put(FRAME.select("id", "a label"), url)
    refused_late(pl.DataFrame({"id": [3, 1], "a label": ["new", "bad"]}), url)
    assert [tuple(row) for row in sql("select * from labels order by id")] == [(1, "good"), (2, None)]


def test_a_database_that_is_not_there_is_said_before(tmp_path):
    assert "refused" in refused(FRAME, f"postgresql://tester:{PASSWORD}@127.0.0.1:1/x")
