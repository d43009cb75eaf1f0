"""The proxies that an environment asks for."""

from __future__ import annotations

import httpx
import pytest

from journeybatch.proxy import loopback, proxied


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://a.test/x", {}, None),
        ("https://a.test/x", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://a.test/x", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https://a.test/x", {"http_proxy": "http://p:1"}, None),
        ("http://a.test/x", {"http_proxy": "http://p:1"}, "http://p:1"),
        ("https://a.test/x", {"ALL_PROXY": "socks5://p:1"}, "socks5://p:1"),
        ("https://a.test/x", {"all_proxy": "http://all", "https_proxy": "http://p"}, "http://p"),
        ("https://a.test/x", {"https_proxy": "", "HTTPS_PROXY": "http://p"}, None),
        ("http://a.test/x", {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, None),
        ("https://a.test/x", {"https_proxy": "http://p", "no_proxy": "*"}, None),
        ("https://a.test/x", {"https_proxy": "http://p", "no_proxy": "b.test, A.test"}, None),
        ("https://x.a.test/x", {"https_proxy": "http://p", "NO_PROXY": ".a.test"}, None),
        ("https://x.a.test/x", {"https_proxy": "http://p", "NO_PROXY": "a.test:443"}, None),
        ("https://xa.test/x", {"https_proxy": "http://p", "no_proxy": "a.test,,"}, "http://p"),
        ("https://a.test:8443/x", {"https_proxy": "http://p", "no_proxy": "a.test:443"}, "http://p"),
    ],
)
def test_proxies_are_read_as_everybody_reads_them(url, environ, expected):
    assert proxied(httpx.URL(url), environ) == expected


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_the_loopback_is_never_proxied(host):
    every = {"http_proxy": "http://p", "https_proxy": "http://p", "all_proxy": "http://p"}
    assert loopback(host) and proxied(httpx.URL(f"http://{host}:8000/"), every) is None


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "10.0.0.1", "notlocalhost", "::2", ""])
def test_other_hosts_are_not_the_loopback(host):
    assert not loopback(host)
