"""Costs add up end by end, and are told as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.costs import Cost, cost, interval
from journeybatch.records import Price

costs = st.builds(Cost, st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))


@given(costs, costs, costs)
def test_costs_add_up_in_any_order_and_what_is_taken_away_can_be_put_back(one, two, three):
    assert (one + two) + three == three + (two + one)
    assert one + two - two == one + Cost() == one


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 5), st.integers(0, 5))
def test_a_price_holds_for_every_request(few, more, least, above):
    price = Price(least, least + above)
    assert cost(few, price) + cost(more, price) == cost(few + more, price)


@pytest.mark.parametrize(("ends", "text"), [((22, 22), "22"), ((22, 110), "22 to 110"), ((54, -42), "-42 to 54")])
def test_an_interval_is_one_number_or_both_ends_the_lower_first(ends, text):
    assert interval(*ends) == text == Cost(1, *ends).credits
