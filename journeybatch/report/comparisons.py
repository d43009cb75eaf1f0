"""Variants of an evaluation against each other, and against an earlier evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from journeybatch.evaluation.estimates import Comparison
from journeybatch.evaluation.outcome import Changes
from journeybatch.report.appraisal import Appraisal
from journeybatch.report.blocks import Block, Cell, Column, Head, Links, Section, Sentence, Table, Text, Tint
from journeybatch.report.words import number

MATRIX = 12
"""Most variants in a matrix."""
LISTED = 40
"""Most comparisons in a table."""
_LINKS = 5


def comparisons_section(appraisal: Appraisal) -> Section | None:
    """Every two variants, or all and the baseline: by how much they differ, and how sure that is."""
    found = appraisal.found
    blocks: list[Block] = []
    deciding = found.comparisons.get(found.deciding, ())
    if found.baseline is None and len(found.variants) > 2:
        blocks.append(_matrix(appraisal, deciding))
        if len(found.variants) > MATRIX:
            blocks.append(Sentence(f"The best {MATRIX} of {len(found.variants)} variants."))
    for scorer in found.scorers:
        told = found.comparisons.get(scorer, ())
        if told and all(not each.wins and not each.losses for each in told):
            blocks.append(Sentence(f"By the scorer {scorer} all score the same, row by row."))
        elif told:
            blocks.append(_list(scorer, told))
        if len(told) > LISTED:
            blocks.append(Sentence(f"{len(told) - LISTED} more stand in evaluation.json."))
    if not blocks:
        return None
    blocks.append(Sentence(_how(deciding, found.confidence)))
    return Section("comparisons", "Comparisons", tuple(blocks))


def _how(told: Sequence[Comparison], confidence: float) -> str:
    family = told[0].family if told else 1
    corrected = f", corrected for {family} comparisons by the same scorer" if family > 1 else ""
    return (
        "Differences are paired: of the same rows. Better and worse mean a p of at most "
        f"{1 - confidence:.2g}{corrected}. Each interval ({100 * confidence:g} %) is that of its own difference."
    )


def _matrix(appraisal: Appraisal, told: Sequence[Comparison]) -> Table:
    names = [each.name for each in appraisal.best[:MATRIX]]
    pairs = {(each.variant, each.baseline): (each, 1) for each in told}
    pairs |= {(each.baseline, each.variant): (each, -1) for each in told}
    rows: list[tuple[Cell, ...]] = []
    for place, name in enumerate(names, 1):
        cells = (_difference(*pairs[name, other]) if (name, other) in pairs else "" for other in names)
        rows.append((f"{place}", Head(name), *cells))
    columns = (
        Column("No.", numeric=True),
        Column("This"),
        *(Column(f"minus {n + 1}", numeric=True) for n in range(len(names))),
    )
    unit = ", in points" if told and told[0].shares else ""
    return Table(columns, tuple(rows), f"By the scorer {appraisal.found.deciding}: row minus column{unit}")


def _difference(seen: Comparison, sign: int = 1) -> Tint:
    """A difference and its interval, with the verdict in words, in a tone that says the same."""
    if seen.difference is None:
        return Tint("not known")
    verdict = {"better": "worse", "worse": "better"}.get(seen.verdict, "") if sign < 0 else seen.verdict
    word = "undecided" if verdict in ("", "undecided") else verdict
    ends = sorted((sign * seen.interval.low, sign * seen.interval.high)) if seen.interval else None
    told = f"{_signed(seen, ends[0])} to {_signed(seen, ends[1])}" if ends else ""
    level = 0 if word == "undecided" else 2
    return Tint(f"{_signed(seen, sign * seen.difference)} {word}", level, word == "worse", told)


def _signed(seen: Comparison, value: float) -> str:
    """In points of 100 with one decimal for shares, and with its sign."""
    text = f"{100 * value:+.1f}" if seen.shares else f"{value:+.3g}"
    return (text if float(text) else text.lstrip("+-")).replace("-", "\u2212")


def _list(scorer: str, told: Sequence[Comparison]) -> Table:
    titles = ("p", "More", "Less", "Same", "Would be seen from")
    columns = (
        Column("Variant"),
        Column("against"),
        Column("Difference", numeric=True),
        *(Column(t, numeric=True) for t in titles),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            Head(each.variant),
            Text(each.baseline),
            _difference(each),
            "< 0.001" if each.p_corrected < 0.001 else f"{each.p_corrected:.2g}",
            *(number(count) for count in (each.wins, each.losses, each.ties)),
            "–" if each.detectable is None else _signed(each, each.detectable).lstrip("+"),
        )
        for each in told[:LISTED]
    )
    unit = ", in points" if told[0].shares else ""
    return Table(columns, rows, f"By the scorer {scorer}{unit}; rows that score more, less, the same")


def changes_section(appraisal: Appraisal) -> Section | None:
    """What became of each row since an earlier evaluation; None without one."""
    changes = appraisal.found.changes
    if changes is None:
        return None
    if not changes:
        none = Sentence("The earlier evaluation has no variant of a name that this one has.", warning=True)
        return Section("changes", "Since the earlier evaluation", (none,))
    columns = (
        Column("Variant"),
        Column("Fixed", numeric=True),
        Column("Broken", numeric=True),
        Column("The same", numeric=True),
        Column("See"),
    )
    rows = tuple(_changed(each) for each in changes)
    table = Table(
        columns, rows, f"By the scorer {appraisal.found.deciding}: rows that were wrong and are right, and the reverse"
    )
    kept = max(len(rows) for each in changes for rows in (each.rows_fixed, each.rows_broken))
    if any(each.fixed > len(each.rows_fixed) or each.broken > len(each.rows_broken) for each in changes):
        few = Sentence(f"The rows of this page that count as fixed or broken are the first {number(kept)} of each.")
        return Section("changes", "Since the earlier evaluation", (table, few))
    return Section("changes", "Since the earlier evaluation", (table,))


def _changed(each: Changes) -> tuple[Cell, ...]:
    shown = (each.rows_broken or each.rows_fixed)[:_LINKS]
    fixed = Tint(f"+{number(each.fixed)}" if each.fixed else "0", 2 if each.fixed else 0)
    broken = Tint(f"\u2212{number(each.broken)}" if each.broken else "0", 2 if each.broken else 0, bad=True)
    return Head(each.variant), fixed, broken, number(each.same), Links(shown)


def gate_section(appraisal: Appraisal) -> Section | None:
    """What the evaluation has to reach, and whether it does; None without a gate."""
    if appraisal.found.gate is None:
        return None
    columns = (Column("Variant"), Column("Gate", numeric=True), Column("What"), Column("Needed"), Column("Found"))
    rows = tuple(
        (
            Head(check.variant),
            Tint("✓ passed", 2) if check.passed else Tint("✗ missed", 2, bad=True),
            Text(check.what),
            Text(check.needed),
            Text(check.found),
        )
        for check in appraisal.found.gate
    )
    return Section("gate", "Gate", (Table(columns, rows),))
