"""The emulator as a child process, for a job that asks for it: it ends when its stdin closes, so a killed job leaves
no orphan, and its bill stays behind in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

START_S = 30.0


@asynccontextmanager
async def emulator_child(bill: Path) -> AsyncIterator[str]:
    """Start an emulator on a free port and yield its base URL; stop it afterwards.

    In a session of its own, so that Ctrl-C in a terminal reaches the job and not the emulator under it.

    Raises:
        OSError, TimeoutError, ValueError: it does not start.
    """
    command = [sys.executable, "-m", "journeybatch", "emulate", "--port", "0", "--with-stdin", "--bill", str(bill)]
    async with await anyio.open_process(
        command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True
    ) as process:
        if process.stdout is None or process.stdin is None:
            raise OSError("the emulator has no pipes")
        try:
            try:
                with anyio.fail_after(START_S):
                    line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 65_536)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound):
                raise OSError("it ended at once") from None
            yield str(json.loads(line)["base_url"])
        finally:
            with anyio.CancelScope(shield=True):
                await process.stdin.aclose()
                with anyio.move_on_after(2.0):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
