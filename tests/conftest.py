"""What the tests of the whole product share: a job, a table, the command line in process, a served emulator."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from components import _object_store, bucket, postgres, shop  # noqa: F401  fixtures

from journeybatch import cli
from journeybatch.emulator import Emulator

KEY = "test-key-0123456789"
BASE_URL = "http://127.0.0.1/api/v1"


@pytest.fixture(scope="session", autouse=True)
def _clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test may see the key or the config of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JOURNEYAPI_KEY", "JOURNEYAPI_BASE_URL", "JOURNEYBATCH_CONFIG"):
            patch.delenv(name, raising=False)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


def held(directory: Path) -> int:
    """How many descriptors this process has on a directory and what lies in it; other tests' come and go meanwhile."""
    found = 0
    for descriptor in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(descriptor.readlink()).startswith(str(directory))
    return found


class Flow:
    """A job in a directory of its own, and an emulator in this process that answers it."""

    def __init__(self, path: Path) -> None:
        self.path, self.table, self.output = path, path / "rows.csv", path / "out"
        self.emulator = Emulator()

    def write(self, texts: Sequence[str], **columns: Sequence[str]) -> None:
        """The table: ``id`` (with leading zeros), ``text`` and any other columns."""
        with self.table.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["id", "text", *columns])
            out.writerows(zip((f"{n:05}" for n in range(len(texts))), texts, *columns.values(), strict=True))

    def job(self, **keys: Any) -> dict[str, Any]:
        return {
            "name": "flow",
            "input": str(self.table),
            "prompt": "Say something about {{ text }}",
            "model": "deepseek-chat",
            "concurrency": 4,
            "api": {"base_url": BASE_URL},
            "output": str(self.output),
        } | keys

    def run(self, options: dict[str, Any] | None = None, **keys: Any) -> Any:
        """Run the job with ``keys`` changed, against ``self.emulator``."""
        from journeybatch import api

        given: dict[str, Any] = {"transport": self.emulator.transport(), "seed": 1} | (options or {})
        return api.run(self.job(**keys), **given)

    def results(self) -> Any:
        import polars as pl

        return pl.read_parquet(self.output / "results.parquet")

    def ledger(self) -> Any:
        """All attempts of all runs."""
        import polars as pl

        earlier = sorted((self.output / "requests").glob("*.parquet"))
        return pl.concat(map(pl.read_parquet, [*earlier, self.output / "requests.parquet"]))

    def summary(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.output / "summary.json").read_text())
        return data

    def balanced(self) -> bool:
        """Whether results and ledger account for every credit ever spent (contract, section 5)."""
        credits = self.summary()["credits"]
        shares = float(self.results()["jb_credits"].sum()) + credits["departed"]
        return shares == credits["spent_total"] == self.ledger()["credits"].sum()


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flow:
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    made = Flow(tmp_path)
    made.write([f"thing {n}" for n in range(12)])
    return made


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """The command line in this process: ``call("plan", "job.yaml")`` gives ``code``, ``out`` and ``err``."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    def invoke(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(cli, "_leave", leave)
        monkeypatch.setattr(sys, "argv", ["journeybatch", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capfd.readouterr()
        return SimpleNamespace(code=end.value.code, out=said.out, err=said.err)

    return invoke


@contextlib.contextmanager
def spawned(*arguments: object, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own, which does not outlive the test."""
    environ = os.environ | {"JOURNEYAPI_KEY": KEY}
    command = [sys.executable, "-m", "journeybatch", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe, text=True, **more) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """An emulator in a process of its own, 50 ms a reply: its ``base_url`` and the file of its ``bill``."""
    bill = tmp_path / "bill.jsonl"
    with spawned("emulate", "--port", 0, "--latency", 0.05, "--bill", bill, "--key", KEY) as process:
        assert process.stdout is not None
        yield SimpleNamespace(base_url=json.loads(process.stdout.readline())["base_url"], bill=bill)
