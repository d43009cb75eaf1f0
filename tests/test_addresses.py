"""Addresses in a job file hold no secret and are kept as written."""

from __future__ import annotations

import pytest

from journeybatch.errors import SpecError
from journeybatch.loading import dump, load_job

JOB = {"name": "n", "prompt": "Say {{ text }}", "model": "deepseek-chat"}


def job(database: str, **more: object):
    return load_job({**JOB, "input": {"database": database, "query": "select 1 as text", **more}})


def refused(database: str, **more: object) -> str:
    with pytest.raises(SpecError) as error:
        job(database, **more)
    return str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:geheim@db/x",
        "postgresql://me@db/x?password=geheim",
        "postgresql://me@db/x?sslpassword=geheim",
    ],
)
def test_a_password_in_a_job_is_refused_and_not_repeated_at_length(url):
    assert "a password never stands in a job file" in refused(url)


def test_a_variable_stands_for_a_whole_address_and_is_kept():
    found = job("${env:DATABASE_URL}")  # it is not set: nothing is looked up before the database is opened
    assert found.input.database == "${env:DATABASE_URL}"
    assert "${env:DATABASE_URL}" in dump(found)


def test_no_job_can_send_a_variable_to_a_host_of_its_own():
    for url in ("postgresql://me:${env:PW}@db/x", "postgresql://db/${env:PW}", "sqlite:///${env:HOME}/a.db"):
        assert "stands for the whole address" in refused(url)


def test_the_file_of_a_database_is_relative_to_the_job(tmp_path):
    path = tmp_path / "jobs" / "job.yaml"
    path.parent.mkdir()
    path.write_text(
        "{input: {database: 'sqlite:///../a b.db', query: select 1 as text}, prompt: '{{ text }}', model: gpt-4o-mini}"
    )
    assert load_job(path).input.database == f"sqlite:///{tmp_path}/a%20b.db"
    assert load_job({**JOB, "input": {"database": "duckdb:////d/x.duckdb", "query": "q"}}).input.database == (
        "duckdb:////d/x.duckdb"
    )


@pytest.mark.parametrize("url", ["reviews.db", "mysql://db/x", "sqlite://host/x", "sqlite:///", "postgresql://[x/y"])
def test_what_is_no_database_is_refused(url):
    assert "expected" in refused(url) or "no URL of a database" in refused(url)


def test_a_database_goes_with_a_query_and_without_a_path(tmp_path):
    assert "expected what to ask" in refused("sqlite:///a.db", query=None)
    assert "takes 'query'" in refused("sqlite:///a.db", path="a.csv")
    assert "takes 'query'" in refused("sqlite:///a.db", format="csv")
    with pytest.raises(SpecError, match="a query goes with a 'database'"):
        load_job({**JOB, "input": {"path": "a.csv", "query": "select 1"}})


def test_an_address_with_a_password_is_refused():
    with pytest.raises(SpecError, match="holds no password"):
        load_job({**JOB, "input": "s3://key:secret@bucket/a.csv"})
