"""How the values of each answer column are distributed: bars for choices, a histogram for numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeybatch.report import charts
from journeybatch.report.blocks import Bar, Block, Chart, Column, Section, Sentence, Table, Text
from journeybatch.report.evidence import Evidence
from journeybatch.report.figures import binned
from journeybatch.report.words import cut, number, percent, plural

if TYPE_CHECKING:
    import polars as pl

FEW = 12
"""Distinct values that are shown one by one."""


def answers_section(evidence: Evidence) -> Section | None:
    """The answer columns that can be shown so; None where there are none, as with free text."""
    import polars as pl

    answered = evidence.scan().filter(pl.col(f"{evidence.prefix}jb_status") == "answered")
    blocks: list[Block] = []
    for place, name in enumerate(evidence.answers):
        values = answered.select(pl.col(name)).collect().to_series()
        block = distribution(values, f"answer-{place + 1}", alone=len(evidence.answers) == 1)
        if block is not None:
            blocks.append(block)
    return Section("answers", "Answers", tuple(blocks)) if blocks else None


def distribution(values: pl.Series, name: str, *, alone: bool = False) -> Block | None:
    """The values of one column; ``name`` is for its chart. None where nothing is to be said: texts that all differ."""
    import polars as pl

    if isinstance(values.dtype, pl.List):
        values = values.explode()
    if not len(values):
        return None
    counts = values.drop_nulls().value_counts(sort=True)
    if counts.height > FEW:
        if values.dtype.is_numeric():
            return _numbers(values, name)
        if alone:
            return None
        return Sentence(
            f"{cut(values.name, 80)}: {plural(counts.height, 'different text')} in {plural(len(values), 'answer')}."
        )
    if alone and not values.dtype.is_numeric() and counts.height > len(values) / 2:
        return None
    return _bars(values.name, counts, values.null_count())


def _bars(title: str, counts: pl.DataFrame, nulls: int) -> Table:
    value, count = counts.columns
    order = [count, value] if not counts[value].dtype.is_numeric() else [value]
    falling = [True, False] if len(order) == 2 else [False]
    listed = [(_word(word), times) for word, times in counts.sort(order, descending=falling).iter_rows()]
    if nulls:
        listed.append(("(null)", nulls))
    whole = sum(times for _, times in listed)
    most = max((times for _, times in listed), default=1)
    rows = tuple((Text(word), Bar(times / most), number(times), percent(times, whole)) for word, times in listed)
    columns = (
        Column("Value"),
        Column("", numeric=True),
        Column("Answers", numeric=True),
        Column("Share", numeric=True),
    )
    return Table(columns, rows, cut(title, 200))


def _numbers(values: pl.Series, name: str) -> Chart | Sentence:
    found = values.drop_nulls().cast(float)
    finite = found.filter(found.is_finite())
    title = cut(values.name, 200)
    if finite.is_empty():
        return Sentence(f"{title}: no finite numbers.")
    low, middle, high = (number(float(finite.quantile(q) or 0.0)) for q in (0.0, 0.5, 1.0))
    without = len(values) - len(finite)
    says = f"From {low} to {high}, half below {middle}." + (f" {plural(without, 'answer')} without." if without else "")
    bins = binned(finite)
    columns = (Column("From", numeric=True), Column("To", numeric=True), Column("Answers", numeric=True))
    table = Table(columns, tuple((number(a, 6), number(b, 6), number(n)) for a, b, n in bins if n), title)
    return Chart(name, title, says, charts.histogram(bins, cut(values.name, 60), "answers"), table)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value, 6)
    return cut(str(value), 120) or "(empty)"
