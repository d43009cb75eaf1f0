"""When a cascade goes up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.escalation import DEFAULT, LOOKED_AT, Rules, declines, rules_of
from journeybatch.verdict import ANSWERED, DECLINED, INVALID, MISSED, REFUSED, WEAK


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I can’t assist with this request.",
        "Sorry, I cannot comply.",
        "I am unable to help with that.",
        "As an AI language model, I cannot provide that.",
        "Unfortunately, I will not write this.",
        '"I must decline."',
        "I apologize, but I'm not able to engage with this.",
    ],
)
def test_a_refusal_is_told_by_its_first_words(text):
    assert declines(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Positive",
        "The author says: I can't help with that.",
        "I can't recommend this hotel enough!",
        "I can help with that.",
        "Sorry is the hardest word.",
        "Unfortunately the room was cold. I can't complain about the food.",
        "x" * LOOKED_AT + " I'm sorry, I can't help.",
    ],
)
def test_an_answer_about_refusals_is_none(text):
    assert not declines(text)


@given(st.text())
def test_any_text_can_be_looked_at(text):
    assert declines(text) in (True, False)


def test_looking_at_a_long_text_is_quick():
    assert not declines("sorry " * 200_000)
    assert not declines("as an ai " + "word " * 200_000)


def test_rules_say_which_verdicts_send_a_row_up():
    assert Rules().up == {WEAK}
    assert rules_of(DEFAULT).up == {WEAK, INVALID, REFUSED, DECLINED}
    assert rules_of(["length", "error"]).up == {WEAK}
    assert not {ANSWERED, MISSED} & rules_of(["invalid", "refusal", "length", "error"]).up


def test_an_answer_is_weak_when_cut_off_or_below_a_bound():
    rules = rules_of(["length", {"field": "sure", "below": 0.7}])
    assert rules.weak("length", {"sure": 1.0})
    assert not rules.weak("stop", {"sure": 0.7})
    assert rules.weak("stop", {"sure": 0.69})
    for nothing in ({}, {"sure": None}, {"sure": math.nan}, {"sure": "high"}):
        assert rules.weak("stop", nothing)
    assert not rules_of(["invalid"]).weak("length", {})


@pytest.mark.parametrize(
    "item",
    [
        "often",
        3,
        None,
        [],
        {},
        {"disagree": 1},
        {"disagree": 10},
        {"disagree": True},
        {"disagree": 3, "field": "x"},
        {"field": "x", "below": "low"},
        {"field": "x", "below": True},
        {"field": "x", "below": math.nan},
        {"field": "x", "below": 10**400},
        {"field": 3, "below": 0.5},
    ],
)
def test_what_is_no_rule_is_an_error_that_names_the_rules(item):
    with pytest.raises(ValueError, match=r"invalid, refusal, length, error.*below: 0.7.*disagree: N"):
        rules_of([item])


def test_only_rules_that_decide_a_verdict_change_how_replies_are_read():
    assert Rules().identity == rules_of(["invalid", "error"]).identity == rules_of(["refusal"]).identity == ""
    identities = {
        rules_of(rules).identity
        for rules in (["length"], [{"disagree": 2}], [{"field": "a", "below": 1}], ["length", {"disagree": 2}])
    }
    assert len(identities) == 4
    assert "" not in identities
