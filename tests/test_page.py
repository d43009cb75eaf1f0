"""A page that was packed is the page it was."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.errors import DiskFull
from journeybatch.identity import KEY_BYTES
from journeybatch.page import Page, mark, marks, series, squeeze

keys = st.lists(st.lists(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), max_size=3), max_size=5)


@settings(deadline=None, max_examples=30)
@given(keys, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans())
def test_what_was_packed_is_unpacked(asked, number, seconds, compared):
    page = Page()
    for place, some in enumerate(asked):
        page.credits[place], page.at[place], page.error[place], page.charge[place] = number, seconds, place, 2
        page.keys += b"".join(some)
        page.first.append(page.first[place] + len(some))
        page.code += bytes(len(some))
        if compared:
            page.judge(place, bytes([7] * len(some)), bytes(range(8)) * len(some))
    again = Page.unpack(squeeze(page.pack()))
    assert not again.changed
    for name in Page.__slots__:
        assert name == "changed" or getattr(again, name) == getattr(page, name), name
    assert again.lines(0, len(asked), 100).equals(page.lines(0, len(asked), 100))
    assert again.numbers(0, len(asked)).equals(page.numbers(0, len(asked)))


@given(st.binary(max_size=40))
def test_what_is_no_page_is_a_failure_of_the_disk(data):
    with pytest.raises(DiskFull, match="all replies are safe in the journal"):
        Page.unpack(data)


@given(st.lists(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), max_size=5))
def test_the_mark_of_a_key_is_the_same_however_it_is_made(some):
    page = Page()
    page.keys += b"".join(some)
    page.first.append(len(some))
    assert marks(pl.Series(some, dtype=pl.Binary)).to_list() == [mark(key) for key in some]
    assert page.marks(0, 1).to_list() == [mark(key) for key in some]


def test_no_numbers_are_no_rows():
    assert series(b"", pl.Int64(), 8).to_list() == []
