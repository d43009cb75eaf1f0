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
LOOKED_AT = 2_000
"""Values that tell free text from choices; a table of ten million replies is not held in memory for that."""


def answers_section(evidence: Evidence) -> Section | None:
    """The answer columns that can be shown so; None where there are none, as with free text."""
    import polars as pl

    answered = evidence.scan().filter(pl.col(f"{evidence.prefix}jb_status") == "answered")
    blocks: list[Block] = []
    for place, name in enumerate(evidence.answers):
        values = answered.select(pl.col(name))
        block = distribution(values, f"answer-{place + 1}", alone=len(evidence.answers) == 1)
        if block is not None:
            blocks.append(block)
    return Section("answers", "Answers", tuple(blocks)) if blocks else None


def distribution(values: pl.LazyFrame, name: str, *, alone: bool = False) -> Block | None:
    """The values of a frame's one column; ``name`` is for its chart. None where nothing is to be said: no values, or
    free text that is all there is."""
    import polars as pl

    column = values.collect_schema().names()[0]
    if isinstance(values.collect_schema()[column], pl.List):
        values = values.explode(column)
    kind = values.collect_schema()[column]
    first = values.head(LOOKED_AT).collect().to_series()
    if not len(first):
        return None
    distinct = first.drop_nulls().n_unique()
    if alone and kind == pl.String and distinct > len(first) / 2:
        return None
    if distinct <= FEW:
        counts = values.group_by(column).len("times").collect(engine="streaming")
        if counts.height <= FEW + 1:
            return _bars(counts)
    if isinstance(kind, pl.String):
        return None if alone else _texts(values)
    return _numbers(values.collect(engine="streaming").to_series(), name)


def _texts(values: pl.LazyFrame) -> Sentence:
    import polars as pl

    name = values.collect_schema().names()[0]
    lengths = values.select(pl.col(name).str.len_chars()).collect(engine="streaming").to_series().drop_nulls()
    low, middle, high = (number(float(lengths.quantile(q, "nearest") or 0.0)) for q in (0.0, 0.5, 1.0))
    return Sentence(f"{cut(name, 80)}: texts of {low} to {high} characters, half of them under {middle}.")


def _bars(counts: pl.DataFrame) -> Table:
    """Bars for values and the times they were given: numbers in their order, others by how often they are."""
    import polars as pl

    value, times = counts.columns
    ordered = (
        counts.sort(value) if counts[value].dtype.is_numeric() else counts.sort(times, value, descending=[True, False])
    )
    listed = [(_word(word), n) for word, n in ordered.filter(pl.col(value).is_not_null()).iter_rows()]
    listed += [("(null)", n) for n in ordered.filter(pl.col(value).is_null())[times]]
    whole, most = sum(n for _, n in listed), max(n for _, n in listed)
    rows = tuple((Text(word), Bar(n / most), number(n), percent(n, whole)) for word, n in listed)
    columns = (
        Column("Value"),
        Column("", numeric=True),
        Column("Answers", numeric=True),
        Column("Share", numeric=True),
    )
    return Table(columns, rows, cut(value, 200))


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
