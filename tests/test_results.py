"""How results are put together; what stands in them, the flows of whole runs test."""

import polars as pl
import pytest
from conftest import Flow

from journeybatch import results


@pytest.mark.parametrize(("size", "rows"), [(0, 16_384), (100, 16_384), (1_024, 4_096), (4_096, 1_024), (10**6, 1_000)])
def test_short_rows_are_put_together_in_larger_parts_than_long_ones(size: int, rows: int) -> None:
    assert results._together(size) == rows


def test_it_makes_no_difference_how_many_are_put_together(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several answers a row, rows that are the same, and rows that are left."""
    flow.write([f"thing {n % 30}" for n in range(60)])
    flow.run(samples=2, limits={"credits": 40})
    once = flow.results()
    assert once["jb_status"].n_unique() == 2
    monkeypatch.setattr(results, "ROOM", 0)
    monkeypatch.setattr(results, "FEWEST", 7)
    parts = list[int]()
    real = results._answers
    monkeypatch.setattr(
        results, "_answers", lambda view, facts, *rest: parts.append(facts.height) or real(view, facts, *rest)
    )
    (flow.output / results.RESULTS).unlink()
    flow.run(samples=2, limits={"credits": 40})
    assert parts == [14] * 8 + [8]
    assert pl.DataFrame.equals(flow.results(), once)
