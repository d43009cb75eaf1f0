"""Answers out of an output file of OpenAI's Batch API, taken over into a job's journal: rows with one are not asked.

A line's ``custom_id`` says whose answer it is: that of the row which `batch requests` gave this id. Replies are kept
raw, and read as the job says, like those of any other origin. They cost nothing here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from journeybatch.entries import Borrowed
from journeybatch.errors import TableError
from journeybatch.interchange.batch import ID, lines_of
from journeybatch.interchange.batch_input import ids
from journeybatch.job import Job
from journeybatch.journal import Journal
from journeybatch.reading import codes_of, reread
from journeybatch.verdict import READABLE


class Taken(msgspec.Struct):
    """What came of the lines: ``answers`` taken over; lines of rows that have one or that come twice (``known``), of no
    row of the job (``strange``), without a reply (``failed``), with one that cannot be read as `answer` says
    (``unread``)."""

    answers: int = 0
    known: int = 0
    strange: int = 0
    failed: int = 0
    unread: int = 0


def take_answers(job: Job, journal: Journal, paths: Sequence[Path], column: str | None) -> Taken:
    """Take the answers in ``paths`` into ``journal``, which is the job's. Raises JobError, and DiskFull."""
    surveyed = job.survey()
    surveyed.check_problems()
    history = journal.history
    reread(history, journal.path, job.reader)
    pending = (job.stand(history, surveyed).facts["status"] == "pending").to_list()
    keys = surveyed.steps[0].to_list()
    places = {name: place for place, name in enumerate(ids(job, column, len(keys)))}
    taken, done = Taken(), set[bytes]()
    found = [
        (custom_id, reply) for path in paths for custom_id, reply in _replies(path)
    ]  # all is read before it counts
    for custom_id, reply in found:
        place = places.get(custom_id)
        if place is None or keys[place] is None:
            taken.strange += 1
        elif reply is None:
            taken.failed += 1
        elif not pending[place] or keys[place] in done:
            taken.known += 1
        else:
            entry = _borrowed(keys[place], place, reply)
            codes, _ = codes_of(job.reader.verdicts(entry.received(), entry.journal))
            if codes[0] in READABLE:
                journal.append(entry)
                done.add(keys[place])
                taken.answers += 1
            else:
                taken.unread += 1
    journal.flush()
    return taken


def _borrowed(key: bytes, place: int, reply: dict[str, Any]) -> Borrowed:
    body, at = msgspec.json.encode(reply), reply.get("created")
    since = float(at) if isinstance(at, int) else time.time()
    mark = blake2b(body, digest_size=8).digest()
    return Borrowed(mark, place, 1, key, str(reply.get("model", "")), 200, {}, body, 0.0, since)


def _replies(path: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Each line's id, and its chat completion; None where it has none. Raises TableError with the line."""
    for number, raw in lines_of(path):
        try:
            line = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise TableError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(line, dict) or not isinstance(line.get(ID), str) or "response" not in line:
            raise TableError(f"{path}, line {number}: expected an output line, with custom_id and response")
        response = line["response"] if isinstance(line["response"], dict) else {}
        body = response.get("body")
        whole = response.get("status_code", 200) == 200 and not line.get("error") and isinstance(body, dict)
        yield line[ID], body if whole else None
