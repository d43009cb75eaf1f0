"""The account's loss against the ledger: five verdicts, each with one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.reconciliation import lost_between, reconcile

CREDITS = st.integers(0, 10**6)
HUNDREDTHS = st.integers(-(10**9), 10**9).map(lambda cents: cents / 100)


@pytest.mark.parametrize(
    ("before", "after", "spent", "doubt", "verdict", "difference", "message"),
    [
        (100, 90, 10, 0, "agrees", 0, "the account lost 10 credits, as the ledger says"),
        (100, 100, 0, 0, "agrees", 0, "the account lost 0 credits, as the ledger says"),
        (9, 8, 1, 5, "agrees", 0, "the account lost 1 credit, as the ledger says; none of the 5 in doubt was charged"),
        (99, 86, 10, 5, "in doubt", 0, "the account lost 13 credits: 10 certainly, and of 5 in doubt 3 were charged"),
        (99, 84, 10, 5, "in doubt", 0, "the account lost 15 credits: 10 certainly, and of 5 in doubt 5 were charged"),
        (99, 88, 10, 5, "in doubt", 0, "the account lost 11 credits: 10 certainly, and of 5 in doubt 1 was charged"),
    ],
)
def test_a_loss_between_least_and_most_is_explained(before, after, spent, doubt, verdict, difference, message):
    found = reconcile(before, after, spent, doubt)
    assert (found.lost, found.least, found.most) == (before - after, spent, spent + doubt)
    assert (found.verdict, found.difference, found.message) == (verdict, difference, message)


def test_a_greater_loss_names_both_causes_and_the_next_step():
    found = reconcile(100, 80, 10, 5, models=["gpt-4o"])
    assert (found.verdict, found.lost, found.difference) == ("more", 20, 5)
    assert found.message == (
        "the account lost 20 credits, 5 more than the ledger's 10 to 15 credits: somebody else uses the account at the "
        "same time, or a price is wrong; measure the price with `models --measure gpt-4o`, or give it with "
        "`credits: {gpt-4o: N}`"
    )


def test_a_smaller_loss_names_both_causes_and_the_next_step():
    found = reconcile(100, 97, 10, 0)
    assert (found.verdict, found.lost, found.difference) == ("less", 3, -7)
    assert found.message == (
        "the account lost 3 credits, 7 less than the ledger's 10 credits: a price in the ledger is too high, or the "
        "account was topped up or refunded meanwhile; measure the price with `models --measure MODEL`, or give it "
        "with `credits: {MODEL: N}`"
    )


def test_a_top_up_is_a_gain():
    found = reconcile(100, 150, 10, 0)
    assert (found.verdict, found.lost, found.difference) == ("less", -50, -60)
    assert found.message.startswith("the account gained 50 credits, 60 less than the ledger's 10 credits")


@pytest.mark.parametrize(
    ("before", "after", "which"), [(None, 5, "before"), (5, None, "after"), (None, None, "before and after")]
)
def test_a_missing_balance_leaves_it_unknown(before, after, which):
    found = reconcile(before, after, 3, 2)
    assert (found.lost, found.least, found.most, found.verdict, found.difference) == (None, 3, 5, "unknown", None)
    assert found.message == (
        f"the account's balance {which} is not known, so the ledger's 3 to 5 credits cannot be compared with it"
    )


def test_a_balance_that_is_no_number_is_missing():
    found = reconcile(float("nan"), 5, 3, 0)
    assert (found.lost, found.verdict) == (None, "unknown")
    assert "is not known" in found.message


def test_fractions_are_exact():
    assert lost_between(0.3, 0.1) == 0.2
    found = reconcile(1000.3, 997.3, 3, 0)
    assert (found.verdict, found.lost, type(found.lost)) == ("agrees", 3, int)
    found = reconcile(100.1, 97, 3, 0)
    assert (found.verdict, found.lost, found.difference) == ("more", 3.1, 0.1)
    assert "lost 3.1 credits, 0.1 more" in found.message


@given(HUNDREDTHS, HUNDREDTHS)
def test_fractions_subtract_as_their_hundredths_do(before, after):
    lost = lost_between(before, after)
    assert lost is not None
    assert lost == (round(before * 100) - round(after * 100)) / 100


@given(st.integers(), st.integers(), CREDITS, CREDITS)
def test_the_verdict_says_where_the_loss_lies(before, after, spent, doubt):
    found = reconcile(before, after, spent, doubt)
    lost = before - after
    assert found.lost == lost
    assert found.difference == max(lost - spent - doubt, 0) + min(lost - spent, 0)
    assert (found.verdict == "more") == (lost > spent + doubt)
    assert (found.verdict == "less") == (lost < spent)
    assert (found.verdict == "agrees") == (lost == spent)
    assert "\n" not in found.message
    assert not found.message.endswith(".")
