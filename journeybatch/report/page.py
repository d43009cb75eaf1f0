"""A Page as HTML: one file that asks for nothing, runs no script but its own, and shows every text as text."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import minijinja
import msgspec

from journeybatch import __version__
from journeybatch.report import charts
from journeybatch.report.blocks import Chart, Page
from journeybatch.report.browser import packed
from journeybatch.report.words import visible
from journeybatch.summary import write_text

_STYLE, _SCRIPT = ("page.css",), ("rows.js", "detail.js", "page.js")


def write_page(page: Page, path: Path) -> None:
    """Write a page to ``path``, whole or not at all, mode 0600. Raises OSError."""
    write_text(path, html(page))


def html(page: Page) -> str:
    """The page's text. Charts are left out where nothing can draw them: their tables stand open then."""
    style, script = _joined(*_STYLE), _joined(*_SCRIPT)
    text: str = _environment().render_template(
        "page.html",
        page=msgspec.to_builtins(page_without_rows(page)),
        drawings=drawings(page) if charts.can_draw() else {},
        rows=packed(page.browser) if page.browser else "",
        count=len(page.browser.rows) if page.browser else 0,
        note=page.browser.note if page.browser else "",
        style=style,
        script=script,
        policy=policy(style, script),
        version=__version__,
    )
    return text


def page_without_rows(page: Page) -> Page:
    """The page but for the rows, which travel packed."""
    return msgspec.structs.replace(page, browser=None)


def drawings(page: Page) -> dict[str, dict[str, str]]:
    """Every chart of the page, drawn for a screen and for a phone."""
    return {
        chart.name: {"wide": charts.svg(chart.spec, charts.WIDE), "narrow": charts.svg(chart.spec, charts.NARROW)}
        for chart in page.charts
    }


def write_images(drawn: list[Chart], prefix: str) -> list[Path]:
    """Write each chart to PREFIX-NAME.png, or into PREFIX where that is a directory. Raises JobError, OSError."""
    written = []
    for chart in drawn:
        target = Path(prefix) / f"{chart.name}.png" if Path(prefix).is_dir() else Path(f"{prefix}-{chart.name}.png")
        target.write_bytes(charts.png(chart.spec))
        written.append(target)
    return written


def policy(style: str, script: str) -> str:
    """The content security policy: this style, this script, images that the page itself holds, and nothing else."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def _joined(*names: str) -> str:
    return "\n" + "\n".join((files("journeybatch.report") / name).read_text(encoding="utf-8") for name in names)


def _environment() -> minijinja.Environment:
    template = (files("journeybatch.report") / "page.html").read_text(encoding="utf-8")
    return minijinja.Environment(
        templates={"page.html": template},
        auto_escape_callback=lambda _: "html",
        finalizer=_shown,
        filters={"commands": _commands},
        trim_blocks=True,
        lstrip_blocks=True,
        undefined_behavior="strict",
    )


def _shown(value: Any) -> Any:
    return visible(value) if type(value) is str else NotImplemented


def _commands(text: str) -> Any:
    """A sentence whose commands, between backticks, are set as code."""
    parts = [str(minijinja.escape(visible(part))) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a backtick of its own
        parts[-2:] = ["`".join(parts[-2:])]
    return minijinja.safe("".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)))
