"""The one server of a night of the heart: a function that answers keys, with all that can go wrong there."""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx

from journeybatch.client import translate
from journeybatch.directory import open_directory
from journeybatch.errors import RunLocked
from journeybatch.records import Completion, Request
from proofs.checker import Broken
from proofs.fate import Fate

if TYPE_CHECKING:
    from proofs.heart import Process

FATE: ContextVar[Fate] = ContextVar("FATE")
"""Whose process the running task belongs to."""
STATUSES = (500, 502, 408, 409, 429, 503, 529, 400, 422, 402)
LOST = {
    "refused": httpx.ConnectError("Connection refused"),
    "reset": httpx.ReadError("Connection reset"),
    "late": httpx.ReadTimeout("No whole answer in time"),
}
ODDITIES = (b"<html>busy</html>", b"", b'{"choices": []}', b'{"error": {"message": "x"}}', b'{"choices": [{"mess')


def say(key: bytes) -> str:
    """The one right answer."""
    return sha256(key).hexdigest()[:8]


class Endpoint:
    """The one server of a night, for all of its processes: what goes wrong there, and its bill."""

    def __init__(self, rng: random.Random, bills_errors: bool) -> None:
        self.rng, self.bills_errors = rng, bills_errors
        self.rate = 0.0
        self.dead: tuple[float, float, str] = (0.0, 0.0, "")
        self.bill: Counter[Path] = Counter()
        self.requests = 0
        self.day_cap: int | None = None
        self.today = 0

    async def answer(self, process: Process, request: Request) -> Completion:
        """One exchange. Raises ApiFailure as the client does."""
        fate, rng, began = FATE.get(), self.rng, anyio.current_time()
        fate.meet("request")
        self._arrive(process, request)
        try:
            start, end, how = self.dead
            kind = how if start <= began < end else self._trouble()
            if kind == "refused":
                raise translate(LOST[kind])
            await anyio.sleep(30.0 if kind == "late" else rng.uniform(0.01, process.slowness_s))
            charged = kind in ("", "odd") or (kind not in ("429", "503", "529", "402") and rng.random() < 0.5)
            if kind.isdigit() and not self.bills_errors and kind not in ("500", "502", "408", "409"):
                charged = False
            self._charge(process, request.price.most if charged else 0)
            fate.meet("reply")
            if kind in LOST:
                raise translate(LOST[kind])
            fate.delivered += 1
            return self._reply(kind, request, anyio.current_time() - began)
        finally:
            process.flying -= 1
            process.landed = True

    def _arrive(self, process: Process, request: Request) -> None:
        self.requests += 1
        process.flying += 1
        if process.flying > process.lanes:
            raise Broken(f"{process.flying} in flight, {process.lanes} allowed")
        if process.flying > 1 and not process.landed:
            raise Broken("a second request left before the first had any answer")
        if process.rival_at == process.flying + self.requests % 7:
            with contextlib.suppress(RunLocked):
                open_directory(process.path, "heart")
                raise Broken("a rival got the directory")

    def _charge(self, process: Process, credits: int) -> None:
        self.bill[process.path] += credits
        self.today += credits
        if process.cap is not None and self.bill[process.path] > process.cap:
            raise Broken(f"the bill is {self.bill[process.path]}, over the cap of {process.cap}")
        if self.day_cap is not None and self.today > self.day_cap:
            raise Broken(f"the bill of the day is {self.today}, over the cap of {self.day_cap}")

    def _trouble(self) -> str:
        if self.rng.random() >= self.rate:
            return ""
        return self.rng.choice(("odd", "reset", "late", "refused", *map(str, STATUSES)))

    def _reply(self, kind: str, request: Request, latency_s: float) -> Completion:
        if kind.isdigit():
            error = {"message": "no", "code": "insufficient_quota" if kind == "402" else None, "type": None}
            return Completion(int(kind), {}, json.dumps({"error": error}).encode(), latency_s)
        if kind == "odd":
            return Completion(200, {}, self.rng.choice(ODDITIES), latency_s)
        text = self._packed(request) if len(request.prompts) > 1 else say(request.prompts[0].key)
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return Completion(
            200,
            {},
            json.dumps({"id": "x", "model": "m", "choices": [choice], "padding": "." * 1500}).encode(),
            latency_s,
        )

    def _packed(self, request: Request) -> str:
        """A pack's answer, with what models do to those."""
        rng = self.rng
        said = [{"id": name, "answer": say(p.key)} for name, p in zip(_tokens(request), request.prompts, strict=True)]
        if rng.random() < self.rate:
            slip = rng.randrange(5)
            at = rng.randrange(len(said))
            if slip == 0:
                del said[at]
            elif slip == 1:
                said.append({"id": said[at]["id"], "answer": "twice"})
            elif slip == 2:
                said.append({"id": "zzzzzz", "answer": "invented"})
            elif slip == 3:
                said[at] = {"id": said[at]["id"][:-1], "answer": said[at]["answer"]}
            else:
                rng.shuffle(said)
        return json.dumps({"answers": said})


def _tokens(request: Request) -> list[str]:
    told: list[str] = json.loads(request.body)
    return told
