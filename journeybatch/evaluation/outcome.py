"""What an evaluation came to, as values: they stand in evaluation.json as they are here."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from journeybatch.evaluation.classification import Classification
from journeybatch.evaluation.estimates import Comparison, Estimate
from journeybatch.evaluation.regression import Regression
from journeybatch.evaluation.repeats import Components
from journeybatch.evaluation.sentences import sentence
from journeybatch.evaluation.thrift import Price


class Variant(msgspec.Struct, frozen=True):
    """One variant: its models, how many of its rows (times samples) are ``answered`` and ``failed``, ``credits`` as if
    it had been asked alone, the median ``seconds`` of its replies, and by scorer the estimate of its mean score. For
    the scorer that decides: what a right answer costs (scores from 0 to 1), the parts of the variance (several
    samples), and ``labels`` or ``numbers`` where answers and targets are such."""

    name: str
    models: tuple[str, ...]
    answered: int
    failed: int
    credits: float
    seconds: float | None
    scores: dict[str, Estimate]
    price: Price | None = None
    repeats: Components | None = None
    labels: Classification | None = None
    numbers: Regression | None = None


class Check(msgspec.Struct, frozen=True):
    """One thing that the gate asks of one ``variant``: ``what`` it is, what was ``needed`` and ``found``, as text."""

    variant: str
    what: str
    needed: str
    found: str
    passed: bool


class Changes(msgspec.Struct, frozen=True):
    """One variant against an earlier evaluation, row by row, by the scorer that decides: ``fixed``, ``broken`` and
    ``same`` rows that both have a score for, and the numbers of the rows fixed and broken."""

    variant: str
    fixed: int
    broken: int
    same: int
    rows_fixed: tuple[int, ...]
    rows_broken: tuple[int, ...]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation. ``rows`` of the table, ``samples`` of each; ``deciding`` is the scorer that the verdict, the
    front and the gate go by. ``comparisons`` by scorer. ``judges``: by scorer, the pairs of verdicts that agree with
    people's labels, as Cohen's kappa. ``left_out``: variants that ask just what another asks. ``gate`` is None where
    there is none."""

    job: str
    run: int
    emulated: bool
    rows: int
    samples: int
    confidence: float
    target: str | None
    group: str | None
    baseline: str | None
    scorers: tuple[str, ...]
    deciding: str
    verdict: str
    variants: tuple[Variant, ...]
    comparisons: dict[str, tuple[Comparison, ...]]
    pareto: tuple[str, ...]
    judges: dict[str, Classification]
    gate: tuple[Check, ...] | None
    changes: tuple[Changes, ...] | None
    left_out: tuple[str, ...]
    spent: int
    judging: int

    @property
    def passed(self) -> bool:
        """Whether the gate is passed, if there is one."""
        return all(check.passed for check in self.gate or ())

    def variant(self, name: str) -> Variant:
        """The variant of that name. Raises KeyError."""
        return {each.name: each for each in self.variants}[name]

    def json(self) -> dict[str, Any]:
        """As it stands in evaluation.json: each comparison with its verdict and its sentence; a price without an upper
        end has null there, since JSON has no infinity. ``read`` turns it back."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        for variant in data["variants"]:
            for interval in _of_price(variant):
                interval["high"] = None if interval["high"] == math.inf else interval["high"]
        for scorer, found in self.comparisons.items():
            for each, told in zip(found, data["comparisons"][scorer], strict=True):
                told |= {"verdict": each.verdict, "sentence": sentence(each)}
        return data | {"passed": self.passed}


def read(data: Any) -> Evaluation:
    """The evaluation that ``Evaluation.json`` tells. Raises msgspec.ValidationError for anything else."""
    for variant in data.get("variants") or () if isinstance(data, dict) else ():
        for interval in _of_price(variant):
            if interval.get("high", 0) is None:
                interval["high"] = math.inf
    return msgspec.convert(data, Evaluation)


def _of_price(variant: Any) -> list[dict[str, Any]]:
    """The interval of a variant's price, as JSON; none where there is no such mapping."""
    price = variant.get("price") if isinstance(variant, dict) else None
    interval = price.get("interval") if isinstance(price, dict) else None
    return [interval] if isinstance(interval, dict) else []
