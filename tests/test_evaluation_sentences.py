"""Sentences on comparisons: what anyone can read."""

import msgspec
import pytest

from journeybatch.evaluation.comparison import compare, correct
from journeybatch.evaluation.estimates import Interval
from journeybatch.evaluation.sentences import sentence


def counted(both, only_a, only_b, neither):
    before = [1.0] * (both + only_a) + [0.0] * (only_b + neither)
    return before, [1.0] * both + [0.0] * only_a + [1.0] * only_b + [0.0] * neither


BETTER = compare(("A", "B"), *counted(500, 30, 61, 409))
LEVEL = compare(("A", "B"), *counted(500, 30, 34, 436))


def changed(seen, **fields):
    return msgspec.structs.replace(seen, **fields)


def test_a_better_variant():
    told = correct([BETTER, LEVEL])[0]
    assert sentence(told) == ("B answers 3.1 points more than A, 95 % interval 1.2 to 5.0, p = 0.003 after correction")


def test_a_worse_variant_is_told_from_its_own_side():
    worse = compare(("A", "B"), *reversed(counted(500, 30, 61, 409)))
    assert sentence(worse) == "B answers 3.1 points less than A, 95 % interval 1.2 to 5.0, p = 0.0015"


def test_variants_that_cannot_be_told_apart():
    assert sentence(LEVEL) == (
        "B cannot be told from A with these rows: difference 0.4 points, interval −1.2 to 2.0; "
        "differences under 2.3 points would not be seen here"
    )


def test_scores_that_are_no_shares_are_told_as_they_are():
    told = changed(BETTER, shares=False, difference=12.345, interval=Interval(0.5, 24.19, 0.9, "t"), p_corrected=0.0001)
    assert sentence(told) == "B scores 12.3 more than A, 90 % interval 0.5 to 24.2, p < 0.001"


def test_an_interval_without_0_is_explained_by_its_p():
    told = compare(("A", "B"), *counted(1, 1, 7, 12))
    assert sentence(told) == (
        "B cannot be told from A with these rows: difference 28.6 points, interval 2.6 to 50.7, p = 0.07; "
        "differences under 36.5 points would not be seen here"
    )


def test_too_few_rows_or_clusters():
    few = compare(("A", "B"), [0, 0, 1], [1, 1, 1])
    assert sentence(few).endswith("no difference would be seen with 3 rows")
    clustered = compare(("A", "B"), [0.0] * 9, [1.0] * 8 + [0.0], list("aaabbbccc"))
    assert sentence(clustered).endswith("no difference would be seen with 3 clusters")


@pytest.mark.parametrize(
    ("scores", "end"),
    [([0.5] * 9, "they score the same in all 9 rows"), ([1.0], "no difference would be seen with 1 row")],
)
def test_no_difference_in_any_row(scores, end):
    assert sentence(compare(("A", "B"), scores, scores)).endswith(end)


def test_no_common_row():
    assert sentence(compare(("A", "B"), [None], [1])) == "B cannot be compared with A: no row has a score from both"


def test_a_tiny_difference_is_not_told_as_none():
    told = changed(BETTER, difference=0.00012, interval=Interval(0.00003, 0.00021, 0.95, "t"), detectable=0.0002)
    assert sentence(told).startswith("B answers 0.012 points more than A, 95 % interval 0.003 to 0.021,")
