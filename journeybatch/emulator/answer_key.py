"""An answer key: what each model says to questions that are known, from a table."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeybatch.catalog import MODELS

ANYBODY = ""
_ANCHORS = (32, 8, 1)  # a question is filed under so many of its first characters: the most that it has
_FORMATS = ".csv, .tsv, .jsonl, .ndjson or .parquet"


class AnswersError(ValueError):
    """An answer key that makes no sense; the message names the row or the column."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the key tells of a model's reply; None for what it leaves open."""

    answer: str | None = None
    confidence: float | None = None


class AnswerKey:
    """Questions and what is said to them, from rows such as those of a table.

    Column ``question``: text that occurs in a prompt. ``answer``: what every model says to it; a column named like a
    model: what that one says. ``confidence`` and ``confidence:MODEL``: numbers for the field ``confidence`` of a
    structured answer. Empty cells and other columns say nothing. AnswersError for rows that make no sense.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._told: dict[str, dict[str, Told]] = {}
        self._filed: dict[int, dict[str, dict[int, set[str]]]] = {}
        for number, row in enumerate(rows, 1):
            question = _cell(row.get("question"))
            if question is None:
                raise AnswersError(f"row {number}: the column `question` is expected to hold a text, and is empty")
            told = _read_row(row, number)
            if self._told.setdefault(question, told) != told:
                raise AnswersError(f"row {number}: this question stands above with other answers: {question[:80]!r}")
            self._file(question)
        if not any(self._told.values()):
            raise AnswersError("no answers: a column `answer` is expected, or one named like a model (gpt-4o)")
        self._filed = dict(sorted(self._filed.items(), reverse=True))

    def __len__(self) -> int:
        return len(self._told)

    def look_up(self, text: str, model: str) -> Told | None:
        """What the longest question that occurs in ``text`` is answered with; None where none does."""
        question = self._find(text)
        if not question:
            return None
        told = self._told[question]
        anybody, own = told.get(ANYBODY, Told()), told.get(model, Told())
        return Told(
            anybody.answer if own.answer is None else own.answer,
            anybody.confidence if own.confidence is None else own.confidence,
        )

    def _file(self, question: str) -> None:
        size = next(size for size in _ANCHORS if size <= len(question))
        lengths = self._filed.setdefault(size, {}).setdefault(question[:size], {})
        lengths.setdefault(len(question), set()).add(question)

    def _find(self, text: str) -> str:
        """One look into a dictionary for each place and anchor; where one holds, one for each length of question."""
        best = ""
        for size, filed in self._filed.items():
            for start in range(len(text) - size + 1):
                lengths = filed.get(text[start : start + size])
                for length in lengths or ():
                    if length > len(best) and (found := text[start : start + length]) in lengths[length]:  # type: ignore[index]
                        best = found
        return best


def _read_row(row: Mapping[str, Any], number: int) -> dict[str, Told]:
    """What a row tells, by model."""
    told: dict[str, Told] = {}
    for column, value in row.items():
        cell = _cell(value)
        name, colon, model = column.partition(":")
        if name == "confidence":
            who = _model(model) if colon else ANYBODY
            if cell is not None:
                told[who] = Told(told.get(who, Told()).answer, _confidence(cell, column, number))
        elif column in MODELS or column == "answer":
            who = column if column in MODELS else ANYBODY
            if cell is not None:
                told[who] = Told(cell, told.get(who, Told()).confidence)
    return told


def _model(name: str) -> str:
    if name in MODELS:
        return name
    near = difflib.get_close_matches(name, MODELS, 1)
    hint = f"; did you mean confidence:{near[0]}?" if near else ""
    raise AnswersError(f"column 'confidence:{name}': there is no model {name!r}{hint}")


def _confidence(cell: str, column: str, number: int) -> float:
    try:
        value = json.loads(cell)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AnswersError(f"row {number}: the column {column!r} is expected to hold a number, not {cell[:80]!r}")
    return value


def _cell(value: Any) -> str | None:
    """A cell as text: JSON for what is not text; None for one that is empty."""
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False)
    text = "" if value is None else str(value).strip()
    return text or None


def read_answers(path: str | os.PathLike[str]) -> AnswerKey:
    """The answer key in a table (CSV, TSV, JSON lines or Parquet). AnswersError names the file and what is wrong;
    OSError if it cannot be read."""
    path = Path(path)
    try:
        return AnswerKey(_read_rows(path))
    except AnswersError as error:
        raise AnswersError(f"{path}: {error}") from None


def _read_rows(path: Path) -> list[dict[str, Any]]:
    kind = path.suffix.lower()
    if kind in (".jsonl", ".ndjson"):
        return _read_lines(path.read_bytes())
    if kind not in (".csv", ".tsv", ".parquet"):
        raise AnswersError(f"a table is expected that ends in {_FORMATS}")
    import polars as pl

    content = path.read_bytes()
    try:
        if kind == ".parquet":
            return pl.read_parquet(content).to_dicts()
        return pl.read_csv(content, separator="\t" if kind == ".tsv" else ",", infer_schema=False).to_dicts()
    except pl.exceptions.PolarsError as error:
        raise AnswersError(f"cannot be read as {kind[1:]}: {str(error).splitlines()[0]}") from None


def _read_lines(content: bytes) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise AnswersError(f"line {number}: a JSON object is expected")
            rows.append(row)
    return rows
