"""A spec bound to the world it runs in: its table opened, its prompt compiled, its price and endpoint known.

All that is cheap to check is checked here, before a directory is made or a row is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from journeybatch import catalog, survey, table
from journeybatch.asking import Ask
from journeybatch.client import Endpoint
from journeybatch.config import Config
from journeybatch.endpoint import choose_endpoint, provider_of
from journeybatch.errors import JobError, TemplateError
from journeybatch.history import History
from journeybatch.planning import Plan, checkpoint, plan
from journeybatch.records import Price
from journeybatch.results import check_collisions
from journeybatch.spec import JobSpec
from journeybatch.survey import Survey

if TYPE_CHECKING:
    import polars as pl


class World(msgspec.Struct, frozen=True):
    """What a job is run in, besides its spec: environment variables, the user's config, hosts allowed for keys."""

    environ: Mapping[str, str] = {}
    config: Config = Config()
    allow_hosts: tuple[str, ...] = ()


class Job(msgspec.Struct, frozen=True):
    """A spec that can be planned. ``schema`` is the input's; ``limit`` the first rows to take, None for all."""

    spec: JobSpec
    source: table.Source
    schema: Mapping[str, pl.DataType]
    ask: Ask
    price: Price
    limit: int | None = None

    def frames(self) -> Iterator[pl.DataFrame]:
        """The input, from its first row on."""
        return table.batches(self.source, limit=self.limit)

    def survey(self) -> Survey:
        """The first pass over the input. Raises TableError."""
        return survey.survey(self.frames(), self.ask)


def bind(
    spec: JobSpec, world: World, *, limit: int | None = None, path: str | None = None, frame: object = None
) -> Job:
    """Bind ``spec``; ``path`` stands in for its input's (a spooled copy), and so does ``frame``.

    Raises:
        JobError: the table, the template, the model's price or a column's name needs mending.
    """
    given = spec.input
    source = (
        table.Source(given.path, given.columns, given.where, given.format, given.frame)
        if path is None and frame is None
        else table.Source(None, given.columns, given.where, None, frame)
        if path is None
        else table.Source(path, given.columns, given.where)
    )
    schema = table.schema(source)
    check_collisions(schema, spec.answer.column, spec.output_prefix or "")
    ask = Ask(
        provider_of(spec.api, world.environ),
        spec.model,
        spec.parameters,
        spec.prompt.messages,
        tuple(schema),
        dedupe=spec.dedupe,
    )
    return Job(spec, source, schema, ask, catalog.price(spec.model, spec.credits, world.config.credits), limit)


def endpoint_of(spec: JobSpec, world: World) -> Endpoint:
    """The job's endpoint with its key. Raises MissingKey, SpecError."""
    return choose_endpoint(spec.api, world.environ, {*world.allow_hosts, *world.config.allow_hosts})


def plan_job(job: Job, surveyed: Survey, history: History, *, retry_failed: bool = False) -> Plan:
    """What a run of ``job`` would do on top of ``history``."""
    spec = job.spec
    known = checkpoint(
        history,
        retry_failed=retry_failed or spec.retry.failed,
        hold=spec.retry.on_unknown != "retry",
    )
    planned = plan(surveyed, known, job.price, concurrency=spec.concurrency, history=history)
    return msgspec.structs.replace(planned, warnings=_warnings(job, planned))


def asked_again(job: Job, planned: Plan, surveyed: Survey, history: History) -> int:
    """How many distinct prompts have an answer under the spec that ran last, and would be asked anew under this one.

    Answers of an emulator cost nothing and are not counted.
    """
    import polars as pl

    began = history.began
    if began is None or began.ask == job.ask.text or began.emulated or not planned.requests:
        return 0
    answered = checkpoint(history, retry_failed=True, hold=False).answered
    try:
        earlier = Ask.parse(began.ask, tuple(job.schema))
    except (JobError, TemplateError):  # its columns are gone: no row can be told to be the same
        return min(planned.requests, len(answered))
    before = survey.survey(job.frames(), earlier).keys
    known = before.is_in(answered.implode()).fill_null(False)
    return int(pl.select((planned.wanted & known).sum()).item())


def _warnings(job: Job, planned: Plan) -> list[str]:
    warnings = []
    cap, price = job.spec.limits.credits, job.price
    if price.least != price.most and planned.requests:
        warnings.append(
            f"{job.spec.model} costs {price.least} to {price.most} credits a request, its exact price is not known "
            f"({price.source}); give it with `credits: {{{job.spec.model}: N}}`"
        )
    if cap is not None and planned.credits_max > cap:
        may = "will" if planned.credits_min > cap else "may"
        warnings.append(f"the plan exceeds limits.credits: {cap}; the run {may} stop there, and can be resumed")
    if not planned.rows:
        warnings.append("the input has no rows")
    return warnings
