"""A Ray cluster of two nodes on this machine, in a process of its own: Ray's threads and warnings stay out of tests.

``python cluster.py FOLDER`` prints a line of JSON when it is up, and again after each command on standard input: `kill`
ends the second node as a power cut would, `add` starts another one, `age` makes it say that it is of another version
until `renew`, and `tell` writes all that its store knows into the folder. It ends when standard input closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STORE_BYTES = 80 * 2**20
METADATA = b"CLUSTER_METADATA"
QUICK = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
"""Ray takes half a minute to give up a node; a test need not."""


class Cluster:
    """The tests' side of it. ``folder`` is where Ray writes all it writes."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.folder, self._process = folder, process
        self.address: str = self._hear()["address"]

    def kill_node(self) -> None:
        self._tell("kill")

    def add_node(self) -> None:
        self._tell("add")

    @contextlib.contextmanager
    def aged(self) -> Iterator[None]:
        """It says that its Ray is of another version."""
        self._tell("age")
        yield
        self._tell("renew")

    def tell_all(self) -> None:
        """All that its store knows goes into the folder, where the logs are."""
        self._tell("tell")

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the cluster did not come up"
        told: dict[str, Any] = json.loads(line)
        return told


@contextlib.contextmanager
def started(**environ: str) -> Iterator[Cluster]:
    """A cluster as long as the block lasts; its nodes have ``environ`` beside what this process has."""
    folder = Path(tempfile.mkdtemp(prefix="jb-", dir="/tmp"))
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
    pipe = subprocess.PIPE
    try:
        with (folder / "said").open("w") as said:
            process = subprocess.Popen(
                [sys.executable, __file__, str(folder)],
                stdin=pipe,
                stdout=pipe,
                stderr=said,
                text=True,
                env=os.environ | quiet | environ,
            )
            with process:
                yield Cluster(process, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def known(store: Any, address: str) -> Iterator[str]:
    """What the cluster's own store holds, and what the state API and the dashboard are made of: every key and value,
    and the tables of nodes, jobs, actors and workers."""
    from ray._private import ray_constants
    from ray._private.state import GlobalState
    from ray._raylet import GcsClientOptions

    spaces = [value for name, value in vars(ray_constants).items() if name.startswith("KV_NAMESPACE")]
    for space in (None, *spaces):
        for key in store.internal_kv_keys(b"", space):
            yield f"{key!r} {store.internal_kv_get(key, space)!r}"
    state = GlobalState()
    state._initialize_global_state(GcsClientOptions.create(address, None, True, False))
    yield repr(state.node_table())
    yield repr(state.job_table())
    yield repr(state.actor_table(None, None, None))
    yield repr(state.workers())


def main() -> None:
    from ray._private.ray_constants import KV_NAMESPACE_CLUSTER
    from ray.cluster_utils import Cluster

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints where it likes
    node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    head = {**node, "include_dashboard": False, "temp_dir": sys.argv[1], "_system_config": QUICK}
    noted = Path("/tmp/ray/ray_current_cluster")  # cluster_utils writes there, wherever all else goes
    noted.parent.mkdir(exist_ok=True)
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**node)
    store = cluster.head_node.get_gcs_client()
    metadata = store.internal_kv_get(METADATA, KV_NAMESPACE_CLUSTER)

    def put(data: bytes) -> None:
        store.internal_kv_put(METADATA, data, True, KV_NAMESPACE_CLUSTER)

    def tell() -> None:
        out.write(json.dumps({"address": cluster.address}) + "\n")
        out.flush()

    tell()
    for command in sys.stdin:
        match command.strip():
            case "kill":
                cluster.remove_node(second, allow_graceful=False)
            case "add":
                second = cluster.add_node(**node)
            case "age":
                put(json.dumps(json.loads(metadata) | {"ray_version": "2.0.0"}).encode())
            case "renew":
                put(metadata)
            case "tell":
                Path(sys.argv[1], "told").write_text("\n".join(known(store, cluster.address)))
        tell()
    cluster.shutdown()
    with contextlib.suppress(OSError):  # another cluster's address may stand there by now
        if noted.read_text().strip() == cluster.address:
            noted.unlink()


if __name__ == "__main__":
    main()
