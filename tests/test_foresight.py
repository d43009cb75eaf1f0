"""What a plan says besides its numbers: what may be paid twice, and what an unreadable reply costs."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Flow
from hypothesis import given
from hypothesis import strategies as st

from journeybatch import api
from journeybatch.emulator import Emulator
from journeybatch.foresight import asked_anew

FIELDS = {"mood": ["good", "bad"]}


def told(flow: Flow, **keys: Any) -> tuple[str, str]:
    """The plan's warnings and notes, each as one text."""
    planned = api.plan(flow.job(**keys))
    return "\n".join(planned.warnings), "\n".join(planned.notes)


def test_a_plain_job_has_nothing_to_say(flow: Flow) -> None:
    assert told(flow) == ("", "")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"answer": {"fields": FIELDS, "on_invalid": "ask_again"}}, "up to 2 times more: at most 24 credits besides"),
        (
            {"answer": {"fields": FIELDS, "on_invalid": "ask_again"}, "retry": {"attempts": 2}, "model": "gpt-4o"},
            "once more: at most 60 credits besides",
        ),
        (
            {"model": ["qwen-turbo", "gpt-4o"], "answer": {"fields": FIELDS, "on_invalid": "escalate"}},
            "an unreadable reply of qwen-turbo sends its row up",
        ),
        ({"pack": 20}, "a reply to 20 rows that says nothing of use costs up to 34 requests more"),
        ({"samples": 3}, "each row is asked 3 times"),
        (
            {"model": ["qwen-turbo", "gpt-4o"], "escalate": [{"disagree": 2}]},
            "qwen-turbo: asked twice for each row",
        ),
    ],
)
def test_what_may_cost_more_is_noted(flow: Flow, keys: dict[str, Any], said: str) -> None:
    assert said in told(flow, **keys)[1]


def test_one_attempt_asks_nothing_again(flow: Flow) -> None:
    answer = {"fields": FIELDS, "on_invalid": "ask_again"}
    assert told(flow, answer=answer, retry={"attempts": 1})[1] == ""


def test_packing_and_open_prices_and_a_small_cap_are_warned_of(flow: Flow) -> None:
    warnings = told(flow, pack=4, model="gpt-4o", limits={"credits": 10})[0]
    assert "rows of one request can influence each other" in warnings
    assert "gpt-4o costs 1 to 5 credits a request" in warnings
    assert "the plan exceeds limits.credits: 10; the run may stop there" in warnings
    assert "the run will stop there" in told(flow, limits={"credits": 10})[0]


def test_an_edited_prompt_is_warned_of_with_its_cost(flow: Flow) -> None:
    flow.run()
    flow.emulator = Emulator()
    real = {"api": {"base_url": "http://127.0.0.1/api/v1"}}
    assert told(flow, **real) == ("", ""), "nothing is left to ask"
    flow.write([f"thing {n}" for n in range(14)])
    planned = api.plan(flow.job(prompt="Now rate {{ text }}", model="gpt-4o", **real))
    assert planned.edited == 12
    assert any("12 of 14 prompts" in line and "costs 12 to 60 credits" in line for line in planned.warnings)


def test_more_samples_of_the_same_prompt_are_no_edit(flow: Flow) -> None:
    flow.run()
    planned = api.plan(flow.job(samples=3))
    assert (planned.requests, planned.edited) == (24, 0)
    assert api.plan(flow.job(samples=3, prompt="Now rate {{ text }}")).edited == 12


def test_a_prompt_whose_columns_are_gone_counts_as_edited(flow: Flow) -> None:
    flow.write(["a", "b"], mood=["good", "bad"])
    flow.run(prompt="{{ text }} {{ mood }}")
    flow.write(["a", "b", "c"])
    assert api.plan(flow.job(prompt="{{ text }}")).edited == 2


@given(st.integers(1, 200))
def test_halving_a_pack_of_which_nothing_can_be_read_ends_with_each_row_alone(rows: int) -> None:
    def halve(pack: int) -> list[int]:
        size = max(1, pack // 2)
        parts = [size] * (pack // size) + [pack % size] * (pack % size > 0) if pack > 1 else []
        return parts + [part for whole in parts for part in halve(whole)]

    assert asked_anew(rows) == len(halve(rows))
    assert rows == 1 or halve(rows).count(1) == rows
