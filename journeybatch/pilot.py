"""`pack: auto`: which rows are asked both alone and in packs, how those packs are formed, and what they came to. Pure.

The rows are those with the smallest content keys: a random sample, for a key is a hash, and the same one on every
resume. The answers that were asked alone are the rows' own; those of the packs are asked under keys of their own, only
to compare. In each size the rows stand in another order, so that they meet other neighbours in other places: an
item's place in a pack can change its answer (BatchPrompt, Lin et al. 2024, arXiv:2309.00384).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from journeybatch.agreement import Choice, Trial, choose, compare, lower_bound
from journeybatch.attempts import SETTLED
from journeybatch.history import History
from journeybatch.identity import labelled
from journeybatch.packing import Limit, Sizing, group
from journeybatch.survey import Survey
from journeybatch.verdict import READABLE

if TYPE_CHECKING:
    import polars as pl

Values = Mapping[str, Any]
Pack = list[bytes]


class Pilot(msgspec.Struct, frozen=True):
    """The ``places`` (among the survey's keys) of the rows asked both ways, by content key; and, by size, the packs
    they are asked in, smallest size first. Only full packs are asked: a smaller one would look too good."""

    places: dict[bytes, int]
    packs: dict[int, list[Pack]]

    def trial(self, size: int, key: bytes) -> bytes:
        """The key under which the prompt ``key`` is asked in a pack of ``size``."""
        return labelled(key, f"pilot-{size}")


class Findings(msgspec.Struct, frozen=True):
    """What a pilot has come to: the ``trials`` that are over, and the ``size`` and ``packs`` to be asked next; no
    packs where there is nothing left to ask."""

    trials: list[Trial]
    size: int = 0
    packs: list[Pack] = []

    def choice(self, agreement: float) -> Choice:
        """The size that the trials show to agree."""
        return choose(self.trials, agreement)


def draw(surveyed: Survey, in_packs: pl.Series, rows: int) -> dict[bytes, int]:
    """The sample: at most ``rows`` distinct prompts that can be packed, with their places among the survey's keys.
    Those whose answer is out of a pack (keys in ``in_packs``) say nothing about being asked alone."""
    import polars as pl

    if surveyed.extents is None:
        return {}
    table = pl.DataFrame({"key": surveyed.keys.gather_every(surveyed.samples), "head": surveyed.extents["head"]})
    found = (
        table.with_row_index("row")
        .filter(pl.col("head").is_not_null() & pl.col("key").is_not_null())
        .filter(~pl.col("key").is_in(in_packs.implode()))
        .unique("key", keep="first", maintain_order=True)
        .sort("key")
        .head(rows)
    )
    return {key: row * surveyed.samples for row, key in found.select("row", "key").iter_rows()}


def form(surveyed: Survey, places: dict[bytes, int], sizes: Sequence[int], sizing: Sizing) -> Pilot:
    """The pilot of a sample, in packs of ``sizes``; ``sizing`` says how many characters a pack may have."""
    pilot = Pilot(places, {})
    for size in sizes:
        within = msgspec.structs.replace(sizing, limit=Limit(size, sizing.limit.characters), rooms={})
        ordered = sorted(places, key=lambda key: pilot.trial(size, key))
        pieces = ((within.piece(surveyed, 0, places[key]), key) for key in ordered)
        pilot.packs[size] = [pack for pack in group(pieces, sizing.limit.characters) if len(pack) == size]
    return pilot


def find(
    pilot: Pilot, history: History, agreement: float, values: Callable[[int, bytes], Values], alone: Mapping[bytes, int]
) -> Findings:
    """What ``history`` tells of a pilot. ``alone`` has, by content key, the attempt that answered a prompt asked alone;
    ``values`` reads an attempt's answer to a key. The sizes follow each other until one does not show ``agreement``."""
    heard = _heard(history)
    trials: list[Trial] = []
    for size, packs in pilot.packs.items():
        left = [pack for pack in packs if any(pilot.trial(size, key) not in heard for key in pack)]
        if left:
            return Findings(trials, size, left)
        pairs = (
            (values(alone[key], key), _values(values, heard, pilot.trial(size, key)))
            for pack in packs
            for key in pack
            if key in alone
        )
        trials.append(compare(size, pairs))
        if lower_bound(trials[-1].agreed, trials[-1].of) < agreement:
            break
    return Findings(trials)


def _values(values: Callable[[int, bytes], Values], heard: Mapping[bytes, int | None], trial: bytes) -> Values | None:
    attempt = heard[trial]
    return None if attempt is None else values(attempt, trial)


def _heard(history: History) -> dict[bytes, int | None]:
    """Keys of trials that are over, with the attempt that answered, or None where the pack left the row out."""
    a = history.attempts
    found: dict[bytes, int | None] = dict.fromkeys(history.rooms.keys() & history.trials.keys())
    for i in range(history.tried_from, len(a)):
        if a.charge[i] != SETTLED or a.offset[i] < 0:
            continue
        for key, code in zip(a.keys_of(i), a.codes(i), strict=True):
            if key in history.trials and found.get(key) is None:
                found[key] = i if code in READABLE else None
    return found
