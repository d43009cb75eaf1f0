"""The rows one looks through: what a page holds of each, and how that travels inside the page.

A row has one reply per *variant*: the samples of a run, or what is compared in an evaluation. A *mark* is a set of
rows one may want to see alone: those that failed, or where variants disagree. Whoever makes the rows decides what a
mark means; the page only filters by it.

These values are the page's data: they are written as JSON arrays, beside the names of their fields, and deflated.
"""

from __future__ import annotations

import base64
import zlib

import msgspec


class Mark(msgspec.Struct, frozen=True):
    """A set of rows by its ``name``, and the ``group`` of marks it belongs to."""

    group: str
    name: str


class Tried(msgspec.Struct, frozen=True, array_like=True):
    """One attempt: the request it belongs to, its number, how many rows it carried, and what came of it."""

    request: str
    attempt: int
    model: str
    rows: int
    outcome: str
    credits: str
    status: int | None
    error: str
    message: str
    at: str
    latency_s: float | None


class Score(msgspec.Struct, frozen=True, array_like=True):
    """What a scorer made of a reply: its name, the score as text, whether that is as good as can be (None where this
    cannot be said), why, and which ``answer`` it found in the reply."""

    scorer: str
    score: str
    good: bool | None
    why: str = ""
    answer: str = ""


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """What one variant came to for a row. ``fields`` are in the order of ``Browser.fields``, null where there is none;
    ``facts`` are pairs of a name and a text; ``messages`` as in Row, where each variant asks in its own words."""

    status: str
    text: str = ""
    error: str = ""
    message: str = ""
    fields: tuple[str | None, ...] = ()
    scores: tuple[Score, ...] = ()
    credits: str = "0"
    latency_s: float | None = None
    facts: tuple[tuple[str, str], ...] = ()
    attempts: tuple[Tried, ...] = ()
    messages: tuple[tuple[str, int], ...] = ()


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A row: its number in the input, its cells in the order of ``Browser.columns``, the messages as pairs of a role
    and an index into ``Browser.texts`` (none where variants ask in different words: these stand with their replies), a
    reply per variant, indices of its marks, and what is known of it besides: the target and the group of an
    evaluation."""

    number: int
    cells: tuple[str | None, ...]
    messages: tuple[tuple[str, int], ...]
    replies: tuple[Reply, ...]
    marks: tuple[int, ...] = ()
    target: str | None = None
    group: str | None = None


class Browser(msgspec.Struct, frozen=True):
    """All rows of a page. ``note`` says which they are where they are not all."""

    columns: tuple[str, ...]
    fields: tuple[str, ...]
    variants: tuple[str, ...]
    marks: tuple[Mark, ...]
    texts: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""


SHAPES = {
    "row": Row.__struct_fields__,
    "reply": Reply.__struct_fields__,
    "attempt": Tried.__struct_fields__,
    "score": Score.__struct_fields__,
}


def packed(browser: Browser) -> str:
    """A browser as text for a page: JSON, deflated, in base 64, whose letters mean nothing to HTML."""
    text = msgspec.json.encode({**msgspec.structs.asdict(browser), "shapes": SHAPES})
    return base64.b64encode(zlib.compress(text, 6)).decode("ascii")


class Texts:
    """Texts that are kept once, however often they are said: a system message is the same in every row."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Where a text stands among ``all``."""
        return self._places.setdefault(text, len(self._places))

    @property
    def all(self) -> tuple[str, ...]:
        """The texts, by place."""
        return tuple(self._places)
