"""The judge of all proofs: what a run left behind, held against its table and the server's bill.

It shares no code with the package: Parquet is read by pyarrow, JSON by json, sums are Python's own. It knows the
columns from docs/results.md and what is right from whoever asks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Row = Mapping[str, Any]
Right = Callable[[Row, str], Mapping[str, Any]]
PIECE = 50_000
"""Rows that become Python's own at a time."""


class Broken(AssertionError):
    """A promise that was not kept: everything that does not add up, one line each."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a job was given and what it left. ``bill`` is the server's, one mapping per request that arrived; ``right``
    gives the answer's columns for an input row and the model that answered it.

    ``unfinished``: rows may be pending. ``failing``: rows may have failed. ``once``: no row's question may have been
    settled twice (not so where packs miss rows, or models are asked in turn). ``samples`` results stand for each row.
    ``departed``: rows that were charged for may have left the table. ``lent`` is the bill of the directories whose
    answers count here: they cost nothing more.
    """

    table: Sequence[Row]
    output: Path
    bill: Sequence[Row]
    right: Right
    cap: int | None = None
    unfinished: bool = False
    failing: bool = False
    once: bool = True
    samples: int = 1
    departed: bool = False
    lent: Sequence[Row] = ()


@dataclass(frozen=True)
class Sums:
    """What was found, where nothing contradicts anything: rows, requests, credits."""

    rows: int
    answered: int
    attempts: int
    billed: int
    certain: int
    unknown: int


def read_bill(path: Path) -> list[dict[str, Any]]:
    """The records of a bill file, one JSON object a line. What stands behind the last one is still being written."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


class Leaves:
    """Parquet files of one kind, one after the other, a few columns at a time: a million rows are no list of dicts."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.tables = [pq.ParquetFile(path).read() for path in paths]

    def __len__(self) -> int:
        return sum(table.num_rows for table in self.tables)

    def pick(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """The cells of these columns, row by row."""
        for table in self.tables:
            for batch in table.select(names).to_batches(max_chunksize=PIECE):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def rows(self, wanted: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
        """Rows of all columns whose name is ``wanted``."""
        for table in self.tables:
            for batch in table.select([*filter(wanted, table.column_names)]).to_batches(max_chunksize=PIECE):
                yield from batch.to_pylist()

    def sum(self, name: str) -> Any:
        return sum(cell for (cell,) in self.pick(name))


def judge(evidence: Evidence) -> Sums:
    """Hold a directory against its table and its bill. Raises Broken with all that does not add up."""
    path = evidence.output / "requests.parquet"
    results, latest = Leaves([evidence.output / "results.parquet"]), Leaves([path])
    ledger = Leaves([*sorted((evidence.output / "requests").glob("*.parquet")), path])
    summary = json.loads((evidence.output / "summary.json").read_text())
    wrong = [
        *_rows(evidence, results),
        *_answers(evidence, results),
        *_attempts(evidence, ledger),
        *_bought(evidence, ledger),
        *_origins(results, ledger),
        *_money(evidence, results, ledger, summary),
        *_summary(evidence, results, latest, summary),
    ]
    if wrong:
        raise Broken("\n".join(wrong[:20]))
    certain = ledger.sum("credits")
    return Sums(
        len(results),
        sum(status == "answered" for (status,) in results.pick("jb_status")),
        len(evidence.bill),
        _sum(evidence.bill),
        certain,
        ledger.sum("credits_max") - certain,
    )


def _sum(bill: Sequence[Row]) -> int:
    return sum(record["credits"] for record in bill)


def _rows(evidence: Evidence, results: Leaves) -> Iterator[str]:
    """Every input row exactly ``samples`` times, in order, as it was."""
    if len(results) != len(evidence.table) * evidence.samples:
        yield f"{len(results)} rows of results for {len(evidence.table)} rows, {evidence.samples} times"
        return
    table = (row for row in evidence.table for _ in range(evidence.samples))
    mine = results.rows(lambda name: name == "jb_row" or not name.startswith("jb_"))
    for place, (given, row) in enumerate(zip(table, mine, strict=True)):
        if row["jb_row"] != place // evidence.samples:
            yield f"row {place}: jb_row says {row['jb_row']}"
        for column, value in given.items():
            if row[column] != value:
                yield f"row {place}: {column} is {row[column]!r} and was {value!r}"
    allowed = {"answered", *["pending"] * evidence.unfinished, *["failed"] * evidence.failing}
    for (status,), count in Counter(results.pick("jb_status")).items():
        if status not in allowed:
            yield f"{count} rows are {status}"


def _answers(evidence: Evidence, results: Leaves) -> Iterator[str]:
    known = ("jb_row", "jb_status", "jb_model")
    for row in results.rows(lambda name: name in known or not name.startswith("jb_")):
        if row["jb_status"] != "answered":
            continue
        for column, value in evidence.right(row, row["jb_model"]).items():
            if row.get(column) != value:
                yield f"row {row['jb_row']}: {column} is {row.get(column)!r}, and the answer was {value!r}"


def _attempts(evidence: Evidence, ledger: Leaves) -> Iterator[str]:
    """The ledger against the bill, attempt by attempt."""
    names = Counter(ledger.pick("request", "attempt"))
    yield from (f"attempt {name} stands {n} times in the ledger" for name, n in names.items() if n > 1)
    if len(evidence.bill) > len(ledger):
        yield f"the server saw {len(evidence.bill)} requests, the ledger has {len(ledger)}"
    billed = {record["id"]: record["credits"] for record in evidence.bill if record["id"] is not None}
    lent = {record["id"] for record in evidence.lent}  # the same as here, should it be asked again here
    seen = set[str]()
    for request, outcome, name, error, least, most in ledger.pick(
        "request", "outcome", "upstream_id", "error", "credits", "credits_max"
    ):
        if outcome != "settled":
            if least:
                yield f"attempt {request} is {outcome} and certainly cost {least}"
            if outcome == "free" and most:
                yield f"attempt {request} is free and may have cost {most}"
            continue
        if error == "borrowed":
            if most or name not in lent:
                yield f"{name} is said to be borrowed, and cost up to {most} here"
            continue
        if name in seen:
            yield f"the reply {name} stands more than once in the ledger"
        if name not in billed:
            yield f"the reply {name} is on no bill"
        seen.add(name)
        if not least <= billed.get(name, least) <= most:
            yield f"{name}: {billed[name]} credits on the bill, {least} in the ledger"


def _bought(evidence: Evidence, ledger: Leaves) -> Iterator[str]:
    if evidence.once:
        pairs = ledger.pick("outcome", "keys")
        bought = Counter(key for outcome, keys in pairs if outcome == "settled" for key in keys)
        yield from (f"{key} was bought {n} times" for key, n in bought.items() if n > 1)


def _origins(results: Leaves, ledger: Leaves) -> Iterator[str]:
    """An answered row names a settled request that asked for its key."""
    asked = {
        request: model for request, model, outcome in ledger.pick("request", "model", "outcome") if outcome == "settled"
    }
    for place, status, request, model in results.pick("jb_row", "jb_status", "jb_request", "jb_model"):
        if status == "answered" and request is not None:
            if request not in asked:
                yield f"row {place}: no settled request {request}"
            elif asked[request] != model:
                yield f"row {place}: answered by {asked[request]}, and says {model}"


def _money(evidence: Evidence, results: Leaves, ledger: Leaves, summary: Row) -> Iterator[str]:
    shares, doubts = Decimal(results.sum("jb_credits")), Decimal(results.sum("jb_credits_unknown"))
    certain, most = ledger.sum("credits"), ledger.sum("credits_max")
    departed, total = Decimal(str(summary["credits"]["departed"])), summary["credits"]["spent_total"]
    if not shares + departed == total == certain:
        yield f"rows have {shares} + {departed} departed credits, the summary {total}, the ledger {certain}"
    if departed and not evidence.departed:
        yield f"{departed} credits are said to be for rows that left"
    if doubts > most - certain or (doubts < most - certain and not evidence.departed):
        yield f"rows have {doubts} credits in doubt, the ledger {most - certain}"
    billed = _sum(evidence.bill)
    if not certain <= billed <= most:
        yield f"the bill is {billed}, and the ledger says {certain} to {most}"
    if evidence.cap is not None and billed > evidence.cap:
        yield f"the bill is {billed}, over the cap of {evidence.cap}"


def _summary(evidence: Evidence, results: Leaves, latest: Leaves, summary: Row) -> Iterator[str]:
    rows, credits = summary["rows"], summary["credits"]
    states = Counter(results.pick("jb_status"))
    for status in ("answered", "failed", "pending"):
        if rows[status] != (count := states[(status,)]):
            yield f"the summary says {rows[status]} {status} rows, the results have {count}"
    if rows["total"] != len(results):
        yield f"the summary says {rows['total']} rows in all, the results have {len(results)}"
    spent = latest.sum("credits")
    unknown = latest.sum("credits_max") - spent
    if (said := (credits["spent"], credits["unknown_max"])) != (spent, unknown):
        yield f"the summary says {said[0]} + {said[1]} credits, the ledger of the run {spent} + {unknown}"
    if not evidence.unfinished and summary["finished_at"] is None:
        yield "the run has not finished"
