"""A worker in this process: a real outpost over real sockets, with a line to it that a test can cut."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from journeybatch.courier import Gone, Unheard
from journeybatch.outpost import Outpost
from journeybatch.parcels import Errand, pack
from journeybatch.records import Price, Request

KEY = "test-key-0123456789"


def errand(base_url: str, **more: Any) -> Errand:
    given = {"auth": "raw", "emulated": False, "key_env": "THE_KEY", "key_file": None}
    return Errand(base_url, **given | {"timeout_s": 5.0, "lease_s": 0.4, "nonce": "n"} | more)


def request(number: int, attempt: int = 1) -> Request:
    messages = [{"role": "user", "content": f"thing {number}"}]
    body = json.dumps({"model": "deepseek-chat", "messages": messages}).encode()
    return Request(number, "deepseek-chat", (), body, Price(1, 1), attempt)


class NearStation:
    """``silent``: no call gets through. ``dead``: what every call raises, those under way too. ``ended`` is true once
    the outpost has ended itself, as its process would."""

    def __init__(self, told: Errand, environ: dict[str, str] | None = None) -> None:
        self.silent, self.ended, self.dismissed = False, False, False
        self.dead: Gone | None = None
        self.outpost = Outpost(pack(told), environ if environ is not None else {"THE_KEY": KEY}, self._end)
        self._cut = asyncio.Event()

    def die(self, *, sure: bool) -> None:
        self.dead = Gone("it was killed", sure=sure)
        self._cut.set()

    async def greet(self) -> bytes:
        return await self._call(self.outpost.greet())

    async def post(self, number: int, batch: bytes) -> None:
        await self._call(self.outpost.post(number, batch))

    async def take(self, seen: int, linger_s: float) -> bytes:
        return await self._call(self.outpost.take(seen, linger_s))

    def dismiss(self) -> None:
        self.dismissed = True

    def _end(self) -> None:
        self.ended = True

    async def _call(self, call: Any) -> Any:
        if self.dead or self.silent:
            call.close()
            raise self.dead or Unheard("no route")
        task, cut = asyncio.ensure_future(call), asyncio.ensure_future(self._cut.wait())
        await asyncio.wait([task, cut], return_when=asyncio.FIRST_COMPLETED)
        cut.cancel()
        if self.dead:
            task.cancel()
            raise self.dead
        return await task
