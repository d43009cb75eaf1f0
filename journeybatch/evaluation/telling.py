"""An evaluation told: as lines for a terminal, as Markdown for a pull request, as JUnit XML for a CI server."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from journeybatch.evaluation.estimates import Estimate
from journeybatch.evaluation.outcome import Changes, Evaluation, Variant
from journeybatch.evaluation.sentences import sentence
from journeybatch.excerpt import clean

COLUMNS = ("variant", "score", "interval", "credits", "per correct", "seconds", "scored")


def table(found: Evaluation) -> list[tuple[str, ...]]:
    """One line for each variant under ``COLUMNS``, best first."""
    return [_line(found, each) for each in best_first(found)]


def best_first(found: Evaluation) -> list[Variant]:
    """The variants by the mean of the scorer that decides."""
    return sorted(found.variants, key=lambda each: -(each.scores[found.deciding].value or 0.0))


def _line(found: Evaluation, variant: Variant) -> tuple[str, ...]:
    mean = variant.scores[found.deciding]
    price = variant.price.value if variant.price else None
    return (
        variant.name + (" *" if variant.name in found.pareto and len(found.variants) > 1 else ""),
        *spread(mean),
        f"{variant.credits:g}",
        "–" if price is None else f"{price:.3g}",
        "–" if variant.seconds is None else f"{variant.seconds:.2g}",
        f"{mean.rows}" + (f" ({mean.unscored} not)" if mean.unscored else ""),
    )


def spread(mean: Estimate) -> tuple[str, str]:
    """A mean and its interval: in percent where it is a share."""
    if mean.value is None:
        return "–", ""
    ends = (mean.interval.low, mean.interval.high) if mean.interval else ()
    share = all(0 <= end <= 1 for end in (mean.value, *ends))
    told = [f"{100 * value:.1f}" if share else f"{value:.4g}" for value in (mean.value, *ends)]
    return told[0] + " %" * share, f"{told[1]} to {told[2]}" if ends else ""


def remarks(found: Evaluation) -> list[str]:
    """What else there is to say, a sentence each."""
    told = []
    if len(found.variants) > 1:
        told.append(f"* on the Pareto front of {found.deciding} and credits")
    for variant in found.left_out:
        told.append(f"{variant} is left out: it asks just what another variant asks")
    told += [change_of(each) for each in found.changes or ()]
    for scorer, agreed in found.judges.items():
        kappa = "unknown" if agreed.kappa is None else f"{agreed.kappa:.2f}"
        told.append(f"{scorer}: on {agreed.rows} rows labelled by people, Cohen's kappa of the judge is {kappa}")
    for check in found.gate or ():
        came = "passed" if check.passed else "MISSED"
        told.append(f"gate {came}: {check.variant}, {check.what} {check.needed}: {check.found}")
    return told


def change_of(found: Changes) -> str:
    """What became of a variant, as a sentence."""
    rows = [
        f"rows {', '.join(map(str, each[:10]))}{'…' * (len(each) > 10)}"
        for each in (found.rows_fixed, found.rows_broken)
    ]
    fixed = f"{found.fixed} fixed" + f" ({rows[0]})" * bool(found.fixed)
    broken = f"{found.broken} broken" + f" ({rows[1]})" * bool(found.broken)
    return f"{found.variant} against the earlier evaluation: {fixed}, {broken}, {found.same} the same"


def markdown(found: Evaluation) -> str:
    """A summary for a pull request."""
    lines = [f"## {_cell(found.job)}", "", f"**{_cell(found.verdict)}**", ""]
    lines += _rows(COLUMNS, table(found))
    lines += ["", *(f"- {_cell(each)}" for each in remarks(found))]
    told = [sentence(each) for each in found.comparisons.get(found.deciding, ())]
    if told:
        lines += [
            "",
            "<details><summary>Comparisons</summary>",
            "",
            *(f"- {_cell(each)}" for each in told),
            "",
            "</details>",
        ]
    credits = f"{found.spent} credits" + (f", {found.judging} of them for judges" if found.judging else "")
    return "\n".join([*lines, "", f"{found.rows} rows, {credits}, {100 * found.confidence:g} % intervals.", ""])


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    head = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    return head + [f"| {' | '.join(map(_cell, row))} |" for row in rows]


def _cell(text: str) -> str:
    """``text`` in Markdown: on one line, and nothing in it is markup."""
    escaped = clean(text, 2_000)
    for character in "\\`*_{}[]<>|#":
        escaped = escaped.replace(
            character, f"\\{character}" if character not in "<>" else {"<": "&lt;", ">": "&gt;"}[character]
        )
    return escaped


def junit(found: Evaluation) -> str:
    """JUnit XML: a test case for each check of the gate, or for each variant where there is none."""
    checks = found.gate if found.gate is not None else ()
    suite = ElementTree.Element("testsuite", name=clean(found.job), tests=str(len(checks) or len(found.variants)))
    suite.set("failures", str(sum(not check.passed for check in checks)))
    for check in checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname=clean(check.variant), name=f"{check.what} {check.needed}"
        )
        if check.passed:
            ElementTree.SubElement(case, "system-out").text = clean(check.found, 2_000)
        else:
            ElementTree.SubElement(case, "failure", message=clean(f"{check.found}, needed {check.needed}", 2_000))
    for variant in found.variants if not checks else ():
        case = ElementTree.SubElement(suite, "testcase", classname=clean(found.job), name=clean(variant.name))
        ElementTree.SubElement(case, "system-out").text = " ".join(spread(variant.scores[found.deciding]))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
