"""The books of a night of the heart: what a journal says of its keys and credits, held against the server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from journeybatch import wire
from journeybatch.answers import text_contract
from journeybatch.archive import mapped, received
from journeybatch.attempts import SETTLED
from journeybatch.directory import read_directory
from journeybatch.history import History
from journeybatch.reading import Reader
from journeybatch.records import Completion
from journeybatch.verdict import READABLE
from proofs.checker import Broken
from proofs.endpoint import Endpoint, say

READER = Reader(text_contract("response"))


def pending(history: History, keys: list[bytes]) -> list[bytes]:
    done = set(history.given_up)
    for index in range(len(history.attempts)):
        done |= {key for key, code in codes(history, index) if code in READABLE}
    return [key for key in keys if key not in done]


def codes(history: History, index: int) -> list[tuple[bytes, int]]:
    a = history.attempts
    if a.offset[index] < 0 or a.charge[index] != SETTLED:
        return []
    return list(zip(a.keys_of(index), a.codes(index), strict=True))


def check(path: Path, endpoint: Endpoint) -> History | None:
    """What stands on the disk now accounts for the bill."""
    if not (path / "journal").exists():
        if endpoint.bill[path]:
            raise Broken(f"{endpoint.bill[path]} credits on the bill, and no journal")
        return None
    history = read_directory(path, "heart")
    if history.lost or history.gaps:
        raise Broken(f"a kill left {history.gaps}")
    certain = sum(run.spent for run in history.runs)
    most = certain + sum(run.unknown for run in history.runs)
    if not certain <= endpoint.bill[path] <= most:
        raise Broken(f"the bill is {endpoint.bill[path]}, the journal says {certain} to {most}")
    return history


def replies(history: History | None) -> int:
    return 0 if history is None else sum(offset >= 0 for offset in history.attempts.offset)


def check_answers(path: Path, history: History, keys: list[bytes], once: bool) -> None:
    """Each key has its own answer; if ``once``, nothing was bought twice."""
    bought = Counter[bytes]()
    with mapped(path / "journal") as buffer:
        for index in range(len(history.attempts)):
            said = codes(history, index)
            if not any(code in READABLE for _, code in said):
                continue
            entry = received(buffer, history, index)
            reply = wire.judge(Completion(entry.status, entry.headers, entry.body, 0.0))
            asked = [key for key, _ in said]
            verdicts = READER.read(reply, history.id, entry.request, asked)
            for (key, code), verdict in zip(said, verdicts, strict=True):
                if code in READABLE:
                    bought[key] += 1
                    if verdict.text != say(key):
                        raise Broken(f"the answer to {key.hex()} is {verdict.text!r}")
    if missing := [key for key in keys if not bought[key]]:
        raise Broken(f"{len(missing)} keys have no answer")
    if once and (twice := [key for key, n in bought.items() if n > 1]):
        raise Broken(f"{len(twice)} keys were bought twice")
