"""How well labels are met: accuracy, precision, recall and F1 of each class, the confusion matrix, Cohen's kappa."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import polars as pl

from journeybatch.evaluation.clusters import critical
from journeybatch.evaluation.estimates import Interval
from journeybatch.evaluation.numerics import np


class ClassScore(msgspec.Struct, frozen=True):
    """One class: of the rows answered with it, the share that are of it (``precision``, None if none were answered
    so); of the rows that are of it, the share answered with it (``recall``, None if there are none); and ``f1``,
    their harmonic mean, 2 tp / (2 tp + fp + fn)."""

    precision: float | None
    recall: float | None
    f1: float
    targets: int
    answers: int


class Classification(msgspec.Struct, frozen=True):
    """``confusion[i][j]`` counts rows of class ``labels[i]`` answered with ``labels[j]``. ``macro_f1`` is the plain
    mean over the classes, which are those that occur as a target or an answer. ``unscored`` rows lack either."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    classes: dict[str, ClassScore]
    accuracy: float | None
    macro_f1: float | None
    kappa: float | None
    kappa_interval: Interval | None
    rows: int
    unscored: int


def classify(
    targets: Sequence[str | None] | pl.Series, answers: Sequence[str | None] | pl.Series, confidence: float = 0.95
) -> Classification:
    """The figures of ``answers`` against ``targets``, row by row; null is unscored. Definitions: Sokolova, Lapalme
    2009, Information Processing and Management 45, 427-437. Raises ValueError where the numbers of rows differ."""
    if len(targets) != len(answers):
        raise ValueError(f"expected an answer for each target; found {len(answers)} for {len(targets)}")
    pairs = pl.DataFrame(
        {"target": pl.Series(targets, dtype=pl.String), "answer": pl.Series(answers, dtype=pl.String)}
    ).drop_nulls()
    labels = tuple(sorted(set(pairs["target"]) | set(pairs["answer"])))
    place = {label: number for number, label in enumerate(labels)}
    table = [[0] * len(labels) for _ in labels]
    for target, answer, count in pairs.group_by("target", "answer").len().iter_rows():
        table[place[target]][place[answer]] = count
    classes = {label: _class(table, number) for label, number in place.items()}
    kappa, interval = cohens_kappa(table, confidence)
    right = sum(table[number][number] for number in range(len(labels)))
    return Classification(
        labels=labels,
        confusion=tuple(map(tuple, table)),
        classes=classes,
        accuracy=right / len(pairs) if len(pairs) else None,
        macro_f1=sum(each.f1 for each in classes.values()) / len(classes) if classes else None,
        kappa=kappa,
        kappa_interval=interval,
        rows=len(pairs),
        unscored=len(targets) - len(pairs),
    )


def _class(table: list[list[int]], number: int) -> ClassScore:
    hit, targets, answers = table[number][number], sum(table[number]), sum(row[number] for row in table)
    return ClassScore(
        precision=hit / answers if answers else None,
        recall=hit / targets if targets else None,
        f1=2 * hit / (targets + answers),
        targets=targets,
        answers=answers,
    )


def cohens_kappa(table: Sequence[Sequence[int]], confidence: float = 0.95) -> tuple[float | None, Interval | None]:
    """Agreement beyond chance of two raters whose counts of pairs are ``table`` (Cohen 1960, Educational and
    Psychological Measurement 20, 37-46), with the interval from its asymptotic error (Fleiss, Cohen, Everitt 1969,
    Psychological Bulletin 72, 323-327), cut at −1 and 1. None where chance alone agrees always: one class, or no
    rows. No interval for perfect agreement, where that error is 0 and tells nothing."""
    counts = np.asarray(table, dtype=np.float64)
    rows = float(counts.sum())
    if rows == 0 or float(counts.sum(axis=0) @ counts.sum(axis=1)) == rows * rows:
        return None, None
    share = counts / rows
    row, column = share.sum(axis=1), share.sum(axis=0)
    seen, chance = float(np.trace(share)), float(row @ column)
    kappa = (seen - chance) / (1 - chance)
    weights = (1 - seen) ** 2 * (column[:, None] + row[None, :]) ** 2
    np.fill_diagonal(weights, ((1 - chance) - (row + column) * (1 - seen)) ** 2)
    spread = float(np.sum(share * weights)) - (seen * chance - 2 * chance + seen) ** 2
    if seen == 1 or spread <= 0:
        return kappa, None
    reach = critical(confidence) * math.sqrt(spread / rows) / (1 - chance) ** 2
    return kappa, Interval(max(-1.0, kappa - reach), min(1.0, kappa + reach), confidence, "asymptotic")
