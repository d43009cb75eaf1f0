"""report: a page about a run or an evaluation that stands on its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from journeybatch.audit import audit, torn, views_wait
from journeybatch.cli import screen
from journeybatch.cli.looking import directory_of, history_of, rebound, spec_of
from journeybatch.directory import EVALUATION
from journeybatch.errors import Damaged, OutputError
from journeybatch.history import History
from journeybatch.journal import NAME
from journeybatch.lock import locked
from journeybatch.results import RESULTS, write_results
from journeybatch.summary import read_summary
from journeybatch.views import view_of

if TYPE_CHECKING:
    from journeybatch.report.blocks import Page
    from journeybatch.report.evidence import Evidence

PAGE = "report.html"
ROWS = 10_000


@click.command()
@click.argument("target", metavar="DIR-or-JOB")
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="By default report.html in DIR.")
@click.option("--history", is_flag=True, help="Also every run of DIR: credits, prompts and failures per night.")
@click.option("--rows", type=click.IntRange(min=1), default=ROWS, show_default=True, help="Most rows in the page.")
@click.option("--png", metavar="DIR-or-PREFIX", help="Also the charts as images.")
def report(target: str, to: Path | None, history: bool, rows: int, png: str | None) -> None:
    """The HTML report of a run or an evaluation: one file, which asks for nothing."""
    from journeybatch.report import charts
    from journeybatch.report.evidence import Evidence
    from journeybatch.report.page import write_images, write_page

    directory = directory_of(target)
    found = history_of(directory)
    spec = spec_of(directory)
    if not found.runs:
        raise OutputError(f"{directory}: nothing was asked here yet; there is nothing to report")
    summary = read_summary(directory) or {}
    if png is not None:
        charts.check()
    with _results(directory, found, summary) as (results, running):
        page = page_of(Evidence(directory, spec, found, summary, results, running), most=rows, history=history)
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


def page_of(evidence: Evidence, *, most: int, history: bool) -> Page:
    """The page of a directory's latest run: of the evaluation, where it was one and has come to its end. Raises
    OutputError for an evaluation that cannot be read."""
    from journeybatch.report.blocks import Sentence
    from journeybatch.report.run import run_page

    if evidence.running or not (evidence.directory / EVALUATION).exists():
        return run_page(evidence, most=most, history=history)
    from journeybatch.report.appraisal import Appraisal, evaluation_in, scores_in
    from journeybatch.report.evaluation import evaluation_page

    found = evaluation_in(evidence.directory)
    if found.run != evidence.run.number:
        page = run_page(evidence, most=most, history=history)
        older = f"The evaluation here is of run {found.run}: `journeybatch eval JOB` makes that of this one."
        return msgspec.structs.replace(page, sentences=(Sentence(older, warning=True), *page.sentences))
    return evaluation_page(Appraisal(evidence, found, scores_in(evidence.directory)), most=most, history=history)


def write_evaluation(directory: Path) -> tuple[Path | None, str]:
    """The page of an evaluation that has just ended, beside it; or None, and why there is none. It never fails what it
    is about."""
    path = directory / PAGE
    try:
        from journeybatch.report.evidence import Evidence
        from journeybatch.report.page import write_page

        spec, summary = spec_of(directory), read_summary(directory) or {}
        evidence = Evidence(directory, spec, history_of(directory), summary, directory / RESULTS)
        write_page(page_of(evidence, most=ROWS, history=False), path)
    except Exception as error:  # noqa: BLE001  credits were spent: whatever the page trips over, the verdict is told
        return None, f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}"
    return path, ""


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
