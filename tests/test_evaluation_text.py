"""Scorers of text."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.evaluation.score import each_of_any
from journeybatch.evaluation.text import (
    Distance,
    Likeness,
    Match,
    Plain,
    Regex,
    check_pattern,
    contains,
    ends_with,
    equals,
    f1,
    icontains,
    iequals,
    levenshtein,
    match,
    search,
    similar,
    starts_with,
)

PLAIN = Plain()
words = st.text(st.sampled_from("aAbB ,.ßİ\n東"), max_size=20)


@pytest.mark.parametrize(
    ("grade", "answer", "target", "right"),
    [
        (equals, "Paris", "Paris", True),
        (equals, " Paris\n", "Paris", True),
        (equals, "Paris.", "Paris", False),
        (equals, "paris", "Paris", False),
        (equals, "4", 4, True),
        (equals, "4.0", 4, True),
        (equals, "1.50", Decimal("1.500"), True),
        (contains, "it is 1.5", Decimal("1.50"), True),
        (equals, "four", 4, False),
        (equals, 4.0, "4", True),
        (equals, 4, "4.00", True),
        (equals, 4, "four", False),
        (equals, 4, "sNaN", False),
        (equals, 0.1 + 0.2, "0.3", True),
        (equals, True, "True", True),
        (equals, True, True, True),
        (equals, False, "true", False),
        (iequals, "PARIS", "paris", True),
        (iequals, "STRASSE", "straße", True),
        (iequals, "Paris!", "paris", False),
        (iequals, 4.0, "4", True),
        (contains, "It is Paris.", "Paris", True),
        (contains, "It is PARIS.", "Paris", False),
        (contains, "It is 42.", 42, True),
        (icontains, "It is PARIS.", "Paris", True),
        (icontains, "It is Rome.", "Paris", False),
        (starts_with, "\nYes, it is", "Yes", True),
        (starts_with, "Oh yes", "yes", False),
        (ends_with, "it is a yes\n", "yes", True),
        (ends_with, "yes it is", "yes", False),
    ],
)
def test_a_text_is_the_target_or_holds_it(grade, answer, target, right):
    score = grade(PLAIN, answer, target)
    assert score.value == right
    assert bool(score.explanation) != right


@pytest.mark.parametrize(
    ("location", "answer", "target", "right"),
    [
        ("end", "The capital is Paris.", "paris", True),
        ("end", "The capital is **Paris**!", "Paris", True),
        ("end", "Paris it is", "Paris", False),
        ("end", "25", "5", False),
        ("end", "unbelievable", "able", False),
        ("end", "答えは東京", "東京", True),
        ("begin", '"Paris", I think', "paris", True),
        ("begin", "Parisian life", "Paris", False),
        ("any", "I think Paris it is", "paris", True),
        ("any", "Parisian or Paris", "paris", True),
        ("any", "comparison", "paris", False),
        ("any", "答えは東京です", "東京", True),
        ("exact", "Paris.", "paris", True),
        ("exact", "In Paris", "paris", False),
    ],
)
def test_match_looks_at_a_place_and_takes_whole_words(location, answer, target, right):
    assert match(Match(location=location), answer, target).value == right


def test_match_can_mind_case_and_punctuation():
    assert match(Match(location="exact", ignore_case=False), "paris.", "Paris").value == 0
    assert match(Match(location="exact", ignore_punctuation=False), "paris.", "Paris").value == 0
    assert match(Match(), "what?", "?").value is None


def regex(answers, targets, **options):
    return search(Regex(**options), answers, targets, ())


def test_a_pattern_is_searched_for_and_what_it_finds_is_the_answer():
    found = regex(["year 1999!", "none", "2001"], [r"\d{4}"] * 3)
    assert [(score.value, score.answer) for score in found] == [(1, "1999"), (0, None), (1, "2001")]


def test_each_row_may_have_its_own_pattern_and_a_bad_one_leaves_only_its_row_unscored():
    good, bad, other = regex(["abc", "abc", "abc"], ["b.", "(", "^c"])
    assert (good.value, bad.value, other.value) == (1, None, 0)
    assert "unclosed group" in bad.explanation


def test_a_pattern_can_ignore_case_and_a_list_of_patterns_holds_alternatives():
    assert regex(["YES"], ["yes"], ignore_case=True)[0].value == 1
    assert [score.value for score in regex(["a", "b", "c"], [["^a", "b$"]] * 3)] == [1, 1, 0]


@pytest.mark.parametrize(("pattern", "why"), [("(", "unclosed group"), ("(?=a)", "look-around"), (r"(a)\1", "backref")])
def test_a_pattern_that_could_hang_or_is_none_is_refused(pattern, why):
    with pytest.raises(ValueError, match=rf"is no regular expression that runs in linear time: .*{why}"):
        check_pattern(Regex(), pattern)


def test_no_pattern_takes_more_than_linear_time():
    check_pattern(Regex(), "(a+)+$")
    assert regex(["a" * 50_000 + "b"], ["(a+)+$"])[0].value == 0


@pytest.mark.parametrize(
    ("answer", "target", "value"),
    [
        ("The Eiffel Tower", "eiffel tower!", 1),
        ("in Paris, France", "Paris", 0.5),
        ("Paris Paris", "Paris", 2 / 3),
        ("Rome", "Paris", 0),
        ("the", "a", 1),
        ("the", "Paris", 0),
    ],
)
def test_f1_is_that_of_squad(answer, target, value):
    assert f1(PLAIN, answer, target).value == pytest.approx(value)


def test_likeness_is_that_of_letters():
    assert similar(Likeness(), "Paris", "paris").value == 1
    assert similar(Likeness(ignore_case=False), "Paris", "paris").value == pytest.approx(0.8)
    assert similar(Likeness(), "abc", "xyz").value == 0
    assert levenshtein(Distance(distance=1), "kitten", "mitten").value == 1
    assert levenshtein(Distance(distance=2), "kitten", "sitting").value == 0
    assert levenshtein(Distance(), "kitten", "sitting").value == 1


def test_texts_too_long_to_compare_are_unscored():
    long = "ab" * 60_000
    assert similar(Likeness(), long, long).value is None
    assert levenshtein(Distance(distance=10**6), long, long).value is None


def test_a_distance_is_not_below_zero():
    with pytest.raises(ValueError, match="distance: expected a number from 0, found -1"):
        Distance(distance=-1)


def test_a_target_that_is_a_list_holds_alternatives():
    grade = each_of_any(equals)
    assert [s.value for s in grade(PLAIN, ["a", "b", "c"], [["a", "b"], ["a", "b"], [None]], ())] == [1, 1, None]
    best = each_of_any(f1)(PLAIN, ["in Paris"], [["Rome", "Paris", "Oslo"]], ())[0]
    assert best.value == pytest.approx(2 / 3)


@given(words, words)
def test_what_equals_also_is_equal_without_case_contained_and_fully_alike(answer, target):
    if equals(PLAIN, answer, target).value == 1:
        for grade in (iequals, contains, icontains, starts_with, ends_with, f1):
            assert grade(PLAIN, answer, target).value == 1
        assert similar(Likeness(), answer, target).value == 1
        assert levenshtein(Distance(distance=0), answer, target).value == 1
        for location in ("begin", "end", "any", "exact"):
            assert match(Match(location=location), answer, target).value in (1, None)


@given(words, words)
def test_what_is_contained_with_case_is_contained_without(answer, target):
    for exact, folded in ((equals, iequals), (contains, icontains)):
        assert exact(PLAIN, answer, target).value <= folded(PLAIN, answer, target).value
    assert f1(PLAIN, answer, target).value == pytest.approx(f1(PLAIN, target, answer).value)
