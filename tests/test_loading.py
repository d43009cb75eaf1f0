"""From a job file to a job: paths, shorthands, overrides, defaults, and one clear line for each mistake."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from journeybatch import spec, wording
from journeybatch.errors import SpecError
from journeybatch.loading import dump, load_job

JOB = {"input": "/data/a.csv", "prompt": "Say {{ x }}", "model": "deepseek-chat"}
FIVE_LINES = "input: a.csv\nprompt: 'Say {{ x }}'\nmodel: deepseek-chat\n"


def error_of(source: object, overrides: dict | None = None, **rest: object) -> str:
    with pytest.raises(SpecError) as error:
        load_job(source, overrides, **rest)
    return str(error.value)


def write(folder: Path, text: str, name: str = "jobs/review.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file_and_the_defaults_stand_beside_it(tmp_path):
    path = write(tmp_path, FIVE_LINES.replace("a.csv", "../data/a.csv"))
    job = load_job(path)
    assert job.name == "review"
    assert job.path == path
    assert job.input.path == str(tmp_path / "data/a.csv")
    assert job.output == tmp_path / "jobs/runs/review"


def test_paths_of_a_file_are_the_same_from_any_working_directory(tmp_path, monkeypatch):
    path = write(tmp_path, FIVE_LINES)
    monkeypatch.chdir(tmp_path / "jobs")
    assert load_job("review.yaml") == load_job(path)


def test_a_linked_folder_of_jobs_is_followed(tmp_path):
    write(tmp_path, FIVE_LINES.replace("a.csv", "../data/a.csv"), "real/jobs/x.yaml")
    (tmp_path / "jobs").symlink_to(tmp_path / "real/jobs")
    assert load_job(tmp_path / "jobs/x.yaml").input.path == str(tmp_path / "real/data/a.csv")


@pytest.mark.parametrize("path", ["-", "s3://bucket/a.csv", "gs://b/*.parquet", "https://h/a.csv", "az://c/x"])
def test_stdin_and_urls_stay_as_they_are(path):
    assert load_job({**JOB, "input": path}).input.path == path


def test_a_name_that_is_no_file_name_is_refused_and_a_stem_is_made_one(tmp_path):
    assert load_job(write(tmp_path, FIVE_LINES, "my job (2).yaml")).name == "my-job-2"
    for name in ("../x", "a/b", "", ".hidden", "a b", "x" * 200, "a\nb"):
        assert "name: expected a name of letters" in error_of({**JOB, "name": name})


def test_a_prompt_file_becomes_one_user_message(tmp_path):
    write(tmp_path, "Say {{ x }}\n", "jobs/prompts/ask.md")
    job = load_job(write(tmp_path, "input: a.csv\nprompt: {file: prompts/ask.md}\nmodel: o3\n"))
    assert job.prompt.messages == (("user", "Say {{ x }}\n"),)
    assert job.prompt.file == str(tmp_path / "jobs/prompts/ask.md")


def test_a_prompt_file_that_cannot_be_read_is_an_error(tmp_path):
    write(tmp_path, "  \n", "jobs/empty.md")
    (tmp_path / "jobs/latin.md").write_bytes(b"gr\xfc\xdfe")
    text = "input: a.csv\nmodel: o3\nprompt:\n  file: "
    for name, message in [
        ("nope.md", "No such file"),
        ("empty.md", "is empty"),
        ("latin.md", "not UTF-8"),
        (".", "directory"),
    ]:
        found = error_of(write(tmp_path, text + name))
        assert message in found
        assert "review.yaml:4:3: prompt: " in found


def test_messages_keep_their_order():
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ]
    job = load_job({**JOB, "prompt": {"messages": turns}})
    assert job.prompt.messages == (("system", "s"), ("user", "u"), ("assistant", "a"))


@pytest.mark.parametrize(
    "prompt",
    [{}, {"system": "s"}, {"user": "u", "file": "f"}, {"messages": [{"role": "user", "content": "u"}], "system": "s"}],
)
def test_a_prompt_has_exactly_one_form(prompt):
    assert "expected one of 'user'" in error_of({**JOB, "prompt": prompt})


def test_environment_variables_stand_in_output_and_api_and_nowhere_else(tmp_path):
    text = "output: ${env:OUT}/x\napi: {base_url: 'https://${env:HOST}/v1', key_file: '${env:OUT}/key'}\n"
    path = write(tmp_path, FIVE_LINES.replace("Say", "Say ${env:OUT}") + text)
    job = load_job(path, environ={"OUT": "/out", "HOST": "llm.example.com"})
    assert job.output == Path("/out/x")
    assert (job.api.base_url, job.api.key_file) == ("https://llm.example.com/v1", "/out/key")
    assert job.prompt.messages == (("user", "Say ${env:OUT} {{ x }}"),)
    assert "is expanded in 'input.database', 'output', 'api' and 'sinks' only" in error_of(
        {**JOB, "input": "${env:OUT}/a.csv"}, environ={"OUT": "/"}
    )


def test_an_unset_variable_is_named_with_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("OUT", "/from/the/real/environment")
    found = error_of(write(tmp_path, FIVE_LINES + "output: ${env:OUT}/x\n"), environ={"OTHER": "x"})
    assert found.endswith("review.yaml:4:9: output: the environment variable OUT is not set")


@pytest.mark.parametrize(
    ("api", "kind", "url"),
    [
        ("journeyapi", "journeyapi", None),
        ("emulator", "emulator", None),
        ("https://h:8443/v1/", "url", "https://h:8443/v1"),
        ({"base_url": "http://localhost:1/v1"}, "url", "http://localhost:1/v1"),
        ({"base_url": "http://10.0.0.1/v1", "allow_http": True}, "url", "http://10.0.0.1/v1"),
        ({"kind": "emulator", "bills_errors": True}, "emulator", None),
        ({"key_env": "MY_KEY"}, "journeyapi", None),
    ],
)
def test_the_ways_to_name_who_answers(api, kind, url):
    job = load_job({**JOB, "api": api})
    assert (job.api.kind, job.api.base_url) == (kind, url)


@pytest.mark.parametrize(
    ("api", "message"),
    [
        ("emulatr", "expected 'journeyapi', 'emulator' or 'url'"),
        ("http://10.0.0.1/v1", "set allow_http: true"),
        ("http://localhost.evil.com/v1", "set allow_http: true"),
        ("https://user:secret@h/v1", "no user or password"),
        ("https://h/v1?key=1", "no ?query"),
        ("https://h/v1#x", "no #fragment"),
        ("ftp://h/v1", "http or https URL"),
        ({"base_url": "h/v1"}, "http or https URL"),
        ({"base_url": "https://"}, "http or https URL"),
        ({"base_url": "https://h:99999/"}, "http or https URL"),
        ({"base_url": "https://h /v1"}, "http or https URL"),
        ({"kind": "emulator", "base_url": "https://h"}, "no other 'kind'"),
        ({"kind": "url"}, "'base_url'"),
        ({"key_env": "A", "key_file": "f"}, "not both"),
        ({"key_env": "sk-abc-123"}, "the name of an environment variable"),
        ({"auth": "basic"}, "'raw', 'bearer' or 'none'"),
        (3, "a name, a URL or a mapping"),
    ],
)
def test_a_wrong_api_is_refused_and_never_repeated(api, message):
    found = error_of({**JOB, "api": api})
    assert message in found
    assert "secret" not in found
    assert "sk-abc" not in found


@pytest.mark.parametrize(
    "given",
    [
        {"api": {"key": "sk-123"}},
        {"api_key": "sk-123"},
        {"api": {"token": "sk-123"}},
        {"JOURNEYAPI_KEY": "sk-123"},
        {"parameters": {"api_key": "sk-123"}},
        {"parameters": {"Authorization": "sk-123"}},
    ],
)
def test_a_key_never_stands_in_a_job(given):
    found = error_of({**JOB, **given})
    assert "a key never stands in a job; set JOURNEYAPI_KEY" in found
    assert "sk-123" not in found


def _nested(path: tuple[str, ...], inner: dict) -> dict:
    for key in reversed(path):
        inner = {key: [inner] if key in ("messages", "sinks") else inner}
    return inner


def test_every_misspelt_key_suggests_the_right_one():
    dice = random.Random(7)
    for path in wording.keys(spec.JobSpec):
        key = path[-1]
        spot = dice.randrange(1, len(key))
        typo = key[:spot] + key[spot + 1 :] if len(key) > 4 else key + "s"
        data: dict = {**JOB}
        if path[:2] == ("eval", "variants") and len(path) > 2:
            data["eval"] = {"variants": {"a": _nested(path[2:-1], {typo: "x"})}}
        elif len(path) > 1:
            data |= _nested(path[:-1], {typo: "x"})
        else:
            data[typo] = "x"
        assert f"unknown key {typo!r} (did you mean {key!r}?)" in error_of(data), path


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("temperature", "parameters.temperature"),
        ("max_tokens", "parameters.max_tokens"),
        ("timeout_s", "retry.timeout_s"),
        ("requests_per_minute", "limits.requests_per_minute"),
        ("base_url", "api.base_url"),
        ("system", "prompt.system"),
    ],
)
def test_a_key_of_another_section_is_sent_there(key, meant):
    assert f"(did you mean {meant!r}?)" in error_of({**JOB, key: 1})


def test_a_key_like_no_other_gets_the_list_of_keys():
    assert "known here: attempts, timeout_s, on_unknown, failed" in error_of({**JOB, "retry": {"zzz": 1}})


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path):
    text = """\
input: {path: a.csv, colums: [x]}
prompt: {system: 3, user: "{{ x }}"}
model: o3
concurency: 4
concurrency: "16"
parameters: {temperature: 1}
limits: {failures: half}
"""
    path = write(tmp_path, text)
    assert error_of(path).replace(str(path), "F").splitlines() == [
        "F:1:22: input: unknown key 'colums' (did you mean 'columns'?)",
        "F:2:18: prompt.system: expected text, found 3",
        "F:4:1: unknown key 'concurency' (did you mean 'concurrency'?)",
        "F:5:14: concurrency: expected a whole number, or `auto`, found '16'",
        "F:6:14: parameters: o3 does not support temperature; leave it out of 'parameters'",
        "F:7:20: limits.failures: expected a share like \"50%\" or a whole number of rows, found 'half'",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concurrency": 0}, "concurrency: expected a number from 1 to 10000, found 0"),
        ({"concurrency": 50000}, "expected a number from 1 to 10000, found 50000"),
        ({"concurrency": True}, "expected a whole number, or `auto`, found true"),
        ({"concurrency": 1.5}, "expected a whole number, or `auto`, found 1.5"),
        ({"concurrency": None}, "expected a whole number, or `auto`, found nothing"),
        ({"dedupe": "no"}, "dedupe: expected true or false, found 'no'"),
        ({"stream": 1}, "stream: expected true or false, found 1"),
        ({"model": 3}, "model: expected text, found 3"),
        ({"model": ""}, "model: expected text, found ''"),
        ({"model": None}, "model: expected text, found nothing"),
        ({"prompt": None}, "prompt: expected text or a mapping, found nothing"),
        ({"prompt": ["x"]}, "prompt: expected text or a mapping, found a list"),
        ({"input": 3}, "input: expected a path or a mapping, found 3"),
        ({"input": {}}, "input.path: expected a path"),
        ({"input": {"path": "a", "columns": "x"}}, "input.columns: expected a list, found 'x'"),
        ({"input": {"path": "a", "columns": []}}, "input.columns: expected a list that is not empty"),
        ({"input": {"path": "a", "columns": [1]}}, "input.columns.0: expected text, found 1"),
        ({"input": {"path": "a", "format": "xml"}}, "input.format: expected 'csv'"),
        ({"prompt": {"messages": []}}, "prompt.messages: expected a list that is not empty"),
        (
            {"prompt": {"messages": [{"role": "robot", "content": "x"}]}},
            "prompt.messages.0.role: expected 'system', 'user'",
        ),
        ({"prompt": {"messages": [{"role": "user"}]}}, "prompt.messages.0: 'content' is missing"),
        ({"parameters": []}, "parameters: expected a mapping, found a list"),
        ({"parameters": {"x": float("inf")}}, "finite"),
        ({"parameters": {"x": object()}}, "what JSON can hold"),
        ({"parameters": {"x": "\ud800"}}, "half a surrogate pair"),
        ({"retry": {"attempts": 0}}, "retry.attempts: expected a number from 1"),
        ({"retry": {"timeout_s": 0}}, "retry.timeout_s: expected a number above 0"),
        ({"retry": {"on_unknown": "panic"}}, "retry.on_unknown: expected 'retry', 'hold' or 'fail', found 'panic'"),
        ({"limits": {"credits": -1}}, "limits.credits: expected a number from 0, found -1"),
        ({"limits": {"credits": 1.0}}, "limits.credits: expected a whole number, found 1.0"),
        ({"limits": {"failures": "101%"}}, "limits.failures: expected a share"),
        ({"limits": {"failures": 0.5}}, "limits.failures: expected a share"),
        ({"limits": {"requests_per_minute": 0}}, "limits.requests_per_minute: expected a number from 1"),
        ({"credits": {"a": -1}}, "credits.a: expected a whole number of credits"),
        ({"credits": {"a": [3, 1]}}, "credits.a: expected a whole number of credits"),
        ({"credits": {"a": True}}, "credits.a: expected a whole number of credits"),
        ({"answer": {"column": "jb_x"}}, "columns that begin with jb_"),
        ({"answer": {"on_invalid": "guess"}}, "answer.on_invalid: expected 'fail'"),
        ({"output": ""}, "output: expected a path"),
        ({"output": "s3://b/x"}, "output: expected the path of a local directory"),
        ({"output": "a\0b"}, "output: expected a path"),
        ({"output_prefix": ""}, "output_prefix: expected text"),
        ({3: 4}, "unknown key '3'"),
    ],
)
def test_a_wrong_value_says_what_was_expected_and_what_was_found(change, message):
    found = error_of({**JOB, **change})
    assert message in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize("missing", ["input", "prompt", "model"])
def test_a_missing_key_is_named(missing):
    assert error_of({key: value for key, value in JOB.items() if key != missing}) == f"job: {missing!r} is missing"


@pytest.mark.parametrize(
    "change",
    [{"pack": 1}, {"samples": 1}, {"reuse": []}, {"engine": "local"}, {"sinks": []}, {"max_age": None}, {"eval": None}],
)
def test_a_default_may_be_written_out(change):
    assert load_job({**JOB, **change}) == load_job(JOB)


@pytest.mark.parametrize(
    ("engine", "kind", "address"),
    [
        ("ray", "ray", None),
        ({"kind": "ray", "workers": 8}, "ray", None),
        ({"address": "10.0.0.5:6379"}, "ray", "10.0.0.5:6379"),
        ({"address": "[fd00::5]:6379"}, "ray", "[fd00::5]:6379"),
        ({"address": "auto"}, "ray", "auto"),
    ],
)
def test_an_engine_is_a_name_or_a_mapping_and_an_address_means_ray(engine, kind, address):
    found = load_job({**JOB, "engine": engine}).engine
    assert (found.kind, found.address) == (kind, address)
    assert load_job({**JOB, "engine": "ray"}, {"engine.address": "auto"}).engine.address == "auto"
    assert load_job(JOB, {"engine.kind": "ray", "engine.workers": 3}).engine.workers == 3
    assert load_job({**JOB, "engine": "local"}, {"engine.address": "auto"}).engine.kind == "ray"
    assert load_job({**JOB, "engine": engine}, {"engine.kind": "local"}).engine.kind == "local"


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("spark", "'spark'"),
        ({"address": "ray://head:10001"}, "Ray Client (ray://) is no way for a run of hours"),
        ({"address": "head"}, "host:port"),
        ({"kind": "ray", "workers": 0}, "engine.workers"),
        ({"kind": "ray", "cpus": 0}, "engine.cpus"),
    ],
)
def test_an_engine_that_cannot_be_is_one_clear_error(engine, message):
    assert message in error_of({**JOB, "engine": engine})


def test_a_file_that_is_no_job_is_one_clear_error(tmp_path):
    assert "expected a job" in error_of(write(tmp_path, "- a\n"))
    assert "expected a job" in error_of(write(tmp_path, ""))
    assert "No such file" in error_of(tmp_path / "nope.yaml")
    assert "directory" in error_of(tmp_path)
    assert "duplicate key 'model' (first at line 3, column 1)" in error_of(write(tmp_path, FIVE_LINES + "model: o3\n"))


def test_overrides_win_over_the_file(tmp_path):
    path = write(tmp_path, FIVE_LINES + "limits: {credits: 5, requests_per_minute: 60}\n")
    job = load_job(path, {"limits.credits": 50, "model": "o3", "credits.llama-3.3-70b": 2, "parameters.seed": 1})
    assert (job.limits.credits, job.limits.requests_per_minute, job.model) == (50, 60, "o3")
    assert job.credits == {"llama-3.3-70b": 2}
    assert job.parameters == {"seed": 1}
    assert job.path == path


def test_overrides_reach_under_a_shorthand():
    job = load_job(
        {**JOB, "api": "emulator"}, {"api.bills_errors": True, "input.where": "a = '1'", "prompt.system": "s"}
    )
    assert (job.api.kind, job.api.bills_errors) == ("emulator", True)
    assert (job.input.path, job.input.where) == ("/data/a.csv", "a = '1'")
    assert job.prompt.messages == (("system", "s"), ("user", "Say {{ x }}"))
    assert load_job({**JOB, "api": "emulator"}, {"api.base_url": "https://h/v1"}).api.kind == "url"
    assert load_job({**JOB, "api": "https://h/v1"}, {"api.kind": "emulator"}).api.base_url is None
    turns = [{"role": "user", "content": "u"}]
    assert load_job({**JOB, "prompt": {"messages": turns}}, {"prompt.user": "v"}).prompt.messages == (("user", "v"),)


def test_paths_in_overrides_are_relative_to_the_working_directory(tmp_path, monkeypatch):
    path = write(tmp_path, FIVE_LINES)
    write(tmp_path, "Say it", "here/ask.md")
    monkeypatch.chdir(tmp_path / "here")
    job = load_job(path, {"output": "out", "input": {"path": "b.csv"}, "prompt.file": "ask.md"})
    assert job.output == tmp_path / "here/out"
    assert job.input.path == str(tmp_path / "here/b.csv")
    assert job.prompt.messages == (("user", "Say it"),)
    assert load_job(path, {"input": "-"}).input.path == "-"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"limits.creditz": 1}, "override 'limits.creditz': limits: unknown key 'creditz' (did you mean 'credits'?)"),
        ({"concurency": 1}, "override 'concurency': unknown key 'concurency' (did you mean 'concurrency'?)"),
        ({"concurrency": 0}, "override 'concurrency': expected a number from 1 to 10000, found 0"),
        ({"concurrency.x": 0}, "override 'concurrency.x': concurrency: expected a whole number"),
        ({"api.key": "sk-123"}, "override 'api.key': api: 'key': a key never stands in a job"),
        ({"api.base_url": "http://10.0.0.1"}, "override 'api.base_url': api: http://"),
    ],
)
def test_a_wrong_override_is_named(tmp_path, overrides, message):
    found = error_of(write(tmp_path, FIVE_LINES), overrides)
    assert message in found
    assert "sk-123" not in found


def test_the_users_defaults_stand_under_the_jobs_own_keys():
    defaults = {"concurrency": 64, "limits": {"credits": 9, "failures": "10%"}, "api": {"key_env": "MINE"}}
    job = load_job({**JOB, "limits": {"credits": 5}, "api": "journeyapi"}, {"retry.attempts": 2}, defaults=defaults)
    assert (job.concurrency.most, job.limits.credits, job.limits.failures.percent, job.api.key_env) == (
        64,
        5,
        10,
        "MINE",
    )
    assert load_job({**JOB, "concurrency": 8}, defaults=defaults).concurrency.most == 8
    assert load_job(JOB, {"concurrency": 9}, defaults=defaults).concurrency.most == 9


def test_the_users_key_is_no_default_for_a_foreign_server():
    defaults = {"api": {"key_env": "MINE"}}
    assert load_job({**JOB, "api": "https://evil.example/v1"}, defaults=defaults).api.key_env is None
    assert load_job(JOB, {"api": "https://evil.example/v1"}, defaults=defaults).api.key_env is None


def test_a_frame_is_kept_but_never_dumped():
    frame = pl.DataFrame({"x": ["a"]})
    for given in (frame, {"frame": frame}, frame.lazy()):
        job = load_job({**JOB, "input": given})
        assert isinstance(job.input.frame, pl.DataFrame | pl.LazyFrame)
        assert job.input.path is None
        assert f"path: {job.output}/input.arrow" in dump(job)
    job = load_job({**JOB, "input": frame})
    assert load_job(job, {"concurrency": 3}).input.frame is frame
    assert load_job(JOB, {"input": frame}).input.frame is frame
    assert load_job(job, {"input": "/b.csv"}).input.frame is None
    assert "unknown key 'frame'" in error_of({**JOB, "input": {"path": "a", "frame": "x"}})
    assert "takes no other keys" in error_of({**JOB, "input": {"frame": frame, "where": "x"}})


def test_a_job_is_loaded_as_itself_or_with_changes(tmp_path):
    job = load_job(write(tmp_path, FIVE_LINES))
    assert load_job(job) == job
    assert load_job(job).path == job.path
    assert load_job(job, {"concurrency": 3}).concurrency.most == 3


def test_pathlike_values_from_python_are_paths(tmp_path):
    job = load_job({**JOB, "input": tmp_path / "a.csv", "output": tmp_path / "out"})
    assert (job.input.path, job.output) == (str(tmp_path / "a.csv"), tmp_path / "out")


def test_another_table_takes_the_place_of_a_query():
    job = {**JOB, "input": {"database": "sqlite:///a.db", "query": "select 1"}}
    assert load_job(job, {"input.path": "b.csv"}).input.database is None
