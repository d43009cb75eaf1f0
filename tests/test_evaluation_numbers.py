"""The scorer ``number``: which number a reply comes to."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.evaluation.numbers import Number, number, only

PLAIN = Number()


def read(reply, options=PLAIN):
    found = only(options, reply)
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        # how numbers are written
        ("18", "18"),
        ("18.", "18"),
        ("18.00", "18"),
        (".5", "1/2"),
        ("007", "7"),
        ("+5", "5"),
        ("-5", "-5"),
        ("−5", "-5"),
        ("–5", "-5"),
        ("－５", "-5"),
        ("(-5)", "-5"),
        ("x=-5", "-5"),
        ("$1,234.50", "2469/2"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("€ 12", "12"),
        ("1'234'567", "1234567"),
        ("1\u202f234", "1234"),
        ("12,34,567", "1234567"),
        ("1.2e3", "1200"),
        ("1.2E-3", "3/2500"),
        ("1.2 × 10^3", "1200"),
        ("6 * 10**2", "600"),
        ("1/2", "1/2"),
        ("2 1/2", "5/2"),
        ("3½ cups", "7/2"),
        ("½", "1/2"),
        ("60%", "3/5"),
        ("60 percent", "3/5"),
        ("1.2 million", "1200000"),
        ("3 Thousand", "3000"),
        ("3 hours", "3"),
        ("5kg", "5"),
        ("20°C", "20"),
        ("10 - 5 = 5", "5"),
        ("10-5", "5"),
        ("3–5", "5"),
        # LaTeX and Markdown
        ("**42**", "42"),
        ("__$1,050__", "1050"),
        ("\\boxed{18}", "18"),
        ("\\(\\boxed{\\frac{1}{2}}\\), as 7 shows", "1/2"),
        ("$\\boxed{x = 5}$", "5"),
        ("$\\dfrac{3}{4}$", "3/4"),
        ("1{,}234", "1234"),
        ("\\$5.00", "5"),
        ("1.2 \\times 10^{3}", "1200"),
        ("\\boxed{} and 3", "3"),
        # which one
        ("The answer is: 18.", "18"),
        ("The answer is 18, which is 3 more than 15", "18"),
        ("The answer is 18 (x = 3).", "18"),
        ("The answer to the question is 18 apples for 3 kids", "18"),
        ("**Answer:** 42", "42"),
        ("**Answer: 42**", "42"),
        ("Answer:\n\n**18**", "18"),
        ("Final Answer: **$1,050**\n", "1050"),
        ("Answer: 9 * 2 = $18 per day", "18"),
        ("Answer: 3 apples + 4 apples = 7 apples", "7"),
        ("Answer: (9*2) = 18", "18"),
        ("answer: total = 9*2 = 18 since 3 = 3", "18"),
        ("The answer is 3. No, the answer is 4. I counted 7.", "4"),
        ("I have 3, 4, and 5.", "5"),
        ("so 3\n#### 18", "18"),
        ("#### 1,000\n", "1000"),
        ("#### Step 2: compute\nso the total is 18", "18"),
        ("the answer is unclear", None),
        # no numbers
        ("", None),
        ("CO2", None),
        ("v1.2.3", None),
        ("1e9999", None),
        ("1/0", None),
        ("nan, inf", None),
        ("9" * 500, None),
    ],
)
def test_a_reply_comes_to_one_number(reply, value):
    assert read(reply) == (None if value is None else Fraction(value))


@pytest.mark.parametrize(
    ("reply", "value"),
    [("1.234,50 €", "2469/2"), ("5 000 euros", "5000"), ("12 345,5", "24691/2"), ("3,5", "7/2"), ("1.234", "1234")],
)
def test_the_decimal_mark_can_be_a_comma(reply, value):
    assert read(reply, Number(decimal=",")) == Fraction(value)


def test_a_marker_of_ones_own_is_looked_for_alone():
    options = Number(marker="Total:")
    assert read("total: 5, then 7. The answer is 9", options) == 5
    assert read("Total: 5. Total: 6", options) == 6
    assert read("The answer is 9", options) is None
    assert number(options, "The answer is 9", "9").value == 0
    assert number(options, "Total: 9", "some text that ends with 9").value == 1


@pytest.mark.parametrize("target", [42, 42.0, "42", "$42.00", "He has 6 * 7 = <<6*7=42>>42.\n#### 42", "\\boxed{42}"])
def test_a_target_is_a_number_or_a_text_that_comes_to_one(target):
    assert number(PLAIN, "It is 42.", target).value == 1
    assert number(PLAIN, "It is 41.", target).value == 0


@pytest.mark.parametrize("target", ["none", True, float("nan"), float("inf")])
def test_a_target_without_a_number_leaves_the_row_unscored(target):
    assert number(PLAIN, "42", target).value is None


def test_a_reply_without_a_number_is_wrong():
    score = number(PLAIN, "I do not know", 42)
    assert (score.value, score.answer, score.explanation) == (0, None, "no number")


@pytest.mark.parametrize(
    ("reply", "target", "right"),
    [
        ("60%", "60", True),
        ("60%", "0.6", True),
        ("0.6", "60%", True),
        ("60%", "60%", True),
        ("60%", "0.6%", False),
        ("1.2 million", 1_200_000, True),
        ("1.2", "1.2 million", True),
        ("1.2 million", "1.2 billion", False),
    ],
)
def test_a_percent_sign_on_one_side_may_be_part_of_the_question(reply, target, right):
    assert number(PLAIN, reply, target).value == right


@pytest.mark.parametrize(
    ("tolerance", "reply", "right"),
    [
        (0, "100.001", False),
        (0.01, "100.01", True),
        (0.01, "100.011", False),
        ("1%", "101", True),
        ("1%", "98.9", False),
    ],
)
def test_a_tolerance_is_absolute_or_a_share_of_the_target(tolerance, reply, right):
    assert number(Number(tolerance=tolerance), reply, 100).value == right


@pytest.mark.parametrize("tolerance", [-1, "much", "-1%", float("inf"), float("nan")])
def test_a_tolerance_is_not_below_zero(tolerance):
    with pytest.raises(ValueError, match="expected a number from 0, or a share like 1%"):
        Number(tolerance=tolerance)


def test_numbers_of_a_field_are_compared_as_they_are_written():
    assert number(PLAIN, 0.1 + 0.2, "0.3").value == 1
    assert number(PLAIN, 3, 3.0).value == 1
    assert number(PLAIN, 2**53, str(2**53 + 1)).value == 0


@given(
    st.fractions(max_denominator=99), st.sampled_from(["{}", "It is {}.", "The answer is {} hours.", "\\boxed{{{}}}"])
)
def test_a_fraction_is_read_back(value, frame):
    assert read(frame.format(value)) == value


@given(st.integers(), st.sampled_from(["{:,}", "**{:,}**", "${:,}", "#### {:,}"]))
def test_a_whole_number_is_read_back_with_its_separators(value, frame):
    assert read(frame.format(value)) == value


@given(st.text(st.sampled_from("0123456789.,-+/%$eE \n#=×x^*{}\\½answeri:"), max_size=60))
def test_any_text_gives_a_score(text):
    assert number(PLAIN, text, 1).value in (0, 1)
    score = number(PLAIN, "1", text)
    assert (score.value is None) == (read(text) is None)


@pytest.mark.parametrize(
    "part", ["1,", "1 ", "9", "1/", "-", "answer ", "####", "####\n", "\\boxed{", "answer is ", "answer = (", "1'11,"]
)
def test_long_replies_take_time_in_proportion(part):
    only(PLAIN, part * 20_000)
