"""The Parquet views of an output directory: rebuilt from the journal and the input for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from journeybatch import __version__
from journeybatch.history import History
from journeybatch.results import RESULTS, Counts, View, count, write_results
from journeybatch.stamp import note, stamp, stands
from journeybatch.standing import Standing
from journeybatch.statement import REQUESTS, write_requests
from journeybatch.transcript import Transcript

if TYPE_CHECKING:
    from journeybatch.job import Job
    from journeybatch.survey import Survey


class Known(msgspec.Struct, frozen=True):
    """What a run knows at its end: where the rows stand, and what replies say."""

    standing: Standing
    transcript: Transcript | None = None


def write_views(job: Job, history: History, journal: Path, surveyed: Survey, known: Known | None = None) -> Counts:
    """Write results.parquet, requests.parquet of the latest run, and requests/RUN.parquet of earlier ones that have
    none yet. A run hands in what is ``known``, and files that would come out the same stay; otherwise all is read out
    of the journal and written anew. Raises InputChanged, TableError, OSError."""
    output = journal.parent
    view, anew = view_of(job, history, journal, surveyed, known), known is None
    attempts = stamp({"journal": history.id}, history.attempts.tables())
    results, made_of = output / RESULTS, _results_of(view, attempts)
    if anew or not stands(results, made_of):
        counts = write_results(view, results)
        note(results, made_of)
    else:
        counts = count(view.table, history)
    latest = history.runs[-1].number if history.runs else 0
    for run in history.runs[:-1]:
        earlier = output / "requests" / f"{run.number}.parquet"
        if not earlier.exists():
            earlier.parent.mkdir(mode=0o700, exist_ok=True)
            write_requests(history, journal, earlier, run.number, view.metadata)
    requests = output / REQUESTS
    made_of = stamp({"attempts": attempts, "run": latest, **view.metadata}, ())
    if anew or not stands(requests, made_of):
        write_requests(history, journal, requests, latest, view.metadata, view.transcript)
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
    return stamp(said, view.table)


def view_of(job: Job, history: History, journal: Path, surveyed: Survey, known: Known | None = None) -> View:
    """What the results of ``job`` are made of."""
    return View(
        journal=journal,
        history=history,
        surveyed=surveyed,
        table=(known.standing if known else job.stand(history, surveyed)).table,
        frames=job.frames,
        schema=dict(job.schema),
        reader=job.reader,
        variants=job.variants,
        prefix=job.spec.output_prefix or "",
        transcript=known.transcript if known else None,
        metadata={
            "journeybatch.job": job.spec.name,
            "journeybatch.version": __version__,
            "journeybatch.emulated": "true" if history.emulated else "false",
        },
    )
