"""What reading a delivered reply came to, per prompt: one byte each, as the journal keeps it.

A verdict is a view of the raw reply under one contract and can be had again for nothing. ``WEAK`` and ``DECLINED``
are answers that a cascade may want to have asked of a stronger model.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec

UNREAD, ANSWERED, WEAK, DECLINED, MISSED, INVALID, REFUSED, UNFIT = range(8)
"""Unread: nobody has looked under today's contract. Answered: it could be read. Weak: it could, but an escalation
rule finds it wanting. Declined: it could, and its text reads like a refusal. Missed: in a pack, the prompt's item
was absent, doubled or malformed. Invalid: it could not be read as ``answer`` says. Refused: the endpoint marks it as
a refusal and gives no text. Unfit: in a pack, the item was there, and could not be read as ``answer`` says."""

READABLE = (ANSWERED, WEAK, DECLINED)
ERRORS = {MISSED: "missed", INVALID: "invalid", REFUSED: "refusal", UNFIT: "invalid"}
"""Words for ``jb_error`` and the ledger's ``error``."""


class Verdict(msgspec.Struct, frozen=True):
    """One prompt's verdict: its ``code``, the ``values`` by column where it could be read, otherwise a ``message``.

    ``text`` is the prompt's own part of the reply. ``sense`` is what two answers are compared by, or the bits of its
    score; 0 for none.
    """

    code: int
    values: dict[str, Any] = {}
    text: str | None = None
    message: str = ""
    sense: int = 0


def scored(value: object) -> int:
    """A score as a ``sense``: the bits of its double, never 0; not-a-number where there is no score."""
    number = float(value) if isinstance(value, int | float) else math.nan
    bits: int = struct.unpack(">Q", struct.pack(">d", number or -0.0))[0]
    return bits


def error_of(codes: bytes) -> str | None:
    """The first thing that is wrong with a reply's verdicts, as a word; None where all could be read."""
    for code in codes:
        if code in ERRORS:
            return ERRORS[code]
    return None


def code_of(error: str | None) -> int:
    """The verdict that a settlement without verdicts implies by its ``error``: one prompt, read as plain text."""
    return ANSWERED if error is None else REFUSED if error == ERRORS[REFUSED] else UNREAD
