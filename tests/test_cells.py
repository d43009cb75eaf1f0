"""What a template gets to see of a cell."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.cells import Fields, Items, json_text, shown
from journeybatch.errors import TemplateError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100)
@given(st.lists(PLAIN, max_size=4) | st.dictionaries(st.text(max_size=3), PLAIN, max_size=4))
def test_lists_and_structs_print_as_the_json_of_what_they_hold(value):
    assert json.loads(str(shown(value))) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1E-7"), "0.0000001"),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, 3, 4, tzinfo=UTC), "2024-01-02T03:04:00+00:00"),
        (time(1, 2, 3), "01:02:03"),
        (timedelta(days=1, hours=2), "1 day, 2:00:00"),
    ],
)
def test_times_and_decimals_are_text_at_every_depth(value, text):
    assert shown(value) == text
    assert shown([value])[0] == text
    assert shown({"a": value})["a"] == text
    assert json_text(shown([value])) == json.dumps([text])


def test_a_null_inside_has_no_value():
    with pytest.raises(IndexError):
        Items(["a", None])[1]
    with pytest.raises(KeyError):
        Fields({"a": None})["a"]


def test_nothing_but_values_is_offered():
    assert [name for name in dir(Items([])) if not name.startswith("_")] == []
    assert [name for name in dir(Fields({})) if not name.startswith("_")] == []


@pytest.mark.parametrize("value", [b"x", object(), 1j, {1}])
def test_what_no_prompt_can_carry_is_refused(value):
    with pytest.raises(TemplateError, match=type(value).__name__):
        shown(value)
