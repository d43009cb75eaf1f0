"""The command line: every verb, every sample job, and one clear message for everything that is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import polars as pl
import pytest
from conftest import KEY, Flow, spawned

from journeybatch import plan, yamlfile
from journeybatch.cli import asking
from journeybatch.emulator import read_bill
from journeybatch.errors import SpecError

ROOT = Path(__file__).parent.parent
SAMPLES = sorted(path.stem for path in (ROOT / "jobs").glob("*.yaml"))
RAYLESS = find_spec("ray") is None and not os.environ.get("CI")
NEEDS = {"on-ray": (pytest.mark.ray, pytest.mark.skipif(RAYLESS, reason="Ray is not installed"))}
Call = Callable[..., SimpleNamespace]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job file on the emulator, with a table of three rows."""
    (tmp_path / "rows.csv").write_text("id,text\n1,red\n2,green\n3,blue\n")
    path = tmp_path / "colours.yaml"
    path.write_text(
        "input: rows.csv\nprompt: 'Say {{ text }}'\nmodel: deepseek-chat\nconcurrency: 2\napi: emulator\noutput: out\n"
    )
    return path


def change(job: Path, old: str, new: str) -> None:
    text = job.read_text()
    assert old in text
    job.write_text(text.replace(old, new))


# -- bad input: one clear message, exit 2, nothing sent, nothing left ----------------------------------------------

BAD = {
    "no file": ("input: rows.csv", "input: rows.tsv", "rows.tsv"),
    "directory as input": ("input: rows.csv", "input: .", "directory"),
    "unknown key": ("concurrency:", "concurency:", "did you mean"),
    "duplicate key": ("concurrency: 2", "concurrency: 2\nconcurrency: 3", "concurrency"),
    "misspelt column": ("{{ text }}", "{{ txet }}", "text"),
    "template syntax": ("{{ text }}", "{{ text ", "prompt"),
    "unknown model": ("deepseek-chat", "deepsek-chat", "deepseek-chat"),
    "temperature for o3": ("model: deepseek-chat", "model: o3\nparameters: {temperature: 0.2}", "temperature"),
    "temperature of 3": ("model: deepseek-chat", "model: gpt-4o\nparameters: {temperature: 3}", "temperature"),
    "concurrency 0": ("concurrency: 2", "concurrency: 0", "concurrency"),
    "wrong type": ("concurrency: 2", "concurrency: '2'", "concurrency"),
    "a cascade that asks twice": ("deepseek-chat", "[qwen-turbo, gpt-4o]\nsamples: 2", "a cascade asks each row once"),
    "one model in a cascade": ("deepseek-chat", "deepseek-chat\nescalate: [invalid]", "no model to go up to"),
    "packing a stream": ("concurrency: 2", "concurrency: 2\npack: 8\nstream: true", "not streamed"),
    "a pack of nothing": ("concurrency: 2", "concurrency: 2\npack: 0", "expected"),
    "a pack without room": (
        "concurrency: 2",
        "concurrency: 2\npack: {rows: 8, characters: 1000}\nanswer: {fields: {a: {type: string, description: "
        + "x" * 900
        + "}}}",
        "too few",
    ),
    "a schema that is not there": ("concurrency: 2", "concurrency: 2\nanswer: {schema: none.json}", "none.json"),
    "a field of no type": ("concurrency: 2", "concurrency: 2\nanswer: {fields: {a: strnig}}", "strnig"),
    "collision of columns": ("concurrency: 2", "concurrency: 2\nanswer: {column: text}", "output_prefix"),
    "not YAML": ("concurrency: 2", "concurrency: [2", "colours.yaml"),
    "a price without an end": ("concurrency: 2", "credits: {deepseek-chat: [2, null]}", "a price needs an upper end"),
    "a price that falls": ("concurrency: 2", "credits: {deepseek-chat: [5, 2]}", "a whole number of credits"),
    "a price without a bound": ("concurrency: 2", "credits: {deepseek-chat: .inf}", "no number that can be used"),
    "key for a foreign host": ("api: emulator", "api: {base_url: 'https://example.com/v1'}", "--allow-host"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_one_message_and_leaves_nothing(
    job: Path, call: Call, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    old, new, word = BAD[what]
    change(job, old, new)
    said = call("run", job)
    assert said.code == 2, said.err
    assert word in said.err
    assert said.err.count("journeybatch: ") == 1
    assert "Traceback" not in said.err
    assert "bug" not in said.err
    assert not said.out
    assert not (job.parent / "out").exists()
    assert KEY not in said.err


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ("", "empty"),
        ("id,text\n1,a\n2,b,c\n", "line 3"),
        ("id,text\n1,\n", "row 0"),
        ("id,text\n1,caf\xe9\n", "UTF-8"),
        ("id,text,jb_key\n1,a,b\n", "jb_key"),
    ],
)
def test_a_bad_table_gets_one_message_and_leaves_nothing(job: Path, call: Call, table: str, word: str) -> None:
    (job.parent / "rows.csv").write_bytes(table.encode("latin-1"))
    said = call("run", job)
    assert said.code == 2, said.err
    assert word.lower() in said.err.lower()
    assert said.err.count("journeybatch: ") == 1
    assert not (job.parent / "out").exists()


def test_a_missing_key_says_how_to_get_on(job: Path, call: Call) -> None:
    change(job, "api: emulator\n", "")
    said = call("run", job)
    assert said.code == 2
    assert "JOURNEYAPI_KEY" in said.err
    assert "--api emulator" in said.err
    assert not (job.parent / "out").exists()
    assert call("plan", job).code == 0, "a plan needs no key"


def test_an_output_that_cannot_be_made_is_said(job: Path, call: Call) -> None:
    (job.parent / "file").write_text("in the way")
    said = call("run", job, "--output", job.parent / "file" / "out")
    assert said.code == 2, said.err
    assert "file" in said.err
    assert (job.parent / "file").read_text() == "in the way"


WRONG = ("run", "run none.yaml", "run none.yaml --concurrency many", "frobnicate", "status nowhere", "verify .")
WRONG += ("export .", "show . -1", "emulate --faults none.yaml", "init ../up", "run none.yaml --set concurrency")
WRONG += ("emulate --price gpt-4o", "emulate --price gpt-9=1", "emulate --answers none.csv", "emulate --bill no/bill")


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_command_exits_2(call: Call, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = call(*command.split())
    assert said.code == 2, said.err
    assert said.err.startswith("journeybatch: ")
    assert "bug" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_another_jobs_directory_exits_2(job: Path, call: Call) -> None:
    assert call("run", job, "--quiet").code == 0
    said = call("run", job, "--set", "name=other")
    assert said.code == 2
    assert "'colours'" in said.err
    assert call("verify", job).code == 0


# -- the verbs -----------------------------------------------------------------------------------------------------


def test_a_run_with_json_says_the_summary_and_nothing_else(job: Path, call: Call) -> None:
    said = call("run", job, "--json", "--quiet")
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out) == json.loads((job.parent / "out" / "summary.json").read_text())
    bill = read_bill(job.parent / "out" / "emulator-bill.jsonl")
    assert sum(record.credits for record in bill) == json.loads(said.out)["credits"]["spent"] == 3


def test_a_plan_as_json_has_every_key_and_equals_the_bill(job: Path, call: Call) -> None:
    said = call("plan", job, "--json")
    plan = json.loads(said.out)
    keys = {"rows", "distinct", "reused", "requests", "credits_min", "credits_max", "seconds_estimate", "balance"}
    assert set(plan) >= keys | {"warnings", "problems", "notes", "costs", "credits_expected", "edited"}
    assert plan["costs"]["naive"] == {"requests": 3, "credits_min": 3, "credits_max": 3}
    assert (said.code, plan["requests"], plan["credits_max"], plan["seconds_estimate"]) == (0, 3, 3, None)
    assert call("run", job, "--dry-run", "--json").out == said.out
    assert not (job.parent / "out").exists()
    assert '"Say red"' in call("plan", job, "--show", 1).out


def lines_of(said: SimpleNamespace) -> list[str]:
    """What a command printed, line by line, with single spaces."""
    return [" ".join(line.split()) for line in said.out.splitlines()]


def test_a_job_that_saves_nothing_tells_no_table(job: Path, call: Call) -> None:
    assert "naive" not in call("plan", job).out
    said = call("run", job, "--quiet")
    assert [line.split(":")[0] for line in said.out.splitlines()][::2] == ["colours", "results"]
    assert len(said.out.splitlines()) == 3


def test_what_duplicates_save_is_told_before_and_after(job: Path, call: Call) -> None:
    (job.parent / "rows.csv").write_text("id,text\n1,red\n2,green\n3,red\n4,red\n")
    table = ["requests credits", "naive 4 4 each row alone", "after reuse 2 2"]
    lines = lines_of(call("plan", job))
    assert lines[5:] == table
    lines = lines_of(call("run", job, "--quiet"))
    assert lines[2:-1] == [*table, "spent 2 2", "saved 2 2 50 %"]
    lines = lines_of(call("plan", job))
    assert "naive" not in " ".join(lines), "nothing is left to ask"


def test_a_cascade_shows_its_cases_and_who_answered(job: Path, call: Call) -> None:
    unknown_to_the_emulator = "{type: object, properties: {a: {type: string, pattern: '^[0-9]$'}}, required: [a]}"
    change(
        job,
        "deepseek-chat",
        f"[deepseek-chat, gpt-4o]\nescalate: [invalid]\nanswer: {{schema: {unknown_to_the_emulator}}}",
    )
    lines = lines_of(call("plan", job))
    assert lines[5:11] == [
        "requests credits",
        "naive 3 3 to 15 each row alone, of gpt-4o",
        "cascade, best 3 3 no row goes up from deepseek-chat",
        "cascade, expected ? ? not known until 20 rows are done",
        "cascade, worst 6 6 to 18 all rows go up",
        "note: an unreadable reply of deepseek-chat sends its row up: the worst case counts that",
    ]
    lines = lines_of(call("run", job, "--quiet", "--set", "limits.failures=100%"))
    assert lines[0] == "colours: 0 of 3 rows answered, 3 failed (3 invalid)"
    assert lines[-4:-1] == ["model requests credits answered went up", "deepseek-chat 3 3 0 3", "gpt-4o 3 3 to 15 0 0"]


def test_a_table_survives_a_closed_stdout(job: Path) -> None:
    (job.parent / "rows.csv").write_text("id,text\n1,red\n2,red\n")
    with spawned("run", job, "--quiet") as process:
        assert process.stdout
        process.stdout.close()
        assert process.wait(timeout=20) == 0


def test_overrides_reach_the_run(job: Path, call: Call) -> None:
    said = call("run", job, "--json", "--limit", 2, "--max-credits", 1, "--output", job.parent / "other")
    summary = json.loads(said.out)
    assert (said.code, summary["stopped_by"], summary["rows"]["total"], summary["credits"]["cap"]) == (
        3,
        "budget",
        2,
        1,
    )
    assert "--max-credits" in said.err
    said = call("run", job, "--json", "--limit", 2, "--output", job.parent / "other", "--set", "limits.credits=5")
    assert (said.code, json.loads(said.out)["rows"]["answered"]) == (0, 2)


@pytest.mark.parametrize("number", [5 * 10**9, 10**20])
def test_more_rows_than_can_be_counted_are_refused_wherever_a_number_of_rows_is_given(job: Path, call: Call, number):
    output = job.parent / "out"
    call("run", job, "--quiet", "--output", output)
    for command in (["plan", job, "--limit"], ["plan", job, "--show"], ["show", output]):
        said = call(*command, number)
        assert (said.code, "is not in the range 0<=x<=4294967295" in said.err) == (2, True)
    with pytest.raises(SpecError, match="limit: expected a number of rows up to 4294967295"):
        plan(job, limit=number)
    assert call("plan", job, "--limit", 4294967295).code == 0


def test_what_looks_at_a_directory(job: Path, call: Call) -> None:
    call("run", job, "--quiet")
    out = job.parent / "out"
    status = json.loads(call("status", job, "--json").out)
    assert (status["state"], status["running"], status["rows"]["answered"]) == ("finished", False, 3)
    assert call("status", out).out.startswith("colours: finished")
    story = json.loads(call("show", out, 1, "--json").out)
    assert story["messages"] == [{"role": "user", "content": "Say green"}]
    assert [attempt["outcome"] for attempt in story["attempts"]] == ["settled"]
    assert json.loads(story["attempts"][0]["reply"])["object"] == "chat.completion"
    assert "[user]\nSay blue" in call("show", job, 2).out
    assert call("show", out, 3).code == 2
    assert call("verify", out).code == 0


def test_export_rebuilds_the_views_and_writes_other_formats(job: Path, call: Call) -> None:
    call("run", job, "--quiet")
    out, results = job.parent / "out", job.parent / "out" / "results.parquet"
    before = results.read_bytes()
    results.unlink()
    assert call("export", out).code == 0
    assert results.read_bytes() == before
    answers = pl.read_parquet(results)["response"].to_list()
    for kind in ("csv", "jsonl", "parquet", "xlsx"):
        said = call("export", job, "--to", job.parent / f"answers.{kind}")
        assert said.code == 0, said.err
    assert pl.read_csv(job.parent / "answers.csv")["response"].to_list() == answers
    assert pl.read_ndjson(job.parent / "answers.jsonl")["response"].to_list() == answers
    assert pl.read_parquet(job.parent / "answers.parquet")["response"].to_list() == answers
    assert (job.parent / "answers.xlsx").read_bytes().startswith(b"PK")
    said = call("export", out, "--to", job.parent / "answers.doc")
    assert (said.code, ".doc" in said.err) == (2, True)


def test_verify_finds_a_flipped_byte_and_export_does_not_hide_it(job: Path, call: Call) -> None:
    call("run", job, "--quiet")
    journal = job.parent / "out" / "journal"
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 0x40
    journal.write_bytes(data)
    said = call("verify", job)
    assert said.code == 5
    assert "damaged" in said.err


def test_init_writes_a_job_that_runs(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("init", "mine").code == 0
    assert call("init", "mine").code == 2, "nothing is overwritten"
    modeline = Path("mine.yaml").read_text("utf-8").splitlines()[0]
    schema = Path(modeline.partition("$schema=")[2])
    jsonschema.validate(yamlfile.read_file(Path("mine.yaml")).data, json.loads(schema.read_text("utf-8")))
    assert call("run", "mine.yaml", "--quiet").code == 0
    results = pl.read_parquet(tmp_path / "runs" / "mine" / "results.parquet")
    assert results["sentiment"].null_count() == 0
    assert results.height == 4


def test_the_schema_knows_every_key_of_the_spec(call: Call) -> None:
    schema = json.loads(call("schema").out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"input", "prompt", "model", "concurrency", "output", "limits"} <= set(schema["properties"])
    assert set(schema["required"]) >= {"input", "prompt", "model"}


def test_the_catalogue_has_22_models_with_prices(call: Call) -> None:
    models = json.loads(call("models", "--json").out)
    assert len(models) == 22
    assert all(1 <= model["credits_min"] <= model["credits_max"] <= 5 and model["source"] for model in models)
    assert {model["model"] for model in models if "temperature" in model["refuses"]} == {"o3", "o4-mini"}


def test_chat_and_account_talk_to_a_server(
    served: SimpleNamespace, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    streamed, whole = (call("chat", "Say hello", "--api", served.base_url, *more) for more in ((), ("--no-stream",)))
    assert (streamed.code, whole.code) == (0, 0), streamed.err + whole.err
    assert streamed.out.strip() == whole.out.strip() != ""
    account = json.loads(call("account", "--api", served.base_url, "--json").out)
    assert 1_000_000 - account["credits"] == 2
    monkeypatch.setenv("JOURNEYAPI_KEY", "wrong-key-wrong-key")
    said = call("account", "--api", served.base_url)
    assert said.code == 3
    assert "wrong-key" not in said.err + said.out


def test_an_account_is_told_in_columns_and_without_control_sequences(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, object] = {"credits": 12.5, "a_long_name_of_it": "\x1b[31mred\x1b[0m", "active": True, "none": None}

    async def account(*_: object) -> dict[str, object]:
        return told

    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    monkeypatch.setattr(asking, "fetch_account", account)
    lines = call("account").out.splitlines()
    names = ["credits", "a_long_name_of_it", "active", "none"]
    values = ["12.5", "red", "true", "null"]
    assert lines == [f"{name + ':':<20}{value}" for name, value in zip(names, values, strict=True)]
    assert json.loads(call("account", "--json").out) == told


def test_an_endpoint_without_an_account_has_an_unknown_balance(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    async def account(*_: object) -> None:
        return None

    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    monkeypatch.setattr(asking, "fetch_account", account)
    said = call("account")
    assert (said.code, said.out, said.err) == (0, "balance: unknown (this endpoint has no /account)\n", "")
    said = call("account", "--json")
    assert (said.code, json.loads(said.out)) == (0, {"credits": None})


def test_chat_with_the_emulator_needs_no_key(call: Call) -> None:
    said = call("chat", "Say hello", "--api", "emulator", "-s", "Be brief.")
    assert (said.code, bool(said.out.strip())) == (0, True)


def test_an_edited_spec_is_asked_about(flow: Flow, call: Call, served: SimpleNamespace) -> None:
    spec = flow.path / "flow.yaml"
    spec.write_text(json.dumps(flow.job(api={"base_url": served.base_url})))
    assert call("run", spec, "--quiet").code == 0
    change(spec, "Say something", "Say much")
    said = call("run", spec, "--quiet")
    assert said.code == 2
    assert "--yes" in said.err
    assert len(read_bill(served.bill)) == 12
    assert call("run", spec, "--quiet", "--yes").code == 0
    assert len(read_bill(served.bill)) == 24


# -- the sample jobs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [pytest.param(name, marks=NEEDS.get(name, ())) for name in SAMPLES])
def test_every_sample_job_runs(sample: str, call: Call, tmp_path: Path) -> None:
    for folder in ("jobs", "sample_data"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    spec = tmp_path / "jobs" / f"{sample}.yaml"
    said = call("eval" if "eval:" in spec.read_text() else "run", spec, "--quiet")
    assert said.code == (3 if sample == "capped" else 0), said.err
    output = spec.parent / yamlfile.read(spec.read_text(), spec.name).data["output"]
    results = pl.read_parquet(output / "results.parquet")
    assert results.height > 0
    assert ("pending" in results["jb_status"]) == (sample == "capped")
    assert call("verify", spec).code == 0


def test_closed_standard_streams_change_nothing(job: Path) -> None:
    with spawned("run", job) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        process.stderr.close()
        assert process.wait(timeout=20) == 0
    assert pl.read_parquet(job.parent / "out" / "results.parquet")["jb_status"].to_list() == ["answered"] * 3


def test_a_log_of_json_lines_has_one_object_a_line(job, call):
    said = call("run", job, "--log-format", "json", "--max-credits", 1)
    lines = [json.loads(line) for line in said.err.splitlines()]
    assert lines[-1]["level"] == "warning"
    assert lines[-1]["message"].startswith("stopped (budget): ")
    change(job, "input: rows.csv", "input: none.csv")
    said = call("run", job, "--log-format", "json")
    (line,) = [json.loads(line) for line in said.err.splitlines()]
    assert (said.code, line["level"]) == (2, "error")
    assert "there is no" in line["message"]


def test_a_shell_completes_verbs(tmp_path: Path) -> None:
    words = {"COMP_WORDS": "journeybatch do", "COMP_CWORD": "1", "_JOURNEYBATCH_COMPLETE": "bash_complete"}
    command = [sys.executable, "-m", "journeybatch"]
    said = subprocess.run(command, env=os.environ | words, capture_output=True, text=True, timeout=20, check=False)
    assert said.stdout.split() == ["plain,doctor"], said.stderr


def test_the_documented_line_turns_completion_on_in_bash(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "how-to" / "other-tools.md").read_text("utf-8")
    (line,) = [line for line in page.splitlines() if "bash_source" in line]
    script = tmp_path / "journeybatch"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m journeybatch "$@"\n', "utf-8")
    script.chmod(0o755)
    typed = (
        "COMP_WORDS=(journeybatch tune out --max); COMP_CWORD=3; _journeybatch_completion journeybatch; echo $COMPREPLY"
    )
    environ = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(
        ["bash", "-c", f"{line}\n{typed}"], env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert said.stdout.split() == ["--max-credits"], said.stderr
