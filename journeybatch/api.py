"""The Python API: what the command line does, as functions.

A job is a path, a dict or a JobSpec; its input may be a polars DataFrame or LazyFrame. Overrides are keys of the
job with dots written as double underscores (``limits__credits=50``), or the command line's own names (``limit``,
``fresh``, ``retry_failed``, ``reparse``, ``max_credits``, ``allow_hosts``, ``yes``). ``progress=True`` shows on stderr
how far a run is: in a notebook and on a terminal as a bar.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journeybatch import runner
from journeybatch.cli.environment import load, read_world
from journeybatch.conclusion import Report
from journeybatch.errors import SpecError
from journeybatch.job import World
from journeybatch.planning import Plan
from journeybatch.preparation import Options, plan_only
from journeybatch.progress import Screen
from journeybatch.spec import JobSpec
from journeybatch.table import MOST_ROWS

if TYPE_CHECKING:
    from journeybatch.evaluation.story import Ended

JobLike = Path | str | Mapping[str, Any] | JobSpec
_OPTIONS = {"limit", "fresh", "retry_failed", "reparse", "yes", "transport", "seed"}
_KNOWN = set(JobSpec.model_fields) | {"max_credits"}


def run(job: JobLike, **overrides: Any) -> Report:
    """Run ``job``, or carry it on. Not inside a running event loop: there, await ``run_async``.

    Raises:
        JobError: the job must be mended first; nothing was sent.
        RunLocked: another run holds its output directory.
    """
    spec, world, options = _read(job, overrides)
    return runner.run(_plain(spec), world, options)


async def run_async(job: JobLike, **overrides: Any) -> Report:
    """``run`` inside a running asyncio event loop (a notebook, say). Raises the same."""
    spec, world, options = _read(job, overrides)
    return await runner.run_async(_plain(spec), world, options)


def evaluate(job: JobLike, *, against: Path | str | None = None, **overrides: Any) -> Ended:
    """Evaluate the variants of ``job``, or carry that on; ``against`` is the output directory of an earlier
    evaluation. Needs the extra ``eval``. Not inside a running event loop.

    Raises:
        JobError: the job must be mended first; nothing was sent.
        RunLocked: another run holds its output directory.
    """
    from journeybatch.evaluation.story import evaluate

    spec, world, options = _read(job, overrides)
    return evaluate(spec, world, options, None if against is None else Path(against))


def plan(job: JobLike, **overrides: Any) -> Plan:
    """The dry run: what would be asked and what it costs. Opens no socket. Raises JobError."""
    spec, world, options = _read(job, overrides)
    return plan_only(spec, world, options)[1]


def load_job(job: JobLike, **overrides: Any) -> JobSpec:
    """The job, checked and frozen. Raises SpecError with every problem found."""
    return _read(job, overrides)[0]


def _plain(spec: JobSpec) -> JobSpec:
    if spec.eval is not None:
        raise SpecError("this job compares variants: call evaluate instead of run")
    return spec


def _read(job: JobLike, overrides: Mapping[str, Any]) -> tuple[JobSpec, World, Options]:
    given = dict(overrides)
    world = read_world(tuple(given.pop("allow_hosts", ())))
    chosen = {name: given.pop(name) for name in _OPTIONS & set(given)}
    if (limit := chosen.get("limit")) is not None and not (isinstance(limit, int) and 0 <= limit <= MOST_ROWS):
        raise SpecError(f"limit: expected a number of rows up to {MOST_ROWS}, found {limit!r}")
    if given.pop("progress", False):
        chosen["screen"] = Screen(sys.stderr, watched="ipykernel" in sys.modules)
    if "max_credits" in given:
        given["limits.credits"] = given.pop("max_credits")
    for name in given:
        if name.split("__")[0].split(".")[0] not in _KNOWN:
            raise SpecError(
                f"unknown override {name!r}; expected a key of the job, or one of {sorted(_OPTIONS | {'progress'})}"
            )
    keys = {name.replace("__", "."): value for name, value in given.items()}
    return load(job, keys, world), world, Options(**chosen, overridden=frozenset(keys))
