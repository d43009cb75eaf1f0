"""Figures out of a journal's history."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from journeybatch.archive import read_history
from journeybatch.emulator import Emulator, Faults
from journeybatch.report.figures import attempts_of, binned, nights, over_time, step

values = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=200)


@example([0.0, -1e-05])
@given(values)
def test_every_value_is_in_a_bin_and_bins_touch(numbers):
    bins = binned(pl.Series(numbers, dtype=pl.Float64))
    assert sum(count for *_, count in bins) == len(numbers)
    assert all(one[1] == other[0] for one, other in pairwise(bins))
    assert bins[0][2] and bins[-1][2]


@given(st.floats(1e-6, 1e9), st.integers(1, 100))
def test_a_step_is_1_2_or_5_times_a_power_of_ten_and_cuts_finely_enough(width, most):
    found = step(width, most)
    assert width / found <= most * (1 + 1e-6)
    assert f"{found:e}"[0] in "125" or f"{found:.0e}"[0] in "125"


def test_ends_of_attempts_are_counted_over_time():
    attempts = pl.DataFrame(
        {
            "at": [100.0, 100.0, 101.0, 160.0],
            "latency_s": [1.0, None, 1.0, 0.5],
            "outcome": ["settled", "unknown", "settled", "settled"],
        }
    )
    over = over_time(attempts)
    assert over is not None and over.unit == "seconds"
    assert sum(ok for _, _, ok, _ in over.bins) == 3
    assert over.bins[0][3] == 1
    assert over_time(attempts.clear()) is None


def test_long_runs_are_told_in_longer_units():
    attempts = pl.DataFrame({"at": [0.0, 3600.0], "latency_s": [1.0, 1.0], "outcome": ["settled"] * 2})
    assert over_time(attempts).unit == "minutes"
    assert over_time(attempts.with_columns(pl.col("at") * 10)).unit == "hours"


def test_a_night_counts_what_it_asked_and_what_stayed_without_an_answer(flow):
    flow.emulator = Emulator(faults=Faults(statuses={400: 0.4}, seed=1))
    flow.run(limits={"failures": "100%"})
    flow.emulator = Emulator()
    flow.write([f"thing {n}" for n in range(20)])
    flow.run()
    first, second = nights(read_history(flow.output / "journal"))
    assert first.asked == 12 and 0 < first.failed < 12
    assert (second.number, second.asked, second.failed, second.spent) == (2, 8, 0, 8)


def test_attempts_are_those_of_one_run(flow):
    flow.run()
    flow.write([f"thing {n}" for n in range(14)])
    flow.run()
    history = read_history(flow.output / "journal")
    assert [attempts_of(history, run).height for run in (1, 2, 3)] == [12, 2, 0]
    assert set(attempts_of(history, 2)["outcome"]) == {"settled"}
