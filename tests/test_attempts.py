"""Attempts as columns: what a table says of them is what each of them says alone."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.attempts import Attempts, binary
from journeybatch.entries import Intent

keys = st.binary(min_size=16, max_size=16)
packs = st.lists(st.tuples(st.lists(keys, max_size=3), st.booleans()), max_size=6)


def attempts(asked):
    """Attempts that carried the keys of ``asked``; the marked ones have verdicts with senses."""
    made = Attempts()
    for number, (carried, judged) in enumerate(asked):
        index = made.add(1, Intent(number, 1, b"".join(carried), "m", 1, 2, 3.0), 0)
        if judged:
            made.judge(index, bytes([1] * len(carried)), b"".join(bytes(7) + b"\x05" for _ in carried))
    return made


@settings(deadline=None)
@given(packs, st.integers(0, 6), st.integers(0, 6))
def test_lines_say_of_each_prompt_what_its_attempt_says(asked, start, stop):
    made = attempts(asked)
    start, stop = sorted((min(start, len(made)), min(stop, len(made))))
    expected = [
        (key, i, place, made.prompts(i), code, sense)
        for i in range(start, stop)
        for place, (key, code, sense) in enumerate(zip(made.keys_of(i), made.codes(i), made.senses(i), strict=True))
    ]
    assert made.lines(start, stop).rows() == expected


@settings(deadline=None)
@given(packs)
def test_a_table_has_one_row_for_each_attempt(asked):
    made = attempts(asked)
    table = made.table()
    assert table["index"].to_list() == list(range(len(asked)))
    assert table["request"].to_list() == list(made.request)
    assert made.table(1, 3).equals(table.slice(1, 2))


def test_keys_in_a_row_become_a_column_even_where_there_are_none():
    assert binary(b"").dtype == pl.Binary
    assert binary(b"a" * 16 + b"b" * 16).to_list() == [b"a" * 16, b"b" * 16]
