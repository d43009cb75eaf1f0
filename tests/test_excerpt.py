"""What others wrote, as one harmless line."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.excerpt import clean, excerpt

MIB = 2**20


def harmless(text):
    """No control characters, no half surrogate pairs, one line."""
    return not any(unicodedata.category(c) in ("Cc", "Cs") for c in text) and len(text.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("a\r\n\tb \u2028 c\x0bd", "a b c d"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[?25lhidden\x1b[2J\x1b[10;10H", "hidden"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://evil/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;ZXZpbA==\x07x", "x"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("\x1b\x1b[31m[31mx", "[31mx"),
        ("a\x00b\x07c\x7fd\x9be\x08f", "abcdef"),
        ("\u202eevil\u2066\u200f\u061c\ufeff", "evil"),
        ("\ud800x", "x"),
        ("Grüße 😀 \u200d", "Grüße 😀 \u200d"),
        ("\x1b]0;never ends", ""),
        ("", ""),
    ],
)
def test_control_sequences_do_not_reach_a_terminal(text, cleaned):
    assert clean(text) == cleaned


@settings(deadline=None, max_examples=200)
@given(
    st.text(st.characters(exclude_categories=()) | st.sampled_from("\x1b[]\x07\\;m\x9b\x9d"), max_size=80),
    st.integers(1, 40),
)
def test_clean_text_is_one_harmless_line_and_stays_so(text, limit):
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert harmless(cleaned)
    assert clean(cleaned, limit) == cleaned


def test_long_text_is_shortened_in_little_time():
    assert clean("x" * 301) == "x" * 299 + "…"
    assert clean("x" * 300) == "x" * 300
    began = time.process_time()
    assert len(clean("\x1b]" * (8 * MIB))) <= 300
    assert time.process_time() - began < 2


def test_an_excerpt_is_short_and_never_empty():
    assert excerpt(b"") == "(empty)"
    assert excerpt(b"\x00\x1b[2J") == "(empty)"
    assert excerpt(b"<p>\xff</p>" * 100_000).startswith("<p>\ufffd</p>")
    assert len(excerpt(b"x" * MIB)) == 80


def test_of_a_web_page_its_title_is_told():
    assert excerpt(b"\n<!DOCTYPE html>\n<html lang=en><title>Not &lt;here&gt;</title>") == "a web page, “Not <here>”"
    assert excerpt(b"<html><title> </title><body>Hello") == "a web page"
    assert excerpt(b"<html>" + b"<title" * 100_000) == "a web page"
