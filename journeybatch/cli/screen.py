"""What a person sees: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from journeybatch.excerpt import clean
from journeybatch.progress import Screen


def stderr(quiet: bool = False, as_json: bool = False) -> Screen:
    """Where messages and progress go."""
    return Screen(None if quiet else sys.stderr, as_json)


def out(text: str) -> None:
    """One line of a command's result."""
    Screen(sys.stdout).line(text)


def out_json(data: Any) -> None:
    """A command's result as JSON."""
    out(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def out_table(
    columns: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None, numbers: Container[str] = ()
) -> None:
    """A command's result as a table; cells are text, without control sequences. The columns called ``numbers`` are
    set to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in numbers else "left")
    for row in rows:
        table.add_row(*(safe(cell) for cell in row))
    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 160  # a pipe has no edge to fold at, and who reads it wants a line for each row
    with console.capture() as drawn:
        console.print(table)
    out("\n".join(line.rstrip() for line in drawn.get().splitlines()))


@contextmanager
def drawn() -> Iterator[Callable[[str], None] | None]:
    """A function that draws text in place of what it drew before; None where there is no terminal that can."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda text: live.update(Text(text), refresh=True)


def safe(value: object) -> str:
    """A value for a terminal."""
    return "" if value is None else clean(str(value), 2000)


def confirm(question: str) -> bool:
    """Ask on the terminal."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def can_ask() -> bool:
    """Whether somebody is there to answer."""
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (ValueError, AttributeError):
        return False
