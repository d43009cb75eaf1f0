"""When a cascade goes up: rules over one answer, and over several of the same model.

A cascade asks a cheap model first and a stronger one only where it has to (FrugalGPT, Chen, Zaharia, Zou 2023,
arXiv:2305.05176). Several samples that disagree are a sign of doubt (self-consistency, Wang et al. 2023,
arXiv:2203.11171).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from journeybatch.verdict import DECLINED, INVALID, REFUSED, WEAK

LOOKED_AT = 300
"""Characters at the start of a text that decide whether it reads like a refusal."""

_APOLOGY = (
    r"(?:(?:i'?m|i am) (?:very |really |so )?sorry|sorry|apologies|i apologi[sz]e|unfortunately)[,.:;]?\s+(?:but\s+)?"
)
_DECLINES = re.compile(
    rf"\W*(?:{_APOLOGY})?(?:as an ai(?: \w+){{0,3}},?\s+)?i(?:'m| am)?\s+"
    r"(?:(?:can(?:no|')t|can not|won'?t|will not)\s+"
    r"(?:help|assist|provide|comply|fulfil+|answer|do that|create|write|engage|continue|discuss|support)"
    r"|(?:not able|unable|not comfortable)\s+(?:to\s+|with\s+)?"
    r"(?:help|assist|provid|comply|fulfil|answer|creat|writ|engag|that)"
    r"|(?:must|have to)\s+(?:decline|refuse)|decline\s+to|refuse\s+to)",
    re.IGNORECASE,
)


class Rules(msgspec.Struct, frozen=True):
    """What sends a row up: ``on`` (`invalid`, `refusal`, `length`, `error`), a numeric field ``below`` a bound, a
    numeric field ``score`` whose bound is found by a guarantee (empty for none), or ``disagree`` samples of one model
    that are not all the same (1: one sample, nothing to compare)."""

    on: frozenset[str] = frozenset()
    below: tuple[tuple[str, float], ...] = ()
    disagree: int = 1
    score: str = ""

    @property
    def identity(self) -> str:
        """Text of what decides a verdict; empty where no rule does."""
        deciding = [sorted(self.on & {"length", "refusal"}), self.below, self.disagree, self.score]
        return json.dumps(deciding) if any((self.below, self.disagree > 1, self.score, "length" in self.on)) else ""

    def weak(self, finish_reason: str | None, values: Mapping[str, Any]) -> bool:
        """Whether an answer that could be read has to be asked of a stronger model."""
        if finish_reason == "length" and "length" in self.on:
            return True
        return bool(self.below) and any(not _reaches(values.get(field), bound) for field, bound in self.below)

    @property
    def up(self) -> frozenset[int]:
        """The verdicts that send a row up."""
        more = {"invalid": {INVALID}, "refusal": {REFUSED, DECLINED}}
        return frozenset({WEAK}.union(*(more.get(rule, set()) for rule in self.on)))


_WORDS = ("invalid", "refusal", "length", "error")
DEFAULT = ("invalid", "refusal")
"""When a cascade goes up, unless the job says otherwise."""


def rules_of(items: Sequence[Any]) -> Rules:
    """The rules that ``escalate`` lists: words, ``{field: NAME, below: NUMBER}``, ``{field: NAME}`` (a guarantee
    finds its bound) and ``{disagree: N}``.

    Raises ValueError, which says what was expected.
    """
    on: set[str] = set()
    below: list[tuple[str, float]] = []
    disagree, score = 1, ""
    for item in items:
        if isinstance(item, str) and item in _WORDS:
            on.add(item)
        elif isinstance(item, Mapping) and set(item) == {"disagree"} and _whole(item["disagree"]):
            disagree = item["disagree"]
        elif isinstance(item, Mapping) and set(item) == {"field", "below"} and _bound(item):
            below.append((item["field"], float(item["below"])))
        elif isinstance(item, Mapping) and set(item) == {"field"} and isinstance(item["field"], str) and not score:
            score = item["field"]
        else:
            raise ValueError(
                f"expected {', '.join(_WORDS)}, a mapping like {{field: confidence, below: 0.7}} (or, once and with a "
                "guarantee, {field: confidence}), or {disagree: N} with 2 to 9 samples"
            )
    return Rules(frozenset(on), tuple(below), disagree, score)


def _whole(value: object) -> bool:
    return type(value) is int and 2 <= value <= 9


def _bound(item: Mapping[str, Any]) -> bool:
    with suppress(OverflowError):
        return isinstance(item["field"], str) and type(item["below"]) in (int, float) and math.isfinite(item["below"])
    return False


def declines(text: str) -> bool:
    """Whether a text reads like a refusal: only from its first words, so that an answer about refusals is none."""
    return _DECLINES.match(text[:LOOKED_AT].replace("’", "'")) is not None


def _reaches(value: object, bound: float) -> bool:
    """A missing number reaches nothing."""
    return isinstance(value, int | float) and not math.isnan(value) and value >= bound
