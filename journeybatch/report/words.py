"""Numbers, spans of time and untrusted texts as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

CUT = 20_000
"""Characters of a text that a page has room for."""

_PICTURES = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {127: 0x2421}
_UNSEEN = _PICTURES | dict.fromkeys((*range(0x80, 0xA0), 0x202D, 0x202E, 0xFFFE, 0xFFFF), 0xFFFD)


def number(value: float, digits: int = 3) -> str:
    """1,319, and 0.0421 to so many significant ``digits``; the minus is a minus sign."""
    if not math.isfinite(value):
        text = str(value)
    elif value == int(value):
        text = f"{int(value):,}"
    elif abs(value) >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", "\u2212")


def interval(least: float, most: float) -> str:
    """Both ends as text: ``22``, or ``22 to 110``; the lower one first."""
    return number(least) if least == most else f"{number(min(least, most))} to {number(max(least, most))}"


def plural(value: float, noun: str) -> str:
    """1 row, 2 rows, 2 replies."""
    many = noun.removesuffix("y") + "ies" if noun.endswith("y") else noun + "s"
    return f"{number(value)} {noun if value == 1 else many}"


def credits_text(least: float, most: float | None = None) -> str:
    """1 credit, 22 to 110 credits."""
    most = least if most is None else most
    return f"{interval(least, most)} credit" + ("" if least == most == 1 else "s")


def percent(part: float, whole: float) -> str:
    """97.3 %. Never 100 % of what is not all, and never 0 % of what is not nothing."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < part < whole:
        share = min(max(share, 0.1), 99.9)
    return f"{share:.1f}".removesuffix(".0") + " %"


def span(seconds: float) -> str:
    """40 ms, 2.4 s, 93 s, 4 min 10 s, 2 h 5 min, 3 days 4 h."""
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def moment(at: float) -> str:
    """A time in Unix seconds, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def visible(text: str) -> str:
    """A text with its control characters as pictures, and no letters that run against their direction."""
    return text.replace("\r\n", "\n").translate(_UNSEEN)


def cut(text: str, most: int = CUT) -> str:
    """A text of at most ``most`` characters, which says how many more there were."""
    if len(text) <= most:
        return visible(text)
    return f"{visible(text[:most])}… ({number(len(text) - most)} more characters)"
