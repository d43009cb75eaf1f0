"""The keys of a job that decide what a credit buys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from journeybatch.economy import Pack, seconds
from journeybatch.errors import SpecError
from journeybatch.escalation import rules_of
from journeybatch.loading import dump, load_job

JOB: dict[str, Any] = {"name": "j", "input": "/t.csv", "prompt": "{{ a }}", "model": "deepseek-chat", "output": "/o"}
CASCADE = {"model": ["deepseek-chat", "gpt-4o"]}


def problem(**keys: Any) -> str:
    with pytest.raises(SpecError) as raised:
        load_job(JOB | keys)
    return str(raised.value)


def test_a_pack_is_a_number_or_a_mapping() -> None:
    assert load_job(JOB | {"pack": 20}).pack == load_job(JOB | {"pack": {"rows": 20}}).pack
    pack = load_job(JOB | {"pack": {"rows": 32, "characters": 24_000}}).pack
    assert (pack.rows, pack.characters) == (32, 24_000)
    assert load_job(JOB).pack.rows == 1


@pytest.mark.parametrize("pack", [0, -1, 1.5, True, "20", [], 1001, {"rows": 0}, {"characters": 10}, {"lines": 3}])
def test_what_is_no_pack_is_refused(pack: Any) -> None:
    assert "pack" in problem(pack=pack)


@pytest.mark.parametrize(("age", "expected"), [("1m", 60), ("12h", 43_200), ("30d", 2_592_000), ("2 w", 1_209_600)])
def test_an_age_is_a_number_and_a_unit(age: str, expected: int) -> None:
    assert load_job(JOB | {"max_age": age}).max_age == age
    assert seconds(age) == expected


@pytest.mark.parametrize("age", ["30", 30, "d", "0d", "1.5d", "-1d", "1y", "1d2h", "٣d"])
def test_what_is_no_age_is_refused(age: Any) -> None:
    assert "max_age" in problem(max_age=age)


def test_a_cascade_is_several_models_and_a_list_of_one_is_that_model() -> None:
    assert load_job(JOB | CASCADE).models == ("deepseek-chat", "gpt-4o")
    assert load_job(JOB | {"model": ["deepseek-chat"]}) == load_job(JOB)
    for wrong in ([], ["a", "a"], ["a", ""], ["a", 1], {"a": 1}, None):
        assert "model" in problem(model=wrong)


def test_a_cascade_goes_up_when_nothing_can_be_read_unless_told_otherwise() -> None:
    assert load_job(JOB | CASCADE).rules == rules_of(["invalid", "refusal"])
    assert load_job(JOB | CASCADE | {"escalate": ["error"]}).rules == rules_of(["error"])
    more = CASCADE | {"escalate": ["error"], "answer": {"fields": {"a": "string"}, "on_invalid": "escalate"}}
    assert load_job(JOB | more).rules == rules_of(["error", "invalid"])
    assert not load_job(JOB).rules.on


def test_an_answer_has_one_form() -> None:
    assert "one of 'column', 'fields' and 'schema'" in problem(answer={"column": "a", "fields": {"b": "string"}})
    for answer in ({"column": "jb_row"}, {"fields": {"jb_row": "string"}}, {"schema": {"type": "array"}}):
        assert "answer" in problem(answer=answer)


def test_a_schema_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}}))
    assert [field.name for field in load_job(JOB | {"answer": {"schema": str(file)}}).answer.contract.fields] == ["a"]
    file.write_text("{")
    assert f"{file}: this is not JSON" in problem(answer={"schema": str(file)})
    file.write_text("[]")
    assert "expected a JSON Schema" in problem(answer={"schema": str(file)})


@pytest.mark.parametrize(
    "keys",
    [
        {"answer": {"fields": {"a": ["x", "y"], "b": {"type": "number", "minimum": 0}}}},
        {"answer": {"schema": {"type": "object", "properties": {"a": {"type": "object"}}}, "on_invalid": "ask_again"}},
        {"answer": {"column": "said"}},
        CASCADE
        | {
            "escalate": ["invalid", {"disagree": 3}, {"field": "b", "below": 0.7}],
            "answer": {"fields": {"b": "number"}},
        },
        {"pack": {"rows": 32, "characters": 24_000}, "samples": 3, "dedupe": False, "max_age": "30d", "reuse": ["/x"]},
    ],
)
def test_a_job_written_out_loads_as_the_same_job(keys: dict[str, Any], tmp_path: Path) -> None:
    job = load_job(JOB | keys)
    file = tmp_path / "job.yaml"
    file.write_text(dump(job))
    assert load_job(file) == job
    assert yaml.safe_load(file.read_text())["name"] == "j"


@pytest.mark.parametrize("rows", [0, 1001, True, 2.0, "atuo", None])
def test_a_number_of_rows_that_no_pack_has_is_one_clear_message(rows):
    with pytest.raises(ValueError, match="expected a number of rows from 1 to 1000, or auto"):
        Pack(rows=rows)
