"""Tables and journals made for benchmarks, as large as wanted, without sending anything."""

from __future__ import annotations

import json
import random
from pathlib import Path

import anyio
import polars as pl
from polars.io.plugins import register_io_source

from journeybatch.api import load_job
from journeybatch.cli.environment import read_world
from journeybatch.entries import Began, Intent, Received, Settled
from journeybatch.job import bind
from journeybatch.journal import open_journal
from journeybatch.loading import dump
from journeybatch.marker import is_due, mark
from journeybatch.survey import keep
from journeybatch.table import contents

BATCH = 10_000
LETTERS = "abcdefghijklmnopqrstuvwxyz     "


def write_table(path: Path, rows: int, characters: int) -> None:
    """A Parquet table of distinct texts of so many ``characters``, which do not compress to nothing."""
    dice = random.Random(7)
    filler = "".join(dice.choices(LETTERS, k=2**20 + characters))
    schema = pl.Schema({"id": pl.Int64, "text": pl.String})

    def frames(*_: object) -> object:
        for first in range(0, rows, BATCH):
            ids = range(first, min(rows, first + BATCH))
            starts = [dice.randrange(2**20) for _ in ids]
            texts = [f"{row} {filler[at : at + characters - 9]}" for row, at in zip(ids, starts, strict=True)]
            yield pl.DataFrame({"id": ids, "text": texts}, schema=schema)

    register_io_source(frames, schema=schema).sink_parquet(path, row_group_size=BATCH, maintain_order=True)


def reply_of(characters: int) -> bytes:
    """A completion with a text of so many ``characters``."""
    message = {"role": "assistant", "content": "x" * characters, "refusal": None}
    return json.dumps(
        {
            "id": "chatcmpl-benchmark",
            "object": "chat.completion",
            "created": 1735689600,
            "model": "deepseek-chat-0324",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 48, "completion_tokens": 37, "total_tokens": 85},
        }
    ).encode()


def journal_bytes(answered: int, characters: int) -> int:
    """About how large that journal is going to be on the disk."""
    return answered * (len(reply_of(characters)) + 320)


def write_register(job_file: Path) -> None:
    """What the first pass of an earlier run leaves in the job's output directory."""
    job = bind(load_job(str(job_file)), read_world())
    job.spec.output.mkdir(mode=0o700, exist_ok=True)
    keep(job.survey(keeps=True), lambda: contents(job.source, job.limit))


def write_journal(job_file: Path, answered: int, characters: int) -> None:
    """A journal in the job's output directory as a run leaves it that was killed after ``answered`` answers, with the
    last of the bookmarks that it had left by then."""
    job = bind(load_job(str(job_file)), read_world())
    body, output = reply_of(characters), job.spec.output
    journal = open_journal(output)
    journal.write(Began(1, job.spec.name, job.ask.text, False, False, 1.7e9, job.reader.identity))
    price, number = job.tiers[0].price, 0
    for frame in job.frames():
        for question in job.ask.questions(frame, {}):
            if number >= answered or isinstance(question, Exception):
                break
            (key,), at = job.ask.keys(job.ask.steps[0], question), 1.7e9 + number / 1000
            assert key is not None
            journal.append(Intent(number, 1, key, job.tiers[0].model, price.least, price.most, at))
            headers = {"content-type": "application/json"}
            journal.append(Received(number, 1, key, 200, headers, body, 0.5, at + 0.5, price.least, price.most))
            journal.append(Settled(number, 1, "settled", price.least, price.most, None, None, 200, 0.5))
            number += 1
        journal.flush()
        if is_due(journal):
            anyio.run(mark, journal)
        if number >= answered:
            break
    (output / "job.yaml").write_text(dump(job.spec))
    journal.close()
