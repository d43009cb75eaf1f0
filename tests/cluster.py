"""A Ray cluster of two nodes on this machine, in a process of its own: Ray's threads and warnings stay out of tests.

``python cluster.py FOLDER`` prints a line of JSON when it is up, and again after each command on standard input: `kill`
ends the second node as a power cut would, `add` starts another one. It ends, and takes the folder with it, when
standard input closes.
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
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    from ray.cluster_utils import Cluster

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints where it likes
    node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    head = {**node, "include_dashboard": False, "temp_dir": sys.argv[1], "_system_config": QUICK}
    noted = Path("/tmp/ray/ray_current_cluster")  # cluster_utils writes there, wherever all else goes
    noted.parent.mkdir(exist_ok=True)
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**node)

    def tell() -> None:
        out.write(json.dumps({"address": cluster.address}) + "\n")
        out.flush()

    tell()
    for command in sys.stdin:
        if command.strip() == "kill":
            cluster.remove_node(second, allow_graceful=False)
        else:
            second = cluster.add_node(**node)
        tell()
    cluster.shutdown()
    noted.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody else's files are in it
        noted.parent.rmdir()


if __name__ == "__main__":
    main()
