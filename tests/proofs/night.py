"""Deterministic simulation: whole runs in virtual time, under a seed that decides all that goes wrong.

The real product runs from the first act to the last (packs and cascades, too) on trio's mock clock, against the
emulator in this process. The seed draws the job, the server's faults, where the process is killed (at a call to the
disk, as a request arrives, while its answer is under way), when the disk fills up, how the wall clock jumps and how the
cap is changed between runs. The same seed is the same night.
"""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

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
from proofs.virtual import DAY_S, Wall, bury, run_virtually, virtual
from proofs.world import CHEAP, STRONG, World

SLIPS = ("pack_drop", "pack_double", "pack_invent", "pack_swap_id", "pack_reorder", "pack_garble", "prose")


class Night(NamedTuple):
    """What a seed came to: how many processes ran, how many of them were killed, and the requests in all."""

    processes: int
    killed: int
    requests: int


class Scene:
    """What all processes of a night share: the job, the account's bill, what was ``billed_before`` the latest run, what
    a day may cost, the clock on the wall, and the bill of a directory that lends its answers."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        pack, cascade = rng.choice((1, 1, 1, 3, 6)), rng.random() < 0.3
        bills_errors = rng.random() < 0.3
        self.samples = 1 if cascade else rng.choice((1, 1, 1, 2))
        self.ages = rng.random() < 0.25
        self.per_day = rng.randint(3, 40) if rng.random() < 0.25 else None
        lends = not cascade and rng.random() < 0.25
        self.lender = World(_made(path / "lender"), rng.randint(1, 6), model=CHEAP) if lends else None
        more = {"reuse": [str(self.lender.output)]} if self.lender else {}
        self.world = (Cascaded if cascade else World)(
            path,
            rng.randint(2, 24),
            twins=rng.randint(0, 2),
            concurrency=rng.randint(1, 8),
            pack=pack,
            model=[CHEAP, STRONG] if cascade else CHEAP,
            api={"base_url": "http://127.0.0.1/api/v1", "bills_errors": bills_errors},
            retry={"on_unknown": rng.choice(("retry", "retry", "hold", "fail")), "timeout_s": 30},
            samples=self.samples,
            **({"escalate": ["refusal"]} if cascade else {}),
            **({"max_age": "1d"} if self.ages else {}),
            **more,
        )
        self.bills_errors, self.once = bills_errors, pack == 1 and not cascade
        self.wall = Wall()
        self.books: list[Any] = []
        self.lent: list[Any] = []
        self.billed_before = 0

    def lend(self, rng: random.Random) -> None:
        """Let the other directory get its answers, on a good day."""
        if self.lender is None:
            return
        emulator = Emulator(answers=AnswerKey(self.lender.told(self.lender.texts)), latency_s=0.01)
        with virtual(self.lender, Fate(None, None), rng, self.wall):
            options = {"transport": emulator.transport(), "seed": 1, "yes": True}
            run_virtually(self.lender.job(self.world.keys["api"]["base_url"]), options, rng.randrange(1 << 30))
        self.lent = list(emulator.attempts)

    def most_by_now(self) -> float:
        """Credits that the days so far allow."""
        return math.inf if self.per_day is None else self.per_day * len(self.wall.days)

    def judge(self, departed: bool) -> None:
        """Hold what the last process left against the table, the bills and the clock. Raises Broken."""
        young = self.wall.latest - self.wall.earliest < DAY_S
        self.world.judge(
            [record.as_json() for record in self.books],
            once=self.once and (young or not self.ages),
            departed=departed or self.ages,
            samples=self.samples,
            lent=[record.as_json() for record in self.lent],
        )
        keys = pq.read_table(self.world.output / "results.parquet", columns=["jb_key"])["jb_key"].to_pylist()
        if len(set(keys)) != len({row["text"] for row in self.world.table}) * self.samples:
            raise Broken(f"{len(set(keys))} keys for {len(self.world.table)} rows, {self.samples} times each")
        if self.ages:
            self._check_age()
        if self.lender is not None and self.samples == 1 and (young or not self.ages):
            self._check_lent(self.lender)

    def _check_age(self) -> None:
        """Nothing that was too old when the run began still counts, or when a later process found that none was left
        to ask, on a clock that was set back; it may have jumped by hours since."""
        began = json.loads((self.world.output / "summary.json").read_text())["started_at"]
        found = datetime.fromtimestamp(self.wall.last, UTC)
        oldest = min(datetime.fromisoformat(began), found) - timedelta(hours=26)
        said = pq.read_table(self.world.output / "results.parquet", columns=["jb_answered_at"])["jb_answered_at"]
        if old := [at for at in said.to_pylist() if at is not None and at < oldest]:
            raise Broken(f"{len(old)} answers are older than a day, one of {min(old)}")

    def _check_lent(self, lender: World) -> None:
        """Nothing was bought that somebody lends."""
        lent = set(pq.read_table(lender.output / "results.parquet")["jb_key"].to_pylist())
        paths = [*(self.world.output / "requests").glob("*.parquet"), self.world.output / "requests.parquet"]
        for path in paths:
            for row in pq.read_table(path, columns=["keys", "error"]).to_pylist():
                if row["error"] != "borrowed" and lent.intersection(row["keys"]):
                    raise Broken(f"asked for what another directory lends: {row}")


def live_through(path: Path, seed: int) -> Night:
    """One night. Raises Broken with the seed, which is all it takes to see it again."""
    rng = random.Random(seed)
    scene = Scene(path, rng)
    world = scene.world
    processes = killed = 0
    cap: int | None = rng.choice((None, rng.randint(1, 30)))
    try:
        scene.lend(rng)
        for _ in range(rng.randint(1, 4)):
            faults = _faults(rng, scene.bills_errors)
            deaths = [None, *((what, rng.randint(1, most)) for what, most in DEATHS.items())]
            death = rng.choice(deaths)
            fate = Fate(death, rng.choice((None, None, None, rng.randint(1, 60))))
            if cap is not None and rng.random() < 0.3:
                cap = max(cap + rng.randint(-5, 20), 1)
            processes += 1
            killed += process(scene, faults, fate, cap, rng)
        if departed := rng.random() < 0.3:
            world.edit(rng)
        for _ in range(3):  # in peace: the last word of rows that failed, or were held in doubt
            processes += 1
            process(scene, Faults(), Fate(None, None), None, rng, peace=True)
            if json.loads((world.output / "summary.json").read_text())["exit_code"] == 0 and rng.random() < 0.7:
                break  # seldom we look whether another one would find something to do
        scene.judge(departed)
    except Broken as broken:
        raise Broken(f"seed {seed}: {broken}") from None
    return Night(processes, killed, len(scene.books))


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
    scene: Scene, faults: Faults, fate: Fate, cap: int | None, rng: random.Random, *, peace: bool = False
) -> bool:
    """One process's life; the scene's ``books`` are the account's bill, over all. Returns whether it was killed."""
    world, books = scene.world, scene.books
    key = AnswerKey(world.told(world.texts))
    emulator = Emulator(answers=key, faults=faults, latency_s=0.01)
    emulator._bill.attempts, emulator._bill.credits = books, sum(record.credits for record in books)
    begun_with = emulator.billed
    limits: dict[str, Any] = {"failures": "100%"} | ({} if cap is None else {"credits": max(cap, begun_with)})
    if scene.per_day is not None and not peace:
        limits["credits_per_day"] = scene.per_day
    job = world.job() | {"api": world.keys["api"], "limits": limits}
    if peace:
        job["retry"] = {"on_unknown": "retry"}
    before = _check_books(world, emulator)
    kept = 0 if before is None else sum(offset >= 0 for offset in before.attempts.offset)
    most_by_now = (lambda: math.inf) if peace else scene.most_by_now
    if before is None or before.run is None or before.run.finished_at is not None:
        scene.billed_before = begun_with
    over = None if cap is None else max(cap, begun_with) + scene.billed_before * scene.ages  # each run has its own cap
    options = {
        "transport": Fatal(emulator, fate, over, most_by_now),
        "seed": rng.randrange(1000),
        "yes": True,
        "retry_failed": peace,
    }
    with virtual(world, fate, rng, scene.wall):
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


def _made(path: Path) -> Path:
    path.mkdir()
    return path
