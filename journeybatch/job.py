"""A spec bound to the world it runs in: its table opened, its prompt compiled, its price and endpoint known.

All that is cheap to check is checked here, before a directory is made or a row is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch import catalog, packing, survey, table
from journeybatch.asking import Ask, Subject
from journeybatch.client import Endpoint
from journeybatch.config import Config
from journeybatch.economy import seconds
from journeybatch.endpoint import choose_endpoint, provider_of
from journeybatch.errors import JobError, TemplateError
from journeybatch.history import History
from journeybatch.items import overhead
from journeybatch.packing import Limit, Sizing
from journeybatch.payload import encoder
from journeybatch.planning import Plan, plan
from journeybatch.pricebook import choose_price, measured_prices
from journeybatch.reading import Reader
from journeybatch.records import Price, Request
from journeybatch.results import check_collisions
from journeybatch.spec import JobSpec
from journeybatch.standing import Policy, Standing, stand
from journeybatch.survey import Survey
from journeybatch.tally import tally

if TYPE_CHECKING:
    import polars as pl


class World(msgspec.Struct, frozen=True):
    """What a job is run in, besides its spec: environment variables, the user's config, hosts allowed for keys, and
    the file of ``prices`` that were measured."""

    environ: Mapping[str, str] = {}
    config: Config = Config()
    allow_hosts: tuple[str, ...] = ()
    prices: Path | None = None


class Tier(msgspec.Struct, frozen=True):
    """A model of a job: what is sent to it besides messages, what a request costs, and what it was spared."""

    model: str
    parameters: Mapping[str, Any]
    left_out: tuple[str, ...]
    price: Price


class Job(msgspec.Struct, frozen=True):
    """A spec that can be planned. ``schema`` is the input's; ``tiers`` its models, cheapest first; ``limit`` the first
    rows to take, None for all."""

    spec: JobSpec
    source: table.Source
    schema: Mapping[str, pl.DataType]
    ask: Ask
    tiers: tuple[Tier, ...]
    limit: int | None = None

    @property
    def prices(self) -> list[Price]:
        """What a request costs, per step of the ask."""
        return [self.tiers[step.tier].price for step in self.ask.steps]

    @property
    def reader(self) -> Reader:
        """How replies are read."""
        return Reader(self.spec.answer.contract, self.spec.rules)

    @property
    def instructions(self) -> str:
        """What is said to the model about the form of its answer."""
        return self.spec.answer.contract.instructions

    def frames(self) -> Iterator[pl.DataFrame]:
        """The input, from its first row on."""
        return table.batches(self.source, limit=self.limit)

    def survey(self) -> Survey:
        """The first pass over the input. Raises TableError."""
        return survey.survey(self.frames(), self.ask, packs=self.spec.pack.rows != 1)

    def since(self, history: History, now: float | None = None) -> float | None:
        """The time (Unix seconds) before which an answer is too old, as seen when the run began, or ``now`` if that
        is another run; None where no answer is."""
        if self.spec.max_age is None:
            return None
        run = history.run
        at = run.began_at if run and (now is None or run.finished_at is None) else now or 0.0
        return at - seconds(self.spec.max_age)

    def stand(self, history: History, surveyed: Survey, now: float | None = None) -> Standing:
        """Where each row stands; ``now`` (Unix seconds) for a run that may begin."""
        spec = self.spec
        tries = spec.retry.attempts if spec.answer.on_invalid == "ask_again" else 1
        policy = Policy(spec.rules, tries, spec.retry.on_unknown, self.since(history, now))
        return stand(history, surveyed, self.ask.steps, policy)

    def sizing(self, history: History, most: int | None = None) -> Sizing:
        """How prompts go into packs; ``most`` of them, where the endpoint has shown that it takes no more."""
        pack = self.spec.pack
        rows = pack.rows if isinstance(pack.rows, int) else 1
        return Sizing(Limit(min(rows, most or rows), pack.characters), overhead(self.instructions), history.rooms)

    def requests(
        self,
        surveyed: Survey,
        step: int,
        wanted: pl.Series,
        history: History,
        numbers: Iterator[int],
        most: int | None = None,
    ) -> Iterator[Request]:
        """The requests that ask the rows ``wanted`` marks at a step, made as they are pulled, at most ``most`` rows in
        each; the next of ``numbers`` are their ids. Raises InputChanged."""
        if not wanted.any():
            return iter(())
        tier = self.tiers[self.ask.steps[step].tier]
        packs = self.sizing(history, most).packs(
            surveyed, step, survey.prompts(self.frames(), surveyed, self.ask, step, wanted)
        )
        body = encoder(tier.model, tier.parameters, self.spec.stream)
        wording = packing.Wording(body, self.instructions, history.id)
        return packing.requests(packs, model=tier.model, price=tier.price, wording=wording, numbers=numbers)


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
    check_collisions(schema, spec.answer.contract, spec.output_prefix or "")
    provider = provider_of(spec.api, world.environ)
    measured = measured_prices(world.prices, provider) if world.prices else {}
    tiers = tuple(
        Tier(model, *_parameters(spec, model), choose_price(model, spec.credits, world.config.credits, measured))
        for model in spec.models
    )
    subject = Subject(
        provider,
        tuple((tier.model, dict(tier.parameters)) for tier in tiers),
        spec.prompt.messages,
        spec.samples,
        spec.rules.disagree,
        spec.dedupe,
    )
    return Job(spec, source, schema, Ask(subject, tuple(schema)), tiers, limit)


def endpoint_of(spec: JobSpec, world: World) -> Endpoint:
    """The job's endpoint with its key. Raises MissingKey, SpecError."""
    return choose_endpoint(spec.api, world.environ, {*world.allow_hosts, *world.config.allow_hosts})


def plan_job(job: Job, surveyed: Survey, history: History, now: float) -> Plan:
    """What a run of ``job`` would do ``now`` (Unix seconds) on top of ``history``."""
    standing, sizing = job.stand(history, surveyed, now), job.sizing(history)
    planned = plan(surveyed, standing, job.prices, sizing, concurrency=job.spec.concurrency, history=history)
    return msgspec.structs.replace(planned, warnings=_warnings(job, planned))


def asked_again(job: Job, planned: Plan, surveyed: Survey, history: History) -> int:
    """How many distinct prompts have an answer under the spec that ran last, or a reply that the old ``answer`` could
    read, and would be asked anew under this one.

    Answers of an emulator cost nothing and are not counted.
    """
    import polars as pl

    began = history.began
    if began is None or began.emulated or not planned.requests:
        return 0
    if began.ask == job.ask.text:
        return _unreadable(planned, surveyed, history) if began.reading != job.reader.identity else 0
    heard = tally(history).filter(pl.col("replies") > 0)["key"]
    try:
        earlier = Ask.parse(began.ask, tuple(job.schema))
    except (JobError, TemplateError, msgspec.MsgspecError):  # its columns are gone: no row can be told to be the same
        return min(planned.requests, len(heard))
    before = survey.survey(job.frames(), earlier)
    known = before.keys.gather_every(before.samples).is_in(heard.implode()).fill_null(False)
    wanted = planned.wanted[0].gather_every(surveyed.samples)
    return int((wanted & known).sum())


def _unreadable(planned: Plan, surveyed: Survey, history: History) -> int:
    """How many of the prompts to ask have a reply already, which today's ``answer`` cannot read."""
    import polars as pl

    heard = tally(history).filter(pl.col("replies") > 0)["key"]
    return int(surveyed.keys.filter(planned.wanted[0]).is_in(heard.implode()).sum())


def _parameters(spec: JobSpec, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is sent to ``model``, and what it refuses and is spared, since it shares its parameters with others."""
    refused = {name for name, _ in catalog.problems(model, spec.parameters)} if len(spec.models) > 1 else set()
    kept = {name: value for name, value in spec.parameters.items() if name not in refused}
    return kept, tuple(sorted(refused))


def _warnings(job: Job, planned: Plan) -> list[str]:
    warnings = []
    cap, spec = job.spec.limits.credits, job.spec
    for tier in job.tiers:
        price = tier.price
        if price.least != price.most and planned.requests:
            warnings.append(
                f"{tier.model} costs {price.least} to {price.most} credits a request, its exact price is not known "
                f"({price.source}); give it with `credits: {{{tier.model}: N}}`, or learn it with "
                f"`journeybatch models --measure {tier.model}`"
            )
        if tier.left_out:
            warnings.append(f"{tier.model} refuses {', '.join(tier.left_out)}: it is asked without")
    if spec.pack.rows != 1:
        warnings.append(
            "rows of one request can influence each other, and a cell may carry instructions: pack only what is "
            "independent and not hostile (docs/packing.md)"
        )
    if cap is not None and planned.credits_max > cap:
        may = "will" if planned.credits_min > cap else "may"
        warnings.append(f"the plan exceeds limits.credits: {cap}; the run {may} stop there, and can be resumed")
    if not planned.rows:
        warnings.append("the input has no rows")
    return warnings
