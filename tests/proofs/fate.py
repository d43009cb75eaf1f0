"""Fate: what ends a simulated process, and when; what it does to its calls to the disk and to the server."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import httpx

from journeybatch import wire
from journeybatch.emulator import Emulator
from journeybatch.emulator.transport import EmulatorTransport
from proofs.checker import Broken

DEATHS = {"disk": 90, "request": 20, "reply": 20, "bug": 20}
"""What can end a process, and at which of its turns at the latest."""
ENDS = ("count", "look_back", "write_views", "deliver")
"""What the end of a run calls, one after the other, and what may come in between."""
CAUSES = (KeyboardInterrupt, MemoryError, OSError)
HOUR = 3600.0


class Killed(BaseException):
    """The process is dead from here on: nothing that it does reaches the disk or the network any more."""


class Fate:
    """What befalls one process: the ``death`` comes with the so-manieth call to the disk, request or reply; or a bug
    of ours with the so-manieth reply that is read. The disk is full from the ``full``-th call on."""

    def __init__(self, death: tuple[str, int] | None, full: int | None) -> None:
        self.death, self.full = death, full
        self.dead = False
        self.calls = 0
        self.turns = {"disk": 0, "request": 0, "reply": 0, "bug": 0}
        self.delivered = 0

    def meet(self, what: str) -> None:
        """Raises Killed if this is the hour, and ever after."""
        self.turns[what] += 1
        if self.dead or self.death == (what, self.turns[what]):
            self.dead = True
            raise Killed

    @property
    def stumbled(self) -> bool:
        """Whether the bug has shown."""
        return self.death is not None and self.death[0] == "bug" and self.turns["bug"] >= self.death[1]

    def read(self, *given: Any, **named: Any) -> Any:
        """What stands where a reply is judged."""
        self.turns["bug"] += 1
        if self.death == ("bug", self.turns["bug"]):
            raise ZeroDivisionError("a bug in a parser")
        return wire.judge(*given, **named)

    def disk(self, call: str, _: str) -> None:
        self.meet("disk")
        self.calls += call in ("write", "fsync")
        if self.full is not None and self.calls > self.full and call in ("write", "fsync"):
            raise OSError(28, "No space left on device")


class Fatal(EmulatorTransport):
    """The emulator, for a process with a fate; no request may arrive that takes the bill over the cap, or over
    ``most_by_now``, which the days so far allow."""

    def __init__(
        self, emulator: Emulator, fate: Fate, cap: int | None, most_by_now: Callable[[], float] = lambda: math.inf
    ) -> None:
        super().__init__(emulator)
        self.fate, self.cap, self.most_by_now = fate, cap, most_by_now

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST":
            return await super().handle_async_request(request)
        self.fate.meet("request")
        response = await super().handle_async_request(request)
        if self.cap is not None and self.emulator.billed > self.cap:
            raise Broken(f"the bill is {self.emulator.billed}, over the cap of {self.cap}")
        if self.emulator.billed > self.most_by_now():
            raise Broken(f"the bill is {self.emulator.billed}, and the days so far allow {self.most_by_now()}")
        self.fate.meet("reply")
        self.fate.delivered += 1
        return response


def once(cause: type[BaseException], real: Any) -> Any:
    """``real``, which raises instead when it is called first."""
    left = [cause]

    def call(*given: Any) -> Any:
        if left:
            raise left.pop()
        return real(*given)

    return call
