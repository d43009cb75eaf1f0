"""What an evaluation has to reach, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from journeybatch.errors import SpecError
from journeybatch.evaluation.estimates import Comparison
from journeybatch.evaluation.outcome import Check, Variant
from journeybatch.evaluation.sentences import sentence
from journeybatch.variants import Eval, Gate


def check_gate(spec: Eval, names: Sequence[str]) -> None:
    """Raises SpecError for a gate on a score that is not computed."""
    for name in (spec.gate.scores or {}) if spec.gate else ():
        if name not in names:
            raise SpecError(f"eval.gate.scores: no scorer is called {name!r}; there are {', '.join(names)}")


def checks(
    spec: Eval, variants: Sequence[Variant], comparisons: Mapping[str, Sequence[Comparison]], deciding: str
) -> tuple[Check, ...] | None:
    """What the gate of ``spec`` asks, and whether it is reached; None without a gate."""
    gate = spec.gate
    if gate is None:
        return None
    asked = [each for each in variants if each.name == gate.variant] if gate.variant else list(variants)
    if gate.variant is None and len(variants) > 1:
        asked = [each for each in asked if each.name != spec.baseline]
    found: list[Check] = []
    for variant in asked:
        found += _levels(gate, variant, deciding)
        if gate.not_worse_than is not None:
            other = spec.baseline if gate.not_worse_than == "baseline" else gate.not_worse_than
            if other is not None and other != variant.name:
                found.append(_not_worse(variant.name, other, comparisons[deciding]))
    return tuple(found)


def _levels(gate: Gate, variant: Variant, deciding: str) -> Iterator[Check]:
    mean = variant.scores[deciding]
    if gate.accuracy is not None:
        yield _least(variant.name, f"mean of {deciding}", gate.accuracy, mean.value)
    if gate.accuracy_lower is not None:
        low = mean.interval.low if mean.interval else None
        yield _least(variant.name, f"lower end of the interval of {deciding}", gate.accuracy_lower, low)
    for name, least in (gate.scores or {}).items():
        yield _least(variant.name, f"mean of {name}", least, variant.scores[name].value)
    if gate.credits_per_correct is not None:
        price = variant.price.value if variant.price else None
        passed = price is not None and price <= gate.credits_per_correct
        told = "unknown" if price is None else f"{price:.4g}"
        yield Check(variant.name, "credits per correct answer", f"≤ {gate.credits_per_correct:g}", told, passed)


def _least(variant: str, what: str, least: float, value: float | None) -> Check:
    told = "unknown" if value is None else f"{value:.4f}"
    return Check(variant, what, f"≥ {least:g}", told, value is not None and value >= least)


def _not_worse(variant: str, other: str, comparisons: Sequence[Comparison]) -> Check:
    for each in comparisons:
        if {each.baseline, each.variant} == {variant, other}:
            bad = "worse" if each.variant == variant else "better"
            return Check(variant, "paired comparison", f"not worse than {other}", sentence(each), each.verdict != bad)
    return Check(variant, "paired comparison", f"not worse than {other}", "not compared", False)
