"""Scores by group: where variants are strong and where they are weak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeybatch.report.appraisal import Appraisal
from journeybatch.report.blocks import Block, Cell, Column, Head, Section, Sentence, Table, Text, Tint
from journeybatch.report.words import cut, number, plural

if TYPE_CHECKING:
    import polars as pl

SHOWN = 30
"""Most groups in a table."""
VARIANTS = 8
"""Most variants in it."""


def groups_section(appraisal: Appraisal) -> Section | None:
    """Each group's mean by the scorer that decides; None where rows stand alone."""
    import polars as pl

    if not appraisal.found.group:
        return None
    means = _means(appraisal)
    if means.is_empty():
        return None
    shares, names = appraisal.shares(appraisal.found.deciding), [each.name for each in appraisal.best[:VARIANTS]]
    told = {(group, variant): value for group, variant, value in means.select("group", "variant", "mean").iter_rows()}
    order = (
        means.group_by("group", maintain_order=True)
        .agg(pl.col("mean").mean(), pl.col("rows").max())
        .sort("mean", "group")
    )
    rows: list[tuple[Cell, ...]] = []
    for group, _, count in order.head(SHOWN).iter_rows():
        label = Text("no group", quiet=True) if group is None else Head(cut(group, 200))
        rows.append((label, *(_cell(told.get((group, name)), shares) for name in names), number(count)))
    columns = (Column(cut(appraisal.found.group, 100)), *(Column(name, numeric=True) for name in names))
    title = f"Mean of {appraisal.found.deciding} by group, lowest first"
    blocks: list[Block] = [Table((*columns, Column("Rows", numeric=True)), tuple(rows), title)]
    blocks.append(Sentence(_told(order.height, len(appraisal.best))))
    return Section("groups", "Groups", tuple(blocks))


def _told(groups: int, variants: int) -> str:
    told = f"Rows of one group are taken as one observation in every interval here: {plural(groups, 'group')}."
    if groups > SHOWN:
        told += f" The {SHOWN} with the lowest scores."
    if variants > VARIANTS:
        told += f" The best {VARIANTS} variants."
    return told


def _cell(value: float | None, shares: bool) -> Tint:
    """A mean; the better, the stronger."""
    if value is None:
        return Tint("–")
    return Tint(f"{100 * value:.1f} %", min(4, int(5 * value))) if shares else Tint(number(value))


def _means(appraisal: Appraisal) -> pl.DataFrame:
    """``group`` (as text), ``variant``, ``mean``, and the number of ``rows``."""
    import polars as pl

    evidence, found = appraisal.evidence, appraisal.found
    row, group = pl.col(f"{evidence.prefix}jb_row"), pl.col(str(found.group))
    groups = evidence.scan().select(row.alias("row"), group.cast(pl.String).alias("group")).unique("row").collect()
    scored = appraisal.means.filter(pl.col("value").is_not_null())
    return (
        scored.join(groups, on="row", how="left", maintain_order="left")
        .group_by("group", "variant", maintain_order=True)
        .agg(mean=pl.col("value").mean(), rows=pl.len())
    )
