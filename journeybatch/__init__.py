"""journeybatch: one prompt over every row of a table, exact about credits.

>>> import journeybatch
>>> report = journeybatch.run("jobs/review-sentiment.yaml", api="emulator")
>>> report.exit_code, report.summary["credits"]["spent"], report.results
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from journeybatch.api import evaluate, load_job, plan, run, run_async
    from journeybatch.conclusion import Report
    from journeybatch.emulator import Emulator
    from journeybatch.errors import JourneybatchError
    from journeybatch.planning import Plan
    from journeybatch.spec import JobSpec

_HOMES = {
    "Emulator": "emulator",
    "JobSpec": "spec",
    "JourneybatchError": "errors",
    "Plan": "planning",
    "Report": "conclusion",
    "evaluate": "api",
    "load_job": "api",
    "plan": "api",
    "run": "api",
    "run_async": "api",
}

__all__ = [  # noqa: RUF022  the deeds first
    "run",
    "run_async",
    "plan",
    "evaluate",
    "load_job",
    "JobSpec",
    "Plan",
    "Report",
    "Emulator",
    "JourneybatchError",
]


def __getattr__(name: str) -> Any:
    """Names are imported when they are used: ``import journeybatch`` costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"journeybatch.{_HOMES[name]}"), name)
