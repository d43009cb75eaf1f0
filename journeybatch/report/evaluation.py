"""The page of an evaluation: which variant is best, how sure that is, what it costs, and every reply to look at."""

from __future__ import annotations

from journeybatch.evaluation.assessment import verdicts
from journeybatch.report.appraisal import Appraisal
from journeybatch.report.blocks import Page, Sentence
from journeybatch.report.comparisons import changes_section, comparisons_section, gate_section
from journeybatch.report.grades import Grades
from journeybatch.report.groups import groups_section
from journeybatch.report.money import credits_section
from journeybatch.report.nights import runs_section
from journeybatch.report.replies import browser_of
from journeybatch.report.run import emulated, failures_section
from journeybatch.report.selection import ROWS
from journeybatch.report.targets import judges_section, labels_section, numbers_section
from journeybatch.report.variants import repeats_section, thrift_section, variants_section
from journeybatch.report.words import credits_text, cut, moment, number, plural

SENTENCES = 5
"""Most comparisons that are said on top, besides the first."""


def evaluation_page(appraisal: Appraisal, *, most: int = ROWS, history: bool = False) -> Page:
    """The page of an evaluation, with ``most`` rows to look through; with ``history`` all runs of the directory."""
    evidence, found = appraisal.evidence, appraisal.found
    comparisons = found.comparisons.get(found.deciding, ())
    first, *others = verdicts(found.variants, comparisons, found.deciding, found.baseline)
    headline, undecided, figures = first.partition(" with these rows: ")
    if undecided:
        headline += " with these rows"
        others.insert(0, figures[:1].upper() + figures[1:])
    browser = browser_of(evidence, most, Grades(appraisal))
    sections = [
        variants_section(appraisal) if found.rows else None,
        gate_section(appraisal),
        changes_section(appraisal),
        thrift_section(appraisal),
        comparisons_section(appraisal) if found.rows else None,
        labels_section(appraisal),
        numbers_section(appraisal),
        groups_section(appraisal),
        repeats_section(appraisal),
        judges_section(appraisal),
        failures_section(evidence, browser),
        credits_section(evidence),
        runs_section(evidence.history) if history else None,
    ]
    return Page(
        title=cut(found.job, 200),
        about=f"evaluation, run {found.run}, {moment(evidence.run.began_at)}",
        headline=headline if found.rows else "The input has no rows: nothing was asked, 0 credits",
        sentences=tuple(_remarks(appraisal, others if found.rows else [])),
        facts=_facts(appraisal),
        sections=tuple(section for section in sections if section is not None),
        browser=browser if browser.rows else None,
    )


def _gate(appraisal: Appraisal) -> list[Sentence]:
    checks = appraisal.found.gate
    if not checks:
        return []
    missed = sum(not check.passed for check in checks)
    if not missed:
        return [Sentence(f"The gate is passed: {plural(len(checks), 'check')}.")]
    return [Sentence(f"The gate is missed: {number(missed)} of {plural(len(checks), 'check')}.", warning=True)]


def _remarks(appraisal: Appraisal, others: list[str]) -> list[Sentence]:
    found = appraisal.found
    told = [Sentence(f"{each}.") for each in others[:SENTENCES]]
    if len(others) > SENTENCES:
        told.append(Sentence(f"{len(others) - SENTENCES} more comparisons stand below."))
    told += _gate(appraisal)
    failed = sum(each.failed for each in found.variants)
    if failed:
        told.append(Sentence(f"{plural(failed, 'reply')} failed: without a reply there is no score."))
    return told + [Sentence(each) for each in emulated(appraisal.evidence)]


def _facts(appraisal: Appraisal) -> tuple[tuple[str, str], ...]:
    found, spec = appraisal.found, appraisal.evidence.spec
    credits = credits_text(found.spent) + (f", {number(found.judging)} of them for judges" if found.judging else "")
    facts = {
        "Rows": number(found.rows),
        "Variants": number(len(found.variants)),
        "Samples of each row": number(found.samples) if found.samples > 1 else "",
        "Decided by": found.deciding,
        "Target": found.target or "",
        "Group": found.group or "",
        "Baseline": found.baseline or "",
        "Credits": credits,
        "Endpoint": str(appraisal.evidence.summary.get("api") or spec.api.base_url or spec.api.kind),
    }
    return tuple((name, cut(text, 200)) for name, text in facts.items() if text)
