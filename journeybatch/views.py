"""The Parquet views of an output directory: rebuilt from the journal and the input for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch import __version__
from journeybatch.history import History
from journeybatch.results import RESULTS, Counts, View, write_results
from journeybatch.standing import Standing
from journeybatch.statement import REQUESTS, write_requests

if TYPE_CHECKING:
    from journeybatch.job import Job
    from journeybatch.survey import Survey


def write_views(
    job: Job, history: History, journal: Path, surveyed: Survey, standing: Standing | None = None
) -> Counts:
    """Write results.parquet, requests.parquet of the latest run, and requests/RUN.parquet of earlier ones that have
    none yet. ``standing`` is where the rows stand, where that is known. Raises InputChanged, TableError, OSError."""
    output = journal.parent
    view = view_of(job, history, journal, surveyed, standing)
    counts = write_results(view, output / RESULTS)
    latest = history.runs[-1].number if history.runs else 0
    for run in history.runs[:-1]:
        earlier = output / "requests" / f"{run.number}.parquet"
        if not earlier.exists():
            earlier.parent.mkdir(mode=0o700, exist_ok=True)
            write_requests(history, journal, earlier, run.number, view.metadata)
    write_requests(history, journal, output / REQUESTS, latest, view.metadata)
    return counts


def view_of(job: Job, history: History, journal: Path, surveyed: Survey, standing: Standing | None = None) -> View:
    """What the results of ``job`` are made of."""
    return View(
        journal=journal,
        history=history,
        surveyed=surveyed,
        facts=(standing or job.stand(history, surveyed)).facts,
        frames=job.frames,
        schema=dict(job.schema),
        reader=job.reader,
        variants=job.variants,
        prefix=job.spec.output_prefix or "",
        metadata={
            "journeybatch.job": job.spec.name,
            "journeybatch.version": __version__,
            "journeybatch.emulated": "true" if history.emulated else "false",
        },
    )
