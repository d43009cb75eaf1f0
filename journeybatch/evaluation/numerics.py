"""numpy and scipy for the rooms that calculate, and scores as arrays.

They come with the extra ``eval``. These rooms are imported when an evaluation begins, so that every other job does
without them; where they are missing, importing this one raises a JobError that says what to install.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from journeybatch.errors import JobError

__all__ = ["Floats", "Integers", "np", "numbers", "optimize", "stats"]

try:
    import numpy as np
    from scipy import optimize, stats
except ModuleNotFoundError as missing:
    raise JobError(
        f"evaluations need {(missing.name or 'scipy').split('.')[0]}, which is not installed; "
        "pip install 'journeybatch[eval]' and run this again"
    ) from None

LARGEST = 1e50
"""No score is larger; what is smaller than its inverse is 0."""

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def numbers(values: Any) -> Floats:
    """Scores as floats: a polars Series, a numpy array or a sequence; null and None become NaN, *unscored*. Raises
    ValueError for infinite scores, which have no mean, and for those whose squares would be."""
    floats: Floats = np.asarray(values, dtype=np.float64)
    if (np.abs(floats) > LARGEST).any():
        raise ValueError(f"expected scores up to {LARGEST:g}; found a larger one: let the scorer leave it unscored")
    return np.where(np.abs(floats) < 1 / LARGEST, 0.0, floats)
