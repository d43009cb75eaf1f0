"""A job on Ray: a cluster of two nodes on this machine, from the command line as users have it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cluster
import polars as pl
import pytest
from conftest import KEY, Flow, spawned

from journeybatch.emulator.bill import Billed, read_bill

Call = Callable[..., SimpleNamespace]
needs_ray = pytest.mark.skipif(
    find_spec("ray") is None and not os.environ.get("CI"),
    reason="Ray is not installed: pip install 'journeybatch[ray]'",
)
FAULTS = "{seed: 3, statuses: {500: 0.03, 408: 0.01}, truncate: 0.02, cut: 0.01, reset: 0.01, empty_choices: 0.02}"
"""A tenth of all attempts, each of a kind that may have been charged."""


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[cluster.Cluster]:
    with cluster.started(JOURNEYAPI_KEY=KEY) as found:
        yield found


class Far(Flow):
    """A job whose requests leave from the cluster, and an emulator in a process of its own that they go to."""

    def __init__(self, path: Path, address: str) -> None:
        super().__init__(path)
        self.spec, self.bill_file, self.there = path / "far.yaml", path / "bill.jsonl", ("--address", address)

    @contextmanager
    def served(self, faults: str, latency_s: float) -> Iterator[str]:
        (self.path / "faults.yaml").write_text(faults)
        told = ("--faults", self.path / "faults.yaml", "--latency", latency_s, "--bill", self.bill_file, "--key", KEY)
        with spawned("emulate", "--port", 0, *told) as process:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["base_url"]

    def prepare(self, base_url: str, rows: int, **keys: Any) -> None:
        self.write([f"thing {n}" for n in range(rows)])
        engine = {"kind": "ray", "workers": 2}
        self.spec.write_text(json.dumps(self.job(api={"base_url": base_url}, **{"engine": engine, **keys})))

    def bill(self) -> list[Billed]:
        return read_bill(self.bill_file)

    def sent(self) -> int:
        return self.bill_file.read_bytes().count(b"\n")

    def workers(self, state: str = "working") -> list[dict[str, Any]]:
        return [worker for worker in self.summary()["workers"] if worker["state"] == state]

    def wait(self, process: subprocess.Popen[str], true: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not true():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < until, "it does not get anywhere"
            time.sleep(0.02)


@pytest.fixture
def far(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Far:
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    return Far(tmp_path, request.getfixturevalue("two_nodes").address)


@contextmanager
def served_by_another() -> Iterator[int]:
    """The port of a web server."""

    def answer() -> None:
        with listener.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


# -- without a cluster ---------------------------------------------------------------------------------------------


def test_nothing_of_ours_imports_ray_before_a_job_wants_it() -> None:
    code = (
        "import sys, journeybatch, journeybatch.api, journeybatch.runner, journeybatch.distributed, "
        "journeybatch.cli.running; sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_ray_the_extra_is_named(flow: Flow, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # what Python itself takes for: there is no such module
    (flow.path / "job.yaml").write_text(json.dumps(flow.job(engine="ray")))
    said = call("run", flow.path / "job.yaml")
    assert (said.code, said.err.count("\n")) == (2, 2)
    assert "pip install 'journeybatch[ray]'" in said.err
    assert not flow.output.exists()


@pytest.mark.ray
@needs_ray
def test_a_cluster_that_is_not_there_is_one_clear_message(flow: Flow, call: Call) -> None:
    (flow.path / "job.yaml").write_text(json.dumps(flow.job()))
    with served_by_another() as port:
        for address, message in (
            ("127.0.0.1:1", "Connection refused"),
            ("nobody.invalid:6379", "nobody.invalid:6379 cannot be used"),
            (f"127.0.0.1:{port}", "what answers there is not Ray"),
        ):
            began = time.monotonic()
            said = call("run", flow.path / "job.yaml", "--engine", "ray", "--address", address)
            assert (said.code, said.err.count("\n")) == (2, 2), said.err
            assert message in said.err
            assert "nothing was sent" in said.err
            assert time.monotonic() - began < 15
    assert flow.emulator.attempts == []


@pytest.mark.ray
@needs_ray
def test_a_table_the_driver_cannot_read_is_said_before_ray_is_asked(flow: Flow, call: Call) -> None:
    job = flow.job(input=str(flow.path / "elsewhere.csv"), engine={"address": "127.0.0.1:1"})
    (flow.path / "job.yaml").write_text(json.dumps(job))
    said = call("run", flow.path / "job.yaml")
    assert (said.code, said.err.count("\n")) == (2, 2)
    assert "elsewhere.csv" in said.err
    assert "127.0.0.1:1" not in said.err


# -- with one ------------------------------------------------------------------------------------------------------


@pytest.mark.ray
@needs_ray
@pytest.mark.parametrize(
    ("rows", "lanes", "back_home"), [(2000, 32, True), pytest.param(50_000, 64, False, marks=pytest.mark.slow)]
)
def test_a_job_survives_a_dead_worker_a_dead_node_and_a_dead_driver(
    far: Far, two_nodes: cluster.Cluster, call: Call, rows: int, lanes: int, back_home: bool
) -> None:
    cap = 2 * rows
    with far.served(FAULTS, 0.1) as base_url:
        more = {"limits": {"credits": cap, "failures": "100%"}, "retry": {"timeout_s": 20, "attempts": 9}}
        far.prepare(base_url, rows, concurrency=lanes, **more)
        with spawned("run", far.spec, *far.there) as process:
            far.wait(process, lambda: far.sent() > rows // 8 and len(far.workers()) == 2)
            first = far.workers()[0]
            os.kill(first["pid"], signal.SIGKILL)
            far.wait(process, lambda: len(far.workers()) == 2 and first["pid"] not in pids(far.workers()))
            before = far.sent()
            far.wait(process, lambda: far.sent() > before + rows // 10)
            two_nodes.kill_node()
            before = far.sent()
            far.wait(process, lambda: far.sent() > before + rows // 10 and len(far.workers("gone")) == 2)
            process.kill()
            said = process.communicate()
        two_nodes.add_node()
        assert len(far.workers()) == 1, far.summary()["workers"]
        assert far.workers("gone")[0]["in_doubt"] > 0
        assert [*re.findall(r"worker \d on \S+ is gone: (.*)", said[1])] == [
            "its worker process has died",
            "its node has died",
        ]
        assert said[0] == "", "nothing of Ray's stands among the results"
        home = ("--engine", "local") if back_home else far.there
        with spawned("run", far.spec, "--quiet", *home) as process:
            assert process.wait(timeout=600) == 0
    bill, ledger, results = far.bill(), far.ledger(), far.results()
    assert results["text"].to_list() == [f"thing {n}" for n in range(rows)]
    assert set(results["jb_status"]) == {"answered"}
    far.run(output=str(far.path / "near"), concurrency=64)
    assert results["response"].equals(pl.read_parquet(far.path / "near" / "results.parquet")["response"])
    billed = sum(record.credits for record in bill)
    certain, possible = ledger["credits"].sum(), (ledger["credits_max"] - ledger["credits"]).sum()
    assert certain == rows == results["jb_credits"].sum()
    assert certain <= billed <= certain + possible
    assert billed <= cap
    assert max(record.in_flight or 0 for record in bill) <= lanes
    assert call("verify", far.spec).code == 0
    assert far.balanced()


def pids(workers: list[dict[str, Any]]) -> list[int]:
    return [worker["pid"] for worker in workers]


@pytest.mark.ray
@needs_ray
def test_cap_and_rate_hold_for_the_whole_cluster_and_what_began_here_goes_on_there(far: Far, call: Call) -> None:
    cap, per_minute = 90, 1800
    with far.served(FAULTS, 0.1) as base_url:
        limits = {"credits": cap, "requests_per_minute": per_minute, "failures": "100%"}
        far.prepare(base_url, 300, concurrency=64, limits=limits, engine="local")
        assert call("run", far.spec, "--limit", 20).code == 0
        asked = far.sent()
        said = call("run", far.spec, *far.there, "--set", "engine.workers=2", "--json")
        summary = json.loads(said.out)
    assert (said.code, summary["stopped_by"]) == (3, "budget")
    assert sum(worker["sent"] for worker in summary["workers"]) == far.sent() - asked
    assert min(worker["sent"] for worker in summary["workers"]) > 10
    here = [record for record in far.bill() if record.attempt > asked]
    assert sum(record.credits for record in here) <= cap
    assert len({record.sha256 for record in here} & {record.sha256 for record in far.bill()[:asked]}) == 0
    even = [record.at_s - number * 60 / per_minute for number, record in enumerate(here)]
    assert max(early - late for n, early in enumerate(even) for late in even[n:]) < 0.5, "no burst at the door"


@pytest.mark.ray
@needs_ray
def test_the_key_is_in_no_log_no_store_and_no_state_of_ray(far: Far, two_nodes: cluster.Cluster, call: Call) -> None:
    with far.served("{}", 0.3) as base_url:
        far.prepare(base_url, 60)
        with spawned("run", far.spec, *far.there) as process:
            far.wait(process, lambda: far.sent() > 4)
            two_nodes.tell_all()  # while the actors are there
            assert process.wait(timeout=60) == 0
    told = (two_nodes.folder / "told").read_text()
    assert "'ActorClassName': 'Worker'" in told
    assert "ALIVE" in told
    searched = 0
    for path in [*two_nodes.folder.rglob("*"), *far.output.rglob("*")]:
        if path.is_file():
            searched += 1
            assert KEY.encode() not in path.read_bytes(), path
    assert searched > 20


@pytest.mark.ray
@needs_ray
def test_a_cluster_that_only_the_job_file_vouches_for_is_not_asked(flow: Flow, call: Call) -> None:
    (flow.path / "job.yaml").write_text(json.dumps(flow.job(engine={"address": "192.0.2.99:6379"})))
    expect(call("run", flow.path / "job.yaml"), "give that as --address if it is meant", "--allow-host 192.0.2.99")
    allowed = call("run", flow.path / "job.yaml", "--allow-host", "192.0.2.99", "--limit", 0)
    assert (allowed.code, flow.emulator.attempts) == (0, [])


@pytest.mark.ray
@needs_ray
def test_a_cluster_that_cannot_be_used_is_said_before_anything_is_sent(
    far: Far, two_nodes: cluster.Cluster, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANOTHER_KEY", "sk-of-this-process")
    with far.served("{}", 0.0) as base_url:
        far.prepare(base_url, 10)
        with two_nodes.aged():
            expect(call("run", far.spec, *far.there), "Version mismatch", "Ray: 2.0.0")
        narrow = ("--set", "engine.cpus=8", "--set", "engine.start_timeout_s=2")
        expect(call("run", far.spec, *far.there, *narrow), "no worker came within 2 s", "2 free CPUs", "wants 8")
        lacking = ("--set", f"api={{base_url: {base_url}, key_env: ANOTHER_KEY}}")
        expect(call("run", far.spec, *far.there, *lacking), "set ANOTHER_KEY where `ray start` is called")
        monkeypatch.setenv("JOURNEYAPI_KEY", "sk-of-this-process")
        expect(call("run", far.spec, *far.there), "has another key than this process")
        assert far.sent() == 0


def expect(said: SimpleNamespace, *messages: str) -> None:
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 2), said.err
    assert [message for message in (*messages, "nothing was sent") if message not in said.err] == [], said.err


@pytest.mark.ray
@needs_ray
def test_a_signal_ends_a_run_on_a_ray_of_its_own_gently_and_leaves_no_process(tmp_path: Path) -> None:
    flow = Flow(tmp_path)
    flow.write([f"thing {n}" for n in range(3000)])
    spec = tmp_path / "job.yaml"
    spec.write_text(json.dumps(flow.job(api="emulator", engine="ray", concurrency=8)))
    with spawned("run", spec) as process:
        until = time.monotonic() + 60
        while not (flow.output / "summary.json").exists() or flow.summary()["rows"]["answered"] < 50:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        mine = descendants(process.pid)
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert process.returncode == 143, err
    assert "SIGTERM" not in err.replace("stopped (signal)", ""), "Ray's own handler prints a stack"
    summary = flow.summary()
    assert (summary["stopped_by"], summary["workers"][0]["state"]) == ("signal", "working")
    assert "a worker on Ray sent" in out
    assert len(mine) >= 4, "Ray ran beneath it"
    until = time.monotonic() + 10
    while alive := [pid for pid in mine if Path(f"/proc/{pid}/exe").exists()]:
        assert time.monotonic() < until, alive
        time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found
