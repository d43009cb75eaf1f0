"""The scorer ``choice``: what a reply picks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.evaluation.choices import Choice, choice, picked

TEXTS = ("London", "Paris", "New York", "York")


def graded(answer, target, options=None, row=None):
    return choice(options or Choice(options=TEXTS), [answer], [target], [row or {}])[0]


@pytest.mark.parametrize(
    ("reply", "letters"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("b", "B"),
        ("**B**", "B"),
        ("B: Paris", "B"),
        ("A. London", "A"),
        ("Option B", "B"),
        ("The answer is B", "B"),
        ("The answer is (B).", "B"),
        ("The answer is A because it fits well", "A"),
        ("Answer: A, because", "A"),
        ("Answer: B) Paris", "B"),
        ("answer: b", "B"),
        ("ANSWER: B", "B"),
        ("**Final Answer: (D)**", "D"),
        ("**Answer:** D. York", "D"),
        ("After elimination, the final answer is:\n\n**C**", "C"),
        ("The correct answer is option C.", "C"),
        ("The best choice is B", "B"),
        ("A is wrong because of X. B is correct.", "B"),
        ("Option A is wrong, option B is correct, options C and D are wrong.", "B"),
        ("Option A is wrong. It must be option B", "B"),
        ("(A) is wrong, (B) is right", "B"),
        ("I think (C) fits.", "C"),
        ("I would go with B) Paris", "B"),
        ("Let me think.\nB", "B"),
        ("\\boxed{B}", "B"),
        ("$\\boxed{\\text{B}}$", "B"),
        ("First I said the answer is A. No: the answer is C.", "C"),
        ("Paris", "B"),
        ("It is Paris.", "B"),
        ("york!", "D"),
        ("The answers are A and C.", "AC"),
        ("A, C", "AC"),
        ("The answer is A or B.", "AB"),
        ("The answer is B, A is wrong.", "B"),
    ],
)
def test_a_reply_picks_letters(reply, letters):
    assert picked(reply, TEXTS) == frozenset(letters)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "A dog",
        "E",
        "The answer is a matter of taste",
        "The answer is not B",
        "London is big, but Paris is the capital.",
        "(A) or perhaps (B)",
        "Banana",
    ],
)
def test_a_reply_that_picks_nothing_is_not_guessed_at(reply):
    assert picked(reply, TEXTS) == frozenset()
    assert graded(reply, "A").value == 0


def test_an_option_within_another_is_not_meant():
    assert picked("Surely New York it is", TEXTS) == {"C"}


def test_without_options_letters_from_a_to_j_are_read():
    assert picked("Answer: J") == {"J"}
    assert picked("Answer: K") == frozenset()
    assert picked("Answer: I think so") == frozenset()


@pytest.mark.parametrize("target", ["B", "(b)", "B)", "Paris", "paris.", ["B"]])
def test_a_target_is_a_letter_or_an_options_text(target):
    assert graded("B", target).value == 1
    assert graded("C", target).value == 0


def test_several_right_options_must_all_be_picked_and_no_other():
    for target in ("A,C", "A and C", "AC", ["A", "C"], ["London", "C"]):
        if target == "AC":  # as a word it could be anything
            assert graded("A, C", target).value is None
            continue
        assert graded("A, C", target).value == 1
        assert graded("A", target).value == 0
        assert graded("The answers are A, B, and C.", target).value == 0


@pytest.mark.parametrize("target", ["Z", "Rome", "7", [], [None]])
def test_a_target_that_is_no_option_leaves_the_row_unscored(target):
    assert graded("B", target).value is None


def test_targets_can_be_numbers_of_options():
    assert graded("B", 1, Choice(options=TEXTS, first=0)).value == 1
    assert graded("B", "2", Choice(options=TEXTS, first=1)).value == 1
    assert graded("A", 0, Choice(options=TEXTS, first=1)).value is None
    assert graded("A", 9, Choice(options=TEXTS, first=1)).value is None


def test_options_stand_in_columns_of_the_row_or_in_a_list():
    row = {
        "one": "London",
        "two": "Paris",
        "all": ["London", "Paris"],
        "json": '["London", "Paris"]',
        "lines": "x\nParis",
    }
    assert graded("It is Paris", "B", Choice(columns=("one", "two")), row).value == 1
    for column in ("all", "json", "lines"):
        assert graded("It is Paris", "B", Choice(options=column), row).value == 1


def test_a_row_without_options_is_read_by_letters():
    assert graded("B", "B", Choice(options="all"), {"all": None}).value == 1


@given(st.text(st.sampled_from("ABCabc is.:()*\n\\{}and,answer"), max_size=60), st.sampled_from("ABCD"))
def test_any_reply_gives_a_score(reply, target):
    score = graded(reply, target)
    assert score.value in (0, 1)
    assert (score.value == 1) == (score.answer == target)


@pytest.mark.parametrize(
    "part", ["answer ", "answer is ", "(A) ", "A, ", "\n", "\\boxed{", "A and ", "answer a b c d "]
)
def test_long_replies_take_time_in_proportion(part):
    assert len(picked(part * 20_000, TEXTS)) <= 1
