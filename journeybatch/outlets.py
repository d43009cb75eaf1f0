"""Where results go besides Parquet in the output directory, and who is told of a run: ``sinks`` and ``notify``."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from journeybatch.addresses import DatabaseUrl, PingUrl
from journeybatch.sections import Section
from journeybatch.shapes import FilePath, Shorthand, TablePath, Text, Words, is_url

ENDINGS = (".csv", ".jsonl", ".parquet", ".xlsx")
STORES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss")


def _place(path: str, info: ValidationInfo) -> str:
    if path == "-":
        raise ValueError("expected a path; standard output is for summaries")
    if is_url(path) and urlsplit(path).scheme.lower() not in STORES:
        raise ValueError(f"expected a path, or an address that begins with {', '.join(STORES)} and ://")
    return path


Place = Annotated[TablePath, AfterValidator(_place)]


class Sink(Section):
    """One place where results go after a run: a file, a folder of Parquet, a Delta table or a database's table."""

    path: Place | None = Field(
        default=None,
        description="A file, by its ending .csv, .jsonl, .parquet or .xlsx; with `partition_by` a folder. A path "
        "relative to the job file, or an address (`s3://` `gs://` `az://`).",
        examples=["../exports/reviews.csv", "s3://bucket/reviews.parquet"],
    )
    partition_by: Words | None = Field(
        default=None,
        description="Columns by whose values Parquet files are put into folders.",
        examples=[["country"]],
    )
    delta: Place | None = Field(
        default=None,
        description="A Delta table, merged by `key`, or without one appended to whenever results have changed.",
        examples=["../lake/labels"],
    )
    database: DatabaseUrl | None = Field(
        default=None,
        description="A database, as in `input.database`: rows are put into `table` by `key`, in one transaction.",
        examples=["${env:DATABASE_URL}"],
    )
    table: Text | None = Field(
        default=None, description="The database's table; made where it is missing.", examples=["labels", "shop.labels"]
    )
    key: Words | None = Field(
        default=None, description="Columns that tell one row of the table from all others.", examples=[["id"]]
    )
    columns: Words | None = Field(
        default=None, description="Columns of the results to write; by default all.", examples=[["id", "sentiment"]]
    )
    rows: Literal["answered", "all"] | None = Field(
        default=None, description="Which rows: `all` (for files) or only those `answered` (for tables)."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Sink:
        if sum(place is not None for place in (self.path, self.delta, self.database)) != 1:
            raise ValueError("expected one of 'path', 'delta' and 'database'")
        if (self.database is None) != (self.table is None) or (self.database is not None and self.key is None):
            raise ValueError("a 'database' goes with 'table' and 'key'")
        if self.key is not None and self.path is not None:
            raise ValueError("a 'key' goes with 'delta' or 'database'; a file is written anew")
        if self.partition_by is not None and self.path is None:
            raise ValueError("'partition_by' goes with a 'path'")
        if self.path is not None and (self.partition_by is None) != (self.ending in ENDINGS):
            if self.partition_by is not None:
                raise ValueError("with 'partition_by' the path is a folder's, without an ending")
            raise ValueError(f"expected a path that ends in {', '.join(ENDINGS)}, or 'partition_by'")
        if self.columns is not None and (lacking := [name for name in self.key or () if name not in self.columns]):
            raise ValueError(f"'columns' lacks {lacking[0]!r} of the 'key'")
        return self

    @property
    def ending(self) -> str:
        """The ending of the file's name, in small letters. Not a key."""
        return PurePosixPath(self.path or "").suffix.lower()

    @property
    def answered_only(self) -> bool:
        """Whether rows without an answer stay out: a table may hold an earlier one. Not a key."""
        return self.path is None if self.rows is None else self.rows == "answered"

    @property
    def name(self) -> str:
        """The sink as messages name it. Not a key."""
        return self.path or self.delta or f"{self.database} {self.table}"


class Notify(Section):
    """Who is told how a run goes. A ping is a POST of JSON with names and counts, and never fails a run."""

    start: PingUrl | None = Field(
        default=None,
        description="Told when a run starts: an http or https URL, or `${env:NAME}` where it is a secret.",
        examples=["https://hc.example.com/ping/reviews/start"],
    )
    success: PingUrl | None = Field(
        default=None,
        description="Told when it came to its end: exit codes 0 and 1.",
        examples=["https://hc.example.com/ping/reviews"],
    )
    failure: PingUrl | None = Field(
        default=None, description="Told when it did not: any other exit code.", examples=["${env:CHAT_WEBHOOK}"]
    )
    failure_command: Words | None = Field(
        default=None,
        description="Program, and its arguments, that is run then as well, without a shell: what a ping says is on its "
        "standard input. Of the environment it gets PATH, HOME, LANG and TZ, and never a key.",
        examples=[["/usr/local/bin/tell-the-team", "reviews"]],
    )
    metrics: FilePath | None = Field(
        default=None,
        description="File for the run's figures in Prometheus' text format. Relative to the job file.",
        examples=["../metrics/reviews.prom"],
    )
    opentelemetry: bool = Field(
        default=False,
        description="Attempts as spans, durations, tokens and credits as metrics, to where the environment's `OTEL_…` "
        "variables say. Needs the extra `otel`.",
        examples=[True],
    )


def expand_sink(value: Any) -> Any:
    """A bare path stands for ``{path: …}``."""
    return {"path": value} if isinstance(value, str) else value


Sinks = Annotated[tuple[Annotated[Sink, Shorthand(expand_sink)], ...], Field(strict=False)]
