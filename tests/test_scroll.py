"""A long table in parts is the same table, wherever its parts are."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import scratch
from journeybatch.errors import DiskFull
from journeybatch.scroll import Scroll

heights = st.lists(st.integers(0, 4), min_size=1, max_size=6)


def scroll(parts):
    """A scroll of parts so high, and the whole table."""
    whole = pl.DataFrame({"n": range(sum(parts)), "text": [f"row {n}" for n in range(sum(parts))]})
    made, at = Scroll(), 0
    for height in parts:
        made.append(whole.slice(at, height))
        at += height
    return made, whole


@settings(deadline=None)
@given(heights, st.integers(0, 30), st.integers(0, 30), st.booleans())
def test_any_rows_of_it_are_those_of_the_table(parts, start, rows, full):
    """Also where the disk takes none of its parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "SPARE_BYTES", 2**62 if full else 0)
        made, whole = scroll(parts)
        assert made.slice(start, rows).equals(whole.slice(start, rows))
        assert made.whole().equals(whole)
        assert [part.height for part in made] == parts
        assert made.height == whole.height


def test_only_the_latest_part_is_in_memory(monkeypatch):
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)
    made, _ = scroll([3, 3, 3])
    assert [isinstance(part, pl.DataFrame) for part in made._parts] == [False, False, True]


def test_a_part_that_the_disk_gives_back_no_more_is_told(monkeypatch):
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)
    made, _ = scroll([3, 3])
    made._scratch.close()
    with pytest.raises(DiskFull, match="temporary storage cannot be read"):
        made.whole()
