"""The rows of a run as the page's browser has them: what was asked, what came back, every attempt."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from journeybatch.archive import mapped, received
from journeybatch.asking import Ask, Messages
from journeybatch.attempts import BORROWED, CHARGES, SETTLED, UNSENT, request_name
from journeybatch.errors import ApiFailure
from journeybatch.history import History
from journeybatch.journal import NAME
from journeybatch.records import Completion
from journeybatch.report.browser import Browser, Mark, Reply, Row, Score, Texts, Tried
from journeybatch.report.evidence import Evidence
from journeybatch.report.selection import ROWS, chosen
from journeybatch.report.words import cut, interval
from journeybatch.wire import judge

if TYPE_CHECKING:
    import polars as pl

    from journeybatch.report.grades import Grades

Said = tuple[tuple[str, int], ...]
"""Messages, as pairs of a role and the place of a text."""
_STATUSES = ("answered", "failed", "pending")


def browser_of(evidence: Evidence, most: int = ROWS, grades: Grades | None = None) -> Browser:
    """The rows of a run, ``most`` at most; with the ``grades`` of an evaluation."""
    numbers, note = chosen(evidence, most, None if grades is None else grades.striking)
    frame = _results(evidence, numbers)
    texts, marks = Texts(), _Marks(evidence, grades)
    asked = list(_questions(evidence, frame, numbers))
    attempts = _attempts(evidence.history, {key for _, keys in asked for each in keys for key in each})
    scores = grades.scores_of(numbers) if grades else {}
    about = (grades.target, grades.group) if grades else (None, None)
    rows = []
    with mapped(evidence.directory / NAME) as journal:
        replies = _Replies(evidence, attempts, journal, scores)
        results = frame.iter_rows(named=True)
        for (messages, keys), found in zip(asked, zip(*[results] * evidence.width, strict=True), strict=True):
            first = found[0]
            shared, own = _said(messages, texts, len(found))
            target, group = (first[name] if name else None for name in about)
            rows.append(
                Row(
                    first[f"{evidence.prefix}jb_row"],
                    tuple(_cell(first[name]) for name in evidence.inputs),
                    shared,
                    tuple(map(replies.read, found, keys, own)),
                    marks.of(found),
                    _cell(target),
                    _cell(group),
                )
            )
    return Browser(
        columns=evidence.inputs,
        fields=tuple(evidence.answers) if evidence.spec.answer.contract.structured else (),
        variants=_names(evidence),
        marks=marks.all,
        texts=texts.all,
        rows=tuple(rows),
        note=note,
    )


def _results(evidence: Evidence, numbers: list[int]) -> pl.DataFrame:
    """The results of some rows: row by row, variant by variant, sample by sample."""
    import polars as pl

    jb = f"{evidence.prefix}jb_"
    place = {name: n for n, name in enumerate(evidence.variants)}
    order = [pl.col(f"{jb}row")]
    order += [pl.col(f"{jb}variant").replace_strict(place, return_dtype=pl.Int64)] if place else []
    order += [pl.col(f"{jb}sample")] if evidence.spec.samples > 1 else []
    return evidence.scan().filter(pl.col(f"{jb}row").is_in(numbers)).collect(engine="streaming").sort(*order)


def _said(messages: tuple[Messages, ...], texts: Texts, width: int) -> tuple[Said, list[Said]]:
    """What a row was asked, if that is the same for all variants; and for each of its ``width`` replies, if not."""
    said = [tuple((message.role, texts.place(cut(message.content))) for message in each) for each in messages]
    if len(set(said)) == 1:
        return said[0], [()] * width
    return (), [each for each in said for _ in range(width // len(said))] if said else [()] * width


def _names(evidence: Evidence) -> tuple[str, ...]:
    """What each reply of a row is called."""
    samples = evidence.spec.samples
    if samples == 1:
        return tuple(cut(name, 200) for name in evidence.variants) or ("Reply",)
    variants = tuple(f"{cut(name, 200)}, sample" for name in evidence.variants) or ("Sample",)
    return tuple(f"{name} {n + 1}" for name in variants for n in range(samples))


def _questions(
    evidence: Evidence, frame: pl.DataFrame, numbers: list[int]
) -> Iterator[tuple[tuple[Messages, ...], list[list[bytes]]]]:
    """Per row chosen: its messages, by variant, and for each reply all keys it may have been asked under."""
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
        yield question[0], [[key for key in keys if key is not None] for keys in zip(*steps, strict=True)]


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

    def __init__(
        self,
        evidence: Evidence,
        attempts: dict[bytes, list[int]],
        journal: memoryview,
        scores: Mapping[tuple[int, str, int], tuple[Score, ...]],
    ) -> None:
        self._scores = scores
        self._history, self._attempts, self._journal = evidence.history, attempts, journal
        self._prefix, self._answers = evidence.prefix, evidence.answers
        self._structured = evidence.spec.answer.contract.structured

    def read(self, found: dict[str, Any], keys: list[bytes], messages: Said) -> Reply:
        """The reply of one row of the results, whose prompt was asked under ``keys``, in ``messages`` of its own."""

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
            scores=self._scores.get((of("row"), of("variant") or "", of("sample") or 0), ()),
            credits=f"{of('credits').normalize():f}",
            latency_s=of("latency_s"),
            facts=_facts(of),
            attempts=tuple(self._tried(i) for i in tried),
            messages=messages,
        )

    def _delivered(self, tried: list[int]) -> str | None:
        """The last whole reply that could not be used."""
        a = self._history.attempts
        for i in reversed(tried):
            if a.offset[i] >= 0 and a.charge[i] == SETTLED:
                entry = received(self._journal, self._history, i)
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
            message=cut(a.message[i] or "", 2000),
            at=datetime.fromtimestamp(a.at[i], UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00"),
            latency_s=round(a.latency_s[i], 3) if a.offset[i] >= 0 else None,
        )


class _Marks:
    """Marks as they are met: those of an evaluation, statuses, kinds of failure, finish reasons worth a look."""

    def __init__(self, evidence: Evidence, grades: Grades | None) -> None:
        self._prefix, self._answers, self._samples = evidence.prefix, evidence.answers, evidence.spec.samples
        self._graded = grades.marks if grades else {}
        names = [*self._graded, *(Mark("Status", status) for status in _STATUSES)]
        self._places = {mark: n for n, mark in enumerate(names)}
        self._of_row: dict[int, list[Mark]] = defaultdict(list)
        for mark, rows in self._graded.items():
            for row in rows:
                self._of_row[row].append(mark)

    def of(self, found: tuple[dict[str, Any], ...]) -> tuple[int, ...]:
        """The marks of a row, given its results."""
        names = [name for result in found for name in self._names(result)]
        names += self._of_row.get(found[0][f"{self._prefix}jb_row"], ())
        said = [[result[name] for name in self._answers] for result in found]
        if any(said[n] != said[n - n % self._samples] for n in range(len(said))):
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
