"""Databases answer in one read-only transaction, and no password of theirs is ever shown."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest
from components import PASSWORD

from journeybatch.database import address, asked, is_ordered
from journeybatch.errors import TableError


def rows(url: str, query: str) -> pl.DataFrame:
    with asked(address(url, {}), query) as answer:
        found = pl.concat([pl.DataFrame(schema=dict(answer.schema)), *answer.batches])
        assert found.schema == pl.Schema(answer.schema)
        return found


def refused(url: str, query: str) -> str:
    with pytest.raises(TableError) as error:
        rows(url, query)
    assert PASSWORD not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def sqlite_url(tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.executescript(
            "create table reviews (id integer primary key, review text, stars, photo blob, mixed);"
            "insert into reviews values (1, 'good', 5, x'00ff', 1), (2, null, 1.5, null, 'one');"
        )
    return f"sqlite:///{tmp_path}/shop.db"


@pytest.fixture
def duckdb_url(tmp_path):
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(
            "create table reviews as select 1 as id, 'good' as review, 1.50 as price, ['a', 'b'] as tags"
        )
    return f"duckdb:///{tmp_path}/shop.duckdb"


def test_postgresql_gives_its_types(shop):
    found = rows(
        shop.url,
        """select 7::int8 as id, 'ä' as review, 1.50::numeric(6,2) as price, '{"a": 1}'::jsonb as more, true as ok,
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as key, timestamptz '2026-01-02 03:04:05+00' as at,
        array['x', 'y'] as tags, null::text as nothing""",
    )
    assert found.rows() == [
        (
            *(7, "ä", "1.50", '{"a": 1}', True, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            *(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), ["x", "y"], None),
        )
    ]


def test_postgresql_streams_its_rows_in_order(shop):
    shop.sql("create table t as select i as id, repeat('x', 400) as text from generate_series(1, 100000) i")
    with asked(address(shop.url, {}), "select * from t order by id desc;") as answer:
        batches = list(answer.batches)
    assert len(batches) > 1
    assert pl.concat(batches)["id"].to_list() == list(range(100_000, 0, -1))


def test_a_query_can_change_nothing(shop, sqlite_url, duckdb_url):
    shop.sql("create table t as select 1 as id")
    assert "read-only transaction" in refused(shop.url, "delete from t returning id")
    assert "readonly" in refused(sqlite_url, "delete from reviews returning id")
    assert "read-only" in refused(duckdb_url, "delete from reviews returning id")
    assert shop.sql("select id from t") == [(1,)]


def test_sqlite_gives_each_column_the_one_type_that_holds_it(sqlite_url):
    found = rows(sqlite_url, "select * from reviews order by id -- all of them")
    assert found.rows() == [(1, "good", 5.0, b"\x00\xff", "1"), (2, None, 1.5, None, "one")]
    assert rows(sqlite_url, "select * from reviews where 0").height == 0


def test_sqlite_finds_a_text_behind_thousands_of_empty_cells(sqlite_url):
    query = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000) "
    found = rows(sqlite_url, query + "select i, case when i = 30000 then 'late' end as word from n order by i")
    assert (found.height, found["word"][-1], found["word"].null_count()) == (30_000, "late", 29_999)


def test_duckdb_gives_its_types(duckdb_url):
    assert rows(duckdb_url, "select id, review, cast(price as double) as price, tags from reviews").rows() == [
        (1, "good", 1.5, ["a", "b"])
    ]


def test_what_is_wrong_is_said_in_one_line_without_the_password(shop, sqlite_url, duckdb_url, postgres, tmp_path):
    assert 'relation "nope" does not exist' in refused(shop.url, "select * from nope order by id")
    assert "no such table: nope" in refused(sqlite_url, "select * from nope")
    assert "nope does not exist" in refused(duckdb_url, "select * from nope")
    assert "password authentication failed" in refused(postgres.replace("tester:", "other:"), "select 1 as a")
    assert "refused" in refused(f"postgresql://tester:{PASSWORD}@127.0.0.1:1/x", "select 1 as a")
    assert "unable to open" in refused(f"sqlite:///{tmp_path}/none.db", "select 1 as a")
    assert "does not exist" in refused(f"duckdb:///{tmp_path}/none.duckdb", "select 1 as a")
    assert "two columns are called 'a'" in refused(shop.url, "select 1 as a, 2 as a")
    assert "cast it to text" in refused(shop.url, "select interval '1 day' as wait")
    assert "cast it to text" in refused(shop.url, "select inet '127.0.0.1' as host")


def test_a_database_is_the_same_one_under_a_new_password_and_another_one_elsewhere():
    def place(text: str) -> str:
        return address(text, {}).place

    one = place("postgresql://u:s3cret@db.example:5433/shop?sslmode=require&sslpassword=s3cret")
    assert "s3cret" not in one
    assert one == place("postgresql://u:other@db.example:5433/shop?sslpassword=x&sslmode=require")
    others = ("v@db.example:5433/shop", "u@db2.example:5433/shop", "u@db.example/shop", "u@db.example:5433/shops")
    assert len({one, *(place(f"postgresql://{other}?sslmode=require") for other in others)}) == 5
    assert place("sqlite:////a/b.db") != place("sqlite:////a/c.db") != place("duckdb:////a/c.db")


def test_an_address_is_shown_as_the_job_names_it():
    at = address("${env:DB}", {"DB": f"postgresql://me:{PASSWORD}@127.0.0.1:1/x"})
    with pytest.raises(TableError) as error, asked(at, "select 1 as a"):
        pass
    assert str(error.value).startswith("database ${env:DB}: ")
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${env:NOT_SET}", "NOT_SET is not set"),
        ("${env:RELATIVE}", "expected sqlite:////absolute/path"),
        ("${env:JOURNEYAPI_KEY}", "goes nowhere else"),
        ("${env:COPY}", "goes nowhere else"),
        ("${env:MYSQL}", "expected a URL that begins with postgresql"),
    ],
)
def test_an_address_from_the_environment_is_checked_when_it_is_known(text, words):
    environ = {"RELATIVE": "sqlite:///a.db", "JOURNEYAPI_KEY": "k-1", "COPY": "k-1", "MYSQL": f"mysql://a:{PASSWORD}@b"}
    with pytest.raises(TableError, match=words) as error:
        address(text, environ)
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ("select a from t order by a", True),
        ("select a from t ORDER\n BY a limit 5", True),
        ("select a from t", False),
        ("select a from (select a from t order by a) x", False),
        ("select 'order by' from t -- order by a", False),
        ('select "order by" from t /* order by */', False),
    ],
)
def test_only_an_order_of_the_whole_answer_counts(query, ordered):
    assert is_ordered(query) is ordered
