"""What each key has come to at its step: open, answered, failed or held; and whether that sends a row further up."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Literal

import msgspec

from journeybatch.escalation import Rules
from journeybatch.history import History
from journeybatch.page import numbered
from journeybatch.tally import tallied
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


def states_of(history: History, policy: Policy) -> pl.DataFrame:
    """The tally with each key's ``state`` at its step, whether that sends it ``up`` where there is a way up, its
    ``error`` and ``message`` (numbers among the texts of ``history.attempts.words``, null for none), and whether that
    stands in the journal (``sealed``). Keys are ``numbered``, and all numbers of the smallest type that holds them:
    there is a line for each key, and they are in memory together. Each column is in one piece, so that rows can be
    looked up."""
    import polars as pl

    words = history.attempts.words
    given_up = pl.DataFrame(
        [(key, words.number(error), words.number(message)) for key, (error, message) in history.given_up.items()],
        schema={"key": pl.Binary, "given_up": pl.UInt32, "message": pl.UInt32},
        orient="row",
    )
    parts, left = [], given_up
    for part in tallied(history, policy.since):
        parts.append(_states(part.join(given_up, on="key", how="left", maintain_order="left"), history, policy))
        left = left.join(part, on="key", how="anti", maintain_order="left") if len(left) else left
    never_asked = pl.concat([part.clear(), left], how="diagonal")
    states = pl.concat([*parts, _states(never_asked, history, policy)], how="vertical_relaxed")
    parts.clear()  # or each column would be there twice
    return pl.DataFrame([states.drop_in_place(name).rechunk() for name in states.columns])


def _states(tallied: pl.DataFrame, history: History, policy: Policy) -> pl.DataFrame:
    """The states of some keys, by their tally and whether they were ``given_up``."""
    import polars as pl

    rules, words = policy.rules, history.attempts.words
    failures = {name: words.number(name) for name in (ERRORS[INVALID], ERRORS[REFUSED])}
    answered = pl.col("code").is_in(READABLE).fill_null(False)
    error = pl.coalesce(
        "given_up",
        pl.when(pl.col("invalid") >= policy.tries)
        .then(failures[ERRORS[INVALID]])
        .when("refused")
        .then(failures[ERRORS[REFUSED]]),
    )
    excused = [failures[ERRORS[code]] for code in (INVALID, REFUSED) if ERRORS[code] in rules.on]
    wanting = pl.col("code").is_in(list(rules.up)).fill_null(False)
    unbound = pl.lit(bool(rules.score) and policy.bound is None)
    if rules.score and policy.bound is not None:
        scores = scores_of(tallied["sense"])
        tallied = tallied.with_columns(low=~((scores >= policy.bound) & scores.is_not_nan()))
        wanting |= pl.col("low").fill_null(True)
    failing = pl.col("error").is_in(excused) | (~pl.col("error").is_in(list(failures.values())) & ("error" in rules.on))
    states = (
        tallied.with_columns(
            pl.col("refused", "unfit", "doubt", "doubted").fill_null(False), pl.col("invalid").fill_null(0)
        )
        .with_columns(error=error.cast(pl.UInt32))
        .with_columns(unfit=pl.col("unfit") & ~answered & pl.col("error").is_null() & ("invalid" in rules.on))
        .with_columns(
            state=pl.when(answered)
            .then(ANSWERED)
            .when(pl.col("error").is_not_null())
            .then(FAILED)
            .when(pl.col(_DOUBTS[policy.on_unknown]) if policy.on_unknown in _DOUBTS else False)
            .then(HELD)
            .otherwise(OPEN)
            .cast(pl.UInt8),
            up=pl.when(answered).then(wanting).otherwise(failing.fill_null(False) | pl.col("unfit")),
            unbound=answered & unbound,
            sealed=pl.col("given_up").is_not_null(),
            declined=(pl.col("code") == DECLINED).fill_null(False),
            answer=pl.col("answer").cast(pl.Int32),
            last=pl.col("last").cast(pl.Int32),
        )
        .select(*_OF_KEYS)
    )
    small = (states[name].shrink_dtype() for name, dtype in states.schema.items() if dtype.is_integer())
    return states.with_columns(*small, numbered(states["key"]))


def scores_of(senses: pl.Series) -> pl.Series:
    """Scores (Float64) out of what answers are known by; not-a-number where there is none."""
    import polars as pl

    scores = array("d")
    scores.frombytes(array("Q", senses.fill_null(0)).tobytes())
    found = pl.Series(scores, dtype=pl.Float64)
    return pl.select(pl.when(senses.fill_null(0) == 0).then(float("nan")).otherwise(found)).to_series()
