"""The command line with an eye on its event loop: ``python -m proofs.tasks FILE run …`` writes into the file, twice a
second, how many tasks of asyncio are alive. uvloop's are among them: they belong to a runner like all others."""

from __future__ import annotations

import asyncio
import runpy
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

EVERY_S = 0.5


def watch(page: Path) -> None:
    """Write the number of tasks of whichever loop runs onto ``page``, from now on."""
    loops: list[asyncio.AbstractEventLoop] = []
    run = asyncio.Runner.run

    def noted(runner: asyncio.Runner, *given: Any, **named: Any) -> Any:
        loops.append(runner.get_loop())
        return run(runner, *given, **named)

    def count() -> None:
        new = page.with_suffix(".new")
        while True:
            new.write_text(str(sum(len(asyncio.all_tasks(loop)) for loop in [*loops])))
            new.replace(page)
            time.sleep(EVERY_S)

    asyncio.Runner.run = noted  # type: ignore[method-assign]
    Thread(target=count, daemon=True).start()


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.argv[1:] = sys.argv[2:]
    runpy.run_module("journeybatch", run_name="__main__", alter_sys=True)
