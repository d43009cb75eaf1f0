"""Agreement: which answers count as the same, and how sure a share of them is."""

import math
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from journeybatch.agreement import (
    Trial,
    agrees,
    chance,
    choose,
    compare,
    interval,
    ladder,
    lower_bound,
    rows_needed,
    similar,
)

LONG = "The parcel came two days late and the box was torn open at one side"
texts = st.text(st.sampled_from("ab 1,.-e\n!É"), max_size=30)


@st.composite
def counts(draw, most=60):
    of = draw(st.integers(1, most))
    return draw(st.integers(0, of)), of


def tail(agreed, of, rate):
    """P(X ≥ agreed) without rounding."""
    rate = Fraction(rate)
    return sum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(agreed, of + 1))


# ── Texts ────────────────────────────────────────────────────────────────────────────────────────────────────────


EQUAL = [("Good", "good."), ("very  good\n", "Very good!"), ("STRASSE", "straße"), ("", " \n"), ("?", "?")]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_case_white_space_and_closing_punctuation_do_not_count(one, other):
    assert similar(one, other) == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("positive", "negative"),
        ("not that good", "now that good"),
        ("?", "!"),
        ("C++", "C#"),
        ("positive", "The sentiment of this is positive"),
        ("", LONG),
        ("50%", "51%"),
    ],
)
def test_labels_agree_only_with_their_equals(one, other):
    assert similar(one, other) == 0.0
    assert not agrees(one, other, 0.01)


def test_a_text_of_four_words_is_no_label():
    assert 0 < similar("the box was torn", "the box was worn") < 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("{} so the sum is 1,000", "{} so the sum is 1000", True),
        ("{} so the sum is 42.0", "{} so the sum is 42", True),
        ("{} so the sum is .5", "{} so the sum is 0.50", True),
        ("{} so the sum is −3", "{} so the sum is -3", True),
        ("{} so the sum is -3", "{} so the sum is 3", False),
        ("{} so the sum is 41", "{} so the sum is 42", False),
        ("{} so the sum is 1e5", "{} so the sum is 1e6", False),
        ("{} so the sum is 1/2", "{} so the sum is 1/3", False),
        ("3 and {} make 42", "4 and {} make 42", True),
        ("3 and {} make many", "{} make many", True),
        ("{} as model a5 has it", "{} as model a6 has it", True),
    ],
)
def test_the_last_numbers_of_two_long_texts_must_be_equal_in_value(one, other, same):
    assert agrees(one.format(LONG), other.format(LONG)) is same


def test_long_texts_agree_by_their_words_in_any_order():
    assert similar(LONG, " ".join(reversed(LONG.split()))) == 1.0
    assert agrees(LONG, LONG.replace("came", "arrived"))
    assert not agrees(LONG, "What a lovely colour this has, my whole family wants one as well")


def test_the_threshold_itself_agrees():
    found = similar(LONG, other := LONG.replace("torn", "worn"))
    assert agrees(LONG, other, found) and not agrees(LONG, other, math.nextafter(found, 2))


@given(texts, texts)
def test_similarity_is_a_share_and_the_same_either_way_round(one, other):
    assert 0 <= similar(one, other) == similar(other, one) <= 1


@given(st.text())
def test_a_text_is_wholly_similar_to_itself(text):
    assert similar(text, text) == similar(text, f"  {text}\n") == 1.0


def test_the_module_is_imported_without_rapidfuzz():
    code = "import sys, journeybatch.agreement; sys.exit('rapidfuzz' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# ── Trials ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_agrees_if_all_its_fields_do():
    pairs = [
        ({"label": "good", "score": 3}, {"label": "Good.", "score": 3.0}),
        ({"label": "good", "score": 3}, {"label": "good", "score": 4}),
        ({"label": "good", "score": None}, {"label": "good", "more": 1}),
        ({"label": "good", "score": 1}, {"label": "bad", "score": True}),
        ({"label": "good", "score": 2}, None),
    ]
    assert compare(8, pairs) == Trial(8, 2, 5, {"label": (3, 5), "score": (2, 5)})


def test_the_threshold_of_a_comparison_is_the_callers():
    pairs = [({"response": LONG}, {"response": LONG.replace("came", "arrived")})]
    assert compare(4, pairs).agreed == 1
    assert compare(4, pairs, threshold=1.0).agreed == 0


# ── Bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("agreed", "of", "low", "high"),
    [  # the exact method in table I of Newcombe 1998, Statistics in Medicine 17, 857-872
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0000, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_intervals_are_the_published_ones(agreed, of, low, high):
    assert interval(agreed, of) == (pytest.approx(low, abs=5.1e-5), pytest.approx(high, abs=5.1e-5))


def test_bounds_at_the_ends_are_roots():
    assert lower_bound(100, 100) == pytest.approx(0.05 ** (1 / 100), abs=1e-12)
    assert lower_bound(1, 10) == pytest.approx(1 - 0.95 ** (1 / 10), abs=1e-12)
    assert lower_bound(0, 100) == lower_bound(0, 0) == 0.0
    assert interval(0, 0) == (0.0, 1.0)


@given(counts(), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_at_the_bound_the_tail_is_what_the_confidence_leaves(seen, confidence):
    agreed, of = seen
    assume(agreed)
    assert float(tail(agreed, of, lower_bound(agreed, of, confidence))) == pytest.approx(1 - confidence, rel=1e-9)


@given(counts(), st.floats(0.001, 0.999))
def test_the_chance_is_the_exact_tail_of_the_binomial(seen, rate):
    assert chance(*seen, rate) == pytest.approx(float(tail(*seen, rate)), rel=1e-9)


@given(counts(), st.floats(0.01, 0.99))
def test_the_two_sides_mirror_each_other(seen, confidence):
    agreed, of = seen
    low, high = interval(agreed, of, confidence)
    assert interval(of - agreed, of, confidence) == (pytest.approx(1 - high), pytest.approx(1 - low))
    assert 0 <= low <= agreed / of <= high <= 1


@given(counts(), st.floats(0.5, 0.98))
def test_the_bound_grows_with_agreement_and_sinks_with_confidence(seen, confidence):
    agreed, of = seen
    bound = lower_bound(agreed, of, confidence)
    assert bound < lower_bound(agreed + 1, of + 1, confidence)
    assert bound >= lower_bound(agreed, of + 1, confidence)
    assert bound >= lower_bound(agreed, of, confidence + 0.01)


@pytest.mark.parametrize("of", [5, 30])
def test_the_bound_is_above_the_true_rate_no_more_often_than_it_says(of):
    bounds = [lower_bound(k, of, 0.9) for k in range(of + 1)]
    for rate in (n / 100 for n in range(1, 100)):
        too_high = sum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(of + 1) if bounds[k] > rate)
        assert too_high <= 0.1 + 1e-9


def test_large_samples_neither_overflow_nor_underflow():
    assert lower_bound(99_000, 100_000) == pytest.approx(0.99 - 1.645 * math.sqrt(0.0099 / 1e5), abs=5e-5)
    assert chance(1, 100_000, 0.999) == 1.0
    assert chance(100_000, 100_000, 0.5) == 0.0


@pytest.mark.parametrize(("target", "rows"), [(0.5, 5), (0.9, 29), (0.95, 59), (0.99, 299)])
def test_rows_needed_are_those_of_the_textbook(target, rows):
    assert rows_needed(target) == rows


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_rows_needed_are_enough_and_one_fewer_is_not(target, confidence):
    rows = rows_needed(target, confidence)
    assert lower_bound(rows, rows, confidence) >= target
    assert rows == 1 or lower_bound(rows - 1, rows - 1, confidence) < target


@pytest.mark.parametrize("counts", [(2, 1), (-1, 3)])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(ValueError, match="agree; found"):
        lower_bound(*counts)


@pytest.mark.parametrize("share", [0, 1, 1.5, -1, math.nan])
def test_shares_outside_of_0_to_1_are_refused(share):
    for refused in (
        lambda: lower_bound(1, 2, share),
        lambda: interval(1, 2, share),
        lambda: chance(1, 2, share),
        lambda: rows_needed(share),
        lambda: rows_needed(0.9, share),
        lambda: choose([], share),
        lambda: choose([], 0.9, share),
    ):
        with pytest.raises(ValueError, match="between 0 and 1"):
            refused()


# ── The choice ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_largest_size_below_the_first_failure_is_chosen():
    trials = [Trial(64, 120, 120), Trial(8, 118, 120), Trial(32, 80, 120), Trial(16, 117, 120)]
    choice = choose(trials, 0.9)
    assert choice.size == 16
    assert choice.lower == lower_bound(117, 120)
    assert [trial.size for trial in choice.trials] == [8, 16, 32, 64]
    assert choice.why == (
        "16 rows a request: 117 of 120 answers agree with those asked singly, lower bound 93.6 %; "
        "32 do not show 90 %: 80 of 120 answers agree with those asked singly, lower bound 58.9 % "
        "(bounds at 95 % confidence, rows taken as independent)"
    )


def test_rows_go_singly_where_the_smallest_size_fails():
    choice = choose([Trial(4, 20, 20), Trial(8, 500, 500)], 0.95)
    assert (choice.size, choice.lower) == (1, 1.0)
    assert choice.why.startswith("1 row a request; 4 do not show 95 %: 20 of 20 ")
    assert "it takes 59 compared rows or more" in choice.why


def test_the_reason_says_where_no_larger_size_was_tried():
    assert "; no larger size was tried" in choose([Trial(4, 100, 100)], 0.95).why
    assert choose([], 0.95).why == "1 row a request; no larger size was tried"


def test_a_bound_is_never_rounded_up_to_what_was_asked():
    why = choose([Trial(4, 58, 58)], 0.95).why  # 0.9497
    assert "lower bound 94.9 %" in why and "do not show 95 %" in why


def test_one_size_tried_twice_is_refused():
    with pytest.raises(ValueError, match="one trial for each size"):
        choose([Trial(4, 1, 1), Trial(4, 2, 2)], 0.9)


@given(st.lists(counts(200), max_size=5), st.floats(0.5, 0.99))
def test_every_size_up_to_the_chosen_one_meets_its_bound_and_the_next_does_not(seen, agreement):
    trials = [Trial(2**n, *pair) for n, pair in enumerate(seen, 1)]
    chosen = choose(trials, agreement).size
    meets = {trial.size: lower_bound(trial.agreed, trial.of) >= agreement for trial in trials}
    assert all(meets[size] for size in meets if size <= chosen)
    assert not meets.get(chosen * 2, False)


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (-5, ()),
        (0, ()),
        (1, ()),
        (2, (2,)),
        (3, (3,)),
        (4, (4,)),
        (7, (4,)),
        (50, (4, 8, 16, 32)),
        (64, (4, 8, 16, 32, 64)),
    ],
)
def test_a_ladder_doubles_up_to_the_most(most, sizes):
    assert ladder(most) == sizes
