"""What a job file says of its sinks is checked by itself."""

from __future__ import annotations

import pytest

from journeybatch.errors import SpecError
from journeybatch.loading import dump, load_job

JOB = {"name": "n", "input": "a.csv", "prompt": "Say {{ text }}", "model": "deepseek-chat"}


def test_a_path_stands_for_a_file_and_is_relative_to_the_job(tmp_path):
    (tmp_path / "job.yaml").write_text(
        "{input: a.csv, prompt: 'Say {{ x }}', model: gpt-4o-mini, "
        "sinks: [../out.csv, {path: s3://b/x, partition_by: [c]}]}"
    )
    job = load_job(tmp_path / "job.yaml")
    assert [sink.path for sink in job.sinks] == [str(tmp_path.parent / "out.csv"), "s3://b/x"]
    (tmp_path / "dumped.yaml").write_text(dump(job))
    assert load_job(tmp_path / "dumped.yaml").sinks == job.sinks


def test_a_database_is_kept_as_it_was_written():
    job = load_job(JOB | {"sinks": [{"database": "${env:DB}", "table": "t", "key": ["id"]}]})
    assert "${env:DB}" in dump(job)
    assert job.sinks[0].answered_only


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        ({}, "expected one of 'path', 'delta' and 'database'"),
        ({"path": "a.csv", "delta": "b"}, "expected one of"),
        ({"path": "a.txt"}, "expected a path that ends in .csv"),
        ("-", "standard output"),
        ("https://host/a.csv", "begins with s3"),
        ({"path": "a.parquet", "partition_by": ["c"]}, "a folder's"),
        ({"delta": "b", "partition_by": ["c"]}, "goes with a 'path'"),
        ({"path": "a.csv", "key": ["id"]}, "a file is written anew"),
        ({"database": "sqlite:///a.db", "table": "t"}, "goes with 'table' and 'key'"),
        ({"database": "postgresql://a:b@c/d", "table": "t", "key": ["id"]}, "never stands in a job file"),
        ({"delta": "b", "key": ["id"], "columns": ["a"]}, "'columns' lacks 'id'"),
        ({"csv": "x"}, "unknown"),
    ],
)
def test_what_does_not_go_together_is_refused(sink, words):
    with pytest.raises(SpecError) as error:
        load_job(JOB | {"sinks": [sink]})
    assert words in str(error.value)
