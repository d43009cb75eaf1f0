"""The page of a run: what was asked, what came back, what it cost, what failed, how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeybatch.report import charts
from journeybatch.report.blocks import Bar, Block, Chart, Column, Example, Links, Page, Section, Sentence, Table, Text
from journeybatch.report.browser import Browser
from journeybatch.report.distributions import answers_section
from journeybatch.report.evidence import Evidence
from journeybatch.report.figures import attempts_of, binned, over_time
from journeybatch.report.headline import headline, next_steps, standing_of
from journeybatch.report.money import credits_section
from journeybatch.report.nights import runs_section
from journeybatch.report.replies import browser_of
from journeybatch.report.selection import ROWS
from journeybatch.report.words import cut, interval, moment, number, percent, plural, span

if TYPE_CHECKING:
    import polars as pl

EXAMPLES = 3


def run_page(evidence: Evidence, *, most: int = ROWS, history: bool = False) -> Page:
    """The page of the latest run, with ``most`` rows to look through; with ``history`` all runs of the directory."""
    attempts = attempts_of(evidence.history, evidence.run.number)
    standing = standing_of(evidence, _last(attempts))
    browser = browser_of(evidence, most)
    sections = [
        _rows(evidence),
        credits_section(evidence),
        runs_section(evidence.history) if history else None,
        answers_section(evidence),
        failures_section(evidence, browser),
        _pace(attempts),
        _models(evidence, attempts),
        _samples(browser),
    ]
    return Page(
        title=cut(evidence.spec.name, 200),
        about=f"run {evidence.run.number}, {moment(evidence.run.began_at)}",
        headline=headline(standing),
        sentences=tuple(Sentence(text) for text in [*emulated(evidence), *next_steps(standing)]),
        facts=_about(evidence),
        sections=tuple(section for section in sections if section is not None),
        browser=browser if browser.rows else None,
    )


def _last(attempts: pl.DataFrame) -> float | None:
    ends = attempts["at"] + attempts["latency_s"].fill_null(0)
    return None if ends.is_empty() else float(ends.max())  # type: ignore[arg-type]


def emulated(evidence: Evidence) -> list[str]:
    """A sentence, where the emulator answered."""
    if not evidence.history.emulated:
        return []
    return ["The local emulator answered: these are not a model's replies, and no credit was billed."]


def _about(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    spec, run = evidence.spec, evidence.run
    input_ = spec.input.path or ("a database" if getattr(spec.input, "database", None) else "a frame")
    facts = {
        "Model": ", then ".join(spec.models),
        "Input": str(input_).rpartition("/")[2],
        "Requests": number(run.sent) + (f", {number(run.retried)} of them retries" if run.retried else ""),
        "Rows in a request": "" if spec.pack.rows == 1 else str(spec.pack.rows),
        "Endpoint": str(evidence.summary.get("api") or spec.api.base_url or spec.api.kind),
        "Finished": moment(run.finished_at) if run.finished_at else "not yet",
    }
    return tuple((name, cut(text, 200)) for name, text in facts.items() if text)


def _rows(evidence: Evidence) -> Section | None:
    total = evidence.rows.height
    if not total:
        return None
    counts = [(status, evidence.counted(status)) for status in ("answered", "failed", "pending")]
    rows = tuple(
        (status, Bar(count / total, status == "failed"), number(count), percent(count, total))
        for status, count in counts
        if count
    )
    columns = (Column("Status"), Column("", numeric=True), Column("Rows", numeric=True), Column("Share", numeric=True))
    blocks: list[Block] = [Table(columns, rows)]
    reused = int((evidence.rows["reused"] & (evidence.rows["status"] == "answered")).sum())
    if reused:
        blocks.append(
            Sentence(f"{plural(reused, 'row')} answered through another row or another directory, for nothing.")
        )
    return Section("status", "Rows by status", tuple(blocks))


def failures_section(evidence: Evidence, browser: Browser) -> Section | None:
    """Rows that failed or are in doubt, by kind; and attempts that failed, whatever became of their rows."""
    import polars as pl

    counts = evidence.rows.filter(pl.col("error").is_not_null())["error"].value_counts(sort=True)
    listed = counts.sort("count", "error", descending=[True, False]).iter_rows()
    rows = []
    blocks: list[Block] = []
    for kind, count in listed:
        found = [row for row in browser.rows if any(reply.error == kind for reply in row.replies)][:EXAMPLES]
        message = next((reply.message for row in found for reply in row.replies if reply.error == kind), "")
        rows.append(
            (Text(kind), number(count), Text(cut(message, 300), quiet=True), Links(tuple(row.number for row in found)))
        )
        if found:
            blocks.append(_example(browser, browser.rows.index(found[0]), failed=True))
    if not rows:
        return None
    columns = (Column("What went wrong"), Column("Rows", numeric=True), Column("For example"), Column("See"))
    return Section("failures", "Failures", (Table(columns, tuple(rows), "Rows without an answer, by kind"), *blocks))


def _pace(attempts: pl.DataFrame) -> Section | None:
    import polars as pl

    over = over_time(attempts)
    if over is None:
        return None
    blocks: list[Block] = []
    latencies = attempts.filter(pl.col("outcome") == "settled")["latency_s"].drop_nulls()
    if not latencies.is_empty():
        blocks.append(_latency(latencies))
    kinds = {"replies": "accent"}
    if any(failed for *_, failed in over.bins):
        kinds["failed attempts"] = "bad"
    each = f"{number(over.width)} {over.unit if over.width != 1 else over.unit.removesuffix('s')}"
    if len(over.bins) > 1 and attempts.height >= 5:
        bins = [(a, b, {"replies": ok, "failed attempts": failed}) for a, b, ok, failed in over.bins]
        columns = tuple(Column(text, numeric=True) for text in ("From", "To", "Replies", "Failed attempts"))
        rows = tuple(
            (number(a), number(b), number(ok), number(failed)) for a, b, ok, failed in over.bins if ok or failed
        )
        spec = charts.stacked(bins, kinds, f"{over.unit} since the first request", f"in {each}")
        table = Table(columns, rows, f"Ends of attempts, {over.unit} since the first request")
        says = f"How many ended in each {each} of the run."
        blocks.append(Chart("throughput", "Replies over time", says, spec, table))
    failed = attempts.filter(pl.col("error").is_not_null() & (pl.col("outcome") != "settled"))
    if not failed.is_empty():
        blocks.append(_failed_attempts(failed))
    return Section("pace", "Pace", tuple(blocks))


def _latency(latencies: pl.Series) -> Block:
    middle, slow, top, slowest = (float(latencies.quantile(q, "nearest") or 0.0) for q in (0.5, 0.95, 0.99, 1.0))
    says = f"Half came within {span(middle)}, 95 % within {span(slow)}; the slowest took {span(slowest)}."
    if len(latencies) < 5:
        return Sentence(f"Time to a reply. {says}")
    shown = latencies.filter(latencies <= top)
    if len(shown) < len(latencies):
        says += f" The chart ends at {span(top)}, where 99 % do."
    bins = binned(shown)
    columns = (Column("From, s", numeric=True), Column("To, s", numeric=True), Column("Replies", numeric=True))
    table = Table(columns, tuple((number(a, 6), number(b, 6), number(n)) for a, b, n in bins if n), "Time to a reply")
    return Chart("latency", "Time to a reply", says, charts.histogram(bins, "seconds", "replies"), table)


def _failed_attempts(failed: pl.DataFrame) -> Table:
    import polars as pl

    counts = failed.group_by("error").agg(pl.len(), pl.col("credits", "credits_max").sum()).sort("len", descending=True)
    columns = (Column("Attempts that failed"), Column("Attempts", numeric=True), Column("Credits", numeric=True))
    rows = tuple(
        (Text(error), number(times), interval(least, most)) for error, times, least, most in counts.iter_rows()
    )
    return Table(columns, rows, "Attempts that failed, and what they cost")


def _models(evidence: Evidence, attempts: pl.DataFrame) -> Section | None:
    import polars as pl

    said = evidence.summary.get("models") or {}
    answered = dict(evidence.rows.filter(pl.col("status") == "answered")["model"].value_counts().iter_rows())
    sent = {
        model: facts
        for model, *facts in attempts.group_by("model", maintain_order=True)
        .agg(pl.len(), pl.col("credits", "credits_max").sum(), pl.col("latency_s").median())
        .iter_rows()
    }
    names = [name for name in dict.fromkeys([*evidence.spec.models, *sent]) if name]
    climbs = any((said.get(name) or {}).get("climbed") for name in names)
    rows = []
    for name in names:
        requests, least, most, latency = sent.get(name, (0, 0, 0, None))
        row = [name, number(requests), interval(least, most), number(answered.get(name, 0))]
        row += [number((said.get(name) or {}).get("climbed", 0))] if climbs else []
        rows.append((*row, "–" if latency is None else span(latency)))
    titles = ["Requests", "Credits", "Rows answered", *(["Rows that climbed on"] if climbs else []), "Median time"]
    columns = (Column("Model"), *(Column(title, numeric=True) for title in titles))
    return Section("models", "Models", (Table(columns, tuple(rows)),)) if attempts.height else None


def _samples(browser: Browser) -> Section | None:
    """A few answers, from one end of the table to the other."""
    answered = [n for n, row in enumerate(browser.rows) if row.replies[0].status == "answered"]
    if not answered:
        return None
    places = dict.fromkeys(answered[n * (len(answered) - 1) // max(1, EXAMPLES - 1)] for n in range(EXAMPLES))
    return Section("samples", "Sample answers", tuple(_example(browser, place) for place in places))


def _example(browser: Browser, place: int, *, failed: bool = False) -> Example:
    row = browser.rows[place]
    asked = browser.texts[row.messages[-1][1]] if row.messages else ""
    reply = next((r for r in row.replies if r.error), row.replies[0]) if failed else row.replies[0]
    said = reply.text
    if failed:
        said = f"{reply.error}: {reply.message}" if reply.message else reply.error
    elif browser.fields:
        said = "\n".join(f"{name}: {value}" for name, value in zip(browser.fields, reply.fields, strict=True))
    return Example(row.number, cut(asked, 600), cut(said, 600), failed)
