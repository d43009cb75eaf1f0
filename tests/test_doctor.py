"""doctor: it finds what would stop a run, says what to do, leaves nothing, and never shows the key."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from conftest import KEY, spawned

from journeybatch.cli import doctor

Call = Callable[..., SimpleNamespace]


@contextmanager
def emulator(credits: int = 100) -> Iterator[str]:
    """The base URL of one in a process of its own, which takes KEY only."""
    with spawned("emulate", "--port", 0, "--key", KEY, "--credits", credits) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["base_url"]


def states(said: SimpleNamespace) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for check in json.loads(said.out)["checks"]:
        found.setdefault(check["check"], set()).add(check["state"])
    return found


def test_all_is_well_with_a_key_and_a_place_to_write_to(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    said = call("doctor", "--output", tmp_path / "runs" / "new")
    assert said.code == 0, said.out
    assert said.out.rstrip().endswith("all is well")
    assert "it goes to journeyapi.co only" in said.out
    assert KEY not in said.out + said.err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_key_is_wrong_and_the_emulator_needs_none(call: Call, tmp_path: Path) -> None:
    without = call("doctor", "--output", tmp_path)
    assert without.code == 1
    assert "to mend: key" in without.out
    assert "--api emulator" in without.out
    assert call("doctor", "--output", tmp_path, "--api", "emulator").code == 0


def test_a_key_for_a_foreign_host_needs_the_users_word(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    here = ("--output", tmp_path, "--api", "https://llm.example.com/v1")
    refused = call("doctor", *here)
    assert (refused.code, "--allow-host llm.example.com" in refused.out) == (1, True)
    assert call("doctor", *here, "--allow-host", "llm.example.com").code == 0


def test_online_the_balance_is_told(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    for credits, code in ((7, 0), (0, 1)):
        with emulator(credits) as base_url:
            said = call("doctor", "--output", tmp_path, "--api", base_url, "--online")
        assert f"balance: {credits} credits" in said.out
        assert said.code == code


def test_online_a_refused_key_and_a_silent_host_are_told_apart(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNEYAPI_KEY", "another-key-altogether")
    with emulator() as base_url:
        refused = call("doctor", "--output", tmp_path, "--api", base_url, "--online")
    gone = call("doctor", "--output", tmp_path, "--api", base_url, "--online")
    assert (refused.code, gone.code) == (1, 1)
    assert "make a new key" in refused.out
    assert "check the network" in gone.out
    assert "another-key-altogether" not in refused.out + gone.out


def test_a_job_that_cannot_be_read_and_an_output_that_is_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("input: rows.csv\nprompt: x\nmodle: gpt-4o\n")
    (tmp_path / "file").write_text("in the way")
    said = call("doctor", tmp_path / "bad.yaml", "--api", "emulator", "--output", tmp_path / "file", "--json")
    assert said.code == 1
    assert states(said)["job"] == {"wrong"}
    assert states(said)["disk"] == {"wrong"}
    assert "did you mean" in said.out


def test_a_config_that_is_wrong_is_one_finding_among_others(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("credit: {gpt-4o: 3}\n")
    monkeypatch.setenv("JOURNEYBATCH_CONFIG", str(tmp_path / "config.yaml"))
    said = call("doctor", "--output", tmp_path, "--api", "emulator", "--json")
    assert states(said)["config"] == {"wrong"}
    assert states(said)["key"] == {"fine"}
    assert said.code == 1


def test_a_clock_before_the_installation_is_wrong() -> None:
    assert doctor.clock(0.0).state == "wrong"
    assert doctor.clock(4e9).state == "fine"


def test_more_requests_in_flight_than_open_files_is_wrong() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert doctor.descriptors(most).state == "wrong"
    assert doctor.descriptors(1).state == "fine"


class Greeting(BaseHTTPRequestHandler):
    """A server that greets whoever comes: HTTP, and no API. Nobody has an ``/account`` there, unless it is told so."""

    account = 404

    def do_GET(self) -> None:
        body = b"<html><h1>Welcome</h1></html>"
        self.send_response(self.account if self.path.endswith("/account") else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_speaks_http_but_not_this_api_is_told_with_what_came_back(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    with ThreadingHTTPServer(("127.0.0.1", 0), Greeting) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        said = call("doctor", "--output", tmp_path, "--api", url, "--online")
        asked = call("chat", "hello", "--api", url)
        Greeting.account = 200
        greeted = call("doctor", "--output", tmp_path, "--api", url, "--online")
        server.shutdown()
    (line,) = [line for line in said.out.splitlines() if "endpoint" in line and "speaks HTTP" in line]
    assert "brought no JSON, but HTTP 200: a web page" in line
    assert asked.err.splitlines()[0] == "journeybatch: the reply is not JSON: a web page"
    assert "/account answered, but with no account: a web page" in greeted.out
