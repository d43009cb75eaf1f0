"""The user's own config: prices learned, hosts a key may go to, defaults for every job.

Unlike a job, which may come from anywhere, it is the user's: only it can let a key go to a foreign host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from journeybatch import yamlfile
from journeybatch.catalog import Credits
from journeybatch.concurrency import Concurrency
from journeybatch.errors import SpecError
from journeybatch.loading import checked
from journeybatch.sections import Limits, Retry, Section
from journeybatch.shapes import EnvName, Hosts, KeyFilePath, Origin, Prices


@dataclass(frozen=True, slots=True)
class Config:
    """What a user set once: ``credits`` by model, ``allow_hosts``, and ``defaults`` for ``load_job``."""

    credits: Mapping[str, Credits] = field(default_factory=dict)
    allow_hosts: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


class KeyPlace(Section):
    """Where the key for JourneyAPI is, and how it is sent there."""

    key_env: EnvName | None = None
    key_file: KeyFilePath | None = None
    auth: Literal["raw", "bearer"] | None = None


class Defaults(Section):
    """Keys of a job that a user may set for all of them: none that changes what is asked, or whom."""

    concurrency: Concurrency | None = None
    limits: Limits | None = None
    retry: Retry | None = None
    api: KeyPlace | None = None


class ConfigFile(Section):
    """The file itself."""

    credits: Prices = {}  # noqa: RUF012 — pydantic copies defaults
    allow_hosts: Hosts = ()
    defaults: Defaults = Defaults()


def read_config(path: Path | None, environ: Mapping[str, str] | None = None) -> Config:
    """The config in a YAML file; empty if there is no file. Raises SpecError with every problem found."""
    if path is None or not path.exists():
        return Config()
    document = yamlfile.read_file(path)
    if document.data is None:
        return Config()
    if not isinstance(document.data, dict):
        raise SpecError(f"{document.where(())}: expected a mapping: credits, allow_hosts, defaults")
    found = checked(ConfigFile, document, Origin(path.parent.resolve(), environ=environ or {}))
    given = found.defaults.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    return Config(found.credits, found.allow_hosts, given)
