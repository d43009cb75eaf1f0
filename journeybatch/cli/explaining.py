"""explain: the page about what went wrong, which every error names a section of."""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.resources import files

import click

from journeybatch.cli import screen
from journeybatch.errors import JobError

_HEAD = re.compile(r"^#{2,3} ([a-z_-]+)$", flags=re.M)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def page() -> str:
    """The whole page, as Markdown; it stands in docs/ as errors.md."""
    return (files("journeybatch.cli") / "errors.md").read_text("utf-8")


def sections() -> dict[str, str]:
    """The text of each section by its name, in the page's order."""
    whole = re.split(r"^## Rows that failed$", page(), flags=re.M)
    return {name: text.strip() for part in whole for name, text in _split(part)}


def _split(part: str) -> list[tuple[str, str]]:
    _, *found = _HEAD.split(part)
    return list(zip(found[::2], found[1::2], strict=True))


@click.command()
@click.argument("name", required=False)
def explain(name: str | None) -> None:
    """What an error means and what helps: NAME is what the message ends with, or a word from the column jb_error."""
    known = sections()
    if name is None:
        screen.out("\n".join(known))
        return
    if name not in known:
        near = get_close_matches(name, known, 1)
        raise JobError(
            f"{name}: there is no such error"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + " `journeybatch explain` lists all names"
        )
    screen.out(_LINK.sub(r"\1 (docs/\2)", known[name]))
