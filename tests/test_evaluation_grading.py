"""The weighted mean of several scorers: over those that have a say about a row, and unscored where one of them is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from journeybatch.answers import Contract
from journeybatch.evaluation.grading import OVERALL, Grading, graded
from journeybatch.evaluation.scorers import parse
from journeybatch.evaluation.scoring import ready

RESULTS = pl.DataFrame(
    {
        "response": ["yes", "yes", "no", None],
        "gold": ["yes", None, " ", "yes"],
        "jb_row": [0, 1, 2, 3],
        "jb_status": ["answered", "answered", "answered", "failed"],
        "jb_error": [None, None, None, "rejected"],
    }
)


def overall(*items: Any) -> list[float | None]:
    scorers = [
        ready(scorer, Contract(column="response"), RESULTS.columns, "gold", Path()) for scorer in parse(list(items))
    ]
    scores = graded(Grading(tuple(scorers), weighted=True), RESULTS, {}, ["row"])
    return scores.filter(pl.col("scorer") == OVERALL)["value"].to_list()


def test_a_scorer_with_a_target_of_its_own_has_no_say_where_that_is_empty() -> None:
    found = overall({"equals": None, "target": "gold", "weight": 1}, {"contains": "n", "weight": 3})
    assert found == [pytest.approx(0.25), 0.0, 1.0, None]


def test_a_row_without_the_evaluations_target_is_unscored() -> None:
    assert overall({"equals": None, "weight": 1}, {"contains": "n", "weight": 3}) == [
        pytest.approx(0.25),
        None,
        None,
        None,
    ]


def test_a_row_about_which_nobody_has_a_say_is_unscored() -> None:
    assert overall({"equals": None, "target": "gold", "weight": 1}) == [1.0, None, None, None]
