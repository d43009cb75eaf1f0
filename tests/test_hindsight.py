"""What a run has come to: every stage adds up to what was spent, to the credit."""

from __future__ import annotations

import polars as pl
import pytest
from conftest import Flow
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import PRICES, Table, never

from journeybatch.costs import Cost
from journeybatch.emulator import Emulator, Faults
from journeybatch.entries import Began, Finished, Intent, Settled
from journeybatch.hindsight import Share, look_back
from journeybatch.records import Price

texts = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=20)
tables = st.builds(Table, texts, tiers=st.integers(1, 3), repeats=st.integers(1, 2), pack=st.integers(1, 5))


def hindsight(table):
    return look_back(table.history, table.history.runs[-1].number, table.surveyed, table.stand(), [table.asks])


def steps_up(costs):
    """What the last stage comes to with all that is not a stage: it has to be what was spent."""
    return costs.after_cascade + costs.asked_again + costs.departed


def again(table, key, price=PRICES[0]):
    table.answer(0, [key], price, never)


@settings(deadline=None, max_examples=30)
@given(tables, texts, st.integers(0, 12), st.integers(1, 4))
def test_the_stages_add_up_to_what_was_spent_whatever_happened(table, others, before, pack):
    elsewhere = Table(others)  # an earlier table of the same job: some of its rows have departed
    elsewhere.history = table.history
    elsewhere.begin(before, 1)
    again(table, Table.key("a", 0, 0))
    table.begin(before, pack)
    again(table, Table.key("b", 0, 0))
    costs = hindsight(table).costs
    run = table.history.runs[-1]
    assert steps_up(costs) == costs.spent == costs.naive - costs.saved
    assert costs.spent.credits_min == run.spent
    assert costs.spent.credits_max + costs.in_doubt.credits_max == run.spent + run.unknown
    stages = [costs.naive, costs.after_reuse, costs.after_packing]
    assert [stage.requests for stage in stages] == sorted((stage.requests for stage in stages), reverse=True)
    if len(table.steps) == 1:
        assert costs.after_packing == costs.after_cascade


@settings(deadline=None, max_examples=20)
@given(tables)
def test_what_went_as_planned_cost_what_was_planned(table):
    planned = table.plan().costs
    table.ask(never)
    costs = hindsight(table).costs
    assert (costs.naive, costs.after_reuse, costs.spent) == (planned.naive, planned.after_reuse, planned.best)
    assert (costs.after_packing, costs.after_cascade) == (planned.after_packing, planned.best)
    assert costs.asked_again == costs.departed == costs.in_doubt == Cost()


def test_duplicates_and_packs_are_savings():
    table = Table(["a1", "a2", "a1", "d3"], pack=20)
    table.ask(never)
    costs = hindsight(table).costs
    assert [costs.naive, costs.after_reuse, costs.after_packing] == [Cost(4, 4, 4), Cost(3, 3, 3), Cost(1, 1, 1)]
    assert (costs.spent, costs.saved) == (Cost(1, 1, 1), Cost(3, 3, 3))


def test_a_cascade_is_told_by_model():
    table = Table([f"{number:02}" for number in range(10)], tiers=2)
    table.ask(lambda key: key in {Table.key("00", 0, 0), Table.key("01", 0, 0)})
    found = hindsight(table)
    assert found.costs.naive == found.costs.after_packing == Cost(10, 10, 50)
    assert found.costs.after_cascade == found.costs.spent == Cost(12, 12, 20)
    assert found.models == {"m0": Share(10, 10, 10, 8, 2), "m1": Share(2, 2, 10, 2, 0)}


def test_what_is_pending_free_or_in_doubt_is_not_naive():
    table = Table(["answered", "pending", "rejected", "doubtful"])
    for number, (text, charge, most) in enumerate((("rejected", "free", 0), ("doubtful", "unknown", 5))):
        key = Table.key(text, 0, 0)
        table.history.fold(Intent(number, 1, key, "m0", 1, 5, 2.0), 0)
        table.history.fold(Settled(number, 1, charge, 0, most, "lost", None, None, 0.5), 0)
    again(table, Table.key("answered", 0, 0), Price(1, 5))
    costs = hindsight(table).costs
    assert (costs.naive, costs.spent, costs.saved) == (Cost(1, 1, 5), Cost(1, 1, 5), Cost())
    assert costs.in_doubt == Cost(1, 0, 5)


def test_answers_of_earlier_runs_are_reused():
    table = Table(["a", "b", "c"])
    again(table, Table.key("a", 0, 0))
    table.history.fold(Finished(1, 3.0), 0)
    table.history.fold(Began(2, "job", "{}", False, False, 4.0), 0)
    table.ask(never)
    costs = hindsight(table).costs
    assert (costs.naive, costs.after_reuse, costs.spent) == (Cost(3, 3, 3), Cost(2, 2, 2), Cost(2, 2, 2))


def test_a_price_that_changed_is_no_saving_of_a_cascade():
    table = Table(["a", "b"])
    again(table, Table.key("a", 0, 0), Price(4, 4))
    table.ask(never)
    costs = hindsight(table).costs
    assert costs.naive == costs.after_cascade == costs.spent == Cost(2, 5, 5)


def test_charges_without_keys_and_for_departed_rows_are_a_line_of_their_own():
    table = Table(["a"])
    table.history.fold(Settled(7, 1, "settled", 3, 3, None, None, 200, 0.5), 0)
    again(table, Table.key("gone", 0, 0))
    table.ask(never)
    costs = hindsight(table).costs
    assert (costs.departed, costs.naive, costs.spent) == (Cost(2, 4, 4), Cost(1, 1, 1), Cost(3, 5, 5))
    assert costs.saved == Cost(-2, -4, -4)


def adds_up(flow: Flow) -> dict[str, Cost]:
    """The costs of the latest run, which are those of its ledger."""
    ledger = pl.read_parquet(flow.output / "requests.parquet")
    summary = flow.summary()
    costs = {name: Cost(**told) for name, told in summary["costs"].items()}
    assert costs["spent"].credits_min == ledger["credits"].sum() == summary["credits"]["spent"]
    assert sum(model["credits"] for model in summary["models"].values()) == summary["credits"]["spent"]
    assert sum(model["requests"] for model in summary["models"].values()) == summary["requests"]["sent"]
    unknown = costs["spent"].credits_max - costs["spent"].credits_min + costs["in_doubt"].credits_max
    assert unknown == summary["credits"]["unknown_max"]
    assert costs["after_cascade"] + costs["asked_again"] + costs["departed"] == costs["spent"]
    return costs


def test_a_run_through_a_cap_and_a_resume_is_one_story(flow: Flow) -> None:
    flow.write(["same", "same", *(f"thing {n}" for n in range(10))])
    flow.run(limits={"credits": 4})
    costs = adds_up(flow)
    assert flow.summary()["stopped_by"] == "budget"
    assert costs["naive"].requests == flow.summary()["rows"]["answered"]
    flow.run(limits={"credits": 40})
    costs = adds_up(flow)
    assert (costs["naive"], costs["spent"], costs["saved"]) == (Cost(12, 12, 12), Cost(11, 11, 11), Cost(1, 1, 1))


@pytest.mark.parametrize("keys", [{"pack": 4}, {"model": ["deepseek-chat", "gpt-4o"], "escalate": [{"disagree": 2}]}])
def test_a_run_with_faults_adds_up(flow: Flow, keys: dict[str, object]) -> None:
    flow.emulator = Emulator(faults=Faults(seed=5, truncate=0.2, statuses={500: 0.1, 429: 0.1}, retry_after_s=0.01))
    flow.run(limits={"failures": "100%"}, **keys)
    costs = adds_up(flow)
    assert costs["naive"].requests == 12


def test_unreadable_replies_are_charged_for_as_asked_again(flow: Flow) -> None:
    answer = {"fields": {"mood": ["good", "bad"], "why": "string"}, "on_invalid": "ask_again"}
    flow.emulator = Emulator(faults=Faults(invalid_field=1.0))
    flow.run(answer=answer, retry={"attempts": 2}, limits={"failures": "100%"})
    costs = adds_up(flow)
    assert (costs["naive"], costs["asked_again"], costs["saved"]) == (
        Cost(12, 12, 12),
        Cost(12, 12, 12),
        Cost(-12, -12, -12),
    )
    assert flow.summary()["failures"] == {"invalid": 12}


def test_refusals_are_counted(flow: Flow) -> None:
    flow.write(["a", "[unsafe] b", "c", "[unsafe] b"])
    summary = flow.run(model="claude-opus-4", credits={"claude-opus-4": 5}).summary
    assert (summary["rows"]["refused"], summary["failures"]) == (2, {"refusal": 2})
    assert summary["models"] == {
        "claude-opus-4": {"requests": 3, "credits": 15, "credits_max": 15, "answered": 2, "climbed": 0}
    }
    summary = flow.run(model=["claude-opus-4", "gpt-4o"], output=str(flow.path / "up"), credits={"gpt-4o": 3}).summary
    assert (summary["rows"]["refused"], summary["failures"]) == (0, {})
    assert {name: (part["answered"], part["climbed"]) for name, part in summary["models"].items()} == {
        "claude-opus-4": (2, 2),
        "gpt-4o": (2, 0),
    }


def test_the_story_is_the_same_whenever_it_is_told(flow: Flow) -> None:
    flow.run()
    told = flow.summary()
    (flow.output / "summary.json").unlink()
    flow.run()
    assert {name: flow.summary()[name] for name in ("costs", "models", "failures")} == {
        name: told[name] for name in ("costs", "models", "failures")
    }
