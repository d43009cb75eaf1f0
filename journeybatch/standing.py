"""Where every row stands: what it still wants asked, and what its results say. Pure, and the same for the plan, the
run, the results and whoever looks at them later.

A row's way leads through the steps of its ask. At each step its key is open, answered, failed or held; an answer
that a rule of the cascade finds wanting sends the row up to the next model. The result is the answer of the highest
model that gave one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from journeybatch.asking import Step
from journeybatch.history import History
from journeybatch.scroll import Scroll
from journeybatch.shares import by_row, by_use, repeated, sharing
from journeybatch.states import ANSWERED, FAILED, HELD, OPEN, Policy, states_of
from journeybatch.survey import Survey
from journeybatch.vocabulary import Words

if TYPE_CHECKING:
    import polars as pl

ROWS = 32_768
"""How many rows are looked at together: on the way, they take ten times the room that what comes out of it takes."""
STATUSES = ("answered", "failed", "pending")


class Standing(msgspec.Struct, frozen=True):
    """``table``: one row per result row: ``key`` of the first step, ``status``, ``attempts``, ``credits`` and
    ``unknown`` (micro-credits), ``answer`` and ``last`` (indices of attempts), ``answer_key`` and ``step`` of
    the answer, ``doubt``, ``again`` (answered through another row or directory), ``declined`` (the answer reads like a
    refusal), ``error`` and ``message`` of a failed row. ``wanted``: per step, which rows are to be asked now, each key
    once. ``lost``: keys that have failed and that nobody has given up yet, with the error; ``held``: keys in doubt
    that the job wants left alone. ``stay`` and ``ahead``: per step, which rows will come to be asked, each key once, if
    no row climbs any further, and if all do. ``climbed``: per model but the strongest, how many rows went up from it,
    of how many that it is done with. ``unbound``: how many answers wait for the bound of their score. ``distinct``: how
    many keys of the first step there are."""

    table: Scroll
    wanted: list[pl.Series]
    lost: list[tuple[bytes, str]]
    held: list[bytes]
    stay: list[pl.Series]
    ahead: list[pl.Series]
    climbed: list[tuple[int, int]]
    unbound: int = 0
    distinct: int = 0

    @property
    def facts(self) -> pl.DataFrame:
        """The whole ``table``, in memory."""
        return self.table.whole()


def stand(
    history: History, surveyed: Survey, steps: Sequence[Step], policy: Policy, tops: Sequence[int] = ()
) -> Standing:
    """Where each of the survey's rows stands, by what ``history`` tells. ``tops`` has the strongest model's tier of
    each way of asking, where there are several."""
    return drained(stand_by_parts(history, surveyed, steps, policy, tops))


def drained(parts: Generator[None, None, Standing]) -> Standing:
    """What comes of it in the end."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            found: Standing = end.value
            return found


def stand_by_parts(
    history: History, surveyed: Survey, steps: Sequence[Step], policy: Policy, tops: Sequence[int] = ()
) -> Generator[None, None, Standing]:
    """``stand``, with a pause after each part of the rows, and some before, in which something else may be done."""
    again = []
    for keys in surveyed.steps:  # before there are states, for the two would not be in memory together
        again.append(repeated(keys))
        yield
    states, several = states_of(history, policy), len(tops) > 1
    yield
    top, words = _tops(surveyed, tops or [steps[-1].tier]), history.attempts.words
    shared = []
    for keys, some in zip(surveyed.steps, again, strict=True):
        shared.append(sharing(keys, some, states))
        yield
    if not several:
        states = states.drop("key")  # which is a third of it
    table, parts, used = Scroll(history.directory), [], []
    for at in range(0, surveyed.rows, ROWS) or [0]:
        here = [each.part(at, ROWS) for each in shared]
        facts, part, reached = _part(steps, here, states, top.slice(at, ROWS), words, several=several)
        table.append(facts)
        parts.append(part)
        used.append(reached)
        yield
    if several:
        table = _apart(table, surveyed, states, _joined(used), Scroll(history.directory))
    climbed = zip(*(part.climbed for part in parts), strict=True)
    return Standing(
        table,
        wanted=_joined([part.wanted for part in parts]),
        lost=list(dict.fromkeys(each for part in parts for each in part.lost)),
        held=list(dict.fromkeys(each for part in parts for each in part.held)),
        stay=_joined([part.stay for part in parts]),
        ahead=_joined([part.ahead for part in parts]),
        climbed=[(sum(up for up, _ in each), sum(done for _, done in each)) for each in climbed],
        unbound=sum(part.unbound for part in parts),
        distinct=surveyed.rows - surveyed.keys.null_count() - int((again[0]["rank"] > 0).sum()),
    )


def _apart(facts: Scroll, surveyed: Survey, states: pl.DataFrame, used: list[pl.Series], table: Scroll) -> Scroll:
    """``facts`` with the credits that fall to each row where several ways of asking are compared: the ``table``."""
    import polars as pl

    way = pl.int_range(surveyed.rows, eager=True) % surveyed.width // surveyed.samples
    uses = by_use(list(zip(surveyed.steps, used, strict=True)), states, way)
    at = 0
    for part in facts:
        table.append(part.with_columns(uses.slice(at, part.height).drop("row")))
        at += part.height
    return table


def _joined(parts: Iterable[list[pl.Series]]) -> list[pl.Series]:
    """Per step, what is there of it in each part."""
    import polars as pl

    return [pl.concat(step) for step in zip(*parts, strict=True)]


def _part(
    steps: Sequence[Step],
    shared: Sequence[pl.DataFrame],
    states: pl.DataFrame,
    top: pl.Series,
    words: Words,
    *,
    several: bool,
) -> tuple[pl.DataFrame, Standing, list[pl.Series]]:
    """Where some of the rows stand, those whose keys of each step are ``shared`` with so many others: their facts, the
    rest, and, if ways are ``several``, at which steps they got that far."""
    import polars as pl

    none = pl.lit(None, pl.Int64)
    rows = shared[0].select("key")
    rows = rows.with_columns(
        *(pl.lit(0, pl.Int64).alias(name) for name in ("attempts", "credits", "unknown")),
        *(pl.lit(False).alias(name) for name in ("done", "doubt", "again", "raised", "declined")),
        *(none.alias(name) for name in ("answer", "step", "last")),
        *(pl.lit(None, pl.String).alias(name) for name in ("error", "message")),
        answer_key=pl.lit(None, pl.Binary),
        tier=pl.lit(0, pl.Int16),
        waits=pl.lit(False),
        reach=pl.col("key").is_not_null(),
        sense=pl.lit(0, pl.UInt64),
    )
    found, unbound = Standing(Scroll(), [], [], [], [], [], []), 0
    used: list[pl.Series] = []
    fresh: list[pl.Series] = []
    opened: list[pl.Series] = []
    moving = rows["key"].is_not_null()
    for number, (step, here) in enumerate(zip(steps, shared, strict=True)):
        if step.tier and not step.sample:
            found.climbed.append(_climbed(rows, step.tier - 1))
            rows = _climb(rows, step.tier)
        last = number + 1 == len(steps) or steps[number + 1].tier > step.tier
        ends = pl.repeat(True, len(top), eager=True) if last else shared[number + 1]["key"].is_null()
        rows = rows.with_columns(climbs=top > step.tier, ends=ends)
        at = by_row(here, states).with_columns(words.read("error", "message"))
        rows = _take(rows, at, number, first=not step.sample)
        if several:
            used.append(rows["@used"])
        unbound += int((rows["unbound"] & ~rows["up"]).sum())
        fresh.append(rows["@state"].fill_null(OPEN) == OPEN)
        opened.append((here["rank"] == 0) & rows["open"])
        lost = rows.filter("lost").select(here_key="@key", here_error="@error").unique(maintain_order=True)
        found.lost.extend(lost.rows())
        found.held.extend(here["key"].filter(rows["held"]).unique(maintain_order=True))
        moving &= ~rows["held"]
    status = pl.when("answered").then(pl.lit("answered")).otherwise(pl.lit("failed"))
    found.wanted.extend(wanted & ~rows["done"] for wanted in opened)
    facts = rows.with_columns(answered=pl.col("answer").is_not_null() & pl.col("done")).select(
        "key",
        pl.col("attempts").cast(pl.Int32),
        *("credits", "unknown"),
        pl.col("answer").cast(pl.Int32),
        *("answer_key",) if len(steps) > 1 else (pl.col("key").alias("answer_key"),),
        pl.col("step").cast(pl.Int16),
        pl.col("last").cast(pl.Int32),
        "doubt",
        *(pl.when(~pl.col("answered")).then(name).alias(name) for name in ("error", "message")),
        *(pl.col(name) & pl.col("answered") for name in ("again", "declined")),
        status=pl.when("done").then(status).otherwise(pl.lit("pending")).cast(pl.Enum(STATUSES)),
    )
    for step, here, is_open in zip(steps, shared, fresh, strict=True):
        once = (here["rank"] == 0) & here["key"].is_not_null()
        asked = is_open & moving & once & (facts["status"] == "pending")
        found.stay.append(asked & (rows["tier"] == step.tier))
        found.ahead.append(asked & (rows["tier"] <= step.tier))
    return facts, msgspec.structs.replace(found, unbound=unbound), used


def _climb(rows: pl.DataFrame, tier: int) -> pl.DataFrame:
    """``rows`` at the foot of a ``tier``. Those that were sent up are asked there. Those that wait for something below
    are not, but an answer that is there already makes asking below needless (after `--retry-failed`, say)."""
    import polars as pl

    waits = ~pl.col("done") & ~pl.col("raised") & pl.col("key").is_not_null()
    return rows.with_columns(
        waits=waits,
        reach=pl.col("raised") | waits,
        raised=pl.lit(False),
        tier=pl.when("raised").then(pl.lit(tier, pl.Int16)).otherwise("tier"),
    )


def _climbed(rows: pl.DataFrame, tier: int) -> tuple[int, int]:
    here = rows["tier"] == tier
    return int((here & rows["raised"]).sum()), int((here & (rows["raised"] | rows["done"])).sum())


def _tops(surveyed: Survey, tops: Sequence[int]) -> pl.Series:
    """Per row, the tier of the strongest model that it may be asked of."""
    import polars as pl

    if len(tops) == 1:
        return pl.repeat(tops[0], surveyed.rows, dtype=pl.Int16, eager=True)
    way = pl.int_range(surveyed.rows, eager=True) % surveyed.width // surveyed.samples
    return pl.Series(tops, dtype=pl.Int16).gather(way)


def _take(rows: pl.DataFrame, at: pl.DataFrame, number: int, *, first: bool) -> pl.DataFrame:
    """``rows`` after step ``number``, whose keys have come to what ``at`` says.

    ``first``: no earlier step asks the same model. Columns tell whether there is a stronger model (``climbs``), and
    that no later step asks the same (``ends``). Leaves the columns ``open`` and ``lost``, and the step's own ``@key``
    and ``@error``.
    """
    import polars as pl

    climbs = pl.col("climbs")
    unfit = pl.col("@unfit").fill_null(False) & climbs
    state = pl.when(unfit).then(FAILED).otherwise(pl.col("@state").fill_null(OPEN))
    reach = pl.col("reach") & pl.col("@key").is_not_null()
    asked = reach & ~pl.col("waits")
    answered, failed = reach & (state == ANSWERED), asked & (state == FAILED)
    same = pl.lit(True) if first else pl.col("@sense").fill_null(0) == pl.col("sense")
    rows = rows.drop("open", "held", "lost", strict=False).drop(pl.selectors.starts_with("@"))
    return (
        rows.hstack(at.rename({name: f"@{name}" for name in at.columns}))
        .with_columns(
            open=asked & (state == OPEN),
            held=asked & (state == HELD),
            answered=answered,
            up=((reach & pl.col("@up").fill_null(False)) | (answered & ~same)) & climbs,
            unbound=answered & pl.col("@unbound").fill_null(False) & climbs,
            failed=failed,
            **{"@used": reach},
        )
        .with_columns(
            lost=pl.col("failed") & ~pl.col("up") & ~pl.col("@sealed").fill_null(False),
            failed=pl.col("failed") & ~pl.col("up"),
            better=pl.col("answered") & first,
        )
        .with_columns(
            *(pl.col(name) + pl.col(f"@{name}").cast(pl.Int64) for name in ("attempts", "credits", "unknown")),
            *(pl.when("better").then(f"@{name}").otherwise(name).alias(name) for name in ("answer", "sense")),
            *(pl.when("failed").then(f"@{name}").otherwise(name).alias(name) for name in ("error", "message")),
            step=pl.when("better").then(pl.lit(number, pl.Int64)).otherwise("step"),
            again=pl.when("better").then(pl.col("@again") | pl.col("@borrowed").fill_null(False)).otherwise("again"),
            declined=pl.when("better").then(pl.col("@declined").fill_null(False)).otherwise("declined"),
            answer_key=pl.when("better").then("@key").otherwise("answer_key"),
            last=pl.coalesce("@last", "last"),
            doubt=pl.col("doubt") | (asked & pl.col("@doubt") & (state != ANSWERED)),
            raised=pl.col("raised") | (pl.col("up") & ~pl.col("waits")),
            done=pl.col("done")
            | pl.col("failed")
            | (pl.col("answered") & ~pl.col("up") & ~pl.col("unbound") & pl.col("ends")),
            reach=pl.col("answered") & ~pl.col("up"),
        )
    )
