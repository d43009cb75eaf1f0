"""What an evaluation compares, and by what it is judged: the `eval` section of a job, and the jobs it stands for.

A variant is the job with another prompt, model or parameters. It is asked, priced, journalled and paid for like any
job: there is no second road to the endpoint.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from journeybatch.economy import Models
from journeybatch.promptfile import PromptFile, read_prompt
from journeybatch.sections import PromptSpec, Section, expand_prompt
from journeybatch.shapes import Shorthand, Text, absolute

GRID = ("prompts", "models", "parameters")
MOST_VARIANTS = 200


def spread(value: Any) -> Any:
    """Variants by name; a grid is multiplied out. What is neither is left to be complained about."""
    if isinstance(value, Mapping) and not value:
        raise ValueError("expected variants by name, found none")
    if not isinstance(value, Mapping) or not set(value) <= set(GRID):
        return _capped(value)
    axes = [_axis(name, value[name]) for name in GRID if name in value]
    found = {}
    for cells in product(*axes):
        found["/".join(label for label, _ in cells)] = {key: item for _, part in cells for key, item in part.items()}
    return _capped(found)


def filled(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The keys of a job, with what its prompt files say of ``model`` and ``parameters`` where it does not itself; in an
    evaluation, where neither it nor the variant does. Files that cannot be read are left to be complained about."""
    section = data.get("eval")
    if not isinstance(section, Mapping):
        return {**data, **_under(data, {}, _told(data.get("prompt"), folder))}
    try:
        variants = spread(section.get("variants"))
    except ValueError:
        variants = None
    if not isinstance(variants, Mapping) or not all(isinstance(each, Mapping) for each in variants.values()):
        return dict(data)
    own = {
        name: {**each, **_under(each, data, _told(each.get("prompt", data.get("prompt")), folder))}
        for name, each in variants.items()
    }
    return {**data, "eval": {**section, "variants": own}} if own != variants else dict(data)


def _under(own: Mapping[str, Any], shared: Mapping[str, Any], told: PromptFile) -> dict[str, Any]:
    """What a prompt file adds to a job's or a variant's ``own`` keys; ``shared`` are those of the job around it."""
    given, around = own.get("parameters") or {}, shared.get("parameters") or {}
    if not isinstance(given, Mapping) or not isinstance(around, Mapping):
        return {}
    added = {name: value for name, value in told.parameters.items() if name not in around}
    named = told.model is not None and "model" not in own and "model" not in shared
    return ({"model": told.model} if named else {}) | ({"parameters": {**added, **given}} if added else {})


def _told(prompt: Any, folder: Path) -> PromptFile:
    """What the file of a prompt says; nothing, where there is none that can be read."""
    file = prompt.get("file") if isinstance(prompt, Mapping) else None
    try:
        return read_prompt(absolute(os.fspath(file), folder)) if file else PromptFile(())
    except (TypeError, ValueError):
        return PromptFile(())


def _capped(value: Any) -> Any:
    if isinstance(value, Mapping) and len(value) > MOST_VARIANTS:
        raise ValueError(f"expected at most {MOST_VARIANTS} variants, found {len(value)}")
    return value


def _axis(name: str, items: Any) -> list[tuple[str, dict[str, Any]]]:
    """The values along one axis of a grid, each with its label and as a part of a variant."""
    key = {"prompts": "prompt", "models": "model", "parameters": "parameters"}[name]
    if isinstance(items, Mapping) and items and (name != "parameters" or all(_nested(item) for item in items.values())):
        return [(str(label), {key: item}) for label, item in items.items()]
    if not isinstance(items, list | tuple) or not items:
        raise ValueError(f"{name}: expected a list, or a mapping of names to values, that is not empty")
    if name == "prompts":
        return [(f"prompt-{number}", {key: item}) for number, item in enumerate(items, 1)]
    return [(_label(item), {key: item}) for item in items]


def _nested(item: Any) -> bool:
    return isinstance(item, Mapping)


def _label(item: Any) -> str:
    """A model, a cascade or parameters, as a part of a variant's name."""
    if isinstance(item, Mapping):
        return ",".join(f"{name}={value}" for name, value in item.items()) or "plain"
    if isinstance(item, list | tuple):
        return ">".join(map(str, item))
    return re.sub(r"\s+", " ", str(item))


class Variant(Section):
    """One way of asking: what is not said here is as in the job."""

    prompt: Annotated[PromptSpec | None, Shorthand(expand_prompt)] = Field(
        default=None, description="What is asked, instead of the job's `prompt`.", examples=["Solve: {{ question }}"]
    )
    model: Models | None = Field(default=None, description="The model, or a cascade of them.", examples=["gpt-4o"])
    parameters: dict[Text, JsonValue] | None = Field(
        default=None, description="Parameters, beside and before those of the job.", examples=[{"temperature": 0}]
    )


class Gate(Section):
    """What an evaluation has to reach, or its exit code is 1. Every variant but the baseline has to, or the one named
    by ``variant``."""

    variant: Text | None = Field(default=None, description="The variant that has to pass; by default each.")
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="Least mean of the first scorer.", examples=[0.85]
    )
    accuracy_lower: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="Least lower end of its confidence interval.", examples=[0.8]
    )
    scores: dict[Text, Annotated[float, Field(ge=0, le=1)]] | None = Field(
        default=None, description="Least mean by scorer.", examples=[{"is-json": 1.0}]
    )
    not_worse_than: Text | None = Field(
        default=None,
        description="A variant, or `baseline`: the gate is missed where the answers are worse, by a paired test.",
        examples=["baseline"],
    )
    credits_per_correct: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Most credits for a correct answer."
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Gate:
        if not self.model_fields_set - {"variant"}:
            raise ValueError("expected something to reach: accuracy, accuracy_lower, scores, not_worse_than, …")
        return self


class Eval(Section):
    """Compares prompts, models and parameters over the table."""

    variants: Annotated[dict[Text, Variant], BeforeValidator(spread)] = Field(
        description="Ways of asking, by name; or a grid: `{prompts: {…}, models: […], parameters: […]}`.",
        examples=[
            {"short": {"prompt": "Solve: {{ question }}"}, "long": {"prompt": "Think, then solve: {{ question }}"}}
        ],
    )
    target: Text | None = Field(default=None, description="Column with the expected answer.", examples=["answer"])
    scorers: Annotated[tuple[JsonValue, ...], Field(strict=False, min_length=1)] = Field(
        default=("equals",),
        description="How answers are judged: names, or mappings of a name to its options. The first is the one that "
        "decides.",
        examples=[["equals", {"number": {"tolerance": 0.01}}]],
    )
    group: Text | None = Field(
        default=None, description="Column whose rows belong together: they are one observation.", examples=["document"]
    )
    baseline: Text | None = Field(default=None, description="The variant that others are compared with.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0, description="Of all intervals and tests.")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="Of resampling.")
    gate: Gate | None = Field(default=None, description="What has to be reached.", examples=[{"accuracy": 0.85}])
    correct: float = Field(default=1.0, gt=0, le=1, description="The score from which on an answer counts as correct.")

    @model_validator(mode="after")
    def _names_agree(self) -> Eval:
        known = ", ".join(self.variants)
        named = {"baseline": self.baseline, "gate.variant": self.gate and self.gate.variant}
        other = self.gate and self.gate.not_worse_than
        named["gate.not_worse_than"] = None if other == "baseline" else other
        for key, name in named.items():
            if name is not None and name not in self.variants:
                raise ValueError(f"{key}: there is no variant called {name!r}; there are: {known}")
        if len(self.variants) == 1 and (self.baseline or other):
            raise ValueError("there is one variant only: nothing to compare; name a second one")
        if other == "baseline" and self.baseline is None:
            raise ValueError("gate.not_worse_than: name the 'baseline'")
        return self
