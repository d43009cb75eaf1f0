"""Deterministic simulation: whole runs in virtual time, under a seed that decides all that goes wrong.

The real product runs from the first act to the last (packs and cascades, too) on trio's mock clock, against the
emulator in this process. The seed draws the job, the server's faults, where the process is killed (at a call to the
disk, as a request arrives, while its answer is under way), when the disk fills up, how the wall clock jumps and how the
cap is changed between runs. The same seed is the same night.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, NamedTuple

from journeybatch.directory import read_directory
from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.answer_key import AnswerKey
from journeybatch.emulator.faults import Outage, Uniform
from journeybatch.errors import JourneybatchError
from journeybatch.history import History
from proofs.cascade import Cascaded
from proofs.checker import Broken
from proofs.fate import DEATHS, HOUR, Fatal, Fate
from proofs.power import folder, in_process
from proofs.virtual import bury, run_virtually, virtual
from proofs.world import CHEAP, STRONG, World

SLIPS = ("pack_drop", "pack_double", "pack_invent", "pack_swap_id", "pack_reorder", "pack_garble", "prose")


class Night(NamedTuple):
    """What a seed came to: how many processes ran, how many of them were killed, and the requests in all."""

    processes: int
    killed: int
    requests: int


def live_through(path: Path, seed: int) -> Night:
    """One night. Raises Broken with the seed, which is all it takes to see it again."""
    rng = random.Random(seed)
    pack, cascade = rng.choice((1, 1, 1, 3, 6)), rng.random() < 0.3
    bills_errors = rng.random() < 0.3
    world = (Cascaded if cascade else World)(
        path,
        rng.randint(2, 24),
        twins=rng.randint(0, 2),
        concurrency=rng.randint(1, 8),
        pack=pack,
        model=[CHEAP, STRONG] if cascade else CHEAP,
        api={"base_url": "http://127.0.0.1/api/v1", "bills_errors": bills_errors},
        retry={"on_unknown": rng.choice(("retry", "retry", "hold", "fail")), "timeout_s": 30},
        **({"escalate": ["refusal"]} if cascade else {}),
    )
    books: list[Any] = []
    processes = killed = 0
    cap: int | None = rng.choice((None, rng.randint(1, 30)))
    try:
        for _ in range(rng.randint(1, 4)):
            faults = _faults(rng, bills_errors)
            deaths = [None, *((what, rng.randint(1, most)) for what, most in DEATHS.items())]
            death = rng.choice(deaths)
            fate = Fate(death, rng.choice((None, None, None, rng.randint(1, 60))))
            if cap is not None and rng.random() < 0.3:
                cap = max(cap + rng.randint(-5, 20), 1)
            processes += 1
            killed += process(world, books, faults, fate, cap, rng)
        if departed := rng.random() < 0.3:
            world.edit(rng)
        for _ in range(3):  # in peace: the last word of rows that failed, or were held in doubt
            processes += 1
            process(world, books, Faults(), Fate(None, None), None, rng, peace=True)
            if json.loads((world.output / "summary.json").read_text())["exit_code"] == 0 and rng.random() < 0.7:
                break  # seldom we look whether another one would find something to do
        world.judge([record.as_json() for record in books], once=pack == 1 and not cascade, departed=departed)
    except Broken as broken:
        raise Broken(f"seed {seed}: {broken}") from None
    return Night(processes, killed, len(books))


def _faults(rng: random.Random, bills_errors: bool) -> Faults:
    mixed = Faults.mixed(rng.choice((0.0, 0.1, 0.3, 0.6)), rng.randrange(1000))
    start = rng.uniform(0, 20)
    outages = (Outage(start, start + rng.choice((5.0, 600.0, 3 * HOUR)), rng.choice((503, "refuse", "reset"))),)
    slips = {name: rng.choice((0.0, 0.3)) for name in SLIPS}
    more = {"outages": outages} if rng.random() < 0.3 else {}
    own = {name: getattr(mixed, name) for name in Faults.__dataclass_fields__}
    late = rng.uniform(0.01, 20)
    return Faults(**(own | slips | more | {"bills_errors": bills_errors, "latency": Uniform(0.01, late)}))


def process(
    world: World,
    books: list[Any],
    faults: Faults,
    fate: Fate,
    cap: int | None,
    rng: random.Random,
    *,
    peace: bool = False,
) -> bool:
    """One process's life; ``books`` is the account's bill, over all of them. Returns whether it was killed."""
    key = AnswerKey(world.told(world.texts))
    emulator = Emulator(answers=key, faults=faults, latency_s=0.01)
    emulator._bill.attempts, emulator._bill.credits = books, sum(record.credits for record in books)
    begun_with = emulator.billed
    limits = {"failures": "100%"} | ({} if cap is None else {"credits": max(cap, begun_with)})
    job = world.job() | {"api": world.keys["api"], "limits": limits}
    if peace:
        job["retry"] = {"on_unknown": "retry"}
    before = _check_books(world, emulator)
    kept = 0 if before is None else sum(offset >= 0 for offset in before.attempts.offset)
    over = None if cap is None else max(cap, begun_with)
    options = {
        "transport": Fatal(emulator, fate, over),
        "seed": rng.randrange(1000),
        "yes": True,
        "retry_failed": peace,
    }
    with virtual(world, fate, rng):
        try:
            report = run_virtually(job, options, rng.randrange(1 << 30))
        except BaseException as error:
            if isinstance(error, Broken):
                raise
            if not fate.dead and not fate.stumbled and not isinstance(error, JourneybatchError):
                raise Broken(f"{error!r} got out") from error
            report = None
        finally:
            bury(world)
    if report is not None and peace and report.exit_code not in (0, 1):
        raise Broken(f"in peace it ends with {report.exit_code}: {report.message}")
    history = _check_books(world, emulator)
    replies = 0 if history is None else sum(offset >= 0 for offset in history.attempts.offset)
    if fate.stumbled and not fate.dead and fate.full is None and replies - kept < fate.delivered:
        raise Broken(f"a bug in a parser cost {fate.delivered - replies + kept} replies")
    if peace and history is not None and history.unjudged:
        raise Broken(f"{len(history.unjudged)} replies stand in the journal, unsettled")
    return fate.dead


def _check_books(world: World, emulator: Emulator) -> History | None:
    """What stands on the disk now accounts for the bill."""
    if not (world.output / "journal").exists():
        if emulator.billed:
            raise Broken(f"{emulator.billed} credits on the bill, and no journal")
        return None
    history = read_directory(world.output, "proof")
    if history.lost or history.gaps:
        raise Broken(f"a kill left {history.gaps}")
    certain = sum(run.spent for run in history.runs)
    most = certain + sum(run.unknown for run in history.runs)
    if not certain <= emulator.billed <= most:
        raise Broken(f"the bill is {emulator.billed}, the journal says {certain} to {most}")
    return history


def prove(nights: int, seed: int) -> tuple[int, str]:
    """Live through so many nights, from a seed on. Returns their number and a sentence."""
    lived = []
    with in_process():
        for number in range(seed, seed + nights):
            with folder() as place:
                lived.append(live_through(place, number))
    processes, killed, requests = (sum(column) for column in zip(*lived, strict=True))
    return nights, f"{processes} processes, {killed} of them killed; {requests} requests"
