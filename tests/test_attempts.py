"""Attempts as columns: what a table says of them is what each of them says alone."""

import os
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import attempts as module
from journeybatch import scratch
from journeybatch.attempts import HELD, Attempts
from journeybatch.entries import Intent
from journeybatch.errors import DiskFull
from journeybatch.page import SIZE, binary

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


def many(number):
    """So many attempts, every third of which has ended."""
    made = Attempts()
    for i in range(number):
        made.add(i % 5, Intent(i, 1, i.to_bytes(16, "big") * (i % 3), f"m{i % 7}", 1, i, i / 2), 0)
        if i % 3 == 0:
            made.judge(i, bytes([i % 2] * (i % 3)), b"")
            made.offset[i], made.error[i], made.message[i] = i * 10, None, f"why {i % 11}"
    return made


def seen(made, i):
    return made.request[i], made.model[i], made.offset[i], made.error[i], made.message[i], made.keys_of(i)


def meant(i):
    ended = (i * 10, None, f"why {i % 11}") if i % 3 == 0 else (-1, "in_doubt", None)
    return (i, f"m{i % 7}", *ended, [i.to_bytes(16, "big")] * (i % 3))


@pytest.fixture(scope="module")
def night():
    """More attempts than are held in memory, however full the disk is that the tests run on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "SPARE_BYTES", 0)
        yield many((HELD + 3) * SIZE + 5)


def in_memory(made):
    return sum(page is not None for page in made._pages)


def test_only_the_latest_pages_are_in_memory_and_old_attempts_are_what_they_were(night):
    assert in_memory(night) == HELD
    rng = random.Random(1)
    for i in (0, 1, SIZE - 1, SIZE, len(night) - 1, *(rng.randrange(len(night)) for _ in range(100))):
        assert seen(night, i) == meant(i)
        assert in_memory(night) <= HELD
    table = night.table()
    assert table["model"].to_list() == [f"m{i % 7}" for i in range(len(night))]
    assert table["offset"].to_list() == [i * 10 if i % 3 == 0 else -1 for i in range(len(night))]
    assert sum(part.height for part in night.tables(7)) == len(night) - 7
    assert night.lines()["attempt"].to_list() == [i for i in range(len(night)) for _ in range(i % 3)]


def test_what_became_of_an_old_attempt_is_kept(night):
    """It may have been out for a long while."""
    for i in (1, SIZE + 1, 5 * SIZE + 2):
        night.credits[i], night.error[i] = 7, "timeout"
        night.judge(i, bytes([1] * night.prompts(i)), bytes(7) + b"\x09" if night.prompts(i) == 1 else b"")
    assert [night.page(at) for at in range(0, len(night), SIZE)]  # all others were looked at meanwhile
    for i in (1, SIZE + 1, 5 * SIZE + 2):
        assert (night.credits[i], night.error[i], night.codes(i)) == (7, "timeout", bytes([1] * (i % 3)))
        assert night.senses(i) == ([9] if i % 3 == 1 else [0] * (i % 3))
        night.credits[i], night.error[i] = 0, "in_doubt"


def test_attempts_are_picked_in_any_order(night):
    asked = [len(night) - 1, None, 3, 3, 2 * SIZE, 0, None]
    assert night.pick(pl.Series(asked, dtype=pl.Int32), ["request"])["request"].to_list() == asked
    assert night.pick(pl.Series([], dtype=pl.Int64), ["request"]).is_empty()


def test_where_the_disk_takes_no_page_all_stay_in_memory(monkeypatch):
    monkeypatch.setattr(scratch, "SPARE_BYTES", 2**62)
    made = many((HELD + 1) * SIZE + 5)
    assert in_memory(made) == HELD + 2
    assert seen(made, 0) == meant(0)


def test_a_disk_that_gives_a_page_back_no_more_stops_the_run_with_a_sentence(monkeypatch):
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)
    made = many(HELD * SIZE + 1)
    made._scratch.close()
    with pytest.raises(DiskFull, match="all replies are safe in the journal: run again"):
        made.credits[0]


def test_pages_stay_in_memory_where_there_is_none_to_put_them_aside(monkeypatch):
    def starve(_):
        raise MemoryError

    monkeypatch.setattr(module, "squeeze", starve)
    monkeypatch.setattr(module, "HELD", 1)
    made = attempts([([bytes(16)], False)] * (2 * SIZE + 1))
    assert list(made.request) == list(range(2 * SIZE + 1))


def test_of_a_page_that_is_damaged_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(module, "HELD", 1)
    made = attempts([([bytes(16)], False)] * (2 * SIZE + 1))
    at, size = made._stored[0]
    os.pwrite(made._scratch._fd, bytes(8), at + size - 8)  # the end of its last column
    with pytest.raises(DiskFull, match="damaged"):
        made.credits[5] = 7
    assert not made.page(0).changed
    assert made.credits[5] != 7
