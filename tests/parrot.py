"""An endpoint that says back what each task asks, keeps its own bill, and can be made to misbehave.

It reads a packed request in its own way (a JSON list at the end of the last message), so that a mistake in how
packs are written cannot agree with itself.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

Items = list[dict[str, Any]]


class Parrot(httpx.AsyncBaseTransport):
    """Answers a task with ``says(task, model)``. ``spoil(items, rng)`` may change a pack's answers before they are
    sent, as items or as the reply's whole text; ``act(parrot, request)`` may answer in its place, or raise.

    ``bill`` holds one entry per charge: the reply's id, the model, the credits, the tasks.
    """

    def __init__(
        self,
        says: Callable[[str, str], Any] = lambda task, model: f"heard {task}",
        *,
        spoil: Callable[[Items, random.Random], Items | str] | None = None,
        act: Callable[[Parrot, httpx.Request], httpx.Response | None] | None = None,
        prices: dict[str, int] | None = None,
        seed: int = 1,
    ) -> None:
        self.says, self.spoil, self.act, self.prices = says, spoil, act, prices or {}
        self.bill: list[tuple[str, str, int, tuple[str, ...]]] = []
        self.sizes: list[int] = []
        self.bodies: list[dict[str, Any]] = []
        self.rng = random.Random(seed)

    @property
    def billed(self) -> int:
        return sum(credits for _, _, credits, _ in self.bill)

    @property
    def bought(self) -> Counter[tuple[str, str]]:
        """How often each task was paid for, by model."""
        return Counter((model, task) for _, model, _, tasks in self.bill for task in tasks)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(404, json={"error": {"message": "no such thing"}}, request=request)
        if self.act is not None and (done := self.act(self, request)) is not None:
            done.request = request
            return done
        return self.reply(request)

    def reply(self, request: httpx.Request, finish: str = "stop", cut: int | None = None) -> httpx.Response:
        """The reply to ``request``, paid for; its text may be ``cut`` to so many characters."""
        body = json.loads(request.content)
        model, last = body["model"], body["messages"][-1]["content"]
        packed = tasks(last)
        self.bodies.append(body)
        self.sizes.append(len(packed) or 1)
        asked = tuple(task for _, task in packed) or (last,)
        name = f"parrot-{len(self.bill)}"
        self.bill.append((name, model, self.prices.get(model, 1), asked))
        if packed:
            items: Items | str = [{"id": token, "answer": self.says(task, model)} for token, task in packed]
            if self.spoil is not None:
                items = self.spoil(items, self.rng)
            text = items if isinstance(items, str) else json.dumps({"answers": items})
        else:
            said = self.says(last, model)
            text = said if isinstance(said, str) else json.dumps(said)
        return completion(text[:cut], name, model, finish, request)


def tasks(content: str) -> list[tuple[str, str]]:
    """Pairs of id and task of a packed request; empty for one that is not packed."""
    head, mark, listed = content.rpartition("\n\n[\n")
    if not mark or "JSON list" not in head:
        return []
    return [(item["id"], item["task"]) for item in json.loads("[" + listed)]


def completion(
    text: str | None, name: str, model: str, finish: str, request: httpx.Request, refusal: str | None = None
) -> httpx.Response:
    """A chat completion."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    data = {
        "id": name,
        "model": f"{model}-upstream",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    return httpx.Response(200, json=data, request=request)
