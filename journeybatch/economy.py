"""The mappings of a job file that decide what a credit buys: what counts as an answer, how many rows go into a
request, and when a stronger model is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from journeybatch.answers import Contract, fields_contract, schema_contract, text_contract
from journeybatch.escalation import Rules, rules_of
from journeybatch.sections import Section
from journeybatch.shapes import Text, file_path, read_text

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGE = re.compile(r"([1-9][0-9]{0,5}) ?([mhdw])")
LEAST_CHARACTERS = 1_000


class Answer(Section):
    """How a reply becomes columns: its whole text in one, or the fields of a JSON object."""

    column: Text = Field(default="response", description="Column that takes the reply's text.", examples=["sentiment"])
    fields: dict[Text, JsonValue] | None = Field(
        default=None,
        description="Columns to read out of a JSON reply: a list of choices, a type (`string`, `number`, `integer`, "
        "`boolean`, `json`), or a mapping of more.",
        examples=[{"sentiment": ["positive", "negative"], "score": "number"}],
    )
    json_schema: str | dict[str, JsonValue] | None = Field(
        default=None,
        alias="schema",
        description="A JSON Schema for the reply, or a file that holds one; its properties become columns.",
        examples=["answer.schema.json"],
    )
    on_invalid: Literal["fail", "ask_again", "escalate"] = Field(
        default="fail",
        description="What becomes of a row whose reply cannot be read: it fails; it is asked again, up to "
        "`retry.attempts` times in all, each a purchase; or it goes up to the next model of a cascade.",
    )
    _contract: Contract = PrivateAttr(text_contract("response"))

    @field_validator("column")
    @classmethod
    def _not_ours(cls, column: str) -> str:
        if column.startswith("jb_"):
            raise ValueError("columns that begin with jb_ are journeybatch's own; choose another name")
        return column

    @field_validator("json_schema")
    @classmethod
    def _schema_file(cls, schema: Any, info: ValidationInfo) -> Any:
        if not isinstance(schema, str):
            return schema
        path = file_path(schema, info)
        try:
            found = json.loads(read_text(path))
        except ValueError as error:
            raise ValueError(f"{error}" if str(error).startswith(path) else f"{path}: this is not JSON") from None
        if not isinstance(found, dict):
            raise ValueError(f"{path}: expected a JSON Schema, a JSON object")
        return found

    @field_validator("fields")
    @classmethod
    def _fields(cls, fields: dict[str, Any] | None) -> dict[str, Any] | None:
        if fields is not None:
            _columns_of(fields_contract(fields))
        return fields

    @model_validator(mode="after")
    def _one_form(self) -> Answer:
        if sum((self.fields is not None, self.json_schema is not None, "column" in self.model_fields_set)) > 1:
            raise ValueError("expected one of 'column', 'fields' and 'schema'")
        if self.fields is not None:
            self._contract = fields_contract(self.fields)
        elif isinstance(self.json_schema, Mapping):
            self._contract = schema_contract(self.json_schema)
            _columns_of(self._contract)
        else:
            self._contract = text_contract(self.column)
        return self

    @property
    def contract(self) -> Contract:
        """How a reply is read. Not a key."""
        return self._contract


def _columns_of(contract: Contract) -> None:
    for field in contract.fields:
        if field.name.startswith("jb_"):
            raise ValueError(f"{field.name!r}: columns that begin with jb_ are journeybatch's own; choose another name")


def _pack_rows(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= 1000):
        return value
    raise ValueError("expected a number of rows from 1 to 1000, or auto")


PackRows = Annotated[
    int | Literal["auto"],
    PlainValidator(_pack_rows, json_schema_input_type=Annotated[int, Field(ge=1, le=1000)] | Literal["auto"]),
]


class Pack(Section):
    """How many rows one request carries."""

    rows: PackRows = Field(
        default=1, description="Most rows in one request, or `auto`: as many as a measurement allows.", examples=[20]
    )
    characters: int = Field(
        default=100_000, ge=LEAST_CHARACTERS, le=10**8, description="Most characters in a packed request."
    )
    agreement: float = Field(
        default=0.95,
        gt=0.5,
        lt=1.0,
        description="For `auto`: how often a packed answer must agree with one asked alone (lower end of its "
        "95 % confidence interval).",
    )
    most: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=32, description="For `auto`: the largest number of rows that is tried."
    )
    pilot: Annotated[int, Field(ge=20, le=100_000)] = Field(
        default=192, description="For `auto`: rows of the pilot, which are asked alone and in packs."
    )
    compare: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None,
        description="For `auto`: the fields that must agree; by default all but those that a cascade's rules look at.",
        examples=[["sentiment"]],
    )


class Guarantee(Section):
    """How often the answers of a cascade agree with those of its strongest model, and how sure that is to be."""

    agreement: float = Field(
        gt=0.5, lt=1.0, description="Share of all rows whose final answer agrees with the label.", examples=[0.95]
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0, description="How sure that is, over the choice of labels.")
    field: Text | None = Field(
        default=None,
        description="The answer's field that `target` labels; by default the one of its name, or the only other one.",
        examples=["sentiment"],
    )


def expand_guarantee(value: Any) -> Any:
    """A bare number stands for ``{agreement: …}``."""
    return value if isinstance(value, Mapping) or value is None else {"agreement": value}


def expand_pack(value: Any) -> Any:
    """A bare number, or ``auto``, stands for ``{rows: …}``."""
    return value if isinstance(value, Mapping) else {"rows": value}


def _age(text: str) -> str:
    if not _AGE.fullmatch(text):
        raise ValueError("expected an age like 12h, 30d or 2w (m: minutes, h: hours, d: days, w: weeks)")
    return text


def seconds(age: str) -> int:
    """How many seconds an age such as ``30d`` is."""
    match = _AGE.fullmatch(age)
    if match is None:
        raise ValueError(age)
    return int(match[1]) * _SECONDS[match[2]]


def _models(value: Any) -> Any:
    """A list of one model is that model."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, list | tuple):
        raise ValueError("expected text")
    if (
        not value
        or len(set(map(str, value))) != len(value)
        or not all(isinstance(name, str) and name for name in value)
    ):
        raise ValueError("expected a model, or several that differ, cheapest first")
    return value[0] if len(value) == 1 else tuple(value)


def _escalate(items: tuple[Any, ...]) -> tuple[Any, ...]:
    rules_of(items)
    return items


Age = Annotated[str, AfterValidator(_age)]
Models = Annotated[
    str | tuple[str, ...],
    PlainValidator(_models, json_schema_input_type=str | list[str]),
    PlainSerializer(lambda models: models if isinstance(models, str) else list(models)),
]
Escalate = Annotated[tuple[JsonValue, ...], Field(strict=False, min_length=1), AfterValidator(_escalate)]
NO_RULES = Rules()
