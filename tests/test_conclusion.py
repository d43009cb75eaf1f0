"""The last act of a run: after a signal nothing is looked at row by row, and the summary is right all the same."""

from __future__ import annotations

import os
import signal
from typing import Any

import anyio
import httpx
import pytest
from conftest import Flow
from parrot import Parrot
from test_dispatch import heeding_signals

from journeybatch import conclusion, runner
from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.transport import EmulatorTransport
from journeybatch.results import count

MOOD = {"fields": {"mood": ["good", "bad"]}}


class Stopping(httpx.AsyncBaseTransport):
    """What is asked of ``beyond`` is; a signal comes with request number ``at``."""

    def __init__(self, beyond: httpx.AsyncBaseTransport, at: int) -> None:
        self.beyond, self.left = beyond, at

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep(0.002)  # time to hear it
        return await self.beyond.handle_async_request(request)


def moody(task: str, _: str) -> Any:
    return {"mood": "good"} if task.endswith(("1", "2", "4")) else "what?"


SHAPES: dict[str, tuple[Faults, dict[str, Any]]] = {
    "plain": (Faults(), {}),
    "rejected": (Faults(seed=3, statuses={422: 0.3}), {"limits": {"failures": "100%"}}),
    "cut, asked again": (Faults(seed=3, cut=0.2), {}),
    "cut, held": (Faults(seed=3, cut=0.2), {"retry": {"on_unknown": "hold"}}),
    "cut, failed": (Faults(seed=3, cut=0.2), {"retry": {"on_unknown": "fail"}, "limits": {"failures": "100%"}}),
    "packs": (Faults(), {"pack": 3}),
    "packs, rejected": (Faults(seed=3, statuses={422: 0.3}), {"pack": 3, "limits": {"failures": "100%"}}),
    "each for itself": (Faults(), {"dedupe": False}),
}


@pytest.mark.parametrize("at", [1, 4, 8])
@pytest.mark.parametrize("shape", [*SHAPES, "unreadable", "unreadable, asked again"])
def test_after_a_signal_the_rows_are_those_that_the_sending_counted(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, shape: str, at: int
) -> None:
    flow.write([f"thing {n % 30}" for n in range(40)])
    faults, keys = SHAPES.get(shape, (Faults(), {"answer": MOOD, "limits": {"failures": "100%"}}))
    if shape.endswith("asked again") and shape not in SHAPES:
        keys = keys | {"answer": MOOD | {"on_invalid": "ask_again"}}
    flow.emulator = Emulator(faults=faults)
    beyond = EmulatorTransport(flow.emulator) if shape in SHAPES else Parrot(moody)
    looked: list[dict[str, int]] = []

    def conclude(ready: Any, ending: Any) -> Any:
        report = conclusion.conclude(ready, ending)
        looked.append(count(ready.job.stand(ready.journal.history, ready.surveyed).table, ready.journal.history).rows())
        return report

    def look(*_: Any) -> Any:
        raise AssertionError("all rows are looked at")

    with monkeypatch.context() as patch:
        heeding_signals(patch)
        patch.setattr(conclusion, "LOOKED_AT", 0)
        patch.setattr(conclusion, "_settled", look)
        patch.setattr(conclusion, "write_views", look)
        patch.setattr(runner, "conclude", conclude)
        report = flow.run({"transport": Stopping(beyond, at)}, concurrency=1, **keys)
    assert (report.exit_code, report.summary["stopped_by"]) == (143, "signal")
    assert report.summary["rows"] == looked[0]
    assert looked[0]["pending"] > 0
    ended = flow.run({"transport": beyond}, **keys)
    assert ended.summary["rows"]["total"] == flow.results().height == 40
    assert flow.balanced()


def test_a_signal_with_the_last_reply_leaves_the_tables_to_the_next_run(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        heeding_signals(patch)
        patch.setattr(conclusion, "LOOKED_AT", 0)
        report = flow.run({"transport": Stopping(EmulatorTransport(flow.emulator), 12)}, concurrency=1)
    assert (report.exit_code, report.summary["rows"]["answered"]) == (143, 12)
    assert report.summary["finished_at"] is not None, "the next night begins a run of its own, with a cap of its own"
    assert not report.results.exists()
    report = flow.run()
    assert (report.exit_code, report.summary["rows"]["answered"], flow.emulator.billed) == (0, 12, 12)
    assert flow.balanced()


def test_of_a_small_table_all_is_known_after_a_signal_too(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        heeding_signals(patch)
        report = flow.run({"transport": Stopping(EmulatorTransport(flow.emulator), 12)}, concurrency=1)
    assert (report.exit_code, report.summary["rows"]["answered"]) == (143, 12)
    assert report.summary["finished_at"] is not None
