"""A page that was packed is the page it was."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import page as module
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
    for name in module._COLUMNS:
        assert getattr(again, name) == getattr(page, name), name
    again = Page.unpack(squeeze(page.pack()))
    assert again.lines(0, len(asked), 100).equals(page.lines(0, len(asked), 100))
    assert again.numbers(0, len(asked)).equals(page.numbers(0, len(asked)))


@given(st.binary(max_size=40))
def test_what_is_no_page_is_a_failure_of_the_disk(data):
    with pytest.raises(DiskFull, match="all replies are safe in the journal"):
        Page.unpack(data)


def unpacked(page: Page) -> set[str]:
    """The columns that are in memory."""

    def there(name: str) -> bool:
        try:
            object.__getattribute__(page, name)
        except AttributeError:
            return False
        return True

    return set(filter(there, module._COLUMNS))


def test_a_column_is_unpacked_when_it_is_looked_at():
    page = Page.unpack(squeeze(Page().pack()))
    assert unpacked(page) == set()
    page.numbers(0, 5, ("credits", "at"))
    assert unpacked(page) == {"credits", "at"}
    page.unfold()
    assert unpacked(page) == set(module._COLUMNS)


@pytest.mark.parametrize("name", module._COLUMNS)
def test_damage_to_a_column_is_a_failure_of_the_disk_before_anything_is_changed(name):
    squeezed = bytearray(squeeze(Page().pack()))
    sizes = module._SIZES.unpack_from(squeezed)
    number = module._COLUMNS.index(name)
    squeezed[module._SIZES.size + sum(sizes[: number + 1]) - 1] ^= 1
    page = Page.unpack(bytes(squeezed))
    for other in set(module._COLUMNS) - {name}:
        assert getattr(page, other) == getattr(Page(), other)
    with pytest.raises(DiskFull, match="all replies are safe in the journal"):
        getattr(page, name)
    with pytest.raises(DiskFull, match="all replies are safe in the journal"):
        page.unfold()


@given(st.lists(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), max_size=5))
def test_the_mark_of_a_key_is_the_same_however_it_is_made(some):
    page = Page()
    page.keys += b"".join(some)
    page.first.append(len(some))
    assert marks(pl.Series(some, dtype=pl.Binary)).to_list() == [mark(key) for key in some]
    assert page.marks(0, 1).to_list() == [mark(key) for key in some]


def test_no_numbers_are_no_rows():
    assert series(b"", pl.Int64(), 8).to_list() == []
