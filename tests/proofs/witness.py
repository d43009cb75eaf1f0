"""What arrives at the server in a life of a directory, seen by one who knows what two runs at once must not do."""

from __future__ import annotations

import json
from typing import Any

import httpx

from journeybatch import api
from journeybatch.emulator import Emulator
from journeybatch.errors import RunLocked
from proofs.checker import Broken
from proofs.fate import Fatal, Fate

Question = tuple[str, str]
"""A model, and what it is asked."""


class Watched(Fatal):
    """Notes every question that arrives, and at the first of them lets a rival want the directory."""

    def __init__(self, emulator: Emulator, fate: Fate, cap: int | None, rival: dict[str, Any] | None) -> None:
        super().__init__(emulator, fate, cap)
        self.questions: list[Question] = []
        self.rival = rival

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            if self.rival is not None and not self.questions:
                await self._contend(self.rival)
            asked = json.loads(request.content)
            self.questions.append((asked["model"], asked["messages"][-1]["content"]))
        return await super().handle_async_request(request)

    async def _contend(self, job: dict[str, Any]) -> None:
        before = len(self.emulator.attempts)
        try:
            await api.run_async(job, transport=self.emulator.transport(), yes=True)
        except RunLocked:
            pass
        else:
            raise Broken("two runs had one directory at once")
        if len(self.emulator.attempts) != before:
            raise Broken("the run that came second sent something")
