"""The only place that reads environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from journeybatch import yamlfile
from journeybatch.config import read_config
from journeybatch.errors import SpecError
from journeybatch.job import World
from journeybatch.loading import load_job
from journeybatch.pricebook import NAME
from journeybatch.spec import JobSpec


def read_world(allow_hosts: tuple[str, ...] = ()) -> World:
    """Environment variables and the user's config. Raises SpecError for a config that is wrong."""
    environ = dict(os.environ)
    return World(environ, read_config(_config_path(environ), environ), allow_hosts, price_book(environ))


def _config_path(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("JOURNEYBATCH_CONFIG")
    if named:
        return Path(named)
    base = environ.get("XDG_CONFIG_HOME")
    if not base and not environ.get("HOME"):
        return None
    return Path(base or Path(environ["HOME"]) / ".config") / "journeybatch" / "config.yaml"


def price_book(environ: Mapping[str, str]) -> Path | None:
    """Where measured prices are kept: beside the user's config. None where that has no place."""
    config = _config_path(environ)
    return None if config is None else config.parent / NAME


def load(job: Path | str | Mapping[str, Any] | JobSpec, overrides: Mapping[str, Any], world: World) -> JobSpec:
    """The job with the user's defaults under it and ``overrides`` over it. Raises SpecError."""
    return load_job(job, overrides, environ=world.environ, defaults=world.config.defaults)


def parse_sets(sets: tuple[str, ...]) -> dict[str, Any]:
    """``key.path=value`` pairs; the value is YAML. Raises SpecError."""
    overrides: dict[str, Any] = {}
    for pair in sets:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SpecError(f"--set {pair}: expected key.path=value")
        overrides[key.strip()] = yamlfile.read(value, f"--set {key}").data
    return overrides
