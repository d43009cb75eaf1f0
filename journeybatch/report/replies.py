"""The rows of a run as the page's browser has them: what was asked, what came back, every attempt.

A page holds so many rows and no more: where there are more, those without an answer come first, and others evenly.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from journeybatch.archive import mapped, received
from journeybatch.asking import Ask, Messages
from journeybatch.attempts import BORROWED, CHARGES, SETTLED, UNSENT, request_name
from journeybatch.errors import ApiFailure
from journeybatch.history import History
from journeybatch.journal import NAME
from journeybatch.records import Completion
from journeybatch.report.browser import Browser, Mark, Reply, Row, Texts, Tried
from journeybatch.report.evidence import Evidence
from journeybatch.report.words import cut, interval, number
from journeybatch.wire import judge

if TYPE_CHECKING:
    import polars as pl

ROWS = 10_000
"""Rows in a page, unless somebody asks for another number."""
LETTERS = 48_000_000
"""Characters of input and replies in a page; about 10 MB of HTML."""
_STATUSES = ("answered", "failed", "pending")


def browser_of(evidence: Evidence, most: int = ROWS) -> Browser:
    """The rows of a run, ``most`` at most."""
    import polars as pl

    numbers, note = chosen(evidence, most)
    row, samples = f"{evidence.prefix}jb_row", evidence.spec.samples
    order = [row, f"{evidence.prefix}jb_sample"] if samples > 1 else [row]
    frame = evidence.scan().filter(pl.col(row).is_in(numbers)).collect(engine="streaming").sort(*order)
    texts, marks = Texts(), _Marks(evidence)
    asked = list(_questions(evidence, frame, numbers))
    attempts = _attempts(evidence.history, {key for _, keys in asked for each in keys for key in each})
    rows = []
    with mapped(evidence.directory / NAME) as journal:
        replies = _Replies(evidence, attempts, journal)
        results = frame.iter_rows(named=True)
        for (messages, keys), found in zip(asked, zip(*[results] * samples, strict=True), strict=True):
            rows.append(
                Row(
                    found[0][row],
                    tuple(_cell(found[0][name]) for name in evidence.inputs),
                    tuple((message.role, texts.place(cut(message.content))) for message in messages),
                    tuple(map(replies.read, found, keys)),
                    marks.of(found),
                )
            )
    return Browser(
        columns=evidence.inputs,
        fields=tuple(evidence.answers) if evidence.spec.answer.contract.structured else (),
        variants=tuple(f"Sample {n + 1}" for n in range(samples)) if samples > 1 else ("Reply",),
        marks=marks.all,
        texts=texts.all,
        rows=tuple(rows),
        note=note,
    )


def chosen(evidence: Evidence, most: int = ROWS) -> tuple[list[int], str]:
    """The rows that a page holds, and a sentence about which they are where they are not all."""
    import polars as pl

    frame = evidence.rows.group_by("row", maintain_order=True).agg(open=(pl.col("status") != "answered").any())
    names = [name for name, kind in evidence.scan().collect_schema().items() if kind == pl.String]
    size = pl.sum_horizontal(pl.col(names).str.len_chars().fill_null(0).clip(0, 20_000)).sum()
    letters = int(evidence.scan().select(size).collect(engine="streaming").item()) if names else 0
    fit = min(most, int(frame.height * LETTERS / letters) if letters > LETTERS else most)
    if frame.height <= fit:
        return frame["row"].to_list(), ""
    waiting, others = frame.filter("open")["row"], frame.filter(~pl.col("open"))["row"]
    first = _evenly(waiting, min(len(waiting), fit // 2 if len(others) > fit // 2 else fit - len(others)))
    rest = _evenly(others, fit - len(first))
    all_of = "all" if len(first) == len(waiting) else f"{number(len(first))} of the {number(len(waiting))}"
    note = (
        f"This page holds {number(len(first) + len(rest))} of {number(frame.height)} rows: {all_of} without an answer, "
        f"and {number(len(rest))} others at even distances. `journeybatch show DIR ROW` shows any."
    )
    return sorted([*first, *rest]), note


def _evenly(rows: pl.Series, wanted: int) -> list[int]:
    return [rows[place * len(rows) // wanted] for place in range(wanted)] if wanted else []


def _questions(
    evidence: Evidence, frame: pl.DataFrame, numbers: list[int]
) -> Iterator[tuple[Messages, list[list[bytes]]]]:
    """Per row chosen: its messages (the first variant's), and for each reply all keys it may have been asked under."""
    began = evidence.history.began
    if began is None:
        raise LookupError("a journal with rows says what was asked")
    ask = Ask.parse(began.ask, evidence.inputs)
    inputs = frame.select(evidence.inputs).gather_every(ask.width) if evidence.inputs else frame
    wanted = None
    if not evidence.spec.dedupe:  # how often a prompt stood before can only be told from all rows
        inputs = evidence.scan().select(evidence.inputs).collect().gather_every(ask.width)
        wanted = set(numbers)
    seen: dict[bytes, int] = {}
    for number_, question in enumerate(ask.questions(inputs, seen)):
        if wanted is not None and number_ not in wanted:
            continue
        if isinstance(question, Exception):
            yield (), [[] for _ in range(ask.width)]
            continue
        steps = [ask.keys(step, question) for step in ask.steps]
        yield question[0][0], [[key for key in keys if key is not None] for keys in zip(*steps, strict=True)]


def _attempts(history: History, wanted: set[bytes]) -> dict[bytes, list[int]]:
    """The attempts that asked each of the ``wanted`` keys."""
    a = history.attempts
    found: dict[bytes, list[int]] = defaultdict(list)
    for i in range(len(a)):
        for key in a.keys_of(i):
            if key in wanted:
                found[key].append(i)
    return found


class _Replies:
    """Replies of rows, with what the journal knows of them."""

    def __init__(self, evidence: Evidence, attempts: dict[bytes, list[int]], journal: memoryview) -> None:
        self._history, self._attempts, self._journal = evidence.history, attempts, journal
        self._prefix, self._answers = evidence.prefix, evidence.answers
        self._structured = evidence.spec.answer.contract.structured

    def read(self, found: dict[str, Any], keys: list[bytes]) -> Reply:
        """The reply of one row of the results, whose prompt was asked under ``keys``."""

        def of(name: str) -> Any:
            return found.get(f"{self._prefix}jb_{name}")

        tried = sorted({i for key in dict.fromkeys(keys) for i in self._attempts.get(key, ())})
        values = [found[name] for name in self._answers]
        text = of("text") if self._structured else values[0]
        if text is None and of("status") == "failed":
            text = self._delivered(tried)
        return Reply(
            status=of("status"),
            text=cut(text or ""),
            error=of("error") or "",
            message=cut(of("error_message") or "", 2000),
            fields=tuple(map(_cell, values)) if self._structured else (),
            credits=f"{of('credits').normalize():f}",
            latency_s=of("latency_s"),
            facts=_facts(of),
            attempts=tuple(self._tried(i) for i in tried),
        )

    def _delivered(self, tried: list[int]) -> str | None:
        """The last whole reply that could not be used."""
        a = self._history.attempts
        for i in reversed(tried):
            if a.offset[i] >= 0 and a.charge[i] == SETTLED:
                entry = received(self._journal, a.offset[i])
                try:
                    return judge(Completion(entry.status, entry.headers, entry.body, entry.latency_s)).text
                except ApiFailure:
                    continue
        return None

    def _tried(self, i: int) -> Tried:
        a = self._history.attempts
        borrowed, unsent = a.error[i] == BORROWED, a.error[i] == UNSENT
        return Tried(
            request=request_name(a.request[i]),
            attempt=a.attempt[i],
            model=a.model[i],
            rows=a.prompts(i),
            outcome="from another directory" if borrowed else "not sent" if unsent else CHARGES[a.charge[i]],
            credits=interval(a.credits[i], a.credits_max[i]),
            status=a.status[i] or None,
            error="" if borrowed or unsent else a.error[i] or "",
            message=cut(a.message.get(i, ""), 2000),
            at=datetime.fromtimestamp(a.at[i], UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00"),
            latency_s=round(a.latency_s[i], 3) if a.offset[i] >= 0 else None,
        )


class _Marks:
    """Marks as they are met: statuses, kinds of failure, finish reasons that are worth a look."""

    def __init__(self, evidence: Evidence) -> None:
        self._prefix, self._answers = evidence.prefix, evidence.answers
        self._places: dict[Mark, int] = {Mark("Status", status): n for n, status in enumerate(_STATUSES)}

    def of(self, found: tuple[dict[str, Any], ...]) -> tuple[int, ...]:
        """The marks of a row, given its results."""
        names = [name for result in found for name in self._names(result)]
        first, *others = ([result[name] for name in self._answers] for result in found)
        if any(other != first for other in others):
            names.append(Mark("Samples", "disagree"))
        return tuple(sorted({self._places.setdefault(name, len(self._places)) for name in names}))

    def _names(self, result: dict[str, Any]) -> Iterator[Mark]:
        jb = f"{self._prefix}jb_"
        yield Mark("Status", result[f"{jb}status"])
        if result[f"{jb}error"]:
            yield Mark("What went wrong", result[f"{jb}error"])
        if result[f"{jb}finish_reason"] not in (None, "stop"):
            yield Mark("Finish reason", cut(result[f"{jb}finish_reason"], 60))
        if (result[f"{jb}attempts"] or 0) > 1:
            yield Mark("Attempts", "more than one")
        if result[f"{jb}reused"]:
            yield Mark("Answered through", "another row, or another directory")

    @property
    def all(self) -> tuple[Mark, ...]:
        """All marks, by place."""
        return tuple(self._places)


def _facts(of: Any) -> tuple[tuple[str, str], ...]:
    latency, at, upstream = of("latency_s"), of("answered_at"), of("upstream_model")
    unknown = of("credits_unknown")
    facts = {
        "model": of("model"),
        "answered by": upstream if upstream != of("model") else None,
        "credits": f"{of('credits').normalize():f}",
        "in doubt besides": f"{unknown.normalize():f}" if unknown else None,
        "latency": f"{latency:.2f} s" if latency is not None else None,
        "tokens": f"{of('prompt_tokens')} in, {of('completion_tokens')} out"
        if of("prompt_tokens") is not None
        else None,
        "finish reason": of("finish_reason"),
        "reused": "through another row or directory" if of("reused") else None,
        "answered at": at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else None,
    }
    return tuple((name, cut(value, 200)) for name, value in facts.items() if value is not None)


def _cell(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else cut(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return cut(json.dumps(value, ensure_ascii=False, default=str))
    return str(value)
