"""The plan equals the bill when nothing fails, whatever was asked before, however rows are packed and climb."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import PRICES, Table, always, never, sometimes

from journeybatch.costs import Cost
from journeybatch.entries import Intent
from journeybatch.packing import Limit, Sizing
from journeybatch.planning import pack_counter, typical_latency_s
from journeybatch.rendering import Problem
from journeybatch.survey import Survey

texts = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=25)
tables = st.builds(
    Table, texts, tiers=st.integers(1, 3), repeats=st.integers(1, 3), pack=st.integers(1, 5)
) | st.builds(Table, texts, samples=st.integers(1, 3), pack=st.integers(1, 5))


@settings(deadline=None, max_examples=20)
@given(tables, st.integers(0, 12), st.integers(1, 4))
def test_the_best_case_is_the_bill_if_no_row_climbs(table, before, pack):
    table.begin(before, pack)
    planned = table.plan()
    bill = table.ask(never)
    assert bill == planned.costs.best
    assert (planned.requests, planned.credits_min) == (bill.requests, bill.credits_min)
    assert bool(planned.requests) == any(rows.any() for rows in planned.wanted)
    assert table.plan().requests == 0


@settings(deadline=None, max_examples=20)
@given(tables, st.integers(0, 12), st.integers(1, 4))
def test_the_worst_case_is_the_bill_if_all_rows_climb(table, before, pack):
    table.begin(before, pack)
    planned = table.plan()
    bill = table.ask(always)
    assert bill == planned.costs.worst
    assert planned.credits_max == bill.credits_max


@settings(deadline=None, max_examples=20)
@given(st.builds(Table, texts, tiers=st.integers(1, 3), repeats=st.integers(1, 3)), st.integers(0, 12))
def test_any_other_bill_lies_between_them(table, before):
    table.ask(always, before)
    costs = table.plan().costs
    bill = table.ask(sometimes)
    assert costs.best.requests <= bill.requests <= costs.worst.requests
    assert costs.best.credits_min <= bill.credits_min <= bill.credits_max <= costs.worst.credits_max


@settings(deadline=None, max_examples=20)
@given(tables)
def test_each_stage_costs_no_more_than_the_one_before(table):
    costs = table.plan().costs
    stages = [costs.naive, costs.after_reuse, costs.after_packing]
    assert [stage.requests for stage in stages] == sorted((stage.requests for stage in stages), reverse=True)
    assert costs.naive.requests == table.surveyed.rows
    if len(table.steps) == 1:
        assert costs.after_packing == costs.best == costs.expected == costs.worst


def test_identical_rows_are_one_prompt_and_packs_are_counted_by_what_fits():
    planned = Table(["a1", "a2", "a1", "d3"], pack=20).plan()
    assert (planned.rows, planned.distinct, planned.reused) == (4, 3, 0)
    assert [planned.costs.naive, planned.costs.after_reuse, planned.costs.after_packing] == [
        Cost(4, 4, 4),
        Cost(3, 3, 3),
        Cost(1, 1, 1),
    ]


def test_samples_are_asked_on_purpose_and_no_saving():
    costs = Table(["a", "b"], samples=3).plan().costs
    assert costs.naive == costs.after_reuse == costs.best == Cost(6, 6, 6)


def test_a_cascade_is_compared_with_the_strongest_model():
    costs = Table(["a", "b"], tiers=2, repeats=3).plan().costs
    assert costs.naive == Cost(2, 2, 10)
    assert (costs.best, costs.worst) == (Cost(6, 6, 6), Cost(8, 8, 16))


@pytest.mark.parametrize(("done", "expected"), [(19, None), (20, 40 + 10 * 5), (40, 20 + 5 * 5)])
def test_the_expected_case_needs_twenty_rows_and_takes_their_rate(done, expected):
    table = Table([f"{number:03}" for number in range(60)], tiers=2)
    up = {table.key(f"{number:03}", 0, 0) for number in range(0, 60, 4)}
    for number in range(done):
        key = table.key(f"{number:03}", 0, 0)
        table.answer(0, [key], PRICES[0], up.__contains__)
        if key in up:
            table.answer(1, [table.key(f"{number:03}", 1, 0)], PRICES[1], never)
    planned = table.plan()
    assert planned.credits_expected == expected
    if expected:
        assert planned.costs.best.requests < planned.costs.expected.requests < planned.costs.worst.requests


def test_rows_that_reach_a_step_in_different_rounds_go_in_different_packs():
    table = Table(["a1", "a2", "a3", "a4", "a5"], tiers=2, repeats=2, pack=5)
    table.begin(1, 2)
    planned = table.plan()
    assert planned.costs.best == Cost(3, 3, 3)
    assert table.ask(never) == planned.costs.best


def test_the_expected_case_goes_through_every_model():
    table = Table([f"{number:03}" for number in range(140)], tiers=3)
    for number in range(40):
        for tier, up in ((0, True), (1, number % 2 == 0), (2, False))[: 3 - number % 2]:
            table.answer(tier, [table.key(f"{number:03}", tier, 0)], PRICES[tier], lambda _, up=up: up)
    costs = table.plan().costs
    assert costs.expected == Cost(250, 100 + 100 + 50 * 2, 100 + 100 * 5 + 50 * 7)
    assert (costs.best.requests, costs.worst.requests) == (100, 300)


def test_a_held_doubt_is_asked_by_no_step():
    table = Table(["a", "b"], tiers=2, repeats=2)
    key = table.key("a", 0, 0)
    table.history.fold(Intent(0, 1, key, "m0", 1, 1, 2.0), 0)
    planned = table.plan(on_unknown="hold")
    assert (planned.reused, planned.costs.best.requests, planned.costs.worst.requests) == (1, 2, 3)
    assert table.plan().costs.worst.requests == 6


def test_rows_that_cannot_be_rendered_cost_nothing_and_are_told():
    table = Table(["a", "b"])
    keys = pl.Series([None, table.key("b", 0, 0)], dtype=pl.Binary)
    table.surveyed = Survey([keys], [Problem(0, "no text")], [], [])
    planned = table.plan()
    assert planned.problems == ["row 0: no text"]
    assert (planned.requests, planned.distinct) == (1, 1)


def test_a_plan_as_json_has_its_costs_and_not_its_rows():
    told = Table(["a"]).plan().json()
    assert told["costs"]["naive"] == {"requests": 1, "credits_min": 1, "credits_max": 1}
    assert "wanted" not in told


def test_the_latency_is_that_of_earlier_answers():
    table = Table(["a", "b"])
    assert table.plan().seconds_estimate is None
    table.ask(never, 1)
    assert typical_latency_s(table.history) == 0.5
    assert table.plan().seconds_estimate == 0.5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("abcdefgh", min_size=1, max_size=30), min_size=1, max_size=60, unique=True),
    st.integers(2, 9),
    st.integers(1, 3),
    st.sampled_from([90, 150, 400, 100_000]),
)
def test_packs_are_counted_as_they_will_be_formed(texts, rows, samples, characters):
    table = Table(texts, samples=samples)
    sizing = Sizing(Limit(rows, characters), 20)
    wanted = table.surveyed.keys.is_not_null()
    formed = sum(1 for _ in sizing.packs(table.surveyed, 0, ((at, None) for at in wanted.arg_true())))
    assert pack_counter(table.surveyed, sizing)(0, wanted) == formed
