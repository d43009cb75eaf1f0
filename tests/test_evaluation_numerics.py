"""Numbers for statistics: what is a score, and what is said where the libraries are missing."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from journeybatch.evaluation.estimates import Terms
from journeybatch.evaluation.numerics import numbers


@pytest.mark.parametrize(
    "scores", [pl.Series([1, None, 0]), pl.Series([True, None, False]), [1.0, None, 0.0], np.array([1, np.nan, 0])]
)
def test_null_none_and_nan_are_unscored(scores):
    assert numbers(scores).tolist() == pytest.approx([1, np.nan, 0], nan_ok=True)


@pytest.mark.parametrize("score", [np.inf, -np.inf, 1e300])
def test_a_score_without_a_mean_is_refused(score):
    with pytest.raises(ValueError, match="let the scorer leave it unscored"):
        numbers([1.0, score])


def test_next_to_nothing_is_nothing():
    assert numbers([1e-320, -1e-200, 1e-9]).tolist() == [0, 0, 1e-9]


@pytest.mark.parametrize("library", ["numpy", "scipy"])
def test_a_missing_library_is_one_clear_error(library):
    script = f"""
import sys
sys.modules[{library!r}] = None
from journeybatch.errors import JobError
try:
    import journeybatch.evaluation.statistics
except JobError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == (
        f"evaluations need {library}, which is not installed; pip install 'journeybatch[eval]' and run this again\n"
    )


def test_the_package_itself_does_without_them():
    script = "import sys, journeybatch.cli, journeybatch.api; print({'numpy', 'scipy'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"


@pytest.mark.parametrize("wrong", [{"confidence": 95}, {"power": 0.0}, {"resamples": 10}])
def test_terms_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"expected|lie between"):
        Terms(**wrong)
