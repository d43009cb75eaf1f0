"""What a page says from top to bottom, as plain values: sections of tables, charts, sentences and examples.

All texts are untrusted: whoever writes the page escapes them. In a sentence, a command stands between backticks.
"""

from __future__ import annotations

from typing import Any

import msgspec

from journeybatch.report.browser import Browser


class Bar(msgspec.Struct, frozen=True, tag="bar"):
    """A cell drawn as a bar, ``share`` of its width (0 to 1); ``bad`` for what nobody wants."""

    share: float
    bad: bool = False


class Links(msgspec.Struct, frozen=True, tag="links"):
    """A cell that leads to rows, by their numbers."""

    rows: tuple[int, ...]


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A cell with a text; ``quiet`` is said in passing."""

    text: str
    quiet: bool = False


class Head(msgspec.Struct, frozen=True, tag="head"):
    """A cell that says what its row is about."""

    text: str


class Tint(msgspec.Struct, frozen=True, tag="tint"):
    """A cell on a ground of its own, ``level`` strong (0 to 4), with a ``detail`` under its text. What the ground says
    is said by the text as well."""

    text: str
    level: int = 0
    bad: bool = False
    detail: str = ""


Cell = str | Bar | Links | Text | Head | Tint


class Column(msgspec.Struct, frozen=True):
    """A column of a table; ``numeric`` ones are aligned to the right."""

    title: str
    numeric: bool = False


class Table(msgspec.Struct, frozen=True, tag="table"):
    """A table; ``total`` sets its last row apart."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    total: bool = False


class Chart(msgspec.Struct, frozen=True, tag="chart"):
    """A chart: its ``name`` (in file names), a title, what it shows in a sentence, its Vega-Lite ``spec`` without a
    width, and the same as a table."""

    name: str
    title: str
    says: str
    spec: dict[str, Any]
    table: Table


class Beside(msgspec.Struct, frozen=True, tag="beside"):
    """Tables that stand beside each other where there is room, under a ``title``."""

    title: str
    tables: tuple[Table, ...]


class Sentence(msgspec.Struct, frozen=True, tag="sentence"):
    """A sentence or two; ``warning`` when somebody should act on it."""

    text: str
    warning: bool = False


class Example(msgspec.Struct, frozen=True, tag="example"):
    """One row as an example: what was asked and what came back, or went wrong."""

    row: int
    asked: str
    said: str
    failed: bool = False


Block = Table | Chart | Beside | Sentence | Example


class Section(msgspec.Struct, frozen=True):
    """A heading and what stands under it; ``name`` is its anchor."""

    name: str
    title: str
    blocks: tuple[Block, ...]


class Page(msgspec.Struct, frozen=True):
    """A whole page: what it is about, the sentence that says what is true first, sentences that go with it, facts as
    pairs, sections, and the rows to look through."""

    title: str
    about: str
    headline: str
    sentences: tuple[Sentence, ...]
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    browser: Browser | None = None

    @property
    def charts(self) -> list[Chart]:
        """All charts of the page, in order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Chart)]
