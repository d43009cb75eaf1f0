"""The key: a canary goes through many ways to fail, and is then looked for in every byte that came of it.

The server says the key back, plain and in the forms it may take on its way, in every place of a reply, with every kind
of status. What is searched: all files of the output directory (Parquet columns decoded), messages, tracebacks with the
variables of all frames, and everything printed.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import anyio.to_thread
import httpx
import pyarrow.parquet as pq

from proofs.checker import Broken
from proofs.power import folder, in_process
from proofs.virtual import run_virtually
from proofs.world import KEY, World

STATUSES = (200, 302, 400, 401, 402, 403, 404, 422, 429, 500, 503)
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "bearer": lambda key: f"Bearer {key}",
    "JSON in JSON": lambda key: json.dumps({"authorization": key}),
}


def _whole(word: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": f"you sent {word}"}
    return {"id": word, "model": word, "choices": [{"index": 0, "message": message, "finish_reason": word}]}


BODIES: dict[str, Callable[[str], bytes]] = {
    "a whole completion": lambda word: json.dumps(_whole(word)).encode(),
    "an error": lambda word: json.dumps({"error": {"message": f"bad key {word}", "code": word, "type": word}}).encode(),
    "HTML": lambda word: f"<html><title>{word}</title>".encode(),
    "half a completion": lambda word: json.dumps(_whole(word)).encode()[:-9],
}


class Echo(httpx.AsyncBaseTransport):
    """Says the key back; or breaks with it on its lips."""

    def __init__(self, status: int, body: bytes, word: str, breaks: bool) -> None:
        self.status, self.body, self.word, self.breaks = status, body, word, breaks

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.breaks:
            raise httpx.RemoteProtocolError(f"illegal header {self.word}", request=request)
        headers = {"x-request-id": self.word, "location": f"http://x/?{self.word}", "retry-after": self.word}
        return httpx.Response(self.status, headers=headers, content=self.body, request=request)


def _traces(path: Path, transport: Echo) -> Iterator[tuple[str, str]]:
    """Everything a run leaves and says, piece by piece."""
    world = World(path, 3, retry={"attempts": 2, "timeout_s": 5})
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            report = run_virtually(world.job(), {"transport": transport, "seed": 1}, 1)
            yield "the report", repr(report)
        except Exception as error:  # noqa: BLE001  whatever it is, it is looked at
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            yield "a traceback", "".join(told.format())
    yield "the output", said.getvalue()
    for file in path.rglob("*"):
        if file.is_file():
            yield file.name, file.read_bytes().decode("latin-1")
            if file.suffix == ".parquet":
                yield file.name, repr(pq.read_table(file).to_pylist())
    if sys.platform == "linux":
        yield "the process title", Path("/proc/self/cmdline").read_bytes().decode("latin-1")


async def _here(deed: Callable[..., Any], *given: Any) -> Any:
    return deed(*given)


def prove(share: float, seed: int) -> tuple[int, str]:
    """Fail in a share of all ways. Returns their number and a sentence. Raises Broken."""
    every = list(itertools.product(STATUSES, BODIES, (*FORMS,), (False,)))
    every += [(0, "HTML", form, True) for form in FORMS]
    chosen = every if share >= 1 else random.Random(seed).sample(every, max(1, round(share * len(every))))
    searched = 0
    with in_process(), patch.object(anyio.to_thread, "run_sync", _here):
        for way in chosen:
            status, body, form, breaks = way
            word = FORMS[form](KEY)
            with folder() as place:
                for where, text in _traces(place, Echo(status, BODIES[body](word), word, breaks)):
                    searched += len(text)
                    if KEY in text:
                        raise Broken(f"{way}: the key stands in {where}")
    return len(chosen), f"of {len(every)} ways; {searched / 1e6:.1f} MB searched"
