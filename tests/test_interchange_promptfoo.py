"""promptfoo configurations: what both can say runs and scores alike, and the rest is named with the nearest thing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from journeybatch import yamlfile
from journeybatch.errors import JobError, SpecError
from journeybatch.evaluation.scorers import parse
from journeybatch.interchange.promptfoo import Conversion, convert
from journeybatch.interchange.promptfoo_csv import assertion

Call = Callable[..., SimpleNamespace]
CONFIG = """\
# yaml-language-server: $schema=https://promptfoo.dev/config-schema.json
description: Moods
prompts:
  - "Is this review positive, negative or neutral? {{review}}"
  - {label: terse, raw: "One word, positive, negative or neutral: {{review}}"}
  - file://prompt.js
providers:
  - openai:deepseek-chat
  - {id: "openai:chat:gpt-4o", label: big, config: {temperature: 0, apiKey: x}}
defaultTest:
  assert:
    - {type: not-icontains, value: as an AI}
tests:
  - vars: {review: I love it, mood: positive}
    assert:
      - {type: icontains, value: "{{mood}}"}
      - {type: equals, value: "no such answer", weight: 2}
  - vars: {review: [A terrible waste, "It is bad."]}
    assert:
      - {type: icontains, value: negative}
      - {type: javascript, value: "output.length < 10"}
evaluateOptions: {maxConcurrency: 4, delay: 100}
scenarios: []
"""


def made(tmp_path: Path, **keys: Any) -> Conversion:
    config = {"prompts": ["{{x}}"], "providers": ["openai:gpt-4o"], "tests": [{"vars": {"x": 1}}]} | keys
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    return convert(tmp_path / "config.yaml")


def expecting(tmp_path: Path, *asserts: dict[str, Any]) -> Conversion:
    return made(tmp_path, tests=[{"vars": {"x": 1}, "assert": [*asserts, {"type": "is-json"}]}])


def test_a_configuration_runs_as_an_evaluation_and_a_row_is_scored_by_its_own_assertions(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "promptfooconfig.yaml").write_text(CONFIG)
    said = call("eval", "--from", "promptfooconfig.yaml", "--to", "job.yaml", "--api", "emulator")
    assert said.code == 0, said.err
    assert "3 rows, 4 variants" in said.out
    for word in ("prompt.js", "config.apiKey", "javascript", "python: grade.py:grade", "scenarios", "delay"):
        assert word in said.err
    assert call("eval", "job.yaml", "--quiet").code == 0
    scores = pl.read_parquet("runs/job/scores.parquet").filter(pl.col("scorer") == "overall", row=0)
    assert scores["value"].to_list() == [0.5] * 4, "(icontains 1 + equals 0 × 2 + not-icontains 1) / 4"
    scores = pl.read_parquet("runs/job/scores.parquet").filter(pl.col("scorer") == "overall", row=1)
    assert scores["value"].to_list() == [1.0] * 4, "equals is not asked of this test"
    assert call("eval", "--from", "promptfooconfig.yaml", "--to", "job.yaml").code == 2, "nothing is overwritten"


def test_prompts_times_providers_are_the_variants(tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text('[{"role": "system", "content": "Hm"}, {"role": "user", "content": "{{x}}"}]')
    (tmp_path / "two.txt").write_text("One {{x}}\n---\nTwo {{x}}\n")
    found = expecting(tmp_path).job["eval"]["variants"]
    assert found == {"gpt-4o": {"prompt": "{{x}}", "model": "gpt-4o"}}
    config = {"prompts": ["file://chat.json", "file://two.txt"], "providers": [{"openai:o3": {"config": {"seed": 1}}}]}
    variants = made(tmp_path, tests=[{"vars": {"x": 1}, "assert": [{"type": "is-json"}]}], **config).job["eval"][
        "variants"
    ]
    assert list(variants) == ["prompt-1", "prompt-2-1", "prompt-2-2"]
    assert variants["prompt-1"]["prompt"]["messages"][0] == {"role": "system", "content": "Hm"}
    assert variants["prompt-2-2"] == {"prompt": "Two {{x}}", "model": "o3", "parameters": {"seed": 1}}


SAME = {
    "equals": ({"type": "equals", "value": "a"}, {"equals": {"value": "a"}}),
    "a number": ({"type": "equals", "value": 4}, {"equals": {"value": "4"}}),
    "negated": ({"type": "not-contains", "value": "a"}, {"not-contains": {"value": "a"}}),
    "a list": ({"type": "contains-any", "value": "a, b"}, {"contains-any": {"value": ["a", "b"]}}),
    "a pattern": ({"type": "regex", "value": "a+"}, {"regex": {"value": "a+"}}),
    "edits": ({"type": "levenshtein", "value": "a", "threshold": 2}, {"levenshtein": {"distance": 2, "value": "a"}}),
    "a schema": ({"type": "is-json", "value": {"type": "object"}}, {"json-schema": {"schema": {"type": "object"}}}),
    "a rubric": (
        {"type": "llm-rubric", "value": "polite", "provider": "openai:o3"},
        {"model-graded": {"rubric": "polite", "model": "o3", "partial": False}},
    ),
    "a fact": (
        {"type": "factuality", "value": "it is 4"},
        {"model-graded": {"partial": False}, "target": "expect_model_graded"},
    ),
    "a metric": ({"type": "equals", "value": "a", "metric": "Right"}, {"equals": {"value": "a"}, "name": "Right"}),
}


@pytest.mark.parametrize("what", SAME)
def test_an_assertion_becomes_the_scorer_that_means_the_same(tmp_path: Path, what: str) -> None:
    told, scorer = SAME[what]
    found = expecting(tmp_path, told).job["eval"]["scorers"]
    assert {key: value for key, value in found[0].items() if key != "weight"} == scorer
    assert len(parse(found)) == 2


NEAREST = {
    "similar": ({"type": "similar", "value": "a"}, "model-graded"),
    "cost": ({"type": "cost", "threshold": 1}, "credits_per_correct"),
    "unheard of": ({"type": "moderation"}, "not supported"),
    "a file": ({"type": "equals", "value": "file://a.txt"}, "not read"),
    "a template": ({"type": "equals", "value": "{{ y }}"}, "more than the test's variables"),
    "an object": ({"type": "equals", "value": {"a": 1}}, "expected a text"),
    "no list": ({"type": "contains-all", "value": 3}, "expected a list"),
    "a rubric of nothing": ({"type": "llm-rubric"}, "no value"),
    "a transform": ({"type": "equals", "value": "a", "transform": "output"}, "transform is left out"),
    "no type": ({"value": "a"}, "a type"),
}


@pytest.mark.parametrize("what", NEAREST)
def test_what_has_no_counterpart_is_told_with_the_nearest_thing(tmp_path: Path, what: str) -> None:
    told, word = NEAREST[what]
    notes = expecting(tmp_path, told).notes
    assert len(notes) == 1
    assert word in notes[0]


def test_tests_that_expect_different_things_have_a_column_for_it(tmp_path: Path) -> None:
    tests = [
        {"vars": {"x": 1}, "assert": [{"type": "equals", "value": "a"}, {"type": "equals", "value": "b"}]},
        {"vars": {"x": 2}, "assert": [{"type": "equals", "value": "c"}]},
    ]
    found = made(tmp_path, tests=tests)
    assert found.rows == [
        {"x": 1, "expect_equals": "a", "expect_equals_2": "b"},
        {"x": 2, "expect_equals": "c", "expect_equals_2": None},
    ]
    assert [scorer["target"] for scorer in found.job["eval"]["scorers"]] == ["expect_equals", "expect_equals_2"]


def test_tests_in_files_of_yaml_are_read_and_of_other_kinds_are_told(tmp_path: Path) -> None:
    (tmp_path / "tests.yaml").write_text("- {vars: {x: 7}, assert: [{type: is-json}]}\n")
    found = made(tmp_path, tests=["file://tests.yaml", "file://tests.js"], evaluateOptions={"repeat": 3})
    assert (found.rows, found.job["samples"]) == ([{"x": 7}], 3)
    assert "tests.js is not read; write the tests as YAML or CSV" in found.notes[0]


CSV = """\
x,mood,__expected1,__expected2,__description,__prefix,__metadata:kind
I love it,positive,icontains: {{mood}},not-contains:bad,first,Please,a
"It is, well, bad",negative,icontains: {{mood}},,second,Please,b
Hm,,,javascript: output.length < 9,third,Please,c
"""


def test_tests_in_a_csv_file_have_variables_and_assertions_and_run(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests.csv").write_text(CSV)
    found = made(tmp_path, tests="file://tests.csv")
    assert [(row["x"], row["mood"]) for row in found.rows] == [
        ("I love it", "positive"),
        ("It is, well, bad", "negative"),
        ("Hm", ""),
    ]
    first, second = found.job["eval"]["scorers"]
    assert [row[first["target"]] for row in found.rows] == ["positive", "negative", None]
    assert (next(iter(first)), next(iter(second))) == ("icontains", "not-contains")
    assert [word for word in ("__prefix", "__metadata", "javascript") if any(word in note for note in found.notes)] == [
        "__prefix",
        "javascript",
    ]
    said = call("eval", "--from", "config.yaml", "--to", "job.yaml", "--api", "emulator")
    assert said.code == 0, said.err
    assert call("eval", "job.yaml", "--quiet").code == 0


@pytest.mark.parametrize(
    ("cell", "means"),
    [
        ("contains: a: b", {"type": "contains", "value": "a: b"}),
        ("not-equals:4", {"type": "not-equals", "value": "4"}),
        ("levenshtein(3): kettle", {"type": "levenshtein", "value": "kettle", "threshold": 3.0}),
        ("is-json", {"type": "is-json"}),
        ("contains-any: a, b", {"type": "contains-any", "value": "a, b"}),
        ("grade: polite", {"type": "llm-rubric", "value": "polite"}),
        ("fn:output == 1", {"type": "javascript", "value": "output == 1"}),
        ("Paris", {"type": "equals", "value": "Paris"}),
        ("note: this is no type", {"type": "equals", "value": "note: this is no type"}),
        ("two\nlines", {"type": "equals", "value": "two\nlines"}),
    ],
)
def test_a_cell_of_expected_says_a_type_and_a_value_or_the_whole_answer(cell: str, means: dict[str, Any]) -> None:
    assert assertion(cell) == means


def test_a_csv_file_that_is_damaged_is_an_error_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "tests.csv").write_text("x,__expected\n1,a\n2,b,c\n")
    with pytest.raises(JobError, match=r"tests\.csv.*line 3"):
        made(tmp_path, tests="file://tests.csv")


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"prompts": ["file://a.js"]}, "none of the prompts"),
        ({"providers": ["exec:python a.py", "file://a.py"]}, "none of the providers"),
        ({"tests": []}, "none of the tests"),
        ({}, "none of the assertions"),
        ({"prompts": ["file://none.txt"]}, "none.txt"),
        ({"tests": [{"vars": {"x": "file://x.txt"}}]}, "vars.x"),
    ],
)
def test_a_configuration_with_nothing_left_is_an_error(tmp_path: Path, keys: dict[str, Any], word: str) -> None:
    with pytest.raises((JobError, SpecError), match=word):
        made(tmp_path, **keys)


def test_the_command_wants_one_of_both(call: Call, tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- a\n")
    assert call("eval").code == 2
    assert call("eval", "job.yaml", "--from", "x.yaml").code == 2
    assert call("eval", "job.yaml", "--to", "x.yaml").code == 2
    said = call("eval", "--from", tmp_path / "list.yaml")
    assert (said.code, "expected a promptfoo configuration" in said.err) == (2, True)


def test_a_key_nobody_knows_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    found = made(tmp_path, tests=[{"vars": {"x": 1}, "assert": [{"type": "is-json"}]}], promts=["a"], zzz=1)
    assert found.notes == ["promts: not supported; did you mean 'prompts'?", "zzz: not supported; it is left out"]


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    found = expecting(tmp_path, {"type": "equals", "value": "{{x}}"})
    assert yamlfile.read(yamlfile.write(found.job), "job").data == found.job
