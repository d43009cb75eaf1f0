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
from journeybatch.daybook import DAYBOOK, taken_today
from journeybatch.economy import seconds
from journeybatch.endpoint import choose_endpoint, provider_of
from journeybatch.history import History
from journeybatch.items import overhead
from journeybatch.packing import Limit, Sizing
from journeybatch.payload import encoder
from journeybatch.planning import Asks
from journeybatch.pricebook import choose_price, measured_prices
from journeybatch.reading import Reader
from journeybatch.records import Price, Request
from journeybatch.results import check_collisions
from journeybatch.spec import JobSpec
from journeybatch.standing import Policy, Standing, stand
from journeybatch.survey import Survey

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
        return [price for _, price in self.asks]

    @property
    def asks(self) -> Asks:
        """The steps of the ask, with what a request costs at each."""
        return [(step, self.tiers[step.tier].price) for step in self.ask.steps]

    @property
    def tries(self) -> int:
        """How often a prompt is asked until its reply can be read."""
        return self.spec.retry.attempts if self.spec.answer.on_invalid == "ask_again" else 1

    @property
    def reader(self) -> Reader:
        """How replies are read."""
        return Reader(self.spec.answer.contract, self.spec.rules)

    @property
    def instructions(self) -> str:
        """What is said to the model about the form of its answer."""
        return self.spec.answer.contract.instructions

    @property
    def daybook(self) -> Path:
        """Where the credits of the day are counted. Those of the emulator are not real, and are counted beside it."""
        path = Path(self.spec.limits.day_ledger or self.spec.output / DAYBOOK)
        return path.with_name(f"{path.name}.emulator") if self.spec.api.kind == "emulator" else path

    def left_today(self, now: float) -> int | None:
        """What the cap by the day leaves for the UTC day of ``now`` (Unix seconds); None without one. Raises
        OutputError if the file is foreign or damaged."""
        cap = self.spec.limits.credits_per_day
        return None if cap is None else max(0, cap - taken_today(self.daybook, now))

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
        policy = Policy(spec.rules, self.tries, spec.retry.on_unknown, self.since(history, now))
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


def _parameters(spec: JobSpec, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is sent to ``model``, and what it refuses and is spared, since it shares its parameters with others."""
    refused = {name for name, _ in catalog.problems(model, spec.parameters)} if len(spec.models) > 1 else set()
    kept = {name: value for name, value in spec.parameters.items() if name not in refused}
    return kept, tuple(sorted(refused))
