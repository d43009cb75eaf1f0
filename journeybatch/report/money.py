"""What a run cost, and what the same answers would have cost otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from journeybatch.report.blocks import Block, Column, Section, Sentence, Table
from journeybatch.report.evidence import Evidence
from journeybatch.report.words import interval, number

_STAGES = (
    ("Answers that were known, or asked once for several rows", "naive", "after_reuse"),
    ("Several rows in a request", "after_reuse", "after_packing"),
    ("Cheaper models first", "after_packing", "after_cascade"),
)
_NEEDED = {"naive", "after_reuse", "after_packing", "after_cascade", "spent"}
_COLUMNS = (Column(""), Column("Requests", numeric=True), Column("Credits", numeric=True))


def credits_section(evidence: Evidence) -> Section:
    """All that is known of the credits of the latest run. What an older summary does not say is left out."""
    said = evidence.summary.get("credits") or {}
    blocks: list[Block] = []
    costs = evidence.summary.get("costs")
    if isinstance(costs, Mapping) and costs.keys() >= _NEEDED:
        blocks.append(savings(costs))
    blocks.append(_balance(evidence, said))
    reconciled = said.get("reconciliation")
    if isinstance(reconciled, Mapping) and reconciled.get("message"):
        wrong = reconciled.get("verdict") in ("more", "less")
        message = str(reconciled["message"])
        blocks.append(Sentence(message[:1].upper() + message[1:] + ".", warning=wrong))
    return Section("credits", "Credits", tuple(blocks))


def savings(costs: Mapping[str, Any]) -> Table:
    """From one request for each row to what was spent, stage by stage; stages that changed nothing are left out."""
    rows = [("One request for each row", *_texts(costs["naive"]))]
    for name, before, after in _STAGES:
        saved = _less(costs[before], costs[after])
        if any(saved.values()):
            rows.append((name, *_texts(saved, minus=True)))
    for name, key in (("Asked again", "asked_again"), ("For rows that are gone", "departed")):
        if costs.get(key) and any(costs[key].values()):
            rows.append((name, *_texts(costs[key])))
    rows.append(("Spent", *_texts(costs["spent"])))
    return Table(_COLUMNS, tuple(rows), "How the bill came about", total=True)


def _balance(evidence: Evidence, said: Mapping[str, Any]) -> Table:
    run, spent_ever = evidence.run, evidence.history.spent
    rows = [("Spent, certainly", number(run.spent))]
    if run.unknown:
        rows.append(("In doubt besides, at most", number(run.unknown)))
    if "planned_min" in said:
        rows.insert(0, ("Planned", interval(said["planned_min"], said["planned_max"])))
    if evidence.cap is not None:
        rows.append(("Cap", number(evidence.cap)))
    for name, key in (("Balance before", "balance_before"), ("Balance after", "balance_after")):
        if said.get(key) is not None:
            rows.append((name, number(said[key])))
    if spent_ever != run.spent:
        rows.append(("Spent here in all runs", number(spent_ever)))
    if said.get("departed"):
        rows.append(("Of that, for rows that are gone", number(said["departed"])))
    return Table((Column(""), Column("Credits", numeric=True)), tuple(rows), "This run" if spent_ever else "")


def _less(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one[key] - other[key] for key in ("requests", "credits_min", "credits_max")}


def _texts(cost: Mapping[str, int], *, minus: bool = False) -> tuple[str, str]:
    sign = -1 if minus else 1
    return number(sign * cost["requests"]), interval(sign * cost["credits_min"], sign * cost["credits_max"])
