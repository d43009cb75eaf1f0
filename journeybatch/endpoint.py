"""Where a job's requests go, and which key may go there.

A key is bound to hosts: JourneyAPI's own, loopback, the host of ``JOURNEYAPI_BASE_URL``, and those that the *user*
allows. A job file alone can never send a key anywhere else (promise 23).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from journeybatch.client import JOURNEYAPI, Endpoint
from journeybatch.errors import MissingKey, SpecError
from journeybatch.sections import Api
from journeybatch.shapes import is_loopback

KEY = "JOURNEYAPI_KEY"
BASE_URL = "JOURNEYAPI_BASE_URL"
_OTHER = "export it, or say `auth: none` (--auth none) where the server wants no key"
_HELP = f"export {KEY}=… (from https://journeyapi.co), or try the job offline with --api emulator"


def choose_endpoint(api: Api, environ: Mapping[str, str], allowed: Collection[str] = ()) -> Endpoint:
    """The endpoint of a job with its key; ``allowed`` are hosts the user lets keys go to.

    For the emulator the base URL is empty until it runs.

    Raises:
        MissingKey: there is no key, or it may not go to this host.
        SpecError: plain http beyond loopback, without the switch for it.
    """
    if api.kind == "emulator":
        return Endpoint("", key="emulator", auth="raw", emulated=True)
    ours = environ.get(BASE_URL) or JOURNEYAPI
    url = api.base_url or ours
    host = urlsplit(url).hostname or ""
    if urlsplit(url).scheme == "http" and not is_loopback(url) and not api.allow_http:
        raise SpecError(f"{url}: plain http would show the key to the network; use https, or set api.allow_http: true")
    auth = api.auth or ("bearer" if api.base_url else "raw")
    if auth == "none":
        return Endpoint(url, auth=auth)
    key = read_key(api.key_env or KEY, api.key_file, environ, _OTHER if api.base_url else _HELP)
    bound = {urlsplit(JOURNEYAPI).hostname, urlsplit(ours).hostname, *(name.lower() for name in allowed)}
    if host not in bound and not is_loopback(url):
        raise MissingKey(
            f"the job sends requests to {host}, which is not JourneyAPI's host: it gets no key unless you allow it "
            f"with --allow-host {host} (or allow_hosts in the user config), or api.auth is none"
        )
    return Endpoint(url, key=key, auth=auth)


def provider_of(api: Api, environ: Mapping[str, str]) -> str:
    """Who answers, as far as reuse goes (see ``Endpoint.provider``); needs no key."""
    url = api.base_url or environ.get(BASE_URL) or JOURNEYAPI
    return Endpoint(url, emulated=api.kind == "emulator").provider


def read_key(key_env: str, key_file: str | None, environ: Mapping[str, str], otherwise: str = _HELP) -> str:
    """The key in ``key_file``, or else in the variable ``key_env``. Raises MissingKey, which says what to do
    ``otherwise``. It is stripped: a newline at the end of a key file would end up in errors about the header."""
    if key_file is not None:
        try:
            key = Path(key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise MissingKey(f"api.key_file: {key_file}: cannot be read: {error}") from None
        where = f"api.key_file: {key_file}"
    else:
        where = key_env
        key = environ.get(where, "").strip()
    if not key:
        raise MissingKey(f"no API key: {where} is empty or not set; {otherwise}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise MissingKey(f"{where}: the key must be one line of printable ASCII without spaces")
    return key
