"""The kinds of value a job file is made of: paths, URLs, prices, limits.

Each is an annotated type that checks one thing and says in one sentence what it expected.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
)
from pydantic_core import CoreSchema, core_schema

FAILURES_AFTER = 20
"""Rows that must be finished before a percentage of failures means anything."""

VARIABLE = re.compile(r"\$\{env:([^}]*)\}")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?) ?%")
_LOOPBACK = {"localhost", "localhost.localdomain", "ip6-localhost"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a job comes from: paths are relative to ``folder``, ``${env:NAME}`` is looked up in ``environ``."""

    folder: Path
    name: str = "job"
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """How many failed rows stop a run: a percentage of those finished, or a count."""

    percent: float | None = None
    count: int | None = None

    @property
    def fraction(self) -> float | None:
        """The share as 0..1, or None for a count."""
        return None if self.percent is None else self.percent / 100

    def passed(self, failed: int, finished: int) -> bool:
        """Whether ``failed`` rows of ``finished`` are more than allowed."""
        if self.count is not None:
            return failed > self.count
        return finished >= FAILURES_AFTER and failed * 100 > (self.percent or 0) * finished

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else str(self.count)


@dataclass(frozen=True, slots=True)
class Shorthand:
    """Lets a bare text (or what else ``kinds`` of JSON allow) stand for a mapping, as ``expand`` writes it out."""

    expand: Callable[[Any], Any]
    kinds: tuple[str, ...] = ("string",)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [*({"type": kind} for kind in self.kinds), handler(core)]}


def origin(info: ValidationInfo) -> Origin:
    """The origin a check was begun with; without one, the working directory and no environment."""
    return info.context if isinstance(info.context, Origin) else Origin(Path.cwd())


def absolute(path: str, folder: Path) -> str:
    """``path`` under ``folder``; ``~`` is the home; ``..`` is taken literally. Raises ValueError."""
    if "\0" in path or not path:
        raise ValueError("expected a path")
    try:
        return os.path.normpath(folder / Path(path).expanduser())
    except RuntimeError:
        raise ValueError("there is no home directory for ~") from None


def is_url(path: str) -> bool:
    """Whether ``path`` is a URL (``s3://…``) and not a file's."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


def read_text(path: str) -> str:
    """A prompt file of at most 1 MiB of UTF-8 text. Raises ValueError."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read((1 << 20) + 1)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if len(raw) > 1 << 20:
        raise ValueError(f"{path}: larger than 1 MiB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: this is not UTF-8 text") from None
    if not text.strip():
        raise ValueError(f"{path}: this file is empty")
    return text


def _pathlike(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _table(path: str, info: ValidationInfo) -> str:
    if is_url(path) and "@" in path.partition("://")[2].partition("/")[0] and ":" in urlsplit(path).netloc:
        raise ValueError("an address holds no password; give the credentials by the environment")
    return path if path == "-" or is_url(path) else file_path(path, info)


def file_path(path: str, info: ValidationInfo) -> str:
    """``path`` under the job file's folder. Raises ValueError."""
    if VARIABLE.search(path):
        raise ValueError("${env:NAME} is expanded in 'input.database', 'output', 'api' and 'sinks' only")
    return absolute(path, origin(info).folder)


def _directory(value: Any, info: ValidationInfo) -> Path:
    value = _pathlike(value)
    if not isinstance(value, str) or is_url(value):
        raise ValueError("expected the path of a local directory")
    return Path(absolute(_expand(value, info), origin(info).folder))


def _expand(text: str, info: ValidationInfo) -> str:
    return expand(text, origin(info).environ)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with every ``${env:NAME}`` filled in. Raises ValueError for one that is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise ValueError(f"the environment variable {match[1]} is not set")
        return environ[match[1]]

    return VARIABLE.sub(value, text)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"expected an http or https URL; {error}") from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise ValueError("expected an http or https URL with a host, like https://host/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base_url holds no user or password; a key never stands in a job file")
    if "?" in text or "#" in text:
        raise ValueError("a base_url has no ?query and no #fragment")
    return text.rstrip("/")


def _ray_address(text: str) -> str:
    if text.startswith("ray://"):
        raise ValueError(
            "Ray Client (ray://) is no way for a run of hours: run journeybatch in the cluster, with `ray job submit`"
        )
    if text not in ("auto", "local") and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s/:\[\]]+):[0-9]{1,5}", text):
        raise ValueError("expected the cluster's head as host:port, `auto` or `local`")
    return text


def is_loopback(url: str) -> bool:
    """Whether the host of ``url`` is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in _LOOPBACK or host.endswith(".localhost")


def _env_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text):
        raise ValueError("expected the name of an environment variable, never a key itself")
    return text


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+", text):
        raise ValueError("expected a host like llm.example.com, without https:// and without a port")
    return text.lower()


def _name(text: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,99}", text):
        raise ValueError("expected a name of letters, digits and - _ . that can be a directory's")
    return text


def _credits(value: Any) -> int | tuple[int, int]:
    ends = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(ends) == 2 and ends[1] is None:
        raise ValueError("a price needs an upper end, since the cap counts it; expected a number of credits, or [2, 5]")
    if len(ends) != 2 or not all(type(end) is int and 0 <= end <= 10**9 for end in ends) or ends[0] > ends[1]:
        raise ValueError("expected a whole number of credits, or [at least, at most]")
    return ends if isinstance(value, list | tuple) else value


def _failures(value: Any) -> FailureLimit:
    if isinstance(value, FailureLimit):
        return value
    if type(value) is int and value >= 0:
        return FailureLimit(count=value)
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or float(match[1]) > 100:
        raise ValueError('expected a share like "50%" or a whole number of rows')
    return FailureLimit(percent=float(match[1]))


def _plain(credits: int | tuple[int, int]) -> int | list[int]:
    return credits if isinstance(credits, int) else list(credits)


def _written(failures: FailureLimit) -> str | int:
    return failures.count if failures.count is not None else str(failures)


PathLike = Annotated[str, BeforeValidator(_pathlike, json_schema_input_type=str)]
TablePath = Annotated[PathLike, AfterValidator(_table)]
FilePath = Annotated[PathLike, AfterValidator(file_path)]
KeyFilePath = Annotated[PathLike, AfterValidator(_expand), AfterValidator(file_path)]
Directory = Annotated[Path, PlainValidator(_directory, json_schema_input_type=str), PlainSerializer(str)]
Url = Annotated[str, AfterValidator(_expand), AfterValidator(_url)]
RayAddress = Annotated[str, AfterValidator(_ray_address)]
EnvName = Annotated[str, AfterValidator(_expand), AfterValidator(_env_name)]
Directories = Annotated[
    tuple[Directory, ...],
    Field(strict=False),
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], Field(strict=False)]
Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, Field(min_length=1)]
Words = Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
Credits = Annotated[
    int | tuple[int, int],
    PlainValidator(_credits, json_schema_input_type=int | tuple[int, int]),
    PlainSerializer(_plain),
]
Prices = dict[Text, Credits]
Failures = Annotated[
    FailureLimit, PlainValidator(_failures, json_schema_input_type=str | int), PlainSerializer(_written)
]
