"""Bad days of the endpoint: whole runs in virtual time against outages, errors, slowness and throttling.

What is measured is what a bad day costs: attempts for each row, requests beyond one a row, rows that failed, credits
in doubt, and how long it takes until the pace is back. The checker then looks at each directory.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import anyio
import httpx
import pyarrow.parquet as pq

from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.answer_key import AnswerKey
from journeybatch.emulator.faults import Outage, Uniform
from journeybatch.emulator.transport import EmulatorTransport
from proofs.checker import Broken
from proofs.fate import HOUR, Fate
from proofs.power import folder, in_process
from proofs.virtual import run_virtually, virtual
from proofs.world import World

LATENCY_S = 0.5
BEGINS_S = 2.0
"""The canary has come back, and all lanes are at work."""
HEAD = (
    "| bad day, 256 in flight | rows | attempts a row | extra requests | rows failed | in doubt | back at full speed |"
)


class Day(NamedTuple):
    """A bad day: its ``faults``, the seconds from which to which answers take ten times as long, and what it may cost:
    ``extra`` requests at most, and ``failed``, the share of rows. ``ends_s``: when it is over."""

    what: str
    faults: Faults
    extra: Callable[[int], float]
    failed: float = 0.0
    slow: tuple[float, float] = (0.0, 0.0)
    ends_s: float | None = None


def _three_hours(what: str, how: Any) -> Day:
    ends = BEGINS_S + 3 * HOUR
    return Day(f"3 hours: {what}", _faults(outages=(Outage(BEGINS_S, ends, how),)), lambda rows: 475, ends_s=ends)


def _faults(**more: Any) -> Faults:
    return Faults(latency=Uniform(0.9 * LATENCY_S, 1.1 * LATENCY_S), **more)


FLAPS = tuple(Outage(start, start + 20.0, 503) for start in range(4, 644, 40))
DAYS = (
    _three_hours("connection refused", "refuse"),
    _three_hours("connection reset", "reset"),
    _three_hours("HTTP 500", 500),
    _three_hours("HTTP 503", 503),
    Day("30 % of replies are HTTP 500", _faults(statuses={500: 0.3}), lambda rows: 0.45 * rows, failed=0.04),
    Day("30 % of all that can go wrong", Faults.mixed(0.3), lambda rows: 0.45 * rows, failed=0.04),
    Day("ten times as slow for half a minute", _faults(), lambda rows: 0, slow=(BEGINS_S, 30.0), ends_s=30.0),
    Day("dead for 20 s of every 40, 11 minutes", _faults(outages=FLAPS), lambda rows: 0.5 * rows),
    Day(
        "HTTP 429 to everyone, 10 minutes",
        _faults(outages=(Outage(BEGINS_S, 602.0, 429),)),
        lambda rows: 475,
        ends_s=602.0,
    ),
    # A row that is turned away three times has used up its attempts, though the server answers others.
    Day("600 requests a minute, 429 beyond", _faults(requests_per_minute=600), lambda rows: 0.6 * rows, failed=0.002),
)


class Slowed(EmulatorTransport):
    """The emulator, ten times as slow for a while."""

    def __init__(self, emulator: Emulator, slow: tuple[float, float]) -> None:
        super().__init__(emulator)
        self.slow = slow

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.slow[0] <= anyio.current_time() < self.slow[1]:
            await anyio.sleep(9 * LATENCY_S)
        return await super().handle_async_request(request)


class Cost(NamedTuple):
    """What a day came to."""

    rows: int
    attempts: int
    failed: int
    doubt: int
    back_s: float | None

    @property
    def extra(self) -> int:
        return self.attempts - self.rows

    def line(self, what: str) -> str:
        """As a row of the table."""
        back = "" if self.back_s is None else f"after {self.back_s:.0f} s"
        each = f"{self.attempts / self.rows:.2f}"
        return f"| {what} | {self.rows:,} | {each} | {self.extra:,} | {self.failed:,} | {self.doubt:,} | {back} |"


def live_through(day: Day, rows: int, seed: int) -> Cost:
    """A run of so many rows on such a day, at 256 in flight. Raises Broken where it costs too much."""
    with folder() as place:
        world = World(place, rows, concurrency=256, limits={"failures": "100%"}, retry={"timeout_s": 60})
        faults, rng = Faults(**_own(day.faults) | {"seed": seed}), random.Random(seed)
        emulator = Emulator(answers=AnswerKey(world.told(world.texts)), faults=faults)
        options = {"transport": Slowed(emulator, day.slow), "seed": seed, "yes": True}
        with virtual(world, Fate(None, None), rng, quick=True):
            report = run_virtually(world.job(), options, seed)
        if report.exit_code not in (0, 1):
            raise Broken(f"{day.what}, seed {seed}: it ends with {report.exit_code}: {report.message}")
        try:
            sums = world.judge([record.as_json() for record in emulator.attempts], failing=True)
        except Broken as broken:
            raise Broken(f"{day.what}, seed {seed}: {broken}") from None
        attempts = pq.read_metadata(world.output / "requests.parquet").num_rows
    ends = [record.at_s for record in emulator.attempts if record.status == 200]
    cost = Cost(rows, attempts, sums.rows - sums.answered, sums.unknown, _back(ends, day.ends_s))
    if cost.extra > day.extra(rows) or cost.failed > day.failed * rows:
        raise Broken(f"{day.what}, seed {seed}: {cost.extra} extra requests, {cost.failed} of {rows} rows failed")
    if cost.back_s is not None and cost.back_s > 120:
        raise Broken(f"{day.what}, seed {seed}: full speed is back after {cost.back_s:.0f} s")
    return cost


def _own(faults: Faults) -> dict[str, Any]:
    return {name: getattr(faults, name) for name in Faults.__dataclass_fields__}


def _back(answered: list[float], since: float | None) -> float | None:
    """Seconds from ``since`` until the pace is nine tenths of what 256 in flight allow: over 128 answers."""
    if since is None or sum(at >= since for at in answered) < 512:  # too few to tell
        return None
    times = sorted(at for at in answered if at >= since)
    for first, last in pairwise(times[::128]):
        if 128 / max(last - first, 1e-9) >= 0.9 * 256 / (1.1 * LATENCY_S):
            return last - since
    return float("inf")


def prove(rows: int, seed: int) -> tuple[int, str, list[str]]:
    """Live through all bad days with so many rows. Returns their number, a sentence, and a table. Raises Broken."""
    with in_process():
        costs = {day.what: live_through(day, rows, seed) for day in DAYS}
    dead = max(cost.extra for what, cost in costs.items() if what.startswith("3 hours"))
    table = [HEAD, "| --- | --- | --- | --- | --- | --- | --- |", *(cost.line(what) for what, cost in costs.items())]
    failed = sum(cost.failed for cost in costs.values())
    return len(DAYS), f"at most {dead} extra requests for 3 hours; {failed} rows failed, none of an outage", table
