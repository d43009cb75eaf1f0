"""What goes wrong on purpose, and when: rates per kind, latency, outages, a rate limit.

Every decision is a pure function of the seed and the attempt's number, so that a run can be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from random import Random
from typing import Literal

KINDS = (
    "truncate",
    "wrong_json",
    "empty_choices",
    "error_object",
    "empty_body",
    "slow_body",
    "cut",
    "reset",
    "hang",
    "stream_without_end",
)
"""Faults other than statuses. Each is a field of ``Faults``: the share of attempts it befalls."""

SLIPS = (
    "pack_drop",
    "pack_double",
    "pack_invent",
    "pack_swap_id",
    "pack_reorder",
    "pack_garble",
    "invalid_field",
    "bad_json",
    "prose",
)
"""What a model gets wrong in a reply that is whole and paid for. Each is a field of ``Faults``: the share of the
replies that it can befall, each for itself."""

LOST = frozenset({"truncate", "cut", "reset", "stream_without_end"})
"""Faults that lose an answer which the model has given: ``bills_cut`` says whether it was charged."""

_MIX: dict[int | str, float] = {
    **{429: 0.20, 500: 0.15, 503: 0.10, 408: 0.05},
    **{"truncate": 0.08, "wrong_json": 0.06, "empty_choices": 0.05, "error_object": 0.05, "empty_body": 0.05},
    **{"slow_body": 0.05, "cut": 0.06, "reset": 0.05, "hang": 0.02, "stream_without_end": 0.03},
}


class FaultsError(ValueError):
    """A fault setting that makes no sense; the message names it."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """A latency anywhere between two ends, in seconds."""

    least_s: float
    most_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.least_s <= self.most_s < math.inf:
            raise FaultsError(f"latency: uniform needs 0 <= least <= most, not [{self.least_s}, {self.most_s}]")

    def draw(self, rng: Random) -> float:
        """One latency in seconds."""
        return rng.uniform(self.least_s, self.most_s)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A latency with a long tail: half of all are below ``median_s``; ``sigma`` 0.5 is usual, 1 is wild."""

    median_s: float
    sigma: float

    def __post_init__(self) -> None:
        if not (0 < self.median_s < math.inf and 0 <= self.sigma < math.inf):
            raise FaultsError(f"latency: lognormal needs median > 0 and sigma >= 0, not {self}")

    def draw(self, rng: Random) -> float:
        """One latency in seconds."""
        return rng.lognormvariate(math.log(self.median_s), self.sigma)


@dataclass(frozen=True, slots=True)
class Outage:
    """From ``start_s`` to ``end_s`` after the start every request gets ``how``: a status, refused or reset."""

    start_s: float
    end_s: float
    how: int | Literal["refuse", "reset"] = 503

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise FaultsError(f"outages: a window must have 0 <= start < end, not [{self.start_s}, {self.end_s}]")
        if self.how not in ("refuse", "reset"):
            _check_status("outages", self.how)


@dataclass(frozen=True, slots=True)
class Draw:
    """What one attempt meets: a fault's kind (None for none) and its status, where in the body, and the latency."""

    kind: str | None = None
    status: int | None = None
    where: float = 0.0
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Slips:
    """What one reply gets wrong, if it can, and the chances in it."""

    kinds: frozenset[str]
    rng: Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong. Rates are shares of attempts, between 0 and 1 and at most 1 together.

    ``statuses``: HTTP status → rate; ``retry_after_s`` goes with 429 and 503. ``truncate``: a whole HTTP body with
    its JSON or SSE cut short. ``wrong_json``: an HTML page with status 200. ``error_object``: an error with status
    200. ``slow_body``: the body drips for ``slow_body_s`` seconds. ``cut``: the connection is closed after some
    byte of the body (``cut_at``: after that one). ``reset``: TCP RST before the reply or within it (``reset_at``).
    ``hang``: no answer; the connection closes after ``hang_s`` seconds (None: never). ``stream_without_end``: SSE
    without its last events; for a request that is no stream the same as ``truncate``.

    Beside those, in replies that are whole and charged like any (shares of the replies concerned, each for itself):
    ``pack_drop``, ``pack_double``, ``pack_invent``, ``pack_reorder``, ``pack_swap_id``, ``pack_garble``: in the reply
    to a pack, an item is missing, stands twice with differing answers, was never asked for, the order is another, an
    id is misspelt, an item is not JSON. ``prose``: a JSON reply with prose and a code fence around it. ``bad_json``:
    one with a trailing comma or its end missing. ``invalid_field``: a structured answer with a value that its field
    cannot take. ``pack_drift`` p: in a pack of n, an item's answer differs with probability p · (n - 1), at most 1,
    from what it is alone; always the same items, and more of them in larger packs.

    ``requests_per_minute``: at most so many in any 60 seconds, 429 with ``Retry-After`` beyond. ``bills_errors``:
    failed requests that got as far as the model are charged (not: outages, rate limit, refused requests).
    ``bills_cut``: answers lost on the way back are charged. ``late_charge_s``: the account's balance shows a charge so
    many seconds after the request.
    """

    seed: int = 0
    statuses: Mapping[int, float] = field(default_factory=dict)
    retry_after_s: float | None = None
    truncate: float = 0.0
    wrong_json: float = 0.0
    empty_choices: float = 0.0
    error_object: float = 0.0
    empty_body: float = 0.0
    slow_body: float = 0.0
    cut: float = 0.0
    reset: float = 0.0
    hang: float = 0.0
    stream_without_end: float = 0.0
    pack_drop: float = 0.0
    pack_double: float = 0.0
    pack_invent: float = 0.0
    pack_swap_id: float = 0.0
    pack_reorder: float = 0.0
    pack_garble: float = 0.0
    invalid_field: float = 0.0
    bad_json: float = 0.0
    prose: float = 0.0
    pack_drift: float = 0.0
    slow_body_s: float = 5.0
    cut_at: int | None = None
    reset_at: int | None = None
    hang_s: float | None = None
    latency: Uniform | Lognormal | None = None
    outages: tuple[Outage, ...] = ()
    requests_per_minute: int | None = None
    bills_errors: bool = False
    bills_cut: bool = True
    late_charge_s: float = 0.0

    def __post_init__(self) -> None:
        for status in self.statuses:
            _check_status("statuses", status)
        for name, rate in [*self.rates, *((name, getattr(self, name)) for name in (*SLIPS, "pack_drift"))]:
            if not 0 <= rate <= 1:
                raise FaultsError(f"{name}: a rate lies between 0 and 1, not {rate!r}")
        total = sum(rate for _, rate in self.rates)
        if total > 1 + 1e-9:
            raise FaultsError(f"the rates of all faults together are {total:g}, which is more than 1")
        for name in ("retry_after_s", "slow_body_s", "cut_at", "reset_at", "hang_s", "late_charge_s"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise FaultsError(f"{name}: must be 0 or more, not {value!r}")
        if self.requests_per_minute is not None and self.requests_per_minute < 1:
            raise FaultsError(f"requests_per_minute: must be 1 or more, not {self.requests_per_minute!r}")
        windows = sorted(self.outages, key=lambda outage: outage.start_s)
        if any(after.start_s < before.end_s for before, after in pairwise(windows)):
            raise FaultsError("outages: windows must not overlap")

    @classmethod
    def mixed(cls, rate: float, seed: int = 0) -> Faults:
        """A bit of everything, ``rate`` in all, with short waits: for ``--faults 0.2`` and for tests."""
        statuses = {kind: share * rate for kind, share in _MIX.items() if isinstance(kind, int)}
        rates = {kind: share * rate for kind, share in _MIX.items() if isinstance(kind, str)}
        return cls(
            seed=seed,
            statuses=statuses,
            retry_after_s=0.2,
            slow_body_s=0.5,
            hang_s=2.0,
            **rates,  # type: ignore[arg-type]  # the names are fields that hold rates
        )

    @property
    def rates(self) -> list[tuple[str, float]]:
        """Every fault's name and rate, statuses first."""
        named = [(str(status), rate) for status, rate in self.statuses.items()]
        return named + [(kind, getattr(self, kind)) for kind in KINDS]

    @property
    def needs_bytes(self) -> bool:
        """Whether only a server that owns its sockets can do this."""
        windows = any(isinstance(outage.how, str) for outage in self.outages)
        return windows or self.cut > 0 or self.reset > 0 or self.hang > 0

    def draw(self, attempt: int) -> Draw:
        """What the attempt with this number meets, whatever it asks."""
        chances = [(name, rate) for name, rate in self.rates if rate]
        if not chances and self.latency is None:
            return Draw()
        rng = Random(f"{self.seed}:{attempt}")  # noqa: S311  # reproducible on purpose
        u, where = rng.random(), rng.random()
        latency_s = self.latency.draw(rng) if self.latency else 0.0
        for name, rate in chances:
            if u < rate:
                return Draw(name, int(name) if name.isdigit() else None, where, latency_s)
            u -= rate
        return Draw(where=where, latency_s=latency_s)

    def slips(self, attempt: int) -> Slips | None:
        """What the reply to the attempt with this number gets wrong, if it is a reply that can; None for nothing."""
        chances = [(kind, rate) for kind in SLIPS if (rate := getattr(self, kind))]
        if not chances:
            return None
        rng = Random(f"{self.seed}:{attempt}:slips")  # noqa: S311  not the draw's own: both may befall an attempt
        kinds = frozenset(kind for kind, rate in chances if rng.random() < rate)
        return Slips(kinds, rng) if kinds else None

    def outage(self, since_start_s: float) -> Outage | None:
        """The outage at that moment, if there is one."""
        return next((o for o in self.outages if o.start_s <= since_start_s < o.end_s), None)


def _check_status(name: str, status: object) -> None:
    if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
        raise FaultsError(f"{name}: {status!r} is no HTTP error status (400 to 599)")


FIELDS = tuple(item.name for item in fields(Faults))
