"""Where every row stands: what it still wants asked, and what its results say. Pure, and the same for the plan, the
run, the results and whoever looks at them later.

A row's way leads through the steps of its ask. At each step its key is open, answered, failed or held; an answer
that a rule of the cascade finds wanting sends the row up to the next model. The result is the answer of the highest
model that gave one.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from journeybatch.asking import Step
from journeybatch.escalation import Rules
from journeybatch.history import History
from journeybatch.survey import Survey
from journeybatch.tally import by_row, by_use, tally
from journeybatch.verdict import DECLINED, ERRORS, INVALID, READABLE, REFUSED

if TYPE_CHECKING:
    import polars as pl

OPEN, ANSWERED, FAILED, HELD = range(4)
"""What a key has come to at its step. Open: to be asked. Failed: given up, or answered as often as the job allows and
never so that it could be read. Held: in doubt, and the job wants that left alone."""


_OF_KEYS = (
    *("key", "attempts", "credits", "unknown", "answer", "sense", "borrowed", "last", "doubt"),
    *("state", "up", "unbound", "error", "message", "sealed", "unfit", "declined"),
)


_DOUBTS = {"hold": "doubt", "fail": "doubted"}  # what failed by a doubt may be asked again, once that is wanted


class Policy(msgspec.Struct, frozen=True):
    """What a job makes of what it heard: the ``rules`` of its cascade, how often a prompt is asked until its reply
    can be read (``tries``), what becomes of keys in doubt (``on_unknown``), since when (Unix seconds) an answer is not
    too old, and the ``bound`` of the score that the rules look at (None: it is yet to be found)."""

    rules: Rules = Rules()
    tries: int = 1
    on_unknown: Literal["retry", "hold", "fail"] = "retry"
    since: float | None = None
    bound: float | None = None


class Standing(msgspec.Struct, frozen=True):
    """``facts``: one row per result row: ``key`` of the first step, ``status``, ``attempts``, ``credits`` and
    ``unknown`` (micro-credits), ``answer`` and ``last`` (indices of attempts), ``answer_key`` and ``step`` of
    the answer, ``doubt``, ``again`` (answered through another row or directory), ``declined`` (the answer reads like a
    refusal), ``error`` and ``message`` of a failed row. ``wanted``: per step, which rows are to be asked now, each key
    once. ``lost``: keys that have failed and that nobody has given up yet, with the error; ``held``: keys in doubt
    that the job wants left alone. ``stay`` and ``ahead``: per step, which rows will come to be asked, each key once, if
    no row climbs any further, and if all do. ``climbed``: per model but the strongest, how many rows went up from it,
    of how many that it is done with. ``unbound``: how many answers wait for the bound of their score."""

    facts: pl.DataFrame
    wanted: list[pl.Series]
    lost: list[tuple[bytes, str]]
    held: list[bytes]
    stay: list[pl.Series]
    ahead: list[pl.Series]
    climbed: list[tuple[int, int]]
    unbound: int = 0


def stand(
    history: History, surveyed: Survey, steps: Sequence[Step], policy: Policy, tops: Sequence[int] = ()
) -> Standing:
    """Where each of the survey's rows stands, by what ``history`` tells. ``tops`` has the strongest model's tier of
    each way of asking, where there are several."""
    import polars as pl

    states = _states(history, policy)
    top, several = _tops(surveyed, tops or [steps[-1].tier]), len(tops) > 1
    none = pl.lit(None, pl.Int64)
    rows = surveyed.keys.rename("key").to_frame()
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
    found = Standing(rows, [], [], [], [], [], [])
    fresh: list[pl.Series] = []
    unbound = 0
    used: list[tuple[pl.Series, pl.Series]] = []
    opened: list[pl.Series] = []
    moving = surveyed.keys.is_not_null()
    for number, (step, keys) in enumerate(zip(steps, surveyed.steps, strict=True)):
        if step.tier and not step.sample:
            found.climbed.append(_climbed(rows, step.tier - 1))
            rows = _climb(rows, step.tier)
        last = number + 1 == len(steps) or steps[number + 1].tier > step.tier
        rows = rows.with_columns(
            climbs=top > step.tier, ends=pl.lit(True) if last else surveyed.steps[number + 1].is_null()
        )
        rows = _take(rows, by_row(keys, states), number, first=not step.sample)
        if several:
            used.append((keys, rows["@used"]))
        unbound += int((rows["unbound"] & ~rows["up"]).sum())
        fresh.append(rows["@state"].fill_null(OPEN) == OPEN)
        opened.append(keys.is_first_distinct() & rows["open"])
        lost = rows.filter("lost").select(here_key="@key", here_error="@error").unique(maintain_order=True)
        found.lost.extend(lost.rows())
        found.held.extend(keys.filter(rows["held"]).unique(maintain_order=True))
        moving &= ~rows["held"]
    status = pl.when("answered").then(pl.lit("answered")).otherwise(pl.lit("failed"))
    found.wanted.extend(wanted & ~rows["done"] for wanted in opened)
    facts = rows.with_columns(answered=pl.col("answer").is_not_null() & pl.col("done")).select(
        *("key", "attempts", "credits", "unknown", "answer", "answer_key", "step", "last", "doubt"),
        *(pl.when(~pl.col("answered")).then(name).alias(name) for name in ("error", "message")),
        *(pl.col(name) & pl.col("answered") for name in ("again", "declined")),
        status=pl.when("done").then(status).otherwise(pl.lit("pending")),
    )
    for step, keys, is_open in zip(steps, surveyed.steps, fresh, strict=True):
        asked = is_open & moving & (facts["status"] == "pending") & keys.is_first_distinct()
        found.stay.append(asked & (rows["tier"] == step.tier))
        found.ahead.append(asked & (rows["tier"] <= step.tier))
    if several:
        way = pl.int_range(surveyed.rows, eager=True) % surveyed.width // surveyed.samples
        facts = facts.with_columns(by_use(used, states, way).drop("row"))
    return msgspec.structs.replace(found, facts=facts, unbound=unbound)


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


def _states(history: History, policy: Policy) -> pl.DataFrame:
    """The tally with each key's ``state`` at its step, whether that sends it ``up`` where there is a way up, its
    ``error`` and ``message``, and whether that stands in the journal (``sealed``)."""
    import polars as pl

    given_up = pl.DataFrame(
        [(key, error, message) for key, (error, message) in history.given_up.items()],
        schema={"key": pl.Binary, "given_up": pl.String, "message": pl.String},
        orient="row",
    )
    answered = pl.col("code").is_in(READABLE).fill_null(False)
    invalid = pl.col("invalid") >= policy.tries
    rules = policy.rules
    error = pl.coalesce(
        "given_up",
        pl.when(invalid).then(pl.lit(ERRORS[INVALID])).when(pl.col("refused")).then(pl.lit(ERRORS[REFUSED])),
    )
    excused = [name for name in ("invalid", "refusal") if name in rules.on]
    wanting = pl.col("code").is_in(list(rules.up)).fill_null(False)
    tallied = tally(history, policy.since)
    unbound = pl.lit(bool(rules.score) and policy.bound is None)
    if rules.score and policy.bound is not None:
        scores = scores_of(tallied["sense"])
        tallied = tallied.with_columns(low=~((scores >= policy.bound) & scores.is_not_nan()))
        wanting |= pl.col("low").fill_null(True)
    failing = pl.col("error").is_in(excused) | (~pl.col("error").is_in(["invalid", "refusal"]) & ("error" in rules.on))
    return (
        tallied.join(given_up, on="key", how="full", coalesce=True, maintain_order="left_right")
        .with_columns(pl.col("refused", "unfit", "doubt", "doubted").fill_null(False), pl.col("invalid").fill_null(0))
        .with_columns(error=error)
        .with_columns(unfit=pl.col("unfit") & ~answered & pl.col("error").is_null() & ("invalid" in rules.on))
        .with_columns(
            state=pl.when(answered)
            .then(ANSWERED)
            .when(pl.col("error").is_not_null())
            .then(FAILED)
            .when(pl.col(_DOUBTS[policy.on_unknown]) if policy.on_unknown in _DOUBTS else False)
            .then(HELD)
            .otherwise(OPEN),
            up=pl.when(answered).then(wanting).otherwise(failing.fill_null(False) | pl.col("unfit")),
            unbound=answered & unbound,
            sealed=pl.col("given_up").is_not_null(),
            declined=(pl.col("code") == DECLINED).fill_null(False),
        )
        .select(*_OF_KEYS)
    )


def scores_of(senses: pl.Series) -> pl.Series:
    """Scores (Float64) out of what answers are known by; not-a-number where there is none."""
    import polars as pl

    scores = array("d")
    scores.frombytes(array("Q", senses.fill_null(0)).tobytes())
    found = pl.Series(scores, dtype=pl.Float64)
    return pl.select(pl.when(senses.fill_null(0) == 0).then(float("nan")).otherwise(found)).to_series()
