"""What Retry-After may say, and what it may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.wish import LEFT, RESET, exhausted_s, retry_after_s

laws = settings(deadline=None, max_examples=200)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("007", 7.0),
        ("999999999999", 999999999999.0),
        ("9" * 400, None),
        ("-1", None),
        ("+1", None),
        ("1e3", None),
        ("1_000", None),
        ("١٢", None),
        ("0x10", None),
        ("nan", None),
        ("inf", None),
        ("7 s", None),
        ("7,8", None),
        (".5", None),
        ("5.", None),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", 30.0),
        ("Wed Oct 21 07:28:30 2015", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251956888319.0),
        ("Wed, 32 Oct 2015 07:28:30 GMT", None),
        ("Wed, 21 Oct 2015 25:28:30 GMT", None),
        ("Wed, 21 Xyz 2015 07:28:30 GMT", None),
        ("Wed, 21 Oct 2015 07:28:30", None),
        ("Wed, 21 Oct 2015 07:28:30 CEST", None),
        ("2015-10-21T07:28:30Z", None),
    ],
)
def test_retry_after_is_seconds_or_an_http_date_and_nothing_else(value, seconds):
    assert retry_after_s({"retry-after": value, "date": "Wed, 21 Oct 2015 07:28:00 GMT"}) == seconds


def test_milliseconds_go_first_unless_they_are_none():
    assert retry_after_s({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after_s({"retry-after-ms": "20.5"}) == 0.0205
    assert retry_after_s({"retry-after-ms": "-1", "retry-after": "9"}) == 9.0
    assert retry_after_s({"retry-after-ms": "nan"}) is None
    assert retry_after_s({}) is None


def test_a_date_without_the_replys_own_is_read_against_the_clock():
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    for headers in ({"retry-after": at}, {"retry-after": at, "date": "yesterday"}):
        assert 80 < retry_after_s(headers) <= 90


@laws
@given(
    st.text(max_size=20)
    | st.from_regex(r"[A-Z][a-z]{2,8}, [0-9]{2}[ -](Jan|Feb|Zzz)[ -][0-9]{2,4} [0-9:]{8} GMT", fullmatch=True)
    | st.from_regex(r"[A-Z][a-z]{2} (Jan|Feb|Dec) [0-9 ][0-9] [0-9:]{8} [0-9]{4}", fullmatch=True),
    st.text(max_size=20) | st.just("Wed, 21 Oct 2015 07:28:00 GMT"),
)
def test_any_retry_after_is_a_wait_or_nothing(value, date):
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after_s({name: value, "date": date})
        assert seconds is None or 0 <= seconds < 1e12


@pytest.mark.parametrize(
    ("left", "reset", "seconds"),
    [
        ("0", "6m0s", 360.0),
        ("0", "1h2m3.5s", 3723.5),
        ("0", "120ms", 0.12),
        ("0", "1s", 1.0),
        ("0", "30", 30.0),
        ("1", "6m0s", None),
        ("0", "", None),
        ("0", "soon", None),
        ("0", "6m 0s", None),
        ("-0", "1s", None),
        ("", "1s", None),
    ],
)
def test_no_request_left_means_waiting_for_the_reset(left, reset, seconds):
    for remaining, again in zip(LEFT, RESET, strict=True):
        assert exhausted_s({remaining: left, again: reset}) == seconds
    assert exhausted_s({LEFT[0]: left, RESET[1]: reset}) is None
