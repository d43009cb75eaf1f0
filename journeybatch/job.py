"""A spec bound to the world it runs in: its table opened, its prompt compiled, its price and endpoint known.

All that is cheap to check is checked here, before a directory is made or a row is read.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from journeybatch import packing, survey, table
from journeybatch.asking import Ask, Subject
from journeybatch.client import Endpoint
from journeybatch.config import Config
from journeybatch.daybook import DAYBOOK, taken_today
from journeybatch.decision import BOUND, SIZE, bound_basis, decided, size_basis
from journeybatch.delivery import check_columns
from journeybatch.economy import seconds
from journeybatch.endpoint import choose_endpoint, provider_of
from journeybatch.entries import Decided
from journeybatch.errors import TableError
from journeybatch.history import History
from journeybatch.items import overhead
from journeybatch.packing import Limit, Sizing
from journeybatch.payload import encoder
from journeybatch.planning import Asks
from journeybatch.precedence import check_priority, classes
from journeybatch.pricebook import choose_price, measured_prices
from journeybatch.reading import Reader
from journeybatch.records import Price, Prompt, Request
from journeybatch.register import NAME as REGISTER
from journeybatch.register import Terms, opened
from journeybatch.results import check_collisions, result_columns
from journeybatch.spec import JobSpec, variants
from journeybatch.standing import Standing, drained, stand_by_parts
from journeybatch.states import Policy
from journeybatch.survey import Survey
from journeybatch.ways import Tier, Way, named, parameters_of

if TYPE_CHECKING:
    import polars as pl


class World(msgspec.Struct, frozen=True):
    """What a job is run in, besides its spec: environment variables, the user's config, hosts allowed for keys, and
    the file of ``prices`` that were measured."""

    environ: Mapping[str, str] = {}
    config: Config = Config()
    allow_hosts: tuple[str, ...] = ()
    prices: Path | None = None


class Job(msgspec.Struct, frozen=True):
    """A spec that can be planned. ``schema`` is the input's; ``ways`` are the variants that are compared, or the only
    one; ``left_out`` names variants that would ask just what another asks; ``limit`` the first rows to take, None for
    all."""

    spec: JobSpec
    source: table.Source
    schema: Mapping[str, pl.DataType]
    ask: Ask
    ways: tuple[Way, ...]
    left_out: tuple[str, ...] = ()
    limit: int | None = None

    @property
    def tiers(self) -> list[Tier]:
        """All models, each once for all that is sent to it."""
        found = {(tier.model, tier.left_out): tier for way in self.ways for tier in way.tiers}
        return list(found.values())

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of what is compared; none where nothing is."""
        return tuple(way.name for way in self.ways if way.name)

    @property
    def asks(self) -> list[Asks]:
        """For each way, the steps of the ask, with the model that is asked and what a request costs; the strongest
        where it has no such step."""
        return [[(step, *named(way, step.tier)) for step in self.ask.steps] for way in self.ways]

    @property
    def target(self) -> str | None:
        """The column with labels: a guarantee's, or an evaluation's expected answers."""
        return self.spec.eval.target if self.spec.eval else self.spec.target

    @property
    def dearest(self) -> int:
        """What a request may cost at most, in credits."""
        return max(tier.price.most for tier in self.tiers)

    @property
    def tries(self) -> int:
        """How often a prompt is asked until its reply can be read."""
        return self.spec.retry.attempts if self.spec.answer.on_invalid == "ask_again" else 1

    @property
    def reader(self) -> Reader:
        """How replies are read."""
        return Reader(self.spec.answer.contract, self.spec.rules)

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """The columns of the results."""
        added = result_columns(self.spec.answer.contract, sampled=self.spec.samples > 1, compared=bool(self.variants))
        return {**self.schema, **{(self.spec.output_prefix or "") + name: dtype for name, dtype in added.items()}}

    @property
    def instructions(self) -> str:
        """What is said to the model about the form of its answer."""
        return self.spec.answer.contract.instructions

    @property
    def daybook(self) -> Path:
        """Where the credits of the day are counted."""
        return daybooks_of(self.spec)[self.spec.api.kind == "emulator"]

    def left_today(self, now: float) -> int | None:
        """What the cap by the day leaves for the UTC day of ``now`` (Unix seconds); None without one. Raises
        OutputError if the file is foreign or damaged."""
        cap = self.spec.limits.credits_per_day
        return None if cap is None else max(0, cap - taken_today(self.daybook, now))

    def frames(self, start: int = 0) -> Iterator[pl.DataFrame]:
        """The input, from row number ``start`` on."""
        return table.batches(self.source, limit=self.limit, start=start)

    def survey(self, directory: Path | None = None, ask: Ask | None = None, *, keeps: bool = False) -> Survey:
        """The first pass over the input, with what the last one left in the output ``directory``, if it is not where
        the job says; for another ``ask``, if it is not the job's; ``keeps``: it will be kept. Raises TableError."""
        ask, packs, target = ask or self.ask, self.spec.pack.rows != 1, self.target
        if not ask.dedupe:  # a row's key depends on all rows before it
            return survey.survey(self.frames(), ask, packs=packs, target=target)
        terms = Terms.of(ask, self.schema, packs=packs)
        with opened((directory or self.spec.output) / REGISTER, terms) as register:
            contents = table.contents(self.source, self.limit) if keeps or register.contents else None
            return survey.survey(self.frames(), ask, packs=packs, target=target, register=register, contents=contents)

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
        return drained(self.stand_by_parts(history, surveyed, now))

    def stand_by_parts(
        self, history: History, surveyed: Survey, now: float | None = None
    ) -> Generator[None, None, Standing]:
        """The same, with a pause after each part of the rows."""
        spec = self.spec
        bound = self.bound(history, surveyed)
        policy = Policy(spec.rules, self.tries, spec.retry.on_unknown, self.since(history, now), bound)
        return stand_by_parts(history, surveyed, self.ask.steps, policy, [len(way.tiers) - 1 for way in self.ways])

    def decisions(self, history: History, surveyed: Survey) -> list[Decided]:
        """What measurements have decided for this job."""
        about = [(SIZE, size_basis(self.spec, self.ask.text, self.reader.identity))]
        if surveyed.labels is not None:
            basis = bound_basis(self.spec, self.ask.text, self.reader.identity, surveyed.labels.digest)
            about.append((BOUND, basis))
        return [found for what, basis in about if (found := decided(history, what, basis)) is not None]

    def bound(self, history: History, surveyed: Survey) -> float | None:
        """Below which score an answer goes up, where that was found for these labels."""
        return next((found.value for found in self.decisions(history, surveyed) if found.what == BOUND), None)

    def rows(self, history: History) -> int | None:
        """Most rows in a request; None where a pilot has yet to find it."""
        if isinstance(self.spec.pack.rows, int):
            return self.spec.pack.rows
        found = decided(history, SIZE, size_basis(self.spec, self.ask.text, self.reader.identity))
        return None if found is None else int(found.value)

    def sizing(self, history: History, most: int | None = None) -> Sizing:
        """How prompts go into packs, alone where it is yet to be found how; ``most`` of them, where the endpoint has
        shown that it takes no more. What was measured of one model is not taken to hold for a stronger one."""
        rows = self.rows(history) or 1
        measured = self.spec.pack.rows == "auto"
        cheapest = frozenset(number for number, step in enumerate(self.ask.steps) if step.tier == 0)
        return Sizing(
            Limit(min(rows, most or rows), self.spec.pack.characters),
            overhead(self.instructions),
            history.rooms,
            cheapest if measured else None,
        )

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
        with survey.reading_again():
            for way, rows in self._in_order(surveyed, wanted):
                if rows.any():
                    packs = self.sizing(history, most).packs(surveyed, step, self.prompts(surveyed, step, rows))
                    yield from self.compose(packs, step, history, numbers, way)

    def _in_order(self, surveyed: Survey, wanted: pl.Series) -> Iterator[tuple[int, pl.Series]]:
        """What is ``wanted``, apart for each way, and by the job's priority where it has one."""
        given = self.spec.priority
        parts = [wanted] if given is None else classes(given, self.frames(), wanted, surveyed)
        return ((way, rows) for part in parts for way, rows in enumerate(surveyed.by_way(part)))

    def prompts(self, surveyed: Survey, step: int, wanted: pl.Series) -> Iterator[tuple[int, Prompt]]:
        """The prompts that ``wanted`` marks at a step, each with its place among the keys. Raises InputChanged."""
        with survey.reading_again():
            yield from survey.prompts(self.frames, surveyed, self.ask, step, wanted)

    def compose(
        self, packs: Iterable[Sequence[Prompt]], step: int, history: History, numbers: Iterator[int], way: int = 0
    ) -> Iterator[Request]:
        """The requests of a step of one way that carry ``packs``, made as they are pulled."""
        tier = self.ways[way].tiers[self.ask.steps[step].tier]
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
    if spec.target is not None and spec.target not in schema:
        near = get_close_matches(spec.target, schema, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise TableError(f"target: no column is called {spec.target!r}{meant} (columns: {', '.join(schema)})")
    check_collisions(schema, spec.answer.contract, spec.output_prefix or "")
    provider, several = provider_of(spec.api, world.environ), spec.eval is not None
    subjects, ways, left_out = [], [], []
    for name, variant in variants(spec).items():
        tiers = tuple(
            Tier(model, *parameters_of(variant, model, several), price_of(spec, world, model))
            for model in variant.models
        )
        subject = Subject(
            provider,
            tuple((tier.model, dict(tier.parameters)) for tier in tiers),
            variant.prompt.messages,
            spec.samples,
            variant.rules.disagree,
            spec.dedupe,
        )
        if subject in subjects:
            left_out.append(name)
        else:
            subjects.append(subject)
            ways.append(Way(name, tiers))
    job = Job(spec, source, schema, Ask(subjects, tuple(schema)), tuple(ways), tuple(left_out), limit)
    check_columns(spec.sinks, job.columns)
    if spec.priority is not None:
        check_priority(spec.priority, schema)
    return job


def daybooks_of(spec: JobSpec) -> tuple[Path, Path]:
    """Where the credits of the day are counted; and beside it those of the emulator, which are not real."""
    path = Path(spec.limits.day_ledger or spec.output / DAYBOOK)
    return path, path.with_name(f"{path.name}.emulator")


def price_of(spec: JobSpec, world: World, model: str) -> Price:
    """What one request to ``model`` costs a job. Raises UnknownModel."""
    measured = measured_prices(world.prices, provider_of(spec.api, world.environ)) if world.prices else {}
    return choose_price(model, spec.credits, world.config.credits, measured)


def endpoint_of(spec: JobSpec, world: World) -> Endpoint:
    """The job's endpoint with its key. Raises MissingKey, SpecError."""
    return choose_endpoint(spec.api, world.environ, {*world.allow_hosts, *world.config.allow_hosts})
