"""promptfoo's assertions as scorers: which of them mean the same, and what is nearest to the others."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from itertools import count
from typing import Any

import msgspec

_SAME = {"equals", "contains", "icontains", "starts-with", "regex", "levenshtein"}
_LISTS = {"contains-any", "contains-all", "icontains-any", "icontains-all"}
_JUDGED = {"llm-rubric", "model-graded-closedqa", "factuality", "model-graded-factuality"}
_FULFILS = (
    "The expert says what is required of the answer. The answer is correct if it fulfils all of that, else incorrect."
)
_NEAREST = {
    "similar": "`similar` compares letters, not meaning; a rubric (`model-graded`) is nearest",
    "javascript": "`python: grade.py:grade` is nearest",
    "python": "`python: grade.py:grade` is nearest; it is called as grade(answer, target, row)",
    "contains-json": "`is-json` is nearest: the whole reply is JSON",
    "cost": "`gate: {credits_per_correct: N}` is nearest",
    "latency": "the column jb_latency_s of results.parquet tells it",
    "assert-set": "`weight` beside each scorer is nearest",
    "rouge-n": "`f1` is nearest",
    "bleu": "`f1` is nearest",
    "f-score": "`f1` is nearest: the share of common words",
    "answer-relevance": "a rubric (`model-graded`) is nearest",
    "is-refusal": "`rows.refused` in summary.json counts them",
}
KNOWN = _SAME | _LISTS | _JUDGED | set(_NEAREST)
KNOWN |= {"is-json", "is-xml", "is-sql", "is-html", "contains-xml", "contains-sql", "contains-html", "word-count"}
KNOWN |= {
    "classifier",
    "moderation",
    "guardrails",
    "webhook",
    "select-best",
    "max-score",
    "g-eval",
    "pi",
    "ruby",
    "meteor",
}
KNOWN |= {"perplexity", "perplexity-score", "context-faithfulness", "context-recall", "context-relevance", "gleu"}
"""The types that promptfoo has, whether or not there is anything like them here."""
_EDITS = 5
"""promptfoo's default for ``levenshtein``."""


class Assertion(msgspec.Struct, frozen=True):
    """One assertion of a test, as a scorer with its options. ``value`` is what it expects, None where nothing could
    stand in a column. ``name`` is the metric's, empty without one."""

    scorer: str
    options: dict[str, Any]
    value: Any
    weight: int | float
    name: str

    @property
    def key(self) -> str:
        """What a scorer can have only one of, as JSON: assertions of the same key can share a scorer."""
        return json.dumps([self.scorer, self.options, self.weight, self.name], sort_keys=True, default=str)


def read_assertion(item: Any, row: Mapping[str, Any], notes: list[str]) -> Assertion | None:
    """The assertion as a scorer; None, and a note, where there is none like it. ``row`` are the test's variables."""
    if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
        notes.append("assert: expected a mapping with a type")
        return None
    kind = item["type"]
    plain, negated = kind.removeprefix("not-"), kind.startswith("not-")
    for key in sorted(set(item) - {"type", "value", "weight", "metric", "threshold", "provider"}):
        notes.append(f"assert {kind}: {key} is left out")
    value = _filled(item.get("value"), row)
    found = _scorer(plain, value, item)
    if isinstance(found, str):
        notes.append(f"assert {kind}: {found}")
        return None
    scorer, options, expected = found
    weight = item.get("weight", 1)
    if not isinstance(weight, int | float) or weight <= 0:
        notes.append(f"assert {kind}: weight {weight!r:.60}: expected a number above 0; here it weighs 1")
        weight = 1
    return Assertion(("not-" if negated else "") + scorer, options, expected, weight, str(item.get("metric") or ""))


def _scorer(kind: str, value: Any, item: Mapping[str, Any]) -> tuple[str, dict[str, Any], Any] | str:
    """A scorer's name, its options, and what is expected of the row; or why there is none."""
    if isinstance(value, str) and value.startswith("file://"):
        return "a value in a file is not read; write it into the configuration"
    if isinstance(value, str) and "{{" in value:
        return f"its value {value!r:.60} is a template of more than the test's variables"
    if kind == "is-json":
        return ("json-schema", {"schema": value}, None) if isinstance(value, Mapping) else ("is-json", {}, None)
    if kind in _JUDGED:
        rubric = {} if kind.endswith("factuality") else {"rubric": _FULFILS}
        judge = item.get("provider")
        model = {"model": judge.split(":")[-1]} if isinstance(judge, str) else {}
        return ("model-graded", {**rubric, **model, "partial": False}, value) if value else "it has no value"
    if kind in _LISTS:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        return (kind, {}, value) if isinstance(value, list) and value else "expected a list of texts"
    if kind in _SAME:
        if value is None or isinstance(value, Mapping | list):
            return "expected a text or a number as its value"
        edits = {"distance": int(item.get("threshold", _EDITS))} if kind == "levenshtein" else {}
        return kind, edits, value if isinstance(value, str) else json.dumps(value)
    return f"not supported; {_NEAREST.get(kind, 'it is left out')}"


def _filled(value: Any, row: Mapping[str, Any]) -> Any:
    """``value`` with the test's variables where it names them."""
    if isinstance(value, list):
        return [_filled(item, row) for item in value]
    if not isinstance(value, str):
        return value

    def cell(match: re.Match[str]) -> str:
        return str(row[match[1]]) if match[1] in row else match[0]

    return re.sub(r"\{\{\s*(\w+)\s*\}\}", cell, value)


def scorers_of(assertions: list[list[Assertion]], rows: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """The scorers for the assertions of each test. What tests expect of one is put into ``rows``, in a column of its
    own, unless all expect the same."""
    slots: dict[tuple[str, int], dict[int, Assertion]] = {}
    for place, own in enumerate(assertions):
        times: dict[str, int] = {}
        for each in own:
            times[each.key] = times.get(each.key, 0) + 1
            slots.setdefault((each.key, times[each.key]), {})[place] = each
    found: dict[str, dict[str, Any]] = {}
    for held in slots.values():
        first = next(iter(held.values()))
        if first.value is None and len(held) < len(rows):
            notes.append(
                f"assert {first.scorer}: some tests have it, some do not; here it is for all or none: left out"
            )
            continue
        name = free(first.name or first.scorer, found)
        named = {"name": name} if name != first.scorer else {}
        found[name] = {**_item(first, name, held, rows), **named, "weight": first.weight}
    if len(found) == 1:
        return [{key: value for key, value in item.items() if key != "weight"} for item in found.values()]
    return list(found.values())  # with weights, all of them decide: a test passes by all its assertions


def _item(first: Assertion, name: str, held: dict[int, Assertion], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A scorer with what is expected: beside it, where all tests expect the same, else in a column."""
    options = dict(first.options)
    everywhere = len(held) == len(rows) and all(each.value == first.value for each in held.values())
    if first.value is None:
        return {first.scorer: options or None}
    if everywhere and "rubric" in options:
        return {first.scorer: {**options, "rubric": first.value}}
    if everywhere and first.scorer.removeprefix("not-") != "model-graded":
        return {first.scorer: {**options, "value": first.value}}
    column = free("expect_" + re.sub(r"\W+", "_", name), rows[0])
    for place, row in enumerate(rows):
        row[column] = held[place].value if place in held else None
    return {first.scorer: options or None, "target": column}


def free(name: str, taken: Container[str]) -> str:
    """``name``, with a number where it is taken."""
    return name if name not in taken else next(each for n in count(2) if (each := f"{name}-{n}") not in taken)
