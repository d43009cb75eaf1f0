"""A job as it was asked for: the keys of a job file, its JSON Schema, its fingerprint.

Only shapes are checked here: ``loading`` reads files, merges, and turns errors into sentences.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, JsonValue, PrivateAttr, ValidationError, ValidationInfo, model_validator

from journeybatch.concurrency import Concurrency, InFlight
from journeybatch.economy import Age, Answer, Escalate, Guarantee, Models, Pack, expand_guarantee, expand_pack
from journeybatch.escalation import DEFAULT, Rules, rules_of
from journeybatch.outlets import Notify, Sinks
from journeybatch.sections import (
    Api,
    Engine,
    Input,
    Limits,
    PromptSpec,
    Retry,
    Section,
    expand_api,
    expand_engine,
    expand_input,
    expand_prompt,
)
from journeybatch.shapes import (
    Directories,
    Directory,
    Name,
    Origin,
    Prices,
    Shorthand,
    Text,
    origin,
)
from journeybatch.variants import Eval, filled, spread

__all__ = [
    "Answer",
    "Api",
    "Input",
    "JobSpec",
    "Limits",
    "PromptSpec",
    "Retry",
    "Section",
    "check",
    "fingerprint",
    "schema",
]

SHORTHANDS = {
    "input": expand_input,
    "prompt": expand_prompt,
    "api": expand_api,
    "engine": expand_engine,
    "pack": expand_pack,
    "guarantee": expand_guarantee,
}


class JobSpec(Section):
    """One prompt over every row of a table. ``path`` is the job file's, or None."""

    name: Name = Field(
        description="Names the job and its output directory. By default the file's name without its ending.",
        examples=["review-sentiment"],
    )
    input: Annotated[Input, Shorthand(expand_input)] = Field(
        description="The table to read: a path, or a mapping.", examples=["../sample_data/reviews.csv"]
    )
    prompt: Annotated[PromptSpec, Shorthand(expand_prompt)] = Field(
        description="What every row is asked, in Jinja2 syntax: one user message, or a mapping.",
        examples=["Classify the sentiment of: {{ review }}"],
    )
    model: Models = Field(
        description="The model that answers; or a list, cheapest first: a cascade.", examples=["deepseek-chat"]
    )
    escalate: Escalate | None = Field(
        default=None,
        description="When a cascade goes on to the next model: `invalid`, `refusal`, `length`, `error`, "
        "`{field: confidence, below: 0.7}`, `{disagree: 3}`. By default `[invalid, refusal]`.",
        examples=[["invalid", "refusal"]],
    )
    guarantee: Annotated[Guarantee | None, Shorthand(expand_guarantee, ("number",))] = Field(
        default=None,
        description="For a cascade with the rule `{field: NAME}`: its bound is chosen on the rows that `target` "
        "labels, so that so many of all answers agree with the strongest model's.",
    )
    target: Text | None = Field(
        default=None,
        description="For a guarantee: the column that holds the strongest model's answer, or a trusted one, for a "
        "random sample of the rows; the others are empty.",
    )
    parameters: dict[Text, JsonValue] = Field(
        default={},
        description="Sent with every request as they stand; what is absent stays absent.",
        examples=[{"temperature": 0.2, "max_tokens": 200}],
    )
    concurrency: Concurrency = Field(
        default=InFlight(16),
        description="Most requests in flight: N; `auto` or {auto: N}: as many as the endpoint has a use for, up to 256 "
        "or N.",
        examples=[32],
    )
    answer: Answer = Field(default=Answer(), description="How a reply's text becomes columns.")
    pack: Annotated[Pack, Shorthand(expand_pack, ("string", "integer"))] = Field(
        default=Pack(), description="Rows per request: N, {rows: N, characters: M} or `auto`.", examples=[20]
    )
    samples: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="How often each prompt is asked on purpose."
    )
    dedupe: bool = Field(default=True, description="Whether identical prompts are asked once.")
    reuse: Directories = Field(
        default=(),
        description="Output directories of other jobs whose answers count. Relative to the job file.",
        examples=[["../runs/last-month"]],
    )
    limits: Limits = Field(default=Limits(), description="Where a run stops or slows down.")
    retry: Retry = Field(default=Retry(), description="What is tried again.")
    priority: Text | None = Field(
        default=None,
        description="Which rows are asked first: the higher the number that this polars SQL expression gives, the "
        "sooner. Results keep the order of the input.",
        examples=["case when country = 'fr' then 1 else 0 end"],
    )
    stream: bool = Field(default=False, description="Whether replies are asked for as a stream (SSE).")
    api: Annotated[Api, Shorthand(expand_api)] = Field(
        default=Api(), description="Who answers: `journeyapi`, `emulator`, a URL, or a mapping.", examples=["emulator"]
    )
    credits: Prices = Field(
        default={},
        description="Credits a request costs, by model: N or [at least, at most]. Wins over the catalogue.",
        examples=[{"gpt-4o": 3}],
    )
    max_age: Age | None = Field(
        default=None, description="Answers older than this are asked again: 12h, 30d, 2w.", examples=["30d"]
    )
    engine: Annotated[Engine, Shorthand(expand_engine)] = Field(
        default=Engine(),
        description="Where requests are sent from: `local`, `ray`, or a mapping.",
        examples=["local"],
    )
    sinks: Sinks = Field(
        default=(),
        description="Where results go besides Parquet once a run has ended: a path, or a mapping.",
        examples=[["../exports/reviews.csv"]],
    )
    notify: Notify = Field(default=Notify(), description="Who is told how a run goes.")
    output: Directory = Field(
        description="Directory for results and journal. Relative to the job file; by default `runs/NAME` beside it.",
        examples=["../runs/review-sentiment"],
    )
    output_prefix: Text | None = Field(
        default=None, description="Put before the answer's and the jb_ columns, where one collides.", examples=["x_"]
    )
    eval: Eval | None = Field(default=None, description="Compares prompts and models over the table.")
    _path: Path | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        name = data.get("name", origin(info).name)
        data = filled(data, origin(info).folder)
        return {"name": name, "output": f"runs/{name}", **_first_variant(data), **data}

    @property
    def models(self) -> tuple[str, ...]:
        """All models, cheapest first; one where the job is no cascade. Not a key."""
        return (self.model,) if isinstance(self.model, str) else self.model

    @property
    def rules(self) -> Rules:
        """When a cascade goes up; none where there is nowhere to go. Not a key."""
        variants = self.eval.variants.values() if self.eval else ()
        if not any(isinstance(model, tuple) for model in (self.model, *(variant.model for variant in variants))):
            return Rules()
        more = ("invalid",) if self.answer.on_invalid == "escalate" else ()
        return rules_of((*(DEFAULT if self.escalate is None else self.escalate), *more))

    @property
    def labelled(self) -> str | None:
        """The field of the answer that ``target`` labels; None where that cannot be told. Not a key."""
        others = [field.name for field in self.answer.contract.fields if field.name != self.rules.score]
        given = self.guarantee.field if self.guarantee else None
        if given is not None or self.target in others:
            name = given or self.target
            return name if name in others else None
        return others[0] if len(others) == 1 else None

    @property
    def path(self) -> Path | None:
        """The job file, if the job is from one. Not a key."""
        return self._path


def _first_variant(data: dict[str, Any]) -> dict[str, Any]:
    """Where only variants say what is asked of which model, the first stands for the job."""
    section = data.get("eval")
    try:
        variants = spread(section.get("variants")) if isinstance(section, dict) else None
    except ValueError:
        return {}  # the section's own check says what is wrong
    first = next(iter(variants.values()), None) if isinstance(variants, dict) else None
    return {key: first[key] for key in ("prompt", "model") if key in first} if isinstance(first, dict) else {}


def variants(spec: JobSpec) -> dict[str, JobSpec]:
    """The jobs that an evaluation compares, by name; the job itself, without a name, where it is none."""
    if spec.eval is None:
        return {"": spec}
    return {
        name: spec.model_copy(
            update={
                "eval": None,
                "prompt": variant.prompt or spec.prompt,
                "model": variant.model or spec.model,
                "parameters": {**spec.parameters, **(variant.parameters or {})},
            }
        )
        for name, variant in spec.eval.variants.items()
    }


Checked = TypeVar("Checked", bound=Section)


def check(kind: type[Checked], data: Any, source: Origin) -> Checked | list[dict[str, Any]]:
    """``data`` as a ``kind``, or pydantic's list of what is wrong with it (``type``, ``loc``, ``input``, …)."""
    try:
        return kind.model_validate(data, context=source)
    except ValidationError as error:
        return [dict(problem) for problem in error.errors(include_url=False)]


def attach(spec: JobSpec, path: Path | None, frame: Any) -> JobSpec:
    """``spec`` with where it came from: its file, and the polars frame given for a table."""
    spec._path = path
    spec.input._frame = frame
    return spec


def plain(spec: JobSpec) -> dict[str, Any]:
    """``spec`` as data for YAML: all defaults, absolute paths, the text of a prompt file in its place."""
    data: dict[str, Any] = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    data["parameters"] = spec.model_dump(mode="json", include={"parameters"})["parameters"]  # null is a value there
    if spec.prompt.file is not None:
        turns = [{"role": role, "content": text} for role, text in spec.prompt.messages]
        data["prompt"] = {"messages": turns}
    if spec.answer.contract.structured:
        del data["answer"]["column"]  # its default, and no companion of fields
    if spec.input.frame is not None:
        data["input"]["path"] = str(spec.output / "input.arrow")
    return data


def fingerprint(spec: JobSpec) -> str:
    """Hex digest of what can change an answer: messages, model, parameters. No matter the order of keys."""
    asked = [spec.prompt.messages, spec.model, _canonical(spec.parameters)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a job file, for editors."""
    found = JobSpec.model_json_schema(by_alias=True)
    found["required"] = ["input", "prompt", "model"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "journeybatch job",
        "description": "One prompt over every row of a table.",
    }
