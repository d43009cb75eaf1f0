"""Ctrl-C on a real terminal: the first says what will happen, the second does at once what it said."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from conftest import KEY, Flow, spawned

from journeybatch.emulator import read_bill

INTERRUPT = b"\x03"
"""What the key Ctrl-C writes; the terminal makes a signal of it."""


@contextmanager
def terminal(*arguments: object) -> Iterator[SimpleNamespace]:
    """The command line on a terminal of its own: ``press`` a key, and what is ``seen`` so far."""
    ours, theirs = pty.openpty()
    environ = os.environ | {"JOURNEYAPI_KEY": KEY, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-m", "journeybatch", *map(str, arguments)],
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),  # noqa: PLW1509  one call, no lock
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = bytearray()

    def seen() -> str:
        try:
            while data := os.read(ours, 2**16):
                shown.extend(data)
        except OSError:  # nothing new, or nobody writes any more
            pass
        return shown.decode()

    def wait_for(text: str, within_s: float = 20) -> str:
        until = time.monotonic() + within_s
        while text not in seen():
            assert time.monotonic() < until, seen()
            time.sleep(0.02)
        return seen()

    try:
        yield SimpleNamespace(press=lambda key: os.write(ours, key), seen=seen, wait_for=wait_for, process=process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def job(flow: Flow, base_url: str) -> Path:
    flow.write([f"thing {n}" for n in range(200)])
    path = flow.path / "job.yaml"
    path.write_text(json.dumps(flow.job(api={"base_url": base_url}, concurrency=3)), "utf-8")
    return path


@contextmanager
def emulator(flow: Flow, latency_s: float) -> Iterator[str]:
    with spawned("emulate", "--port", 0, "--latency", latency_s, "--bill", flow.path / "bill.jsonl") as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["base_url"]


def test_the_first_ctrl_c_says_that_what_is_in_flight_ends_and_nothing_new_is_sent(flow: Flow) -> None:
    with emulator(flow, 1.5) as base_url, terminal("run", job(flow, base_url)) as run:
        run.wait_for("3 in flight")
        run.press(INTERRUPT)
        said = run.wait_for("stopping: nothing new is sent; 3 requests in flight get up to 8 s to end")
        assert "Ctrl-C again stops at once and leaves them in doubt" in said
        assert run.process.wait(timeout=9.5) == 130
        ended = run.wait_for("more: journeybatch explain signal")
    assert re.search(r"\r\x1b\[Kstopping: ", ended), "the line takes the bar's place"
    assert "stopped (signal)" in ended
    assert "Traceback" not in ended
    assert len(read_bill(flow.path / "bill.jsonl")) == flow.summary()["rows"]["answered"]
    assert flow.summary()["credits"]["unknown_max"] == 0


def test_the_second_ctrl_c_stops_now_and_says_how_many_stay_in_doubt(flow: Flow) -> None:
    with emulator(flow, 0.5) as base_url, terminal("run", job(flow, base_url)) as run:
        run.wait_for("3 in flight")
        run.press(INTERRUPT)
        run.wait_for("stopping: nothing new is sent")
        run.press(INTERRUPT)
        began = time.monotonic()
        said = run.wait_for("stopped (signal)")
        assert run.process.wait(timeout=7) == 130
        assert time.monotonic() - began < 7, "the eight seconds are not waited for"
    told = re.search(r"stopping now: (\d+) requests stay in doubt", said)
    assert told is not None
    assert int(told[1]) == flow.summary()["requests"]["in_doubt"]


def test_ctrl_c_while_a_table_is_typed_in_is_no_traceback(flow: Flow) -> None:
    path = flow.path / "job.yaml"
    path.write_text(json.dumps(flow.job(api="emulator", input={"path": "-", "format": "csv"})), "utf-8")
    with terminal("run", path) as run:
        run.press(b"id,text\n1,one\n")
        run.wait_for("1,one")
        time.sleep(1.0)
        run.press(INTERRUPT)
        said = run.wait_for("interrupted; nothing is lost, run again to carry on")
        assert run.process.wait(timeout=5) == 130
    assert "Traceback" not in said
