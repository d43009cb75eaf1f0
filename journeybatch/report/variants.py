"""The variants of an evaluation in figures: how good each is, how sure that is, and what it costs."""

from __future__ import annotations

import math

from journeybatch.evaluation.estimates import Estimate
from journeybatch.evaluation.outcome import Variant
from journeybatch.evaluation.telling import spread
from journeybatch.evaluation.thrift import Price
from journeybatch.report import charts
from journeybatch.report.appraisal import Appraisal
from journeybatch.report.blocks import Block, Cell, Chart, Column, Head, Section, Sentence, Table
from journeybatch.report.words import number, percent, span

DRAWN = 40
"""Most variants in a chart."""
NAMED = 8
"""Most variants that have their names beside their points; of more, the numbers have to do."""
_SCORERS = 5


def variants_section(appraisal: Appraisal) -> Section:
    """A table of all variants, best first, and their intervals drawn."""
    blocks: list[Block] = [_table(appraisal)]
    found = appraisal.found
    if len(found.scorers) > _SCORERS:
        blocks.append(Sentence(f"{len(found.scorers) - _SCORERS} more scorers stand in evaluation.json."))
    chart = _intervals(appraisal)
    if chart is not None:
        blocks.append(chart)
    blocks += [Sentence(f"{name} is left out: it asks just what another variant asks.") for name in found.left_out]
    return Section("variants", "Variants", tuple(blocks))


def _table(appraisal: Appraisal) -> Table:
    found = appraisal.found
    others = [name for name in found.scorers[:_SCORERS] if name != found.deciding]
    several, failed = len(found.variants) > 1, any(each.failed for each in found.variants)
    titles = [found.deciding, _confidence(appraisal), *others, "Credits", "Credits per correct answer", "Median time"]
    titles += ["Scored", *(["Failed"] if failed else [])]
    columns = [Column("Variant"), *(Column(title, numeric=True) for title in titles)]
    rows: list[tuple[Cell, ...]] = []
    for place, each in enumerate(appraisal.best, 1):
        mean = each.scores[found.deciding]
        row: list[Cell] = [f"{place}"] if several else []
        row += [Head(each.name), *spread(mean), *(spread(each.scores[name])[0] for name in others)]
        row += [number(each.credits), _price(each.price), "–" if each.seconds is None else span(each.seconds)]
        row += [number(mean.rows) + (f" of {number(mean.rows + mean.unscored)}" if mean.unscored else "")]
        rows.append((*row, *([number(each.failed)] if failed else [])))
    numbered = (Column("No.", numeric=True),) if several else ()
    return Table((*numbered, *columns), tuple(rows), f"By the scorer {found.deciding}, best first" if several else "")


def _confidence(appraisal: Appraisal) -> str:
    return f"{100 * appraisal.found.confidence:g} % interval"


def _price(price: Price | None) -> str:
    if price is None or price.value is None:
        return "–"
    if price.interval is None:
        return number(price.value)
    most = number(price.interval.high) if math.isfinite(price.interval.high) else "∞"
    return f"{number(price.value)} ({number(price.interval.low)} to {most})"


def _sized(appraisal: Appraisal) -> tuple[float, str]:
    """The factor that scores are shown with, and what they are then: shares are shown in percent."""
    deciding = appraisal.found.deciding
    return (100.0, f"{deciding}, %") if appraisal.shares(deciding) else (1.0, deciding)


def _intervals(appraisal: Appraisal) -> Chart | None:
    deciding = appraisal.found.deciding
    times, title = _sized(appraisal)
    known = [
        (appraisal.label(each), mean) for each in appraisal.best if (mean := each.scores[deciding]).value is not None
    ]
    drawn = [(label, *_ends(mean, times)) for label, mean in known[:DRAWN]]
    if not any(low < high for *_, low, high in drawn):
        return None
    columns = (Column("Variant"), *(Column(text, numeric=True) for text in ("Mean", "From", "To")))
    rows = tuple((Head(label), number(mean, 4), number(low, 4), number(high, 4)) for label, mean, low, high in drawn)
    says = f"Each dot is a mean score, its line the {_confidence(appraisal)}."
    if len(known) > 1:
        says += " Whether two variants differ is a question to their rows, not to these lines: see Comparisons."
    if len(known) > DRAWN:
        says += f" The best {DRAWN} of {len(known)} variants."
    spec = charts.whiskers(drawn, title)
    return Chart("scores", "Means and intervals", says, spec, Table(columns, rows, title))


def _ends(mean: Estimate, times: float) -> tuple[float, float, float]:
    value = times * (mean.value or 0.0)
    return (value, times * mean.interval.low, times * mean.interval.high) if mean.interval else (value, value, value)


def thrift_section(appraisal: Appraisal) -> Section | None:
    """Quality against credits; None where there is nothing to choose from."""
    found = appraisal.found
    times, title = _sized(appraisal)
    known = [
        (place, each, times * value)
        for place, each in enumerate(appraisal.best, 1)
        if (value := each.scores[found.deciding].value) is not None
    ]
    if len(known) < 2:
        return None
    titles = (Column("Variant"), Column(title, numeric=True), Column("Credits", numeric=True), Column("On the front"))
    rows = tuple(
        (f"{place}", Head(each.name), number(value), number(each.credits), "yes" if each.name in found.pareto else "no")
        for place, each, value in known
    )
    chart = Chart(
        "quality-and-credits",
        "Quality against credits",
        _front_told([each for _, each, _ in known], found.pareto),
        charts.front(_points(appraisal, known), "credits", title),
        Table((Column("No.", numeric=True), *titles), rows, "Quality against credits"),
    )
    return Section("thrift", "Quality and credits", (chart,))


def _points(appraisal: Appraisal, known: list[tuple[int, Variant, float]]) -> list[tuple[str, float, float, bool]]:
    """Variants as points with labels. Where these are numbers only, those of the same place stand together."""
    front = appraisal.found.pareto
    if len(known) <= NAMED:
        return [(appraisal.label(each), each.credits, value, each.name in front) for _, each, value in known]
    places: dict[tuple[float, float, bool], list[str]] = {}
    for place, each, value in known[:DRAWN]:
        places.setdefault((each.credits, value, each.name in front), []).append(str(place))
    return [(", ".join(numbers), *point) for point, numbers in places.items()]


def _front_told(known: list[Variant], front: tuple[str, ...]) -> str:
    names = ", ".join(f"{place} {each.name}" for place, each in enumerate(known, 1) if each.name in front)
    return (
        f"Filled dots are on the Pareto front: no other variant is as good for as few credits ({names}). The front "
        "takes means as they are: two neighbours may not differ beyond chance. Credits are those of a variant asked "
        "alone."
    )


def repeats_section(appraisal: Appraisal) -> Section | None:
    """What several samples of each row were good for; None with one."""
    columns = (
        Column("Variant"),
        Column("Spread of rows", numeric=True),
        Column("Spread of samples", numeric=True),
        Column("Standard error", numeric=True),
        Column("With endless samples", numeric=True),
    )
    rows = [
        (
            Head(each.name),
            number(math.sqrt(parts.between)),
            number(math.sqrt(parts.within)),
            number(parts.error),
            number(parts.error_with(math.inf)) + (f" (−{percent(parts.gain, 1)})" if parts.gain > 0 else ""),
        )
        for each in appraisal.best
        if (parts := each.repeats) is not None
    ]
    if not rows:
        return None
    says = (
        "The standard deviation of rows about each other, and of samples about their row. Where endless samples would "
        "make the standard error hardly smaller, more rows are the way to be surer."
    )
    return Section("repeats", "Samples", (Sentence(says), Table(columns, tuple(rows))))
