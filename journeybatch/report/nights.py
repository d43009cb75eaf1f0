"""All runs of an output directory, one after another: what each cost, asked, and left without an answer."""

from __future__ import annotations

from journeybatch.history import History
from journeybatch.report import charts
from journeybatch.report.blocks import Chart, Column, Section, Sentence, Table
from journeybatch.report.figures import Night, nights
from journeybatch.report.words import credits_text, interval, moment, number

_COUNTS = ("Prompts asked", "Answered", "Without an answer", "Credits")


def runs_section(history: History) -> Section:
    """The runs of a directory, oldest first."""
    found = nights(history)
    table = _table(found)
    if len(found) == 1:
        return Section("runs", "Runs", (Sentence("There has been one run so far."), table))
    whole = f"{number(len(found))} runs, {credits_text(history.spent)} in all."
    days = [moment(night.began_at)[:10] for night in found]
    by_day = len(set(days)) == len(days)
    names = days if by_day else [number(night.number) for night in found]

    def chart(name: str, title: str, says: str, heights: list[int], unit: str, color: str = "accent") -> Chart:
        bars = list(zip(names, heights, strict=True))
        return Chart(name, title, says, charts.series(bars, "night" if by_day else "run", unit, color), table)

    return Section(
        "runs",
        "Runs",
        (
            chart("runs-credits", "Credits of each run", whole, [night.spent for night in found], "credits"),
            chart("runs-prompts", "Prompts asked in each run", "", [night.asked for night in found], "prompts"),
            chart("runs-failed", "Prompts without an answer", "", [n.failed for n in found], "prompts", "bad"),
        ),
    )


def _table(found: list[Night]) -> Table:
    columns = (Column("Run", numeric=True), Column("Began"), *(Column(title, numeric=True) for title in _COUNTS))
    rows = tuple(
        (
            number(night.number),
            moment(night.began_at),
            number(night.asked),
            number(night.answered),
            number(night.failed),
            interval(night.spent, night.spent + night.unknown),
        )
        for night in found
    )
    return Table(columns, rows, "Runs of this directory")
