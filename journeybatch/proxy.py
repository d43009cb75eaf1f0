"""Which proxy the environment asks for."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import httpx

PORTS = {"http": 80, "https": 443}


def proxied(url: httpx.URL, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL that ``environ`` asks for, or None. The loopback is never proxied.

    ``http_proxy``, ``https_proxy``, ``all_proxy``, ``no_proxy`` as urllib and httpx read them: lower case wins,
    an empty value switches off, ``HTTP_PROXY`` is ignored where a web server may have made it of a header.
    """

    def setting(name: str) -> str:
        upper = "" if name == "http_proxy" and "REQUEST_METHOD" in environ else environ.get(name.upper(), "")
        return environ.get(name, upper).strip()

    if loopback(url.host) or _spared(url, setting("no_proxy")):
        return None
    proxy = setting(f"{url.scheme}_proxy") or setting("all_proxy")
    return (proxy if "://" in proxy else f"http://{proxy}") if proxy else None


def loopback(host: str) -> bool:
    """Whether ``host`` is this machine by name or by address."""
    name = host.lower().rstrip(".").strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _spared(url: httpx.URL, no_proxy: str) -> bool:
    host, port = url.host.lower(), url.port or PORTS.get(url.scheme)
    for entry in filter(None, (part.strip().lower().lstrip(".") for part in no_proxy.split(","))):
        if entry == "*" or any(at == entry or at.endswith("." + entry) for at in (host, f"{host}:{port}")):
            return True
    return False
