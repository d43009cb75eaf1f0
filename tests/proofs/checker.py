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


class Broken(AssertionError):
    """A promise that was not kept: everything that does not add up, one line each."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a job was given and what it left. ``bill`` is the server's, one mapping per request that arrived; ``right``
    gives the answer's columns for an input row and the model that answered it.

    ``unfinished``: rows may be pending. ``failing``: rows may have failed. ``once``: no row's question may have been
    settled twice (not so where packs miss rows, or models are asked in turn). ``samples`` results stand for each row.
    ``departed``: rows that were charged for may have left the table.
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
    """The records of a bill file, one JSON object a line."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def judge(evidence: Evidence) -> Sums:
    """Hold a directory against its table and its bill. Raises Broken with all that does not add up."""
    results = pq.read_table(evidence.output / "results.parquet").to_pylist()
    latest = pq.read_table(evidence.output / "requests.parquet").to_pylist()
    ledger = [*_earlier(evidence.output), *latest]
    summary = json.loads((evidence.output / "summary.json").read_text())
    wrong = [
        *_rows(evidence, results),
        *_answers(evidence, results),
        *_attempts(evidence, ledger),
        *_origins(results, ledger),
        *_money(evidence, results, ledger, summary),
        *_summary(evidence, results, latest, summary),
    ]
    if wrong:
        raise Broken("\n".join(wrong[:20]))
    certain = sum(each["credits"] for each in ledger)
    return Sums(
        len(results),
        sum(row["jb_status"] == "answered" for row in results),
        len(evidence.bill),
        _sum(evidence.bill),
        certain,
        sum(each["credits_max"] for each in ledger) - certain,
    )


def _earlier(output: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((output / "requests").glob("*.parquet")):
        yield from pq.read_table(path).to_pylist()


def _sum(bill: Sequence[Row]) -> int:
    return sum(record["credits"] for record in bill)


def _rows(evidence: Evidence, results: list[Row]) -> Iterator[str]:
    """Every input row exactly ``samples`` times, in order, as it was."""
    table = [row for row in evidence.table for _ in range(evidence.samples)]
    if len(results) != len(table):
        yield f"{len(results)} rows of results for {len(table)} rows"
        return
    for place, (given, row) in enumerate(zip(table, results, strict=True)):
        if row["jb_row"] != place // evidence.samples:
            yield f"row {place}: jb_row says {row['jb_row']}"
        for column, value in given.items():
            if row[column] != value:
                yield f"row {place}: {column} is {row[column]!r} and was {value!r}"
    allowed = {"answered", *["pending"] * evidence.unfinished, *["failed"] * evidence.failing}
    for status, count in Counter(row["jb_status"] for row in results).items():
        if status not in allowed:
            yield f"{count} rows are {status}"


def _answers(evidence: Evidence, results: list[Row]) -> Iterator[str]:
    for row in results:
        if row["jb_status"] != "answered":
            continue
        for column, value in evidence.right(row, row["jb_model"]).items():
            if row[column] != value:
                yield f"row {row['jb_row']}: {column} is {row[column]!r}, and the answer was {value!r}"


def _attempts(evidence: Evidence, ledger: list[Row]) -> Iterator[str]:
    """The ledger against the bill, attempt by attempt."""
    names = Counter((each["request"], each["attempt"]) for each in ledger)
    yield from (f"attempt {name} stands {n} times in the ledger" for name, n in names.items() if n > 1)
    if len(evidence.bill) > len(ledger):
        yield f"the server saw {len(evidence.bill)} requests, the ledger has {len(ledger)}"
    billed = {record["id"]: record["credits"] for record in evidence.bill if record["id"] is not None}
    settled = [each for each in ledger if each["outcome"] == "settled"]
    seen = Counter(each["upstream_id"] for each in settled)
    for name, n in seen.items():
        if n > 1:
            yield f"the reply {name} stands {n} times in the ledger"
        if name not in billed:
            yield f"the reply {name} is on no bill"
    for each in settled:
        charge = billed.get(each["upstream_id"], each["credits"])
        if not each["credits"] <= charge <= each["credits_max"]:
            yield f"{each['upstream_id']}: {charge} credits on the bill, {each['credits']} in the ledger"
    for each in ledger:
        if each["outcome"] != "settled" and each["credits"]:
            yield f"attempt {each['request']} is {each['outcome']} and certainly cost {each['credits']}"
        if each["outcome"] == "free" and each["credits_max"]:
            yield f"attempt {each['request']} is free and may have cost {each['credits_max']}"
    if evidence.once:
        bought = Counter(key for each in settled for key in each["keys"])
        yield from (f"{key} was bought {n} times" for key, n in bought.items() if n > 1)


def _origins(results: list[Row], ledger: list[Row]) -> Iterator[str]:
    """An answered row names a settled request that asked for its key."""
    asked = {each["request"]: each for each in ledger if each["outcome"] == "settled"}
    for row in results:
        if row["jb_status"] == "answered" and row["jb_request"] is not None:
            origin = asked.get(row["jb_request"])
            if origin is None:
                yield f"row {row['jb_row']}: no settled request {row['jb_request']}"
            elif origin["model"] != row["jb_model"]:
                yield f"row {row['jb_row']}: answered by {origin['model']}, and says {row['jb_model']}"


def _money(evidence: Evidence, results: list[Row], ledger: list[Row], summary: Row) -> Iterator[str]:
    shares = sum((row["jb_credits"] for row in results), Decimal(0))
    doubts = sum((row["jb_credits_unknown"] for row in results), Decimal(0))
    certain = sum(each["credits"] for each in ledger)
    most = sum(each["credits_max"] for each in ledger)
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


def _summary(evidence: Evidence, results: list[Row], latest: list[Row], summary: Row) -> Iterator[str]:
    rows, credits = summary["rows"], summary["credits"]
    for status in ("answered", "failed", "pending"):
        count = sum(row["jb_status"] == status for row in results)
        if rows[status] != count:
            yield f"the summary says {rows[status]} {status} rows, the results have {count}"
    if rows["total"] != len(results):
        yield f"the summary says {rows['total']} rows in all, the results have {len(results)}"
    spent = sum(each["credits"] for each in latest)
    unknown = sum(each["credits_max"] for each in latest) - spent
    if (said := (credits["spent"], credits["unknown_max"])) != (spent, unknown):
        yield f"the summary says {said[0]} + {said[1]} credits, the ledger of the run {spent} + {unknown}"
    if not evidence.unfinished and summary["finished_at"] is None:
        yield "the run has not finished"
