"""What others wrote, made fit for one line of ours: no control sequences, no web pages, and an end."""

from __future__ import annotations

import html
import re

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles, links, the clipboard
    r"|[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]*>([^<]*)", re.IGNORECASE)


def clean(text: str, limit: int = 300) -> str:
    """``text`` on one line without control sequences, at most ``limit`` characters."""
    flat = " ".join(_CONTROL.sub("", text[: 20 * limit]).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def excerpt(body: bytes) -> str:
    """The start of ``body`` as harmless text; of a web page its title."""
    if _PAGE.match(body[:400]):
        title = _TITLE.search(body[:4096])
        named = clean(html.unescape(title[1].decode("utf-8", "replace")), 80) if title else ""
        return f"a web page, “{named}”" if named else "a web page"
    return clean(body[:400].decode("utf-8", "replace"), 80) or "(empty)"
