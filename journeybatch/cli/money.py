"""The cost tables: of a plan, and of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from journeybatch.cli import screen
from journeybatch.costs import Cost, Outlook, interval
from journeybatch.planning import SEEN

Line = tuple[str, object, object, str]


def tell_outlook(costs: Outlook, models: tuple[str, ...]) -> None:
    """How the bill of a plan shrinks; nothing where it does not, or where nothing is left to ask."""
    cascade = len(models) > 1
    if not costs.best.requests or (costs.naive == costs.best and not cascade):
        return
    lines = [_line("naive", costs.naive, f"each row alone, of {models[-1]}" if cascade else "each row alone")]
    for name, before, after in (
        ("after reuse", costs.naive, costs.after_reuse),
        ("after packing", costs.after_reuse, costs.after_packing),
    ):
        if before != after:
            lines.append(_line(name, after))
    if not cascade and costs.best.requests != costs.worst.requests:  # a pilot decides about packs
        lines[-1:] = [
            _line("packed, best", costs.best, "the largest packs agree"),
            _line("packed, worst", costs.worst, "none does"),
        ]
    if cascade:
        lines.append(_line("cascade, best", costs.best, f"no row goes up from {models[0]}"))
        lines.append(
            _line("cascade, expected", costs.expected, "rows go up as often as so far")
            if costs.expected
            else ("cascade, expected", "?", "?", f"not known until {SEEN} rows are done")
        )
        lines.append(_line("cascade, worst", costs.worst, "all rows go up"))
    _out(lines)


def tell_savings(costs: dict[str, Any], *, cascade: bool) -> None:
    """How a run's bill came about, from the summary's ``costs``; nothing where each row was asked once and alone."""
    stages = {name: Cost(**costs[name]) for name in costs}
    lines = [_line("naive", stages["naive"], "each row alone" + ", of the strongest model" * cascade)]
    before = stages["naive"]
    for name in ("after_reuse", "after_packing", "after_cascade"):
        if stages[name] != before:
            lines.append(_line(name.replace("_", " "), stages[name]))
        before = stages[name]
    for name, why in (
        ("pilot", "packs asked only to compare"),
        ("asked_again", "nothing in them was asked for the first time"),
        ("departed", "for what no row asks any more"),
    ):
        if stages[name] != Cost():
            lines.append(_line(name.replace("_", " "), stages[name], why))
    if len(lines) == 1:
        return
    lines.append(_line("spent", stages["spent"]))
    if stages["in_doubt"].requests:
        lines.append(_line("in doubt", stages["in_doubt"], "perhaps charged besides"))
    lines.append(_line("saved", stages["saved"], _share(stages["saved"], stages["naive"])))
    _out(lines)


def tell_models(models: dict[str, Any]) -> None:
    """Which model of a cascade did what, from the summary's ``models``."""
    if len(models) > 1:
        columns = ("model", "requests", "credits", "answered", "went up")
        rows = [
            (name, part["requests"], interval(part["credits"], part["credits_max"]), part["answered"], part["climbed"])
            for name, part in models.items()
        ]
        screen.out_table(columns, rows, numbers=columns[1:])


def _line(name: str, cost: Cost, why: str = "") -> Line:
    return name, cost.requests, cost.credits, why


def _share(saved: Cost, naive: Cost) -> str:
    """Which part was saved, where that is the same at both ends of the prices."""
    ends = ((saved.credits_min, naive.credits_min), (saved.credits_max, naive.credits_max))
    parts = {round(100 * part / whole) for part, whole in ends if whole}
    return f"{parts.pop()} %" if len(parts) == 1 else ""


def _out(lines: Iterable[Line]) -> None:
    screen.out_table(("", "requests", "credits", " "), lines, numbers=("requests", "credits"))
