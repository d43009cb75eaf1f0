"""batch: files of OpenAI's Batch API, in and out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from journeybatch.audit import views_wait
from journeybatch.cli import screen
from journeybatch.cli.environment import load, read_world
from journeybatch.cli.looking import check_journal, directory_of, history_of, rebound, spec_of
from journeybatch.directory import discard_if_unused, open_directory
from journeybatch.errors import JobError, OutputError
from journeybatch.intake import loaded, spools
from journeybatch.job import bind
from journeybatch.journal import NAME
from journeybatch.lock import alone, without_runs
from journeybatch.replacement import replacement
from journeybatch.results import RESULTS
from journeybatch.summary import read_summary
from journeybatch.table import MOST_ROWS
from journeybatch.views import write_views

if TYPE_CHECKING:
    from journeybatch.interchange.batch_output import Told


@click.group()
def batch() -> None:
    """Files of OpenAI's Batch API: make jobs of its input, write results as its output."""


@batch.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), metavar="JOB.yaml", help="By default FILE's name as .yaml.")
@click.option("--api", help="What the job says under `api`: emulator, or a base URL.")
def import_batch(file: Path, to: Path | None, api: str | None) -> None:
    """Make a job, with its table, of the requests in FILE; one for each combination of model, parameters and roles."""
    from journeybatch.interchange.batch import job_text, read_batches

    batches = read_batches(file)
    first = to or file.with_suffix(".yaml")
    paths = [
        first.with_name(f"{first.stem}{f'-{n}' if n > 1 else ''}{first.suffix}") for n in range(1, len(batches) + 1)
    ]
    tables = [path.with_name(f"{path.stem}-rows.jsonl") for path in paths]
    for path in (*paths, *tables):
        if path.exists():
            raise JobError(f"{path} is already there; name another job with --to")
    for found, path, table in zip(batches, paths, tables, strict=True):
        try:
            table.write_text(found.table(), encoding="utf-8")
            path.write_text(job_text(found.job(path.stem, table.name, api), file.name), encoding="utf-8")
        except OSError as error:
            raise JobError(f"{error.filename}: cannot be written: {error.strerror}") from None
        line = found.lines[0]
        screen.out(f"{path}: {len(found.lines)} requests to {screen.safe(line.model)} ({', '.join(line.roles)})")
    screen.out(f"now: journeybatch plan {paths[0]}, journeybatch run {paths[0]}")


@batch.command("requests")
@click.argument("path", metavar="JOB", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where the lines go.")
@click.option("--id", "column", metavar="COLUMN", help="The column with each row's custom_id.", default=None)
@click.option("--limit", type=click.IntRange(0, MOST_ROWS), help="First N rows only.")
@click.option("--model", help="Another model.")
def requests(path: Path, to: Path, column: str | None, limit: int | None, model: str | None) -> None:
    """Write the requests of JOB as input lines of the Batch API: custom_id, method, url and body. Sends nothing."""
    from journeybatch.interchange.batch_input import MOST_LINES, input_lines

    world, overrides = read_world(), {"stream": False, **({"model": model} if model else {})}
    spec = load(path, overrides, world)
    kept = loaded(spec.input, world.environ) if spools(spec.input) and spec.input.frame is None else None
    job = bind(spec, world, limit=limit, frame=kept)
    written = 0
    try:
        with ExitStack() as stack:
            file = _opened(to, stack)
            for line in input_lines(job, column):
                file.write(line)
                written += 1
    except OSError as error:
        raise OutputError(f"{error.filename or to}: cannot be written: {error.strerror}") from None
    screen.out(f"{to}: {written} requests to {', '.join(dict.fromkeys(way.tiers[0].model for way in job.ways))}")
    if written > MOST_LINES:
        screen.out(f"note: OpenAI takes {MOST_LINES} in a file: split -l {MOST_LINES} {to}")


@batch.command("answers")
@click.argument("path", metavar="JOB", type=click.Path(path_type=Path))
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--id", "column", metavar="COLUMN", help="The column with each row's custom_id.", default=None)
def answers(path: Path, files: tuple[Path, ...], column: str | None) -> None:
    """Take the answers in output files of the Batch API over into JOB's output directory: a run asks for the rest."""
    from journeybatch.interchange.batch_answers import take_answers

    world = read_world()
    spec = load(path, {}, world)
    kept = loaded(spec.input, world.environ) if spools(spec.input) and spec.input.frame is None else None
    job = bind(spec, world, frame=kept)
    journal = open_directory(spec.output, spec.name)
    try:
        taken = take_answers(job, journal, files, column)
    finally:
        discard_if_unused(journal)
    screen.out(f"{spec.output}: {taken.answers} answers taken over")
    told = {
        "of rows that have an answer": taken.known,
        "of no row of this job": taken.strange,
        "without a reply": taken.failed,
        "with a reply that cannot be read as `answer` says": taken.unread,
    }
    for what, number in told.items():
        if number:
            screen.out(f"left aside: {number} lines {what}")
    screen.out(f"now: journeybatch plan {path}, journeybatch run {path}")


@batch.command("export")
@click.argument("targets", metavar="DIR-or-JOB…", nargs=-1, required=True)
@click.option("--to", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where the lines go.")
@click.option("--errors", type=click.Path(path_type=Path), metavar="FILE", help="Rows without an answer go there.")
@click.option("--id", "column", metavar="COLUMN", help="The column with each row's custom_id.", default=None)
def export_batch(targets: tuple[str, ...], to: Path, errors: Path | None, column: str | None) -> None:
    """Write the results of runs as output lines of the Batch API: id, custom_id, response and error."""
    directories = [directory_of(target) for target in targets]
    counts = {False: 0, True: 0}
    try:
        with ExitStack() as stack:
            for directory in {each.resolve(): each for each in directories}.values():
                check_journal(directory)
                stack.enter_context(alone(directory))
                stack.enter_context(without_runs(directory / NAME))
            paths = {False: to, **({True: errors} if errors else {})}
            files = {failed: _opened(path, stack) for failed, path in paths.items()}
            for told in chain.from_iterable(_told(directory, column) for directory in directories):
                files[told.failed and errors is not None].write(f"{told.text}\n")
                counts[told.failed] += 1
    except OSError as error:
        raise OutputError(f"{error.filename or to}: cannot be written: {error.strerror}") from None
    screen.out(f"{to}: {counts[False]} answered" + ("" if errors else f", {counts[True]} without an answer"))
    if errors:
        screen.out(f"{errors}: {counts[True]} without an answer")


def _opened(path: Path, stack: ExitStack) -> TextIO:
    """A file that takes the place of ``path`` when the stack ends well."""
    return stack.enter_context(stack.enter_context(replacement(path)).open("w", encoding="utf-8"))


def _told(directory: Path, column: str | None) -> Iterator[Told]:
    """The lines of one run, of views that are up to date."""
    from journeybatch.interchange.batch_output import Names, id_column, output_lines

    history, spec, results = history_of(directory), spec_of(directory), directory / RESULTS
    if views_wait(read_summary(directory) or {}) or not results.exists():
        job, surveyed = rebound(directory, history)
        write_views(job, history, directory / NAME, surveyed)
    contract, prefix = spec.answer.contract, spec.output_prefix or ""
    text = "jb_text" if contract.structured else next(iter(contract.columns()))
    names = Names(id_column(results) if column is None else column, prefix + text, prefix)
    return output_lines(results, history, directory / NAME, names)
