"""report: a page about a run that stands on its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from journeybatch.audit import audit, torn, views_wait
from journeybatch.cli import screen
from journeybatch.cli.looking import directory_of, history_of, rebound, spec_of
from journeybatch.errors import Damaged, OutputError
from journeybatch.history import History
from journeybatch.journal import NAME, locked
from journeybatch.results import RESULTS, write_results
from journeybatch.summary import read_summary
from journeybatch.views import view_of

PAGE = "report.html"


@click.command()
@click.argument("target", metavar="DIR-or-JOB")
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="By default report.html in DIR.")
@click.option("--history", is_flag=True, help="Also every run of DIR: credits, prompts and failures per night.")
@click.option("--rows", type=click.IntRange(min=1), default=10_000, show_default=True, help="Most rows in the page.")
@click.option("--png", metavar="DIR-or-PREFIX", help="Also the charts as images.")
def report(target: str, to: Path | None, history: bool, rows: int, png: str | None) -> None:
    """The HTML report of a run: one file, which asks for nothing."""
    from journeybatch.report import charts
    from journeybatch.report.evidence import Evidence
    from journeybatch.report.page import write_images, write_page
    from journeybatch.report.run import run_page

    directory = directory_of(target)
    found = history_of(directory)
    spec = spec_of(directory)
    if not found.runs:
        raise OutputError(f"{directory}: nothing was asked here yet; there is nothing to report")
    summary = read_summary(directory) or {}
    if png is not None:
        charts.check()
    with _results(directory, found, summary) as (results, running):
        page = run_page(Evidence(directory, spec, found, summary, results, running), most=rows, history=history)
    path = to or directory / PAGE
    try:
        write_page(page, path)
        images = write_images(page.charts, png) if png is not None else []
    except OSError as error:
        raise OutputError(f"{error.filename or path}: cannot be written: {error.strerror}") from None
    if page.charts and not charts.can_draw():
        screen.stderr().line(
            "charts are left out, their tables are there: pip install 'journeybatch[report]' draws them"
        )
    for written in (path, *images):
        screen.out(str(written))


@contextmanager
def _results(directory: Path, history: History, summary: dict[str, Any]) -> Iterator[tuple[Path, bool]]:
    """A table of results that is up to date, and whether a run is at work: where the views are behind, a copy that
    is made for the report alone. Raises Damaged with what ``verify`` says."""
    found = [line for line in audit(directory) if line != torn(history)]
    if found:
        raise Damaged("\n".join([f"{directory}: {len(found)} things do not agree:", *(f"  {line}" for line in found)]))
    running = locked(directory / NAME)
    if not running and not views_wait(summary):
        yield directory / RESULTS, False
        return
    job, surveyed = rebound(directory, history)
    with tempfile.TemporaryDirectory(prefix="journeybatch-") as folder:
        results = Path(folder) / RESULTS
        write_results(view_of(job, history, directory / NAME, surveyed), results)
        yield results, running
