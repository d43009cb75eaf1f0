"""What requests cost, counted and added up; and the stages by which a bill shrinks."""

from __future__ import annotations

import msgspec

from journeybatch.records import Price


class Cost(msgspec.Struct, frozen=True):
    """So many requests, and the credits they cost: at least and at most, where a price is an interval."""

    requests: int = 0
    credits_min: int = 0
    credits_max: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(
            self.requests + other.requests,
            self.credits_min + other.credits_min,
            self.credits_max + other.credits_max,
        )

    def __sub__(self, other: Cost) -> Cost:
        """How much more this is than the other, end by end."""
        return Cost(
            self.requests - other.requests,
            self.credits_min - other.credits_min,
            self.credits_max - other.credits_max,
        )

    @property
    def credits(self) -> str:
        """The credits as text: ``22``, or ``22 to 110``."""
        return interval(self.credits_min, self.credits_max)


def cost(requests: int, price: Price) -> Cost:
    """What so many requests at one ``price`` cost."""
    return Cost(requests, requests * price.least, requests * price.most)


def interval(one: int, other: int) -> str:
    """Two ends as text: ``22``, or ``22 to 110``; the lower one first."""
    return f"{one}" if one == other else f"{min(one, other)} to {max(one, other)}"


class Outlook(msgspec.Struct, frozen=True):
    """What a run will cost when nothing fails.

    ``naive``: one request for each row; ``after_reuse``: one for each distinct prompt that has no answer yet;
    ``after_packing``: the same in packs. In a cascade these three are of the strongest model, which is what one would
    ask without it. ``best``, ``expected`` and ``worst``: what the job asks, if no row climbs, if rows climb as often
    as those before them did (None while too few are known), and if all climb. All are one where there is no cascade.
    """

    naive: Cost
    after_reuse: Cost
    after_packing: Cost
    best: Cost
    expected: Cost | None
    worst: Cost

    def __add__(self, other: Outlook) -> Outlook:
        """Both together."""
        return Outlook(
            self.naive + other.naive,
            self.after_reuse + other.after_reuse,
            self.after_packing + other.after_packing,
            self.best + other.best,
            None if self.expected is None or other.expected is None else self.expected + other.expected,
            self.worst + other.worst,
        )


class Savings(msgspec.Struct, frozen=True):
    """What a run has cost so far, and what the same answers would have cost otherwise.

    ``naive``: one request for each row that has an answer or was charged for; ``after_reuse``: one for each distinct
    prompt that this run was charged for; ``after_packing``: one for each request that carried such prompts for the
    first time. In a cascade these three are of the strongest model. ``after_cascade``: the requests that asked
    something for the first time, of the models they went to. Besides these, ``pilot`` are charges for packs that were
    asked only to compare, ``asked_again`` those that bought only what was asked before, ``departed`` those for prompts
    that are no row's any more.

    ``naive`` − what each stage saves + ``pilot`` + ``asked_again`` + ``departed`` = ``spent``, at both ends.
    ``in_doubt`` may have been charged besides. ``saved`` is ``naive`` − ``spent``; a run that had to ask much again has
    less than 0.
    """

    naive: Cost
    after_reuse: Cost
    after_packing: Cost
    after_cascade: Cost
    pilot: Cost
    asked_again: Cost
    departed: Cost
    spent: Cost
    in_doubt: Cost
    saved: Cost
