"""Somebody is told, and nobody is told too much."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from journeybatch import notices
from journeybatch.emulator import Emulator
from journeybatch.emulator.faults import Faults
from journeybatch.errors import SpecError, TableError

SECRET = "T0-secret-of-the-hook"


@pytest.fixture
def listener() -> Iterator[SimpleNamespace]:
    """A server that takes pings: its ``url``, and ``heard``, pairs of path and body."""
    heard: list[tuple[str, dict]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(500 if "broken" in self.path else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", heard=heard)
        server.shutdown()
        thread.join()


@pytest.fixture
def notify(listener, monkeypatch) -> dict[str, str]:
    monkeypatch.setenv("HOOK", f"{listener.url}/{SECRET}")
    return {"start": f"{listener.url}/start", "success": f"{listener.url}/success", "failure": "${env:HOOK}"}


def test_a_run_that_comes_to_its_end_is_a_start_and_a_success(flow, listener, notify):
    flow.run(notify=notify)
    assert [path for path, _ in listener.heard] == ["/start", "/success"]
    assert listener.heard[1][1]["text"] == "flow: finished: 12 of 12 rows answered, 0 failed"
    assert listener.heard[1][1]["exit_code"] == 0


def test_a_run_that_stops_early_is_a_failure(flow, listener, notify):
    flow.run(notify=notify, limits={"credits": 3})
    path, body = listener.heard[1]
    assert path == f"/{SECRET}"
    assert (body["exit_code"], body["stopped_by"]) == (3, "budget")
    assert body["text"].startswith("flow: stopped (budget): ")


def test_a_job_that_cannot_begin_is_a_failure_too(flow, listener, notify):
    with pytest.raises(TableError):
        flow.run(notify=notify, input="nowhere.csv")
    assert listener.heard[1] == (
        f"/{SECRET}",
        {
            "text": "flow: failed (exit code 2)",
            "job": "flow",
            "exit_code": 2,
            "stopped_by": None,
            "rows": None,
            "credits_spent": None,
        },
    )


def test_nothing_of_a_row_or_a_secret_is_told_or_kept(flow, listener, notify):
    flow.write(["confidential cell"] * 3)
    flow.emulator = Emulator(faults=Faults(statuses={422: 1.0}))
    flow.run(notify=notify)
    said = json.dumps(listener.heard)
    assert "confidential" not in said
    assert "test-key" not in said
    kept = b"".join(file.read_bytes() for file in flow.output.rglob("*") if file.is_file())
    assert SECRET.encode() not in kept


def test_a_ping_that_fails_never_fails_a_run_and_shows_no_secret(flow, listener, monkeypatch, call, tmp_path):
    monkeypatch.setenv("HOOK", f"{listener.url}/broken/{SECRET}")
    job = flow.job(api="emulator", notify={"start": "http://127.0.0.1:1/x", "success": "${env:HOOK}"})
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    done = call("run", tmp_path / "job.yaml")
    assert done.code == 0
    assert "notify: http://127.0.0.1:1/x was not told: ConnectError" in done.err
    assert "notify: ${env:HOOK} was not told: status 500" in done.err
    assert SECRET not in done.err + done.out


@pytest.mark.parametrize("value", ["ftp://host", "https://user:pw@host/x", "https://host/${env:TOKEN}", "host"])
def test_what_is_no_place_to_tell_is_refused(flow, value):
    with pytest.raises(SpecError, match=r"expected an http|stands for the whole address"):
        flow.run(notify={"failure": value})


def test_the_figures_are_there_for_prometheus(flow, tmp_path):
    notify = {"metrics": str(tmp_path / "flow.prom")}
    flow.run(notify=notify)
    lines = (tmp_path / "flow.prom").read_text().splitlines()
    assert 'journeybatch_exit_code{job="flow"} 0' in lines
    assert 'journeybatch_rows_answered{job="flow"} 12' in lines
    assert all(line.startswith(("# TYPE journeybatch_", "journeybatch_")) for line in lines)
    with pytest.raises(TableError):
        flow.run(notify=notify, input="nowhere.csv")
    assert 'journeybatch_exit_code{job="flow"} 2' in (tmp_path / "flow.prom").read_text()


def test_metrics_that_cannot_be_written_fail_no_run(flow, tmp_path):
    assert flow.run(notify={"metrics": str(tmp_path / "nowhere" / "flow.prom")}).exit_code == 0


TELL = "import json, os, sys; json.dump([json.load(sys.stdin), dict(os.environ)], open(sys.argv[1], 'w'))"


def test_a_command_hears_of_a_failure_and_sees_no_secret(flow, notify, monkeypatch):
    monkeypatch.setenv("JOURNEYAPI_KEY", "jk-canary-0123456789")
    command = [sys.executable, "-c", TELL, str(flow.path / "heard.json")]
    flow.run(notify={"failure_command": command}, limits={"credits": 3})
    body, environ = json.loads((flow.path / "heard.json").read_text("utf-8"))
    assert (body["exit_code"], body["stopped_by"]) == (3, "budget")
    assert set(environ) <= {*notices.HANDED_ON, "LC_CTYPE"}  # Python's own
    assert "canary" not in (flow.path / "heard.json").read_text("utf-8")


def test_a_command_is_not_run_where_all_went_well(flow):
    command = [sys.executable, "-c", TELL, str(flow.path / "heard.json")]
    assert flow.run(notify={"failure_command": command}).exit_code == 0
    assert not (flow.path / "heard.json").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["no-such-program-here"], "No such file or directory"),
        ([sys.executable, "-c", "raise SystemExit(5)"], "exit code 5"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "TimeoutExpired"),
    ],
)
def test_a_command_that_fails_or_hangs_changes_nothing_about_the_run(flow, command, said, monkeypatch, call, tmp_path):
    monkeypatch.setattr(notices, "PING_S", 0.5)
    job = flow.job(api="emulator", notify={"failure_command": command}, limits={"credits": 3})
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    done = call("run", tmp_path / "job.yaml")
    assert done.code == 3
    assert f"notify.failure_command: {command[0]}: {said}" in done.err
