"""Servers that nobody here wrote: a job runs on them as on ours, without a key, a price or an account.

They live in environments of their own, since their dependencies are not ours: `make foreign` makes them. They take
their time to start, so all of them start at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from conftest import Flow

ROOT = Path(__file__).parent.parent
FILES = ROOT / "tests" / "foreign"
FAKEAI = ROOT / ".venv-foreign" / "bin" / "fakeai"
LITELLM = ROOT / ".venv-litellm" / "bin" / "litellm"
NODE, AIMOCK = ROOT / ".venv-foreign" / "bin" / "node", FILES / "node_modules" / ".bin" / "llmock"
KEY = "sk-of-a-proxy-on-this-machine-0123456789"
STARTS_WITHIN_S = 240.0

Call = Callable[..., SimpleNamespace]


class Foreign:
    """A server in a process of its own, on a free port of loopback."""

    def __init__(self, folder: Path, path: str, *command: object, **environ: str) -> None:
        folder.mkdir()
        self._log, self._path = folder / "log", path
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.root = f"http://127.0.0.1:{free.getsockname()[1]}"
        port = self.root.rpartition(":")[2]
        words = [port if word == "PORT" else str(word) for word in command]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        with self._log.open("wb") as log:
            environ = {**inherited, "HOME": str(folder), **environ}
            self.process = subprocess.Popen(
                words, cwd=folder, stdout=log, stderr=log, env=environ, start_new_session=True
            )

    def end(self) -> None:
        """Kill it with its children: Node as a Python package is one of a script."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def url(self) -> str:
        """Its base URL, once it answers."""
        until = time.monotonic() + STARTS_WITHIN_S
        while True:
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, f"it does not start: {self._log.read_text()}"
            try:
                httpx.get(f"{self.root}{self._path}", timeout=5)
                return f"{self.root}/v1"
            except httpx.TransportError:
                time.sleep(0.1)


@pytest.fixture(scope="module", autouse=True)
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Foreign]]:
    """The servers that are installed, by name."""
    folder, local = tmp_path_factory.mktemp("foreign"), ("--host", "127.0.0.1", "--port", "PORT")
    servers = {}
    if LITELLM.exists():
        offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
        config = ("--config", FILES / "litellm.yaml")
        servers["litellm"] = Foreign(folder / "litellm", "/health/liveliness", LITELLM, *config, *local, **offline)
    if FAKEAI.exists():
        quick = ("--response-delay", "0", "--no-random-delay")
        servers["fakeai"] = Foreign(folder / "fakeai", "/v1/models", FAKEAI, "server", *local, *quick)
    if AIMOCK.exists():
        told = ("-f", FILES / "aimock.json", "--journal-max", "0", "--log-level", "warn")
        servers["aimock"] = Foreign(folder / "aimock", "/__aimock/journal", NODE, AIMOCK, *local, *told)
    try:
        yield servers
    finally:
        for server in servers.values():
            server.end()


def one_of(started: dict[str, Foreign], name: str) -> str:
    """The base URL of a server."""
    if name not in started:
        pytest.skip(f"{name} is not installed: make foreign")
    return started[name].url()


@pytest.fixture
def fakeai(started: dict[str, Foreign]) -> str:
    return one_of(started, "fakeai")


@pytest.fixture
def litellm(started: dict[str, Foreign]) -> str:
    return one_of(started, "litellm")


class Aimock:
    """The journal and the weather of an aimock."""

    def __init__(self, url: str) -> None:
        self.url, self._own = url, f"{url.removesuffix('/v1')}/__aimock"

    def asked(self) -> list[dict[str, Any]]:
        """Every request for a completion."""
        found: list[dict[str, Any]] = httpx.get(f"{self._own}/journal").json()
        return [entry for entry in found if entry["path"] == "/v1/chat/completions"]

    def weather(self, **rates: float) -> None:
        """Faults of so many requests."""
        httpx.post(f"{self._own}/chaos", json=rates).raise_for_status()

    def forget(self) -> None:
        httpx.post(f"{self._own}/reset/journal").raise_for_status()
        httpx.delete(f"{self._own}/chaos").raise_for_status()


@pytest.fixture
def aimock(started: dict[str, Foreign]) -> Aimock:
    server = Aimock(one_of(started, "aimock"))
    server.forget()
    return server


@pytest.fixture
def job(flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a job of twelve rows that needs no key, with ``keys`` changed."""
    monkeypatch.delenv("JOURNEYAPI_KEY")

    def write(url: str, **keys: Any) -> Path:
        path = tmp_path / "job.yaml"
        told = {"model": "theirs", "prompt": "What of {{ text }}?", "credits": {"theirs": 0}}
        path.write_text(json.dumps(flow.job(**{**told, "api": {"base_url": url, "auth": "none"}, **keys})))
        return path

    return write


# -- aimock: a server that keeps a journal of what it was asked, and makes faults on demand ------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_servers_own_journal_holds_what_the_ledger_says_was_sent(
    flow: Flow, aimock: Aimock, job: Callable[..., Path], call: Call, stream: bool
) -> None:
    parameters = {"temperature": 0.5, "response_format": {"type": "json_object"}}
    said = call("run", job(aimock.url, stream=stream, parameters=parameters, credits={"theirs": 3}), "--quiet")
    assert said.code == 1, said.err
    seen = aimock.asked()
    assert Counter(entry["body"]["messages"][0]["content"] for entry in seen) == Counter(
        f"What of thing {n}?" for n in range(12)
    ), "each row once"
    for entry in seen:
        body = {name: value for name, value in entry["body"].items() if not name.startswith("_")}
        assert body.pop("messages")[0]["role"] == "user"
        assert body == {"model": "theirs", **parameters} | ({"stream": True} if stream else {})
        assert "authorization" not in entry["headers"]
    assert len(seen) == flow.ledger().height == flow.summary()["requests"]["sent"]
    results = flow.results()
    assert results["response"].to_list()[1:3] == ["One.", "Two."], "what it thought is no part of the answer"
    assert results["jb_finish_reason"][2] == "length"
    assert (results["jb_status"][3], results["jb_error"][3]) == ("failed", "rejected")
    assert "Thing 3 is not for me." in results["jb_error_message"][3]
    told = results["jb_completion_tokens"].null_count()
    assert told == (12 if stream else 1), "tokens, where the server tells them"
    assert flow.summary()["credits"]["spent_total"] == 33, "a rejected row is free"
    assert "It says one." in call("show", flow.output, 1).out
    assert call("verify", flow.output).code == 0


def test_a_stream_tells_its_tokens_where_it_is_asked_to(
    flow: Flow, aimock: Aimock, job: Callable[..., Path], call: Call
) -> None:
    usage = {"stream_options": {"include_usage": True}}
    call("run", job(aimock.url, stream=True, parameters=usage), "--quiet")
    assert flow.results()["jb_completion_tokens"].null_count() == 1


def test_every_row_is_answered_through_faults_and_every_attempt_is_on_both_books(
    flow: Flow, aimock: Aimock, job: Callable[..., Path], call: Call
) -> None:
    flow.write([f"number {n}" for n in range(60)])
    aimock.weather(dropRate=0.06, malformedRate=0.06, disconnectRate=0.06)
    keys = {"concurrency": 8, "retry": {"attempts": 20}, "credits": {"theirs": 2}}
    said = call("run", job(aimock.url, **keys), "--quiet")
    assert said.code == 0, said.err
    results, summary = flow.results(), flow.summary()
    assert results["response"].to_list() == ["A canned reply of several words."] * 60
    sent, retried = summary["requests"]["sent"], summary["requests"]["retried"]
    assert len(aimock.asked()) == flow.ledger().height == sent == 60 + retried
    assert summary["credits"]["spent"] == 120
    assert summary["credits"]["unknown_max"] == 2 * retried, "each fault may have been charged"
    assert call("verify", flow.output).code == 0


def test_a_server_that_is_too_busy_is_asked_again_later(
    flow: Flow, aimock: Aimock, job: Callable[..., Path], call: Call
) -> None:
    flow.write([f"busy {n}" for n in range(12)])
    said = call("run", job(aimock.url, credits={"theirs": 2}), "--quiet")
    assert said.code == 0, said.err
    statuses = [entry["response"]["status"] for entry in aimock.asked()]
    assert Counter(statuses) == {429: 1, 200: 12}
    assert flow.summary()["credits"]["spent"] == 24
    assert flow.summary()["credits"]["unknown_max"] == 0, "who is turned away is not charged"


# -- fakeai: a server with an OpenAPI page, latency and no key -----------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_job_runs_without_key_price_or_account(
    flow: Flow, fakeai: str, job: Callable[..., Path], call: Call, stream: bool
) -> None:
    said = call("run", job(fakeai, stream=stream), "--quiet")
    assert said.code == 0, said.err
    summary = flow.summary()
    assert (summary["credits"]["spent_total"], summary["credits"]["balance_after"]) == (0, None)
    assert not summary["emulated"]
    results = flow.results()
    assert results["response"].str.len_chars().min() > 0
    assert results["jb_finish_reason"].to_list() == ["stop"] * 12
    assert call("run", job(fakeai, stream=stream), "--quiet").code == 0
    assert flow.summary()["requests"]["sent"] == 12, "nothing was asked again"
    assert call("verify", flow.output).code == 0


def test_the_command_line_looks_at_it_as_at_ours(fakeai: str, job: Callable[..., Path], call: Call) -> None:
    well = call("doctor", job(fakeai), "--online")
    assert (well.code, "tells no balance" in well.out) == (0, True)
    open_to_all = ("--api", fakeai, "--auth", "none")
    assert "unknown" in call("account", *open_to_all).out
    said = call("chat", "Say hello", "-m", "theirs", *open_to_all)
    assert (said.code, bool(said.out.strip())) == (0, True), said.err


# -- a litellm proxy: a key, and models of its own -----------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_proxy_with_a_key_of_its_own(
    flow: Flow, litellm: str, job: Callable[..., Path], call: Call, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setenv("PROXY_KEY", KEY)
    api = {"base_url": litellm, "key_env": "PROXY_KEY"}
    said = call("run", job(litellm, api=api, model="mocked", credits={"mocked": 2}, stream=stream), "--quiet")
    assert said.code == 0, said.err
    results = flow.results()
    assert results["response"].to_list() == ["A mocked reply."] * 12
    assert results["jb_completion_tokens"].null_count() == (12 if stream else 0)
    assert flow.summary()["credits"]["spent_total"] == 24
    assert flow.balanced()
    assert call("verify", flow.output).code == 0
    assert not any(KEY.encode() in path.read_bytes() for path in flow.output.rglob("*") if path.is_file())
    said = call("chat", "Hello", "-m", "mocked", "--api", litellm, "--key-env", "PROXY_KEY")
    assert (said.code, said.out.strip()) == (0, "A mocked reply."), said.err


def test_a_model_that_a_proxy_does_not_have_is_named(
    flow: Flow, litellm: str, job: Callable[..., Path], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROXY_KEY", KEY)
    said = call("run", job(litellm, api={"base_url": litellm, "key_env": "PROXY_KEY"}), "--quiet")
    assert said.code == 1
    assert flow.results()["jb_error_message"].str.contains("Invalid model name passed in model=theirs").all()


# -- servers that are no such server -------------------------------------------------------------------------------


@contextlib.contextmanager
def pages(status: int) -> Iterator[str]:
    """A server that answers everything with one web page."""
    page = b"<!DOCTYPE html><html><head><title>Welcome &amp; hello</title></head><body>!</body></html>"

    class Page(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()


def test_pythons_own_file_server_stops_a_run_with_its_first_request(
    flow: Flow, tmp_path: Path, job: Callable[..., Path], call: Call
) -> None:
    (tmp_path / "served").mkdir()
    listing = ("-m", "http.server", "PORT", "--bind", "127.0.0.1", "-d", tmp_path / "served")
    server = Foreign(tmp_path / "files", "/", sys.executable, *listing)
    try:
        url = server.url()
        said = call("run", job(url, credits={"theirs": 2}), "--quiet")
        assert said.code == 3
        assert "stopped (endpoint): HTTP 501: a web page, “Error response”" in said.err
        assert flow.summary()["requests"]["sent"] == 1
        assert flow.summary()["credits"]["unknown_max"] == 0
        said = call("chat", "Hello", "--api", url, "--auth", "none")
        assert (said.code, said.err) == (
            3,
            "journeybatch: HTTP 501: a web page, “Error response”\nmore: journeybatch explain endpoint\n",
        )
    finally:
        server.end()


def test_a_web_page_for_everything_stops_a_run_after_three(flow: Flow, job: Callable[..., Path], call: Call) -> None:
    with pages(200) as url:
        said = call("run", job(url, credits={"theirs": 2}), "--quiet")
        assert said.code == 3
        assert "its base URL is another: the reply is not JSON: a web page, “Welcome & hello”" in said.err
        assert flow.summary()["requests"]["sent"] == 3
        assert flow.summary()["rows"]["pending"] == 12
        told = ("--api", url, "--auth", "none")
        what = "/account answered, but with no account: a web page, “Welcome & hello”"
        said = call("account", *told)
        assert (said.code, said.out, said.err) == (
            3,
            "",
            f"journeybatch: {what}\nmore: journeybatch explain endpoint\n",
        )
        said = call("doctor", "--online", "--api", url)
        assert "no API key" in said.out
        said = call("doctor", job(url), "--online")
        assert (said.code, what in said.out, "check the base URL" in said.out) == (0, True, True)
        said = call("chat", "Hello", *told)
        told = (
            "journeybatch: the reply is not JSON: a web page, “Welcome & hello”\nmore: journeybatch explain endpoint\n"
        )
        assert (said.code, said.err) == (3, told)


def test_a_server_without_keys_is_reached_by_saying_so(job: Callable[..., Path], call: Call) -> None:
    with pages(404) as url:
        said = call("account", "--api", url)
        assert (said.code, "--auth none" in said.err) == (2, True)
        assert call("account", "--api", url, "--auth", "none").out.startswith("balance: unknown")
        said = call("account", "--api", url, "--key-env", "1st")
        assert (said.code, said.err) == (
            2,
            "journeybatch: --key-env 1st: expected the name of an environment variable\n"
            "more: journeybatch explain job-file\n",
        )
        said = call("run", job("http://127.0.0.1:1/v1"), "--quiet", "--api", url, "--set", "api.auth=none")
        assert (said.code, "HTTP 404" in said.err) == (3, True), "--set adds to what --api put there"
