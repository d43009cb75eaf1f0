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
    found = made(tmp_path, tests=["file://tests.yaml", "file://tests.csv"], evaluateOptions={"repeat": 3})
    assert (found.rows, found.job["samples"]) == ([{"x": 7}], 3)
    assert "tests.csv is not read" in found.notes[0]


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


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    found = expecting(tmp_path, {"type": "equals", "value": "{{x}}"})
    assert yamlfile.read(yamlfile.write(found.job), "job").data == found.job
