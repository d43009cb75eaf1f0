"""Answers against targets, class by class and number by number; judges against people."""

from __future__ import annotations

from collections.abc import Sequence

from journeybatch.evaluation.classification import Classification
from journeybatch.report.appraisal import Appraisal
from journeybatch.report.blocks import Beside, Block, Cell, Column, Head, Section, Sentence, Table, Tint
from journeybatch.report.words import cut, number, plural

LABELS = 12
"""Most labels in a confusion matrix; rarer ones are taken together."""
MATRICES = 8
"""Most variants with a matrix of their own."""


def labels_section(appraisal: Appraisal) -> Section | None:
    """How well labels are met, for each variant; None where answers are no labels."""
    told = [(each.name, each.labels) for each in appraisal.best if each.labels is not None]
    if not any(one.rows for _, one in told):
        return None
    titles = ("Accuracy", "Macro F1", "Cohen's kappa", "Rows")
    columns = (Column("Variant"), *(Column(title, numeric=True) for title in titles))
    rows = tuple(
        (Head(name), _share(one.accuracy), _share(one.macro_f1), _kappa(one), number(one.rows)) for name, one in told
    )
    blocks: list[Block] = [Table(columns, rows)]
    blocks += [Beside(cut(name, 200), (_matrix(one), _classes(one))) for name, one in told[:MATRICES] if one.rows]
    if len(told) > MATRICES:
        blocks.append(Sentence(f"The best {MATRICES} variants; all stand in evaluation.json."))
    return Section("labels", "Labels", tuple(blocks))


def judges_section(appraisal: Appraisal) -> Section | None:
    """How well judges agree with people; None where people graded nothing."""
    if not appraisal.found.judges:
        return None
    titles = ("Cohen's kappa", "The same verdict", "Answers that people graded")
    columns = (Column("Judge"), *(Column(title, numeric=True) for title in titles))
    told = appraisal.found.judges
    rows = tuple((Head(name), _kappa(one), _share(one.accuracy), number(one.rows)) for name, one in told.items())
    blocks: list[Block] = [
        Sentence(
            "Cohen's kappa is 0 where a judge agrees with people as often as by chance, and 1 where it always does."
        ),
        Table(columns, rows),
        *(Beside(cut(name, 200), (_matrix(one, "people", "judge"),)) for name, one in told.items() if one.rows),
    ]
    return Section("judges", "Judges and people", tuple(blocks))


def numbers_section(appraisal: Appraisal) -> Section | None:
    """How near numbers come to their targets; None where answers are no numbers."""
    told = [(each.name, each.numbers) for each in appraisal.best if each.numbers is not None]
    if not any(one.rows for _, one in told):
        return None
    titles = ("Mean absolute error", "Root mean squared error", "R²", "Pearson", "Spearman", "Rows")
    columns = (Column("Variant"), *(Column(title, numeric=True) for title in titles))
    rows: list[tuple[Cell, ...]] = []
    for name, one in told:
        figures = (one.mae, one.rmse, one.r2, one.pearson, one.spearman)
        rows.append((Head(name), *("–" if each is None else number(each, 4) for each in figures), number(one.rows)))
    unread = max(one.unscored for _, one in told)
    blocks: list[Block] = [Table(columns, tuple(rows))]
    if unread:
        blocks.append(Sentence(f"Up to {plural(unread, 'row')} without a number are left out."))
    return Section("numbers", "Numbers", tuple(blocks))


def _matrix(one: Classification, wanted: str = "target", said: str = "reply") -> Table:
    """Counts of pairs; the strength of a cell is its share of its row."""
    shown = _shown(one)
    rest = [n for n in range(len(one.labels)) if n not in shown]
    parts = [[n] for n in shown] + ([rest] if rest else [])
    names = [cut(one.labels[n], 40) for n in shown] + ([f"{len(rest)} others"] if rest else [])
    rows: list[tuple[Cell, ...]] = []
    for part, name in zip(parts, names, strict=True):
        counts = [sum(one.confusion[i][j] for i in part for j in other) for other in parts]
        if sum(counts):
            rows.append((Head(name), *_tints(counts, parts.index(part)), number(sum(counts))))
    columns = (Column(f"{wanted} ↓ {said} →"), *(Column(name, numeric=True) for name in names))
    return Table((*columns, Column("rows", numeric=True)), tuple(rows), "Confusion")


def _shown(one: Classification) -> list[int]:
    """The labels that have a place of their own: the most frequent, in their order."""
    if len(one.labels) <= LABELS:
        return list(range(len(one.labels)))
    often = {n: (one.classes[label].targets, one.classes[label].answers) for n, label in enumerate(one.labels)}
    return sorted(sorted(often, key=lambda n: often[n], reverse=True)[: LABELS - 1])


def _tints(counts: Sequence[int], right: int) -> list[Cell]:
    whole = sum(counts)
    levels = [0 if not count else min(4, 1 + int(4 * count / whole)) for count in counts]
    return [
        Tint(number(count), level, bad=n != right) for n, (count, level) in enumerate(zip(counts, levels, strict=True))
    ]


def _classes(one: Classification) -> Table:
    columns = (
        Column("Class"),
        *(Column(title, numeric=True) for title in ("Precision", "Recall", "F1", "Targets", "Replies")),
    )
    rows = tuple(
        (
            Head(cut(one.labels[n], 40)),
            _share((each := one.classes[one.labels[n]]).precision),
            _share(each.recall),
            _share(each.f1),
            number(each.targets),
            number(each.answers),
        )
        for n in _shown(one)
    )
    return Table(columns, rows, "By class")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _kappa(one: Classification) -> str:
    if one.kappa is None:
        return "–"
    ends = (one.kappa_interval.low, one.kappa_interval.high) if one.kappa_interval else ()
    first, *others = (f"{round(value, 2) + 0.0:.2f}".replace("-", "\u2212") for value in (one.kappa, *ends))
    return first + (f" ({' to '.join(others)})" if others else "")
