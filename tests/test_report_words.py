"""Numbers, spans of time and untrusted texts as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.report.words import credits_text, cut, interval, moment, number, percent, plural, span, visible


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.0421, "42 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (93, "93 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 days 4 h"),
    ],
)
def test_a_span_of_time_is_as_exact_as_it_needs_to_be(seconds, text):
    assert span(seconds) == text


def test_numbers_have_separators_and_a_true_minus():
    assert [number(1319), number(-2), number(0.04213), number(1234.5)] == ["1,319", "\u22122", "0.0421", "1,234"]


def test_an_interval_of_one_number_is_that_number():
    assert (interval(22, 22), interval(110, 22)) == ("22", "22 to 110")


def test_one_of_a_thing_is_singular():
    assert (plural(1, "row"), plural(0, "row"), credits_text(1), credits_text(1, 3)) == (
        "1 row",
        "0 rows",
        "1 credit",
        "1 to 3 credits",
    )


@given(st.integers(1, 10**7), st.data())
def test_a_part_is_never_shown_as_all_or_as_nothing(whole, data):
    part = data.draw(st.integers(0, whole))
    assert (percent(part, whole) == "100 %") == (part == whole)
    assert (percent(part, whole) == "0 %") == (part == 0)


def test_a_share_of_nothing_is_no_number():
    assert percent(0, 0) == "–"


def test_a_moment_is_in_utc_to_the_minute():
    assert moment(1_764_000_000) == "2025-11-24 16:00 UTC"


@given(st.text())
def test_a_visible_text_has_no_controls_but_tabs_and_ends_of_lines(text):
    shown = visible(text)
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in shown)
    assert not {"\x7f", "\x9b", "\u202e"} & set(shown)


def test_a_cut_text_says_how_much_is_missing():
    assert cut("a" * 1500, 100) == "a" * 100 + "… (1,400 more characters)"
    assert cut("short\r\nlines", 100) == "short\nlines"
