"""Rows of a higher priority are asked first, and nothing else changes."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.errors import InputChanged, SpecError, TableError
from journeybatch.precedence import CLASSES, check_priority, classes
from journeybatch.survey import Survey


def surveyed(width: int) -> Survey:
    return Survey([], [], [], [], width=width)


@given(
    st.lists(st.one_of(st.none(), st.integers(-3, 3), st.floats()), min_size=1, max_size=60),
    st.integers(1, 3),
    st.data(),
)
def test_every_wanted_place_is_in_one_class_and_no_later_one_ranks_higher(values, width, data):
    wanted = data.draw(st.lists(st.booleans(), min_size=len(values) * width, max_size=len(values) * width))
    frame = pl.DataFrame({"v": pl.Series(values, dtype=pl.Float64, strict=False)})
    frames = [frame.head(5), frame.slice(5)] if frame.height > 5 else [frame]
    parts = list(classes("v", frames, pl.Series(wanted, dtype=pl.Boolean), surveyed(width)))
    assert len(parts) <= CLASSES
    order = [place for part in parts for place in part.arg_true()]
    assert sorted(order) == [place for place, each in enumerate(wanted) if each]
    worth = [float("-inf") if v is None or v != v else v for v in values]
    seen = [[worth[place // width] for place in part.arg_true()] for part in parts]
    assert all(min(before) >= max(after) for before, after in pairwise(seen))


@pytest.mark.parametrize("left", [0, 2, 4])
def test_a_table_that_has_other_rows_by_now_is_said_to_have_changed(left):
    frames = [pl.DataFrame({"v": range(left)})] if left else []
    with pytest.raises(InputChanged, match=f"at or after row {min(left, 3)}"):
        list(classes("v", frames, pl.Series([True] * 6), surveyed(2)))


@pytest.mark.parametrize(
    ("priority", "words"),
    [
        ("vip +", "cannot be used"),
        ("vap", "no column is called 'vap'"),
        ("name", "gives String, not a number"),
    ],
)
def test_what_is_no_priority_is_refused(priority, words):
    with pytest.raises(TableError, match=words):
        check_priority(priority, {"vip": pl.Boolean(), "name": pl.String()})


def test_a_capped_night_asks_what_matters_first_and_results_keep_their_order(flow):
    flow.write([f"thing {n}" for n in range(12)], vip=["yes" if n % 4 == 3 else "no" for n in range(12)])
    report = flow.run(priority="vip = 'yes'", concurrency=1, limits={"credits": 3})
    assert report.summary["rows"]["answered"] == 3
    found = flow.results()
    assert found["id"].to_list() == [f"{n:05}" for n in range(12)]
    assert found.filter(pl.col("jb_status") == "answered")["vip"].to_list() == ["yes"] * 3
    assert flow.run(priority="vip = 'yes'").exit_code == 0
    assert flow.balanced()


def test_a_priority_that_fails_for_a_row_stops_the_run_before_it_begins(flow):
    flow.write(["a thing", "another"], worth=["1", "a lot"])
    report = flow.run(priority="cast(worth as float)")
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "input")
    assert "a lot" in report.message
    assert flow.emulator.attempts == []


def test_a_priority_that_cannot_be_had_costs_nothing(flow):
    with pytest.raises(TableError, match="no column is called 'vap'"):
        flow.run(priority="vap")
    with pytest.raises(SpecError, match="filled in the order of the rows"):
        flow.run(priority="id = '1'", pack=5)
    assert not flow.output.exists()
