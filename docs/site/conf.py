"""How Sphinx makes a site of docs/: `make site`. Its pages ask nothing of the network."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer

_ROOT = Path(__file__).parents[2]

project = "journeybatch"
version = release = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
extensions = ["myst_parser"]
exclude_patterns = ["site"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"journeybatch {version}"
html_show_copyright = False
html_copy_source = False
html_use_index = False
highlight_language = "none"


def _with_contents(app: Any, name: str, text: list[str]) -> None:
    """The pages that the index links to, in that order, are the site's contents."""
    if name == "index":
        pages = dict.fromkeys(re.findall(r"\]\(([\w/-]+)\.md\)", text[0]))
        text[0] += "\n".join(["\n```{toctree}", ":hidden:", "", *pages, "```\n"])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    for plain in ("csv", "cron"):
        app.add_lexer(plain, TextLexer)
    app.connect("source-read", _with_contents)
