"""Real components on loopback: PostgreSQL from the system's own binaries, and an S3 server."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import pytest

PASSWORD = "s3cret-of-the-database"


def postgres_binaries() -> Path | None:
    """Where initdb and pg_ctl are: Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    kept = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return kept[-1].parent if kept else None


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL, with a password, of a PostgreSQL server of these tests' own."""
    binaries = postgres_binaries()
    if binaries is None:
        assert not os.environ.get("CI"), "CI needs PostgreSQL's server: apt-get install postgresql"
        pytest.skip("PostgreSQL's server is not installed here (initdb was not found)")
    with postgres_server(binaries) as url:
        yield url


@contextmanager
def postgres_server(binaries: Path) -> Iterator[str]:
    """The URL, with a password, of a PostgreSQL server that does not outlive the block."""
    folder = Path(mkdtemp(prefix="jb-pg-"))  # pytest's own is root's alone, and too long for a socket's name
    who = _unprivileged()
    if who:
        os.chown(folder, who["user"], who["group"])
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(*arguments: str) -> None:
        subprocess.run(
            arguments, check=True, cwd=folder, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}, **who
        )

    data = str(folder / "data")
    try:
        call(
            *(str(binaries / "initdb"), "-D", data, "-U", "tester", "-E", "UTF8", "--locale=C", "--no-sync"),
            *("-A", "scram-sha-256", f"--pwfile={secret}"),
        )
        settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -F"
        call(str(binaries / "pg_ctl"), "-D", data, "-l", str(folder / "log"), "-w", "-o", settings, "start")
        try:
            yield f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            call(str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def shop(postgres: str) -> Iterator[SimpleNamespace]:
    """An empty schema of its own: its ``url``, and ``sql`` to run statements and fetch rows."""
    import adbc_driver_postgresql.dbapi as driver

    def sql(*statements: str) -> Any:
        with driver.connect(postgres, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("set search_path to shop")
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None

    sql("drop schema if exists shop cascade", "create schema shop")
    return SimpleNamespace(url=f"{postgres}?options=-csearch_path%3Dshop", sql=sql)


_SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), file=sys.stderr, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def _object_store() -> Iterator[str]:
    """In a process of its own, gone with its input: some clients keep the interpreter while they wait."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _SERVE], text=True, **pipes) as server:
        assert server.stdin is not None
        assert server.stderr is not None
        try:
            host, port = next(line for line in server.stderr if line.startswith("127.")).split()
            threading.Thread(target=server.stderr.read, daemon=True).start()  # its log must not fill the pipe
            yield f"http://{host}:{port}"
        finally:
            server.kill()


@pytest.fixture
def bucket(_object_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address ``s3://…`` that the environment has credentials for."""
    import boto3

    environ = {
        "AWS_ENDPOINT_URL": _object_store,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
        "AWS_REGION": "us-east-1",
        "AWS_S3_ALLOW_UNSAFE_RENAME": "true",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    store = boto3.client("s3", endpoint_url=_object_store, region_name="us-east-1")
    store.create_bucket(Bucket="tables")
    return "s3://tables"
