"""What the pieces of a row's way cost, each alone, in µs of processor time (the best of five rounds)."""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
from made import reply_of
from measures import Line, Measure, keep

from journeybatch.accounted import received
from journeybatch.archive import read_history
from journeybatch.entries import Intent, Settled, decode, encode
from journeybatch.frames import pack
from journeybatch.history import History
from journeybatch.identity import keys_for
from journeybatch.journal import open_journal
from journeybatch.payload import encoder
from journeybatch.reading import PLAIN
from journeybatch.records import Completion, Price, Prompt, Request
from journeybatch.tally import tally
from journeybatch.template import PromptTemplate
from journeybatch.wire import judge

ROWS = 20_000
CALM = 5


def cost(work: Callable[[], object]) -> float:
    """µs of processor time per row of ``work``, which does ROWS rows."""
    taken = []
    for _ in range(CALM):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken) / ROWS * 1e6


def attempts(key: bytes, completion: Completion) -> list[tuple[Intent, object, Settled]]:
    """The three entries of each of ROWS attempts."""
    price, found = Price(1, 1), []
    for number in range(ROWS):
        request = Request(number, "deepseek-chat", (Prompt(key, ()),), b"", price)
        settled = Settled(number, 1, "settled", 1, 1, None, None, 200, 0.5)
        own = number.to_bytes(16, "big")
        found.append(
            (Intent(number, 1, own, "deepseek-chat", 1, 1, 1.7e9), received(request, own, completion), settled)
        )
    return found


def pieces(room: Path) -> dict[str, float]:
    rows = pl.DataFrame({"text": [f"{n} " + "word " * 24 for n in range(ROWS)]})
    template = PromptTemplate((("user", "Classify this customer message: {{ text }}"),), ("text",))
    rendered = list(template.render_batch(rows))
    key, body = keys_for("host:443", "deepseek-chat", {}), encoder("deepseek-chat", {}, False)
    completion = Completion(200, {"content-type": "application/json"}, reply_of(600), 0.5)
    said, one = judge(completion), key(rendered[0], 0)
    entries = attempts(one, completion)
    journal = open_journal(room)

    def keep() -> None:
        for intent, reply, settled in entries:
            journal.append(intent)
            journal.write(reply)
            journal.append(settled)

    found = {
        "render a prompt": cost(lambda: list(template.render_batch(rows))),
        "its key": cost(lambda: [key(messages, 0) for messages in rendered]),
        "encode the body": cost(lambda: [body(messages, 1) for messages in rendered]),
        "decode a reply": cost(lambda: [judge(completion) for _ in range(ROWS)]),
        "its verdict": cost(lambda: [PLAIN.read(said, b"", 1, [one]) for _ in range(ROWS)]),
        "encode three entries": cost(lambda: [encode(entry) for three in entries for entry in three]),
        "frame three entries": cost(lambda: [pack(1, b"12345678", b"x" * 400) for _ in range(3 * ROWS)]),
        "keep three entries: encode, frame, fold, one write(2)": cost(keep),
    }
    journal.close()
    encoded = [encode(entry) for three in entries for entry in three]
    found["decode three entries"] = cost(lambda: [decode(payload) for payload in encoded])

    def fold() -> History:
        history = History()
        for three in entries:
            for entry in three:
                history.fold(entry, 0)
        return history

    history = fold()
    found["fold three entries into a history"] = cost(fold)
    found["the tally of an attempt"] = cost(lambda: tally(history))
    found["read an attempt back from the disk"] = cost(lambda: read_history(room / "journal")) / CALM
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--to", type=Path, help="a Parquet file that every piece is added to")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="journeybatch-bench-") as room:
        found = pieces(Path(room))
    print("| piece | CPU µs/row |\n| --- | ---: |")
    for name, us in found.items():
        print(f"| {name} | {us:.2f} |")
    if given.to is not None:  # processor time only
        taken = {name: Measure(math.nan, us * ROWS / 1e6, math.nan) for name, us in found.items()}
        keep(given.to, "pieces", [Line(name, 0.0, ROWS, (one,)) for name, one in taken.items()])


if __name__ == "__main__":
    main()
