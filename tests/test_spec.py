"""The job as a value: defaults, dumps that can be loaded again, fingerprints, the JSON Schema, the limits."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from journeybatch import spec, wording, yamlfile
from journeybatch.errors import SpecError
from journeybatch.loading import dump, load_job
from journeybatch.shapes import FAILURES_AFTER, FailureLimit, is_loopback

DOCS = Path(__file__).parent.parent / "docs"
JOB = {"input": "/data/a.csv", "prompt": "Say {{ x }}", "model": "deepseek-chat"}

NAMES = st.from_regex(r"[a-zäß0-9][a-z0-9_.-]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
TURNS = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXTS})
PROMPTS = (
    TEXTS
    | st.fixed_dictionaries({"user": TEXTS}, optional={"system": TEXTS})
    | st.fixed_dictionaries({"messages": st.lists(TURNS, min_size=1, max_size=3)})
)
CREDITS = st.integers(0, 9) | st.tuples(st.integers(0, 3), st.integers(3, 9)).map(list)
PERCENT = st.decimals(0, 100, places=3).map(lambda share: f"{share}%")
JOBS = st.fixed_dictionaries(
    {
        "input": st.sampled_from(["a.csv", "-", "s3://b/*.parquet", {"path": "../x y.csv", "columns": ["no", "b"]}]),
        "prompt": PROMPTS,
        "model": TEXTS,
    },
    optional={
        "name": NAMES,
        "parameters": st.dictionaries(NAMES.map("x_{}".format), JSON, max_size=3),
        "concurrency": st.integers(1, 4096),
        "answer": st.fixed_dictionaries({"column": NAMES}),
        "dedupe": st.booleans(),
        "limits": st.fixed_dictionaries(
            {}, optional={"credits": st.integers(0, 10**12), "failures": st.integers(0, 99) | PERCENT}
        ),
        "retry": st.fixed_dictionaries(
            {}, optional={"attempts": st.integers(1, 100), "timeout_s": st.floats(0.1, 9e3)}
        ),
        "api": st.sampled_from(
            ["emulator", "journeyapi", "https://h/v1", {"base_url": "http://[::1]:80/v1", "auth": "none"}]
        ),
        "credits": st.dictionaries(TEXTS, CREDITS, max_size=2),
        "output": st.sampled_from(["out", "../x", "/tmp/a b"]),
        "output_prefix": TEXTS,
        "stream": st.booleans(),
    },
)


@settings(deadline=None, max_examples=150)
@given(JOBS)
def test_a_dump_is_loaded_again_as_the_same_job(data):
    job = load_job(data)
    again = load_job(yamlfile.read(dump(job), "job.yaml").data)
    assert again == job
    assert dump(again) == dump(job)
    assert spec.fingerprint(again) == spec.fingerprint(job)


def test_the_five_line_job_has_the_contracts_defaults():
    job = load_job(JOB)
    assert (job.concurrency.most, job.answer.column, job.answer.on_invalid, job.pack.rows, job.samples) == (
        16,
        "response",
        "fail",
        1,
        1,
    )
    assert (job.dedupe, job.stream, job.engine.kind, job.parameters, job.credits) == (True, False, "local", {}, {})
    assert (job.retry.attempts, job.retry.timeout_s, job.retry.on_unknown, job.retry.failed) == (3, 600, "retry", False)
    assert (job.limits.credits, job.limits.requests_per_minute, job.limits.failures.fraction) == (None, None, 0.5)
    assert (job.api.kind, job.api.base_url, job.api.auth, job.api.bills_errors) == ("journeyapi", None, None, False)
    assert job.prompt.messages == (("user", "Say {{ x }}"),)


def test_a_job_is_frozen():
    job = load_job(JOB)
    with pytest.raises(ValidationError):
        job.concurrency = 3
    with pytest.raises(ValidationError):
        job.limits.credits = 3


def test_a_dump_holds_what_a_prompt_file_said(tmp_path):
    (tmp_path / "ask.md").write_text("Say {{ x }}\n")
    job = load_job({**JOB, "prompt": {"system": "Be brief.", "file": str(tmp_path / "ask.md")}})
    (tmp_path / "ask.md").unlink()
    again = load_job(yamlfile.read(dump(job), "job.yaml").data)
    assert again.prompt.messages == (("system", "Be brief."), ("user", "Say {{ x }}\n"))
    assert again == job


def test_parameters_stay_as_they_stand():
    parameters = {"stop": None, "seed": 7, "response_format": {"type": "json_object", "x": None}, "top_p": 1.0}
    job = load_job({**JOB, "parameters": parameters})
    assert job.parameters == parameters
    assert yamlfile.read(dump(job), "f").data["parameters"] == parameters


def test_fingerprints_do_not_know_the_order_of_keys_nor_how_a_number_is_written():
    one = load_job({**JOB, "parameters": {"temperature": 1, "seed": 3}})
    two = load_job({"model": JOB["model"], **JOB, "parameters": {"seed": 3, "temperature": 1.0}})
    assert spec.fingerprint(one) == spec.fingerprint(two)


@pytest.mark.parametrize(
    "change",
    [
        {"concurrency": 3},
        {"output": "x"},
        {"limits": {"credits": 5}},
        {"retry": {"attempts": 9}},
        {"name": "n"},
        {"input": "b.csv"},
        {"answer": {"column": "c"}},
        {"credits": {"a": 1}},
        {"stream": True},
        {"prompt": {"user": "Say {{ x }}"}},
    ],
)
def test_what_cannot_change_an_answer_does_not_change_the_fingerprint(change):
    assert spec.fingerprint(load_job({**JOB, **change})) == spec.fingerprint(load_job(JOB))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Say {{ x }}!"},
        {"prompt": {"system": "s", "user": "Say {{ x }}"}},
        {"model": "gpt-4o"},
        {"parameters": {"seed": 1}},
    ],
)
def test_what_can_change_an_answer_changes_the_fingerprint(change):
    assert spec.fingerprint(load_job({**JOB, **change})) != spec.fingerprint(load_job(JOB))


def test_a_fingerprint_is_the_same_in_another_process_with_another_hash_seed():
    script = "from journeybatch import spec, loading; import sys, json; "
    script += "print(spec.fingerprint(loading.load_job(json.loads(sys.argv[1]))))"
    data = json.dumps({**JOB, "parameters": {"ü": 1, "b": {"z": 1, "a": 2}}})
    found = {
        subprocess.run(
            [sys.executable, "-c", script, data],
            env={"PYTHONHASHSEED": seed, "LC_ALL": "C"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {spec.fingerprint(load_job(json.loads(data))).encode() + b"\n"}


def test_a_share_of_failures_counts_only_after_20_rows_and_a_number_always():
    share, number = FailureLimit(percent=50.0), FailureLimit(count=2)
    assert not share.passed(FAILURES_AFTER - 1, FAILURES_AFTER - 1)
    assert not share.passed(10, 20)
    assert share.passed(11, 20)
    assert not number.passed(2, 2)
    assert number.passed(3, 3)
    assert not FailureLimit(percent=100.0).passed(1000, 1000)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://[::1]/", True),
        ("http://localhost", True),
        ("http://127.9.9.9", True),
        ("http://a.localhost", True),
        ("http://localhost.evil.com", False),
        ("http://10.0.0.1", False),
        ("http://[::2]", False),
    ],
)
def test_loopback_is_this_machine_only(url, local):
    assert is_loopback(url) == local


def test_the_schema_describes_every_key():
    schema = spec.schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["input", "prompt", "model"]
    assert schema["additionalProperties"] is False
    for path in wording.keys(spec.JobSpec):
        properties = schema["properties"]
        for step in path[:-1]:
            reference = re.search(r"#/\$defs/(\w+)", json.dumps(properties[step]))
            properties = schema["$defs"][reference[1]]["properties"]
        shape = properties[path[-1]]
        assert shape.get("description") or "$ref" in shape, path


def _beside(key: str) -> dict[str, str]:
    """What an input needs besides ``key``."""
    return {"database": "sqlite:///a.db", "query": "select 1"} if key in ("database", "query") else {"path": "a.csv"}


def test_what_the_schema_gives_as_an_example_is_accepted():
    job = {key: shape["examples"][0] for key, shape in spec.schema()["properties"].items() if shape.get("examples")}
    for alone in ("pack", "priority"):  # they do not go together
        load_job({key: job[key] for key in job if key != alone} | {"model": ["qwen-turbo", job["model"]]})
    for section in ("input", "api", "limits", "engine"):
        for key, shape in spec.schema()["$defs"][section.capitalize()]["properties"].items():
            for value in shape.get("examples", ()):
                given = {**(_beside(key) if section == "input" else {}), key: value}
                load_job({**JOB, section: given})


def error_of(data: object) -> str:
    with pytest.raises(SpecError) as error:
        load_job(data)
    return str(error.value)


def test_a_cascade_is_written_down_as_it_reads():
    assert yamlfile.read(dump(load_job(JOB | {"model": ["a", "gpt-4o"]})), "job.yaml").data["model"] == ["a", "gpt-4o"]
