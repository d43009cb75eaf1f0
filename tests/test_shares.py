"""Shares: rows with the same key share one answer and its credits, to the last millionth."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tally import NAMES, SHOWN, A, B, C, attempts, history

from journeybatch.history import History
from journeybatch.page import numbered
from journeybatch.shares import by_row, repeated, sharing
from journeybatch.tally import MICRO, tally


def shared(keys, tallied):
    """How all the rows with these keys share them."""
    rows = pl.Series(keys, dtype=pl.Binary)
    return sharing(rows, repeated(rows), tallied.with_columns(numbered(tallied["key"]))).part(0, len(keys))


def joined(keys, tallied):
    """What each of the rows with these keys has come to."""
    return by_row(shared(keys, tallied), tallied)


def test_rows_with_one_key_share_its_credits_and_the_later_ones_are_marked():
    tallied = tally(history(([A], "answered", 1, 2), ([B], "answered", 3, 3)))
    rows = joined([A, B, A, C, A], tallied)
    assert rows.select(*SHOWN, "again").rows(named=True) == [
        row(A, 1, 333_334, 333_334, 0),
        row(B, 1, 3_000_000, 0, 1),
        row(A, 1, 333_333, 333_333, 0, again=True),
        row(C, 0, 0, 0, None),
        row(A, 1, 333_333, 333_333, 0, again=True),
    ]


def row(key, attempts, credits, unknown, answer, again=False):
    return {
        "key": key,
        "attempts": attempts,
        "credits": credits,
        "unknown": unknown,
        "answer": answer,
        "last": answer,
        "doubt": False,
        "again": again,
    }


def test_keys_that_were_never_asked_cost_nothing():
    rows = joined([A, B], tally(History()))
    assert rows.select(*SHOWN, "again").rows(named=True) == [row(A, 0, 0, 0, None), row(B, 0, 0, 0, None)]
    assert rows["attempts"].dtype == pl.Int32


def test_rows_without_a_key_have_nothing_to_do_with_each_other():
    rows = joined([None, A, None], tally(history(([A], "answered", 1, 1))))
    assert rows["again"].to_list() == [False, False, False]
    assert rows["credits"].to_list() == [0, MICRO, 0]


def test_no_rows_make_no_table_rows():
    assert joined([], tally(history(([A], "answered", 1, 1)))).height == 0


@settings(deadline=None, max_examples=100)
@given(attempts, st.lists(st.sampled_from(NAMES[:5]), max_size=30))
def test_no_millionth_of_a_credit_is_lost_or_made(attempts, keys):
    told = history(*attempts)
    tallied = tally(told)
    assert tallied["credits"].sum() == told.spent * MICRO
    assert tallied["unknown"].sum() == sum(run.unknown for run in told.runs) * MICRO

    rows = joined(keys, tallied)
    assert rows["key"].to_list() == keys  # in their order
    here = tallied.filter(pl.col("key").is_in(keys))
    for column in ("credits", "unknown"):
        assert rows[column].sum() == here[column].sum()
        spread = rows.group_by("key").agg(pl.col(column).max() - pl.col(column).min())
        assert (spread[column] <= 1).all()
        first = rows.filter(~pl.col("again")).group_by("key").agg(pl.col(column).max())
        assert first.join(rows, on="key").filter(pl.col(column) < pl.col(f"{column}_right")).is_empty()
    assert (~rows["again"]).sum() == len(set(keys))


twins = st.sampled_from([bytes(8) + bytes(8), bytes(8) + b"12345678", b"\xff" * 16, b"a" * 16, b"b" * 16])


@settings(deadline=None)
@given(st.lists(st.none() | twins | st.binary(min_size=16, max_size=16)), st.lists(twins, unique=True))
def test_each_row_finds_its_key_also_where_keys_begin_alike(keys, asked):
    tallied = tally(history(*((([key], "answered", 1, 1)) for key in asked)))
    known, found = tallied["key"].to_list(), shared(keys, tallied)
    assert found["at"].to_list() == [known.index(key) if key in known else None for key in keys]
    assert found["sharers"].to_list() == [1 if key is None else keys.count(key) for key in keys]
    assert found["rank"].to_list() == [0 if key is None else keys[:at].count(key) for at, key in enumerate(keys)]
