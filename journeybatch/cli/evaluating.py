"""eval: which prompt or model is best, whether the difference is real, and what a right answer costs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from journeybatch import yamlfile
from journeybatch.cli import screen
from journeybatch.cli.environment import load, read_world
from journeybatch.cli.reporting import write_evaluation
from journeybatch.cli.running import allowed, options_of, overridden, overrides, tell_plan, tell_run
from journeybatch.directory import EVALUATION
from journeybatch.errors import JobError
from journeybatch.loading import load_job
from journeybatch.summary import write_text

if TYPE_CHECKING:
    from journeybatch.evaluation.outcome import Evaluation


@click.command("eval")
@partial(overrides, required=False)
@click.option("--fresh", is_flag=True, help="Start over; the old output directory is kept beside it.")
@click.option("--yes", is_flag=True, help="Answer yes to questions about cost.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--dry-run", is_flag=True, help="What it would cost and could show; the same as plan.")
@click.option(
    "--compare",
    "against",
    type=click.Path(path_type=Path),
    metavar="OLD_DIR",
    help="Against an earlier evaluation, row by row.",
)
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="JUnit XML for a CI server.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="A summary for a pull request.")
@click.option(
    "--from", "source", type=click.Path(path_type=Path), metavar="FILE", help="Make a job of a promptfooconfig.yaml."
)
@click.option("--to", type=click.Path(path_type=Path), metavar="JOB.yaml", help="The job that --from makes.")
def evaluate(against: Path | None, junit: Path | None, markdown: Path | None, **given: Any) -> None:
    """Evaluate the variants of JOB over its table, or carry on where it stopped."""
    source, to = given.pop("source"), given.pop("to")
    if (source is None) == (given["job"] is None) or (to is not None and source is None):
        raise click.UsageError("expected a JOB, or --from FILE with or without --to JOB.yaml")
    if source is not None:
        _convert(source, to, given["api"])
        return
    from journeybatch.evaluation import telling
    from journeybatch.evaluation.story import evaluate

    world = read_world(allowed(given))
    spec = load(given["job"], overridden(given), world)
    if spec.eval is None:
        raise JobError(f"{given['job']}: there is no 'eval' section: `journeybatch run` runs it")
    if given["dry_run"]:
        tell_plan(given, world, show=0, balance=False)
        return
    ended = evaluate(spec, world, options_of(given), against)
    found = ended.evaluation
    if found is None:
        tell_run(ended.report, given["as_json"])
        raise click.exceptions.Exit(ended.exit_code)
    for path, text in ((junit, telling.junit), (markdown, telling.markdown)):
        if path is not None:
            try:
                write_text(path, text(found))
            except OSError as error:
                raise JobError(f"{path}: cannot be written: {error.strerror or error}") from None
    page, wrong = write_evaluation(spec.output)
    if given["as_json"]:
        screen.out_json(found.json())
    else:
        _tell(found)
        screen.out(f"evaluation: {spec.output / EVALUATION}")
        if page is not None:
            screen.out(f"report: {page}")
    if wrong:
        screen.stderr().line(screen.safe(wrong))
    raise click.exceptions.Exit(ended.exit_code)


def _convert(source: Path, to: Path | None, api: str | None) -> None:
    """Write the evaluation that a promptfoo configuration asks for, and say what of that is not in it."""
    from journeybatch.evaluation.scorers import parse
    from journeybatch.interchange.promptfoo import convert

    path = to or source.with_name(f"{source.stem}-eval.yaml")
    table = path.with_name(f"{path.stem}-rows.jsonl")
    found = convert(source)
    job = {"name": path.stem, "input": table.name, **({"api": api} if api else {}), **found.job}
    load_job({**job, "output": "runs"})
    try:
        parse(job["eval"]["scorers"])
    except ValueError as error:
        raise JobError(f"{source}: {error}") from None
    for each in (path, table):
        if each.exists():
            raise JobError(f"{each} is already there; name another job with --to")
    try:
        table.write_text(found.table(), encoding="utf-8")
        path.write_text(f"# From {source.name}.\n{yamlfile.write(job)}", encoding="utf-8")
    except OSError as error:
        raise JobError(f"{error.filename}: cannot be written: {error.strerror}") from None
    for note in found.notes:
        screen.stderr().line(f"left out: {screen.safe(note)}")
    screen.out(f"{path}: {len(found.rows)} rows, {len(job['eval']['variants'])} variants")
    screen.out(f"now: journeybatch plan {path}, journeybatch eval {path}")


def _tell(found: Evaluation) -> None:
    from journeybatch.evaluation import telling

    judges = f", {found.judging} of them for judges" if found.judging else ""
    emulated = ", all by the emulator: no credit was real" if found.emulated else ""
    times = f" × {found.samples} samples" if found.samples > 1 else ""
    screen.out(screen.safe(found.verdict))
    screen.out("")
    titles = {"score": found.deciding, "interval": f"{100 * found.confidence:g} % interval"}
    columns = [titles.get(column, column) for column in telling.COLUMNS]
    screen.out_table(columns, telling.table(found), numbers=columns[1:])
    for remark in telling.remarks(found):
        screen.out(screen.safe(remark))
    asked = f"{found.rows} rows × {len(found.variants)} variants{times}"
    screen.out(f"{found.job}: {asked}, {found.spent} credits{judges}{emulated}")
