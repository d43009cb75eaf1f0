"""The Parquet views of an output directory: rebuilt from the journal and the input for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from journeybatch import __version__
from journeybatch.history import History
from journeybatch.results import RESULTS, Counts, View, count, write_results
from journeybatch.stamp import note, stamp, stands
from journeybatch.standing import Standing
from journeybatch.statement import REQUESTS, write_requests

if TYPE_CHECKING:
    from journeybatch.job import Job
    from journeybatch.survey import Survey


def write_views(
    job: Job, history: History, journal: Path, surveyed: Survey, standing: Standing | None = None, *, anew: bool = True
) -> Counts:
    """Write results.parquet, requests.parquet of the latest run, and requests/RUN.parquet of earlier ones that have
    none yet. ``standing`` is where the rows stand, where that is known. Unless all is wanted ``anew``, a file that
    would come out the same stays. Raises InputChanged, TableError, OSError."""
    output = journal.parent
    view = view_of(job, history, journal, surveyed, standing)
    attempts = stamp({"journal": history.id}, history.attempts.tables())
    results, made_of = output / RESULTS, _results_of(view, attempts)
    if anew or not stands(results, made_of):
        counts = write_results(view, results)
        note(results, made_of)
    else:
        counts = count(view.facts, history)
    latest = history.runs[-1].number if history.runs else 0
    for run in history.runs[:-1]:
        earlier = output / "requests" / f"{run.number}.parquet"
        if not earlier.exists():
            earlier.parent.mkdir(mode=0o700, exist_ok=True)
            write_requests(history, journal, earlier, run.number, view.metadata)
    requests = output / REQUESTS
    made_of = stamp({"attempts": attempts, "run": latest, **view.metadata}, ())
    if anew or not stands(requests, made_of):
        write_requests(history, journal, requests, latest, view.metadata)
        note(requests, made_of)
    return counts


def _results_of(view: View, attempts: str) -> str:
    """A digest of all that the results rest on: the input, the attempts, what they came to for each row, and how
    replies are read and columns called. The journal only grows, so where a reply stands in it says which it is."""
    said = {
        "attempts": attempts,
        "input": view.surveyed.digests,
        "shape": (view.surveyed.samples, view.surveyed.width),
        "reading": view.reader.identity,
        "columns": [(name, repr(dtype)) for name, dtype in view.schema.items()],
        "answers": [(name, repr(dtype)) for name, dtype in view.reader.contract.columns().items()],
        "prefix": view.prefix,
        "variants": view.variants,
        **view.metadata,
    }
    return stamp(said, [view.facts])


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
