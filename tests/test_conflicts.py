"""What is wrong with a job that takes more than one key to see: said before a credit is spent."""

from __future__ import annotations

from typing import Any

import pytest

from journeybatch.errors import SpecError
from journeybatch.loading import load_job

JOB: dict[str, Any] = {"name": "j", "input": "/t.csv", "prompt": "{{ a }}", "model": "deepseek-chat", "output": "/o"}
CASCADE = {"model": ["deepseek-chat", "gpt-4o"]}
FIELDS = {"fields": {f"field_{n}": ["yes", "no"] for n in range(60)}}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"pack": 20, "stream": True}, "a packed request is not streamed"),
        ({"pack": {"rows": 20, "characters": 1000}, "answer": FIELDS}, "1000 characters are too few"),
        (CASCADE | {"samples": 2}, "a cascade asks each row once"),
        ({"escalate": ["invalid"]}, "no model to go up to"),
        ({"answer": {"fields": {"a": "string"}, "on_invalid": "escalate"}}, "no model to go up to"),
        (CASCADE | {"escalate": [{"field": "sure", "below": 0.7}]}, "found 'sure'; there is none"),
        (
            CASCADE
            | {"escalate": [{"field": "sur", "below": 1}], "answer": {"fields": {"sure": "number", "b": "string"}}},
            "found 'sur'; known: sure",
        ),
        (CASCADE | {"escalate": ["sometimes"]}, "expected invalid, refusal, length, error"),
        ({"parameters": {"api_key": "x"}}, "key"),
        ({"model": "o3", "parameters": {"temperature": 1}}, "temperature"),
    ],
)
def test_keys_that_cannot_go_together_are_named(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_job(JOB | keys)
    assert said in str(raised.value)
    assert any(name in str(raised.value) for name in keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"pack": 1, "stream": True},
        {"pack": 20, "samples": 3},
        CASCADE | {"parameters": {"temperature": 0.5}, "model": ["deepseek-chat", "o3"]},
        CASCADE | {"pack": 20, "escalate": [{"disagree": 3}]},
        CASCADE
        | {"answer": {"fields": {"a": "integer"}, "on_invalid": "escalate"}, "escalate": [{"field": "a", "below": 3}]},
    ],
)
def test_keys_that_can_go_together_do(keys: dict[str, Any]) -> None:
    assert load_job(JOB | keys)
