"""Addresses in a job file that may need a secret: they are kept as written, and filled in when they are used.

``${env:NAME}`` stays in the job, so that neither ``job.yaml`` nor an error can show what stands in the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import AfterValidator, ValidationInfo

from journeybatch.shapes import VARIABLE, absolute, expand, origin

KEY_ENV = "JOURNEYAPI_KEY"
Kind = Literal["postgresql", "sqlite", "duckdb"]
_KINDS: dict[str, Kind] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
}


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with ``${env:NAME}`` filled in; never with the endpoint's key. Raises ValueError."""
    for name in VARIABLE.findall(text):
        if name == KEY_ENV or (environ.get(name) or name) == environ.get(KEY_ENV):
            raise ValueError(f"{name} holds the endpoint's key, which goes nowhere else")
    return expand(text, environ)


def database_kind(url: str) -> Kind:
    """What kind of database ``url`` is about. Raises ValueError, which never repeats the URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("this is no URL of a database") from None
    kind = _KINDS.get(parts.scheme)
    if kind is None or "://" not in url:
        raise ValueError(f"expected a URL that begins with {', '.join(_KINDS)} and ://")
    if kind != "postgresql" and (parts.netloc or not database_path(url)):
        raise ValueError(f"expected {kind}:///relative/path or {kind}:////absolute/path")
    return kind


def database_path(url: str) -> str:
    """The file of an SQLite or DuckDB database."""
    return unquote(urlsplit(url).path)[1:]


def _database(text: str, info: ValidationInfo) -> str:
    if text.startswith("${env:"):
        if VARIABLE.match(text) is None:
            raise ValueError("expected a URL, or ${env:NAME}")
        return text
    kind = database_kind(VARIABLE.sub("x", text))
    if urlsplit(text).password is not None and not VARIABLE.fullmatch(urlsplit(text).password or ""):
        raise ValueError("a password never stands in a job file; write ${env:NAME} for it, or for the whole URL")
    for name, value in parse_qsl(urlsplit(text).query):
        if "password" in name.lower() and not VARIABLE.fullmatch(value):
            raise ValueError("a password never stands in a job file; write ${env:NAME} for it, or for the whole URL")
    if kind == "postgresql":
        return text
    if VARIABLE.search(text):
        raise ValueError("expected ${env:NAME} for the whole URL, or a path without it")
    return f"{kind}:///{quote(absolute(database_path(text), origin(info).folder))}"


DatabaseUrl = Annotated[str, AfterValidator(_database)]
