"""The mappings inside a job file: every key, its type, its default and what it does.

Values are strict (``"3"`` is no number, ``true`` is no 1) and frozen. An ``Origin`` travels along as the
validation context, so that paths are absolute and ``${env:NAME}`` is expanded once a job is checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)

from journeybatch.addresses import DatabaseUrl
from journeybatch.deadline import Clock
from journeybatch.promptfile import PromptFile, read_prompt
from journeybatch.shapes import (
    EnvName,
    FailureLimit,
    Failures,
    FilePath,
    KeyFilePath,
    RayAddress,
    TablePath,
    Text,
    Url,
    Words,
    is_loopback,
    is_url,
)

Role = Literal["system", "user", "assistant"]
Format = Literal["csv", "tsv", "jsonl", "ndjson", "parquet", "arrow", "ipc", "xlsx", "delta", "iceberg"]


class Section(BaseModel):
    """A mapping in a job file: strict, frozen, no unknown keys; equal to another when the keys are."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]


class Input(Section):
    """The table: a path, a query, or, from Python, a polars frame."""

    path: TablePath | None = Field(
        default=None,
        description="Table to read: .csv .tsv .jsonl .ndjson .parquet .arrow .ipc .xlsx, a glob, the directory of "
        "a Delta table, an address (`s3://` `gs://` `az://` `hf://`, `iceberg://CATALOG/NAMESPACE.TABLE`), or `-` for "
        "stdin. Relative to the job file.",
        examples=["../sample_data/reviews.csv"],
    )
    columns: Words | None = Field(
        default=None, description="Columns to read; the others are left out.", examples=[["id", "review"]]
    )
    where: Text | None = Field(
        default=None,
        description="Rows to keep, as a polars SQL condition. CSV columns are text.",
        examples=["cast(stars as int) < 4"],
    )
    format: Format | None = Field(
        default=None, description="What the file is, where its name does not say.", examples=["csv"]
    )
    sheet: Text | None = Field(
        default=None, description="The sheet of an Excel file, if not its first.", examples=["reviews"]
    )
    database: DatabaseUrl | None = Field(
        default=None,
        description="A database to query: postgresql://, sqlite:/// or duckdb:///, without a password, or "
        "`${env:NAME}`.",
        examples=["${env:DATABASE_URL}", "postgresql://reader@db.example.com/shop", "sqlite:///reviews.db"],
    )
    query: Text | None = Field(
        default=None,
        description="What to ask the database, in one read-only transaction; with `order by`, rows keep their place.",
        examples=["select id, review from reviews order by id"],
    )
    _frame: Any = PrivateAttr(None)

    @property
    def frame(self) -> Any:
        """The polars DataFrame or LazyFrame given from Python, else None. Not a key."""
        return self._frame


class Turn(Section):
    """One message of a prompt."""

    role: Role = Field(description="Who speaks.", examples=["user"])
    content: Text = Field(description="What is said: a template.", examples=["Translate: {{ text }}"])


class PromptSpec(Section):
    """What every row is asked: ``user`` with or without ``system``, ``messages``, or a ``file``."""

    system: Text | None = Field(
        default=None, description="System message: a template.", examples=["You are a terse critic."]
    )
    user: Text | None = Field(
        default=None, description="User message: a template.", examples=["Classify the sentiment of: {{ review }}"]
    )
    turns: Annotated[tuple[Turn, ...], Field(strict=False, min_length=1)] | None = Field(
        default=None,
        alias="messages",
        description="The whole conversation, in order.",
        examples=[[{"role": "user", "content": "Translate: {{ text }}"}]],
    )
    file: FilePath | None = Field(
        default=None,
        description="A file with the prompt: plain text for a user message, or front matter and messages, as in "
        "`.prompty`. Relative to the job file.",
        examples=["prompts/classify.md"],
    )
    _told: PromptFile = PrivateAttr(PromptFile(()))

    @model_validator(mode="after")
    def _one_form(self) -> PromptSpec:
        forms = [self.user is not None, self.turns is not None, self.file is not None]
        if sum(forms) != 1 or (self.turns is not None and self.system is not None):
            raise ValueError("expected one of 'user' (with 'system' or without), 'messages' and 'file'")
        if self.file is not None:
            self._told = read_prompt(self.file)
            if self.system is not None and [role for role, _ in self._told.messages] != ["user"]:
                raise ValueError(f"{self.file} has messages of its own: leave out 'system'")
        return self

    @property
    def messages(self) -> tuple[tuple[Role, str], ...]:
        """Pairs of role and template, in order."""
        if self.turns is not None:
            return tuple((turn.role, turn.content) for turn in self.turns)
        system: tuple[tuple[Role, str], ...] = () if self.system is None else (("system", self.system),)
        return (*system, *(self._told.messages if self.user is None else (("user", self.user),)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptSpec) and self.messages == other.messages

    __hash__ = None


class Limits(Section):
    """Where a run stops or slows down."""

    credits: Annotated[int, Field(ge=0, le=10**12)] | None = Field(
        default=None, description="Most credits a run may be billed; it stops before the next one.", examples=[500]
    )
    credits_per_day: Annotated[int, Field(ge=0, le=10**12)] | None = Field(
        default=None,
        description="Most credits a day (UTC), over all runs and processes that share `day_ledger`.",
        examples=[2000],
    )
    day_ledger: FilePath | None = Field(
        default=None,
        description="File in which the credits of the day are counted. Relative to the job file; by default "
        "`credits-per-day` in the output directory.",
        examples=["../runs/credits-per-day"],
    )
    requests_per_minute: Annotated[int, Field(ge=1, le=10**7)] | None = Field(
        default=None, description="Most requests sent in a minute.", examples=[600]
    )
    deadline: Clock | None = Field(
        default=None,
        description="Time of day, on this machine's clock, from which on nothing more is sent.",
        examples=["05:00"],
    )
    failures: Failures = Field(
        default=FailureLimit(percent=50.0),
        description="Failed rows that stop the run: a share of those finished, once 20 are, or a number.",
        examples=["50%", 100],
        json_schema_extra={"default": "50%"},
    )


class Retry(Section):
    """What is tried again."""

    attempts: int = Field(default=3, ge=1, le=100, description="Most attempts for one request.")
    timeout_s: float = Field(default=600.0, gt=0, le=86_400, description="Seconds one attempt may take in all.")
    on_unknown: Literal["retry", "hold", "fail"] = Field(
        default="retry",
        description="After an attempt that may have been charged: `retry`, `hold` the row as pending, or `fail` it.",
    )
    failed: bool = Field(default=False, description="Whether the next run asks failed rows again.")


class Api(Section):
    """Who answers: JourneyAPI, the local emulator, or a server of the same kind."""

    kind: Literal["journeyapi", "emulator", "url"] = Field(
        default="journeyapi", description="Who answers; follows from `base_url` where that is given."
    )
    base_url: Url | None = Field(
        default=None, description="Address of another OpenAI-compatible server.", examples=["http://127.0.0.1:8000/v1"]
    )
    key_env: EnvName | None = Field(
        default=None,
        description="Environment variable that holds the key, if not JOURNEYAPI_KEY.",
        examples=["OTHER_KEY"],
    )
    key_file: KeyFilePath | None = Field(
        default=None, description="File that holds the key. Relative to the job file.", examples=["~/.config/key"]
    )
    auth: Literal["raw", "bearer", "none"] | None = Field(
        default=None,
        description="How the key is sent: bare, as `Bearer KEY`, or not at all. By default `raw` to "
        "JourneyAPI and `bearer` to a `base_url`.",
    )
    bills_errors: bool = Field(
        default=False, description="Whether attempts answered with an error may have been charged."
    )
    allow_http: bool = Field(
        default=False, description="Allows a `base_url` with http:// beyond this machine: the key can be overheard."
    )

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, data: Any) -> Any:
        if isinstance(data, dict) and "kind" not in data and data.get("base_url") is not None:
            return {"kind": "url", **data}
        return data

    @model_validator(mode="after")
    def _agrees(self) -> Api:
        if (self.kind == "url") != (self.base_url is not None):
            raise ValueError("expected journeyapi, emulator, or a mapping with 'base_url' and no other 'kind'")
        if self.key_env is not None and self.key_file is not None:
            raise ValueError("expected 'key_env' or 'key_file', not both")
        insecure = self.base_url is not None and self.base_url.startswith("http:")
        if insecure and not self.allow_http and not is_loopback(self.base_url or ""):
            raise ValueError("http:// would send the key in the clear; use https:// or set allow_http: true")
        return self


class Engine(Section):
    """Where requests are sent from: this process, or workers on a Ray cluster."""

    kind: Literal["local", "ray"] = Field(
        default="local", description="`local`, or `ray`, which follows from `address` where that is given."
    )
    address: RayAddress | None = Field(
        default=None,
        description="The cluster's head as host:port, or `auto` for the one on this machine. By default RAY_ADDRESS, "
        "or else a Ray of the run's own on this machine.",
        examples=["auto", "10.0.0.5:6379"],
    )
    workers: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None,
        description="Workers to ask for; by default one for each node that has processors for it.",
        examples=[8],
    )
    cpus: Annotated[float, Field(gt=0, le=1024)] = Field(
        default=1.0, description="Processors that a worker wants of its node."
    )
    start_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        default=300.0, description="Seconds to wait for the first worker: a cluster that grows needs minutes."
    )

    @model_validator(mode="before")
    @classmethod
    def _kind(cls, data: Any) -> Any:
        if isinstance(data, dict) and "kind" not in data and data.get("address") is not None:
            return {"kind": "ray", **data}
        return data


def expand_input(value: Any) -> Any:
    """A bare path stands for ``{path: …}``."""
    return {"path": value} if isinstance(value, str | Path) else value


def expand_prompt(value: Any) -> Any:
    """A bare text stands for ``{user: …}``."""
    return {"user": value} if isinstance(value, str) else value


def expand_api(value: Any) -> Any:
    """A bare name stands for ``{kind: …}``, a bare URL for ``{base_url: …}``."""
    if not isinstance(value, str):
        return value
    return {"base_url": value} if is_url(value) or value.startswith("${env:") else {"kind": value}


def expand_engine(value: Any) -> Any:
    """A bare name stands for ``{kind: …}``."""
    return {"kind": value} if isinstance(value, str) else value
