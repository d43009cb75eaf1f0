"""Deterministic simulation: whole runs in virtual time, under a seed that decides all that goes wrong.

The real product runs from the first act to the last (packs and cascades, too) on trio's mock clock, against the
emulator in this process. The seed draws the job, the server's faults, where the process is killed (at a call to the
disk, as a request arrives, while its answer is under way), when the disk fills up, how the wall clock jumps and how the
cap is changed between runs. The same seed is the same night.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import anyio
import anyio.to_thread
import httpx
import trio
from trio.testing import MockClock

from journeybatch import accounted, api, journal, progress, wire
from journeybatch.directory import read_directory
from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.answer_key import AnswerKey
from journeybatch.emulator.faults import Outage, Uniform
from journeybatch.emulator.transport import EmulatorTransport
from journeybatch.errors import JourneybatchError
from journeybatch.history import History
from proofs.checker import Broken
from proofs.power import folder, in_process
from proofs.recorder import Recorder
from proofs.world import CHEAP, STRONG, World, answer

DECLINED = "I'm sorry, but I can't help with that."
SLIPS = ("pack_drop", "pack_double", "pack_invent", "pack_swap_id", "pack_reorder", "pack_garble", "prose")
DEATHS = {"disk": 90, "request": 20, "reply": 20, "bug": 20}
"""What can end a process, and at which of its turns at the latest."""
HOUR = 3600.0


class Killed(BaseException):
    """The process is dead from here on: nothing that it does reaches the disk or the network any more."""


class Fate:
    """What befalls one process: the ``death`` comes with the so-manieth call to the disk, request or reply; or a bug
    of ours with the so-manieth reply that is read. The disk is full from the ``full``-th call on."""

    def __init__(self, death: tuple[str, int] | None, full: int | None) -> None:
        self.death, self.full = death, full
        self.dead = False
        self.calls = 0
        self.turns = {"disk": 0, "request": 0, "reply": 0, "bug": 0}
        self.delivered = 0

    def meet(self, what: str) -> None:
        """Raises Killed if this is the hour, and ever after."""
        self.turns[what] += 1
        if self.dead or self.death == (what, self.turns[what]):
            self.dead = True
            raise Killed

    @property
    def stumbled(self) -> bool:
        """Whether the bug has shown."""
        return self.death is not None and self.death[0] == "bug" and self.turns["bug"] >= self.death[1]

    def read(self, *given: Any, **named: Any) -> Any:
        """What stands where a reply is judged."""
        self.turns["bug"] += 1
        if self.death == ("bug", self.turns["bug"]):
            raise ZeroDivisionError("a bug in a parser")
        return wire.judge(*given, **named)

    def disk(self, call: str, _: str) -> None:
        self.meet("disk")
        self.calls += call in ("write", "fsync")
        if self.full is not None and self.calls > self.full and call in ("write", "fsync"):
            raise OSError(28, "No space left on device")


class Fatal(EmulatorTransport):
    """The emulator, for a process with a fate; no request may arrive that takes the bill over the cap."""

    def __init__(self, emulator: Emulator, fate: Fate, cap: int | None) -> None:
        super().__init__(emulator)
        self.fate, self.cap = fate, cap

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST":
            return await super().handle_async_request(request)
        self.fate.meet("request")
        response = await super().handle_async_request(request)
        if self.cap is not None and self.emulator.billed > self.cap:
            raise Broken(f"the bill is {self.emulator.billed}, over the cap of {self.cap}")
        self.fate.meet("reply")
        self.fate.delivered += 1
        return response


class Night(NamedTuple):
    """What a seed came to: how many processes ran, how many of them were killed, and the requests in all."""

    processes: int
    killed: int
    requests: int


class Cascaded(World):
    """A world whose cheap model declines every fourth question."""

    @staticmethod
    def told(texts: Any) -> list[dict[str, str]]:
        return [{"question": text, CHEAP: cheap(text), STRONG: answer(text, STRONG)} for text in texts]

    def judge(self, bill: Any, **terms: Any) -> Any:
        from proofs.checker import Evidence, judge

        said = {CHEAP: cheap, STRONG: lambda text: answer(text, STRONG)}
        return judge(
            Evidence(
                table=self.table,
                output=self.output,
                bill=bill,
                right=lambda row, model: {
                    "response": said[STRONG if int(row["text"][6:10]) % 4 == 0 else model](row["text"])
                },
                **terms,
            )
        )


def cheap(text: str) -> str:
    return DECLINED if int(text[6:10]) % 4 == 0 else answer(text, CHEAP)


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
    with _virtual(world, fate, rng):
        try:
            report = run_virtually(job, options, rng.randrange(1 << 30))
        except BaseException as error:
            if isinstance(error, Broken):
                raise
            if not fate.dead and not fate.stumbled and not isinstance(error, JourneybatchError):
                raise Broken(f"{error!r} got out") from error
            report = None
        finally:
            _bury(world)
    if report is not None and peace and report.exit_code not in (0, 1):
        raise Broken(f"in peace it ends with {report.exit_code}: {report.message}")
    history = _check_books(world, emulator)
    replies = 0 if history is None else sum(offset >= 0 for offset in history.attempts.offset)
    if fate.stumbled and not fate.dead and fate.full is None and replies - kept < fate.delivered:
        raise Broken(f"a bug in a parser cost {fate.delivered - replies + kept} replies")
    if peace and history is not None and history.unjudged:
        raise Broken(f"{len(history.unjudged)} replies stand in the journal, unsettled")
    return fate.dead


def run_virtually(job: dict[str, Any], options: dict[str, Any], seed: int) -> Any:
    """``api.run`` on trio's mock clock. Raises what it raises."""

    async def main() -> Any:
        with anyio.fail_after(100 * HOUR):  # a lost wake-up would let virtual time run up to here
            return await api.run_async(job, **options)

    trio._core._run._r.seed(seed)  # the order in which trio runs what is ready
    try:
        return anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    except BaseExceptionGroup as group:
        broken = group.subgroup(Broken)
        if broken is not None:
            raise next(_leaves(broken)) from None
        raise


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


@contextlib.contextmanager
def _virtual(world: World, fate: Fate, rng: random.Random) -> Iterator[None]:
    """A disk that takes virtual time to sync, and a wall clock that jumps."""
    started, real, jumps = time.time(), time.time, random.Random(rng.randrange(1 << 30))
    offset = [rng.choice((0.0, 0.0, 86_400.0, -86_400.0))]

    async def beside(deed: Any, *given: Any, **_: Any) -> Any:
        await anyio.sleep(jumps.choice((0.0, 0.001, 0.2)))
        return deed(*given)

    def clock() -> float:
        try:
            now = trio.current_time() if trio.lowlevel.in_trio_run() else 0.0
        except RuntimeError:
            now = 0.0
        if jumps.random() < 0.001:
            offset[0] += jumps.choice((-3600.0, 3600.0))
        return started + now + offset[0]

    assert real is not clock
    with (
        Recorder(world.output, fate.disk).recording(),
        patch.object(accounted, "judge", fate.read),
        patch.object(anyio.to_thread, "run_sync", beside),
        patch.object(time, "time", clock),
        patch.object(journal, "LOCK_PAUSES_S", (0.0,)),
        patch.object(progress, "EVERY_S", 60.0),
    ):
        yield


def _bury(world: World) -> None:
    """Close what a dead process left open, as the kernel does; its lock goes with it."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(str(world.output)):
                os.close(int(name))


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
