"""Servers that nobody here wrote: a job runs on them as on ours, without a key, a price or an account.

They live in an environment of their own, since their dependencies are not ours: `make foreign` makes it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import polars as pl
import pytest
from conftest import Flow

FAKEAI = Path(__file__).parent.parent / ".venv-foreign" / "bin" / "fakeai"
STARTS_WITHIN_S = 60.0

pytestmark = pytest.mark.skipif(not FAKEAI.exists(), reason="needs a foreign server: make foreign")


@pytest.fixture(scope="module")
def fakeai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a fakeai server on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("fakeai")
    command = [
        FAKEAI,
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--response-delay",
        "0",
        "--no-random-delay",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
    try:
        until = time.monotonic() + STARTS_WITHIN_S
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, "fakeai does not start"
            try:
                httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_job_runs_without_key_price_or_account(
    flow: Flow, fakeai: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNEYAPI_KEY")
    api = {"base_url": fakeai, "auth": "none"}
    report = flow.run({"transport": None}, api=api, model="their-model", credits={"their-model": 0}, stream=stream)
    assert report.exit_code == 0, report.message
    assert report.summary["credits"]["spent_total"] == 0
    assert report.summary["credits"]["balance_after"] is None
    assert not report.summary["emulated"]
    results = pl.read_parquet(report.results)
    assert results["response"].str.len_chars().min() > 0
    assert results["jb_finish_reason"].to_list() == ["stop"] * 12
    again = flow.run({"transport": None}, api=api, model="their-model", credits={"their-model": 0}, stream=stream)
    assert again.summary["requests"]["sent"] == 12, "nothing was asked again"


def test_the_command_line_looks_at_it_as_at_ours(
    flow: Flow, fakeai: str, call: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(json.dumps(flow.job(api={"base_url": fakeai, "auth": "none"}, credits={"deepseek-chat": 0})))
    well = call("doctor", job, "--online")
    assert (well.code, "tells no balance" in well.out) == (0, True)
    assert call("run", job, "--quiet").code == 0
    assert call("verify", flow.output).code == 0
    assert "unknown" in call("account", "--api", fakeai).out
    said = call("chat", "Say hello", "--api", fakeai)
    assert (said.code, bool(said.out.strip())) == (0, True), said.err
