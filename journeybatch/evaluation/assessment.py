"""Scores and results become an evaluation: pure, and the same whenever it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch.evaluation import numbers
from journeybatch.evaluation.classification import Classification, classify
from journeybatch.evaluation.estimates import Comparison, Estimate, Terms
from journeybatch.evaluation.numerics import np
from journeybatch.evaluation.outcome import Variant
from journeybatch.evaluation.regression import Regression, regress
from journeybatch.evaluation.repeats import components
from journeybatch.evaluation.score import alternatives, text_of
from journeybatch.evaluation.scorers import Scorer
from journeybatch.evaluation.sentences import sentence
from journeybatch.evaluation.statistics import Findings, find
from journeybatch.evaluation.thrift import pareto, price_of_right

if TYPE_CHECKING:
    import polars as pl

MOST_LABELS = 30
"""Targets of no more different values are labels, which a confusion matrix is made of."""
_LABELLING = ("equals", "iequals", "match", "choice")


class Material(msgspec.Struct, frozen=True):
    """What is assessed. ``results``: the rows of results.parquet, without prefix, in order, with ``variant`` and
    ``sample``, ``status``, ``alone`` (credits as if the variant were the only one), ``latency_s``, ``target`` and
    ``group`` (null where there are none). ``scores`` as in scores.parquet. ``names``: the variants, in order."""

    results: pl.DataFrame
    scores: pl.DataFrame
    names: tuple[str, ...]
    models: dict[str, tuple[str, ...]]
    samples: int
    grouped: bool

    def values(self, scorer: str, variant: str) -> Any:
        """The scores of a variant: a number per row, or rows × samples."""
        import polars as pl

        mine = self.scores.filter((pl.col("scorer") == scorer) & (pl.col("variant") == variant))["value"]
        flat = np.array([np.nan if value is None else value for value in mine], dtype=float)
        return flat.reshape(-1, self.samples) if self.samples > 1 else flat

    def rows_of(self, variant: str) -> pl.DataFrame:
        """A variant's rows of the results."""
        import polars as pl

        return self.results.filter(pl.col("variant") == variant)

    @property
    def groups(self) -> Sequence[Any] | None:
        """What each row of the table belongs to, if rows belong together."""
        return self.rows_of(self.names[0]).gather_every(self.samples)["group"].to_list() if self.grouped else None


def findings(material: Material, scorers: Sequence[str], baseline: str | None, terms: Terms) -> dict[str, Findings]:
    """Estimates and comparisons, by scorer. Those of each scorer are one family."""
    return {
        scorer: find({name: material.values(scorer, name) for name in material.names}, baseline, material.groups, terms)
        for scorer in scorers
    }


def describe(
    material: Material, found: dict[str, Findings], deciding: str, scorer: Scorer | None, terms: Terms
) -> tuple[Variant, ...]:
    """Each variant in figures; ``scorer`` is the one that decides, None where that is a mean of several."""
    described = []
    for name in material.names:
        rows, values = material.rows_of(name), material.values(deciding, name)
        described.append(
            Variant(
                name=name,
                models=material.models[name],
                answered=int((rows["status"] == "answered").sum()),
                failed=int((rows["status"] == "failed").sum()),
                credits=round(float(rows["alone"].sum()), 6),
                seconds=rows["latency_s"].median(),  # type: ignore[arg-type]  # of floats
                scores={key: each.estimates[name] for key, each in found.items()},
                price=_price(material, rows, values, terms),
                repeats=components(values) if material.samples > 1 else None,
                labels=_labels(material, rows, name, scorer, terms),
                numbers=_numbers(material, rows, name, scorer),
            )
        )
    return tuple(described)


def _price(material: Material, rows: pl.DataFrame, values: Any, terms: Terms) -> Any:
    """What a right answer costs; None where scores are no shares."""
    flat = values.mean(axis=1) if material.samples > 1 else values
    costs = rows["alone"].cast(float).to_numpy().reshape(-1, material.samples).sum(axis=1)
    known = flat[~np.isnan(flat)]
    if not len(known) or known.min() < 0 or known.max() > 1:
        return None
    return price_of_right(flat, costs, material.groups, terms)


def _labels(
    material: Material, rows: pl.DataFrame, name: str, scorer: Scorer | None, terms: Terms
) -> Classification | None:
    """The confusion of labels, where the deciding scorer compares answers with few different targets."""
    if scorer is None or scorer.kind not in _LABELLING or scorer.negated or scorer.value is not None:
        return None
    targets = [None if cell is None else alternatives(cell) for cell in rows["target"]]
    if any(each is not None and len(each) != 1 for each in targets):
        return None
    fold = (lambda text: text) if scorer.kind == "equals" else str.casefold
    wanted = [None if each is None or not text_of(each[0]) else fold(text_of(each[0])) for each in targets]
    if not 2 <= len({each for each in wanted if each is not None}) <= MOST_LABELS:
        return None
    return classify(
        wanted, [None if said is None else fold(said) for said in _answers(material, scorer, name)], terms.confidence
    )


def _numbers(material: Material, rows: pl.DataFrame, name: str, scorer: Scorer | None) -> Regression | None:
    """How near numbers come, where the deciding scorer reads numbers."""
    if scorer is None or scorer.kind != "number" or scorer.value is not None:
        return None
    options = scorer.options
    wanted = [_number(options, cell) for cell in rows["target"]]
    given = [_number(numbers.Number(), said) for said in _answers(material, scorer, name)]
    return regress(np.array(wanted, dtype=float), np.array(given, dtype=float))


def _number(options: Any, cell: Any) -> float:
    found = None if cell is None else numbers.only(options, cell, needs_marker=False)
    return float("nan") if found is None else float(found.value)


def _answers(material: Material, scorer: Scorer, name: str) -> list[str | None]:
    import polars as pl

    mine = (pl.col("scorer") == scorer.name) & (pl.col("variant") == name)
    return material.scores.filter(mine)["answer"].to_list()


def front(variants: Sequence[Variant], deciding: str) -> tuple[str, ...]:
    """The names of the variants on the Pareto front of quality and credits."""
    told = {each.name: (value, each.credits) for each in variants if (value := each.scores[deciding].value) is not None}
    return pareto(told)


def verdict(variants: Sequence[Variant], found: Findings, deciding: str, baseline: str | None) -> str:
    """The sentences of ``verdicts`` as one."""
    return "; ".join(verdicts(variants, found.comparisons, deciding, baseline))


def verdicts(
    variants: Sequence[Variant], comparisons: Sequence[Comparison], deciding: str, baseline: str | None
) -> list[str]:
    """What is said on top: how the best variant compares with the others (or all with the baseline), what is decided
    first; or how good the only one is."""
    told = [each for each in variants if each.scores[deciding].value is not None]
    if not told:
        return ["No row has a score: nothing can be said"]
    if len(variants) == 1:
        return [level(variants[0].name, variants[0].scores[deciding])]
    best = max(told, key=lambda each: each.scores[deciding].value or 0.0).name
    about = [each for each in comparisons if baseline is not None or best in (each.baseline, each.variant)]
    return [sentence(each) for each in _decided_first(about)]


def _decided_first(comparisons: Sequence[Comparison]) -> list[Comparison]:
    return sorted(comparisons, key=lambda each: each.verdict == "undecided")


def level(name: str, found: Estimate) -> str:
    """A variant's mean score in words."""
    share = found.interval is not None and 0 <= (found.value or 0.0) <= 1 and found.interval.high <= 1
    scale, unit = (100, " %") if share else (1, "")
    words = f"{name} scores {scale * (found.value or 0.0):.3g}{unit} on {found.rows} rows"
    if found.interval is not None:
        words += f", {100 * found.interval.confidence:g} % interval {scale * found.interval.low:.3g} to "
        words += f"{scale * found.interval.high:.3g}{unit}"
    return words + (f"; {found.unscored} unscored" if found.unscored else "")
