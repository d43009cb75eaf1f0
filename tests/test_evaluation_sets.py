"""Scorers of several things at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.evaluation.sets import Items, contains_all, contains_any, exact_set, icontains_all, icontains_any
from journeybatch.evaluation.text import Plain

PLAIN = Plain()
REPLY = "Red, green and Blue; also 42."


@pytest.mark.parametrize(
    ("target", "some", "every"),
    [
        (["red", "Blue"], True, False),
        (["Red", "Blue"], True, True),
        (["pink"], False, False),
        ([42, None], True, True),
        ("Red, pink", True, False),
        ('["Red", "Blue"]', True, True),
        ('"Red, green", Blue', True, True),
        ('"Red, pink", black', False, False),
        ("Red", True, True),
        ("[Red", False, False),
    ],
)
def test_any_or_all_items_of_the_target_stand_in_the_answer(target, some, every):
    assert contains_any(PLAIN, REPLY, target).value == some
    assert contains_all(PLAIN, REPLY, target).value == every


def test_an_item_of_any_length_is_one():
    assert contains_any(PLAIN, REPLY, f"{'x' * 200_000}, Red").value == 1


def test_case_can_be_ignored():
    assert icontains_any(PLAIN, REPLY, ["pink", "RED"]).value == 1
    assert icontains_all(PLAIN, REPLY, ["RED", "blue"]).value == 1
    assert icontains_all(PLAIN, REPLY, ["RED", "pink"]).explanation == "'pink' not in it"


@pytest.mark.parametrize("target", [[], [None], ", ,"])
def test_no_items_leave_the_row_unscored(target):
    for grade in (contains_any, contains_all, icontains_any, icontains_all):
        assert grade(PLAIN, REPLY, target).value is None


@pytest.mark.parametrize(
    ("answer", "target", "right"),
    [
        ("blue, red", "red, blue", True),
        ("Blue; Red.", ["red", "blue"], True),
        ("- red\n- **blue**\n", "red, blue", True),
        ("1. red\n2) blue", '["blue", "red"]', True),
        ("red, red", "red", True),
        (["red", "blue", None], "blue, red", True),
        ([1, 2], "2, 1", True),
        ("red", "red, blue", False),
        ("red, blue, pink", "red, blue", False),
        ("", [], True),
        ("[]", [], True),
        ("none", [], False),
    ],
)
def test_sets_are_equal_in_any_order_and_form(answer, target, right):
    assert exact_set(Items(), answer, target).value == right


def test_a_set_that_differs_says_what_is_missing_and_what_is_too_many():
    assert exact_set(Items(), "red, pink", "red, blue").explanation == "missing: 'blue'; too many: 'pink'"


def test_case_and_separators_are_options():
    assert exact_set(Items(ignore_case=False), "Red", "red").value == 0
    assert exact_set(Items(separator="|"), "a, b|c", ["c", "a, b"]).value == 1


@given(st.lists(st.text(st.sampled_from("ab ,;[]\"'\n-1."), max_size=8), max_size=5), st.text(max_size=30))
def test_any_items_and_any_text_give_a_score(items, text):
    assert exact_set(Items(), items, list(reversed(items))).value == 1
    assert exact_set(Items(), text, text).value == 1
    for grade in (contains_any, contains_all):
        assert grade(PLAIN, text, items).value in (0, 1, None)
        assert grade(PLAIN, text, text).value in (0, 1, None)


@given(st.text(max_size=30), st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=3))
def test_all_implies_any(text, items):
    assert contains_all(PLAIN, text, items).value <= contains_any(PLAIN, text, items).value
