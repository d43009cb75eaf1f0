"""emulate, init and schema: what a newcomer needs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from journeybatch.cli import screen
from journeybatch.errors import JobError

SCHEMA = "job.schema.json"
JOB = """\
# yaml-language-server: $schema=job.schema.json
# A job that runs as it is, on the local emulator: journeybatch run {name}.yaml
# For real answers: export JOURNEYAPI_KEY=…, and take the line `api: emulator` out.
name: {name}
input: {name}.csv
prompt: "Is this review positive, negative or neutral? Answer with one word: {{{{ review }}}}"
model: deepseek-chat        # 1 credit a request
concurrency: 8
answer: {{column: sentiment}}
api: emulator
output: runs/{name}
"""
TABLE = """\
id,review
1,"Arrived on time, and it works perfectly. I love it."
2,"Broke after two days. A terrible waste of money."
3,"It is a kettle. It boils water."
4,"Great sound, but the battery is awful."
"""


@click.command()
@click.option("--port", type=int, default=8010, show_default=True, help="0 takes a free one.")
@click.option("--latency", type=float, default=0.0, metavar="SECONDS", help="How long every reply takes.")
@click.option("--faults", type=click.Path(path_type=Path), metavar="FILE", help="What goes wrong, as YAML.")
@click.option("--fault-rate", type=click.FloatRange(0, 1), help="A seeded mix of all faults at this rate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of --fault-rate.")
@click.option("--credits", type=int, default=1_000_000, show_default=True, help="The balance to begin with.")
@click.option("--price", "prices", metavar="MODEL=N", multiple=True, help="What a request costs; repeatable.")
@click.option(
    "--answers", type=click.Path(path_type=Path), metavar="FILE", help="An answer key: a table to reply from."
)
@click.option("--key", help="The only key that is accepted; any, if not given.")
@click.option("--bill", type=click.Path(path_type=Path), metavar="FILE", help="Append what is billed, as JSON lines.")
@click.option("--with-stdin", is_flag=True, help="End when standard input closes.")
def emulate(  # noqa: PLR0913, PLR0917  one per option
    port: int,
    latency: float,
    faults: Path | None,
    fault_rate: float | None,
    seed: int,
    credits: int,
    prices: tuple[str, ...],
    answers: Path | None,
    key: str | None,
    bill: Path | None,
    with_stdin: bool,
) -> None:
    """Serve a local JourneyAPI on loopback: the same endpoints, no real credits, faults by switch."""
    from journeybatch.emulator import Emulator, Faults, read_answers, read_faults, serve

    try:
        chosen = read_faults(faults) if faults else Faults.mixed(fault_rate, seed) if fault_rate else Faults()
        known = read_answers(answers) if answers else None
        charged = dict(map(_price, prices))
        emulator = Emulator(
            latency_s=latency, faults=chosen, credits=credits, prices=charged, key=key, bill=bill, answers=known
        )
    except ValueError as error:
        raise JobError(str(error)) from None
    except OSError as error:
        raise JobError(f"{error.filename}: {error.strerror or error}") from None
    try:
        serve(emulator, port=port, until_stdin_closes=with_stdin)
    except OSError as error:
        raise JobError(f"the emulator cannot be served on port {port}: {error.strerror or error}") from None


def _price(told: str) -> tuple[str, int]:
    model, _, credits = told.partition("=")
    if not (credits.isascii() and credits.isdigit()):
        raise JobError(f"--price {told}: a model and its credits per request are expected, such as gpt-4o=3")
    return model, int(credits)


@click.command()
@click.argument("name", default="first-job")
def init(name: str) -> None:
    """Write a small working job, NAME.yaml, with its table, and the schema by which editors complete and check it."""
    from journeybatch.spec import schema as job_schema

    stem = name.removesuffix(".yaml")
    if not stem.replace("-", "").replace("_", "").isalnum():
        raise JobError(f"{name}: a job's name has letters, digits, - and _")
    files = {Path(f"{stem}.yaml"): JOB.format(name=stem), Path(f"{stem}.csv"): TABLE}
    for path in files:
        if path.exists():
            raise JobError(f"{path} is already there; give another name: journeybatch init NAME")
    files[Path(SCHEMA)] = json.dumps(job_schema(), indent=2, ensure_ascii=False) + "\n"
    for path, text in files.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise JobError(f"{path}: cannot be written: {error.strerror}") from None
    screen.out(
        f"wrote {stem}.yaml, {stem}.csv and {SCHEMA}; now: journeybatch plan {stem}.yaml, journeybatch run {stem}.yaml"
    )


@click.command()
def schema() -> None:
    """The JSON Schema of the job spec, for editors."""
    from journeybatch.spec import schema as job_schema

    screen.out_json(job_schema())
