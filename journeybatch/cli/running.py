"""run and plan."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any

import click
import msgspec

from journeybatch.cli import money, more, screen
from journeybatch.cli.environment import load, parse_sets, read_world
from journeybatch.conclusion import Report
from journeybatch.costs import interval
from journeybatch.errors import ApiFailure, JobError, JourneybatchError, TemplateError
from journeybatch.history import History
from journeybatch.job import Job, World
from journeybatch.planning import Plan
from journeybatch.preparation import Options, plan_only
from journeybatch.runner import run as run_job
from journeybatch.summary import remarks
from journeybatch.survey import Survey
from journeybatch.table import MOST_ROWS

if TYPE_CHECKING:
    from journeybatch.evaluation.prospect import Prospect

Command = Callable[..., Any]


class Concurrency(click.ParamType[int | str]):
    """A number, or `auto`."""

    name = "number or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return "auto" if value == "auto" else int(click.INT.convert(value, param, ctx))


def overrides(command: Command, *, required: bool = True) -> Command:
    """The options that ``run``, ``plan`` and ``eval`` share, and the job, which may be ``required``."""
    for option in reversed(
        (
            click.argument("job", type=click.Path(), required=required),
            click.option("--limit", type=click.IntRange(0, MOST_ROWS), help="First N rows only."),
            click.option("--model", help="Another model."),
            click.option("--concurrency", type=Concurrency(), help="Requests in flight at most, or `auto`."),
            click.option("--max-credits", type=int, help="limits.credits: what the run may be billed at most."),
            click.option("--deadline", metavar="HH:MM", help="limits.deadline: nothing more is sent from then on."),
            click.option("--api", help="journeyapi, emulator, or a base URL."),
            click.option("--engine", help="local, or ray: requests leave from the workers of a cluster."),
            click.option("--address", metavar="HOST:PORT", help="engine.address: the Ray cluster's head, or auto."),
            click.option("--output", type=click.Path(), help="Another output directory."),
            click.option("--set", "sets", multiple=True, metavar="KEY.PATH=VALUE", help="Set any key of the job."),
            click.option("--retry-failed", is_flag=True, help="Ask failed rows again."),
            click.option("--reparse", is_flag=True, help="Read all replies again, for 0 credits."),
            click.option("--allow-host", "allow_hosts", multiple=True, metavar="HOST", help="Let a key go to HOST."),
            click.option("--json", "as_json", is_flag=True, help="The result as one JSON object on stdout."),
        )
    ):
        command = option(command)
    return command


def overridden(given: dict[str, Any]) -> dict[str, Any]:
    names = {
        "model": "model",
        "concurrency": "concurrency",
        "max_credits": "limits.credits",
        "deadline": "limits.deadline",
        "api": "api",
        "engine": "engine.kind",
        "address": "engine.address",
        "output": "output",
    }
    chosen = {key: given[name] for name, key in names.items() if given[name] is not None}
    sets = parse_sets(given["sets"])
    within = {key: value for key, value in sets.items() if any(key.startswith(f"{whole}.") for whole in chosen)}
    before = {key: value for key, value in sets.items() if key not in within}
    return (
        before | chosen | within
    )  # in this order: --api takes the place of what stood there, --set api.auth adds to it


def allowed(given: dict[str, Any]) -> tuple[str, ...]:
    """The hosts that the user trusts by the command line: a cluster given here is one."""
    cluster = (given["address"] or "").rpartition(":")[0].strip("[]")
    return (*given["allow_hosts"], *filter(None, [cluster]))


@click.command()
@overrides
@click.option("--fresh", is_flag=True, help="Start over; the old output directory is kept beside it.")
@click.option("--yes", is_flag=True, help="Answer yes to questions about cost.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Lines on stderr.")
@click.option("--dry-run", is_flag=True, help="The same as plan.")
def run(**given: Any) -> None:
    """Run JOB, or carry on where it stopped."""
    try:
        _run(given)
    except JourneybatchError as error:
        if given["log_format"] == "text":
            raise
        screen.stderr(as_json=True).line(str(error), "error")
        raise click.exceptions.Exit(error.exit_code) from None


def _run(given: dict[str, Any]) -> None:
    world = read_world(allowed(given))
    if given["dry_run"]:
        tell_plan(given, world, show=0, balance=False)
        return
    spec = load(given["job"], overridden(given), world)
    if spec.eval is not None:
        raise JobError(f"{given['job']}: this job compares variants: `journeybatch eval` runs it")
    report = run_job(spec, world, options_of(given))
    tell_run(report, given["as_json"], log_as_json=given["log_format"] == "json")
    raise click.exceptions.Exit(report.exit_code)


def options_of(given: dict[str, Any]) -> Options:
    """How to run, by the command line."""
    return Options(
        limit=given["limit"],
        fresh=given["fresh"],
        retry_failed=given["retry_failed"],
        reparse=given["reparse"],
        overridden=frozenset(overridden(given)),
        yes=given["yes"],
        confirm=screen.confirm if screen.can_ask() else None,
        screen=screen.stderr(given["quiet"], given.get("log_format") == "json"),
        signals=True,
    )


def tell_run(report: Report, as_json: bool, *, log_as_json: bool = False) -> None:
    """What a run came to, and why it stopped."""
    if as_json:
        screen.out_json(report.summary)
    else:
        _tell(report)
    if report.message:
        told = f"stopped ({report.summary['stopped_by']}): {screen.safe(report.message)}"
        screen.stderr(as_json=log_as_json).line(told, "warning")
        if not log_as_json:
            screen.stderr().line(more(report.summary["stopped_by"]))


def _tell(report: Report) -> None:
    summary = report.summary
    rows, credits, requests = summary["rows"], summary["credits"], summary["requests"]
    doubt = f" (and at most {credits['unknown_max']} more in doubt)" if credits["unknown_max"] else ""
    cap = f" of {credits['cap']}" if credits["cap"] is not None else ""
    kinds = ", ".join(f"{number} {screen.safe(error)}" for error, number in (summary["failures"] or {}).items())
    screen.out(
        f"{summary['job']}: {rows['answered']} of {rows['total']} rows answered"
        + (f", {rows['failed']} failed" if rows["failed"] else "")
        + (f" ({kinds})" if kinds else "")
        + (f", {rows['pending']} pending" if rows["pending"] else "")
        + (f", {rows['reused']} of them through another row" if rows["reused"] else "")
        + (f", {rows['refused']} refused by the model" if rows["refused"] else "")
    )
    screen.out(
        f"{requests['sent']} requests ({requests['retried']} retries), {credits['spent']}{cap} credits{doubt}, "
        f"{summary['seconds']:.1f} s" + (", all by the emulator: no credit was real" if summary["emulated"] else "")
    )
    if workers := summary["workers"]:
        screen.out(_crew(workers))
    for remark in remarks(summary):
        screen.out(remark)
    for decision in summary["decisions"]:
        screen.out(f"{decision['what']}: {screen.safe(decision['why'])}")
    if summary["costs"]:
        money.tell_savings(summary["costs"], cascade=len(summary["models"]) > 1)
        money.tell_models(summary["models"])
    if report.results.exists():
        screen.out(f"results: {report.results}")
    for delivery in summary["deliveries"]:
        if delivery["state"] != "failed":  # that is told where a stop is
            screen.out(f"{delivery['state']}: {screen.safe(delivery['sink'])}")


def _crew(workers: list[dict[str, Any]]) -> str:
    """What those who sent for us did, the busiest and the idlest; `status` has them all."""
    gone = [worker for worker in workers if worker["state"] == "gone"]
    sent = sorted(worker["sent"] for worker in workers)
    doubt = sum(worker["in_doubt"] for worker in gone)
    said = f"{len(workers)} workers on Ray sent {sent[0]} to {sent[-1]} requests each"
    if len(workers) == 1:
        said = f"a worker on Ray sent {sent[0]} requests"
    return said + (f"; {len(gone)} of them were lost, with {doubt} requests in flight" if gone else "")


@click.command()
@overrides
@click.option("--show", type=click.IntRange(0, MOST_ROWS), default=0, metavar="N", help="Print N rendered requests.")
@click.option("--balance", is_flag=True, help="Ask the account for its balance (needs a key; free).")
def plan(show: int, balance: bool, **given: Any) -> None:
    """The dry run of JOB: what would be asked and what it costs, before a credit is spent."""
    tell_plan(given, read_world(given["allow_hosts"]), show=show, balance=balance)


def tell_plan(given: dict[str, Any], world: World, *, show: int, balance: bool) -> None:
    """Plan a job and say what was found."""
    spec = load(given["job"], overridden(given), world)
    options = Options(
        limit=given["limit"],
        retry_failed=given["retry_failed"],
        reparse=given["reparse"],
        screen=screen.stderr(),
    )
    job, planned, surveyed, history = plan_only(spec, world, options)
    if balance:
        planned = msgspec.structs.replace(planned, balance=_balance(job, world))
    prospect = _prospect(job, world, surveyed) if spec.eval is not None else None
    if given["as_json"]:
        screen.out_json(planned.json() | ({"evaluation": msgspec.to_builtins(prospect)} if prospect else {}))
    else:
        _tell_plan(job, planned)
        for line in prospect.lines if prospect else ():
            screen.out(line)
        _show(job, planned, surveyed, history, show)
    if planned.problems:
        raise TemplateError("the plan has problems: mend the rows, or let the template handle them; nothing was sent")


def _prospect(job: Job, world: World, surveyed: Survey) -> Prospect:
    """What an evaluation could show. Raises SpecError for scorers and gates that cannot be."""
    import polars as pl

    from journeybatch.evaluation.prospect import foresee
    from journeybatch.evaluation.story import check

    grading = check(job.spec, job)
    group = job.spec.eval.group if job.spec.eval else None
    groups = pl.concat([frame[group] for frame in job.frames()]) if group else None
    return foresee(job.spec, job, world, grading, groups, surveyed.rows // job.ask.width)


def _balance(job: Job, world: World) -> int | None:
    import anyio

    from journeybatch.cli.asking import fetch_account
    from journeybatch.job import endpoint_of

    try:
        account = anyio.run(fetch_account, endpoint_of(job.spec, world), world)
    except ApiFailure as failure:
        screen.stderr().line(f"the balance cannot be had: {failure}")
        return None
    credits = (account or {}).get("credits")
    return int(credits) if isinstance(credits, int | float) else None


def _tell_plan(job: Job, planned: Plan) -> None:
    each = "; ".join(
        f"{interval(tier.price.least, tier.price.most)} a request for {tier.model}: {tier.price.source}"
        for tier in job.tiers
    )
    lines = [
        ("rows", planned.rows),
        ("distinct prompts", planned.distinct),
        ("already known", planned.reused),
        ("requests", planned.requests),
        ("credits", f"{interval(planned.credits_min, planned.credits_max)}   ({each})"),
    ]
    if planned.seconds_estimate is not None:
        lines.append(("seconds, about", planned.seconds_estimate))
    if planned.balance is not None:
        lines.append(("balance", planned.balance))
    for name, value in lines:
        screen.out(f"{name + ':':<18}{value}")
    money.tell_outlook(planned.costs, job.spec.models)
    for note in planned.notes:
        screen.out(f"note: {note}")
    for warning in planned.warnings:
        screen.out(f"warning: {warning}")
    for problem in planned.problems[:20]:
        screen.out(f"problem: {screen.safe(problem)}")
    if len(planned.problems) > 20:
        screen.out(f"… and {len(planned.problems) - 20} more problems")


def _show(job: Job, planned: Plan, surveyed: Survey, history: History, number: int) -> None:
    """Print the first requests as they will be sent, but for the items' tokens where the run has no journal yet."""
    if not number:
        return
    requests = chain.from_iterable(
        job.requests(surveyed, step, wanted, history, count(history.next_request))
        for step, wanted in enumerate(planned.wanted)
    )
    for request in islice(requests, number):
        screen.out("\n" + " ".join(prompt.key.hex() for prompt in request.prompts))
        screen.out(screen.safe(msgspec.json.format(request.body).decode()))
