"""Addresses in a job file that may need a secret: they are kept as written, and filled in when they are used.

``${env:NAME}`` stands for a whole address, and stays in the job, so that neither ``job.yaml`` nor an error can show
what stands in the environment.
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
    if VARIABLE.search(text):
        return _whole(text)
    kind = database_kind(text)
    names = [name.lower() for name, _ in parse_qsl(urlsplit(text).query)]
    if urlsplit(text).password is not None or any("password" in name for name in names):
        raise ValueError("a password never stands in a job file; give the whole URL as ${env:NAME}")
    if kind == "postgresql":
        return text
    return f"{kind}:///{quote(absolute(database_path(text), origin(info).folder))}"


def web_address(url: str) -> str:
    """An http or https URL without a user, where somebody is told. Raises ValueError, which never repeats it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("this is no URL") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise ValueError("expected an http or https URL without a user, or ${env:NAME} for it")
    return url


def _ping(text: str) -> str:
    return _whole(text) if VARIABLE.search(text) else web_address(text)


def _whole(text: str) -> str:
    """A variable stands for a whole address: so no job file can send a secret to a host of its own choice."""
    if VARIABLE.fullmatch(text) is None:
        raise ValueError("${env:NAME} stands for the whole address, not for a part of it")
    return text


DatabaseUrl = Annotated[str, AfterValidator(_database)]
PingUrl = Annotated[str, AfterValidator(_ping)]
