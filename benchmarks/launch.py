"""Runs one command and writes down what it took: ``python -S -E launch.py REPORT COMMAND…``

A process of its own between the benchmark and what is measured: a child's largest resident set begins with that of the
process that started it, so a benchmark that has polars in memory would find 130 MiB in everything it starts. Here it is
some 10 MiB. A SIGTERM is handed on, and what was taken until then is written down all the same.
"""

import json
import os
import signal
import sys
import time


def main() -> None:
    report, *command = sys.argv[1:]
    began_at, began = time.time(), time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.perf_counter() - began
    unit = 2**20 if sys.platform == "darwin" else 2**10
    told = {
        "wall_s": wall_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_mib": usage.ru_maxrss / unit,
        "began_at": began_at,
    }
    with open(report, "w") as file:  # noqa: PTH123  pathlib would be another 2 MiB
        json.dump(told, file)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)  # as a shell tells it


if __name__ == "__main__":
    main()
