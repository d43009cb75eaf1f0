"""Nights of the heart alone: the real dispatch, limiter, breaker, retry, ledger, daybook and journal, nothing around.

Some twenty times as cheap as a night of the whole product, so there can be many; one of twenty is whole. What is asked
are keys and not rows of a table; the endpoint is a function. Two processes may share a day's cap, and a rival wants a
directory that is taken. Virtual time, a disk in memory, and a seed that decides all that goes wrong: kills at calls to
the disk, at requests and at replies, a full disk, a bug of ours, every HTTP status, replies that are cut, late or lost,
a clock that jumps, a journal that is written anew without what is too old.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import anyio
import trio
from trio.testing import MockClock

from journeybatch import accounted, bookmark, compaction, journal, lock, marker, progress
from journeybatch.concurrency import InFlight
from journeybatch.daybook import open_daybook
from journeybatch.directory import open_directory, read_directory
from journeybatch.dispatch import Dispatch, Terms
from journeybatch.entries import Began, Reopened
from journeybatch.errors import JourneybatchError
from journeybatch.history import History
from journeybatch.items import token
from journeybatch.ledger import Ledger
from journeybatch.progress import Numbers, Screen
from journeybatch.records import Message, Price, Prompt, Request
from journeybatch.sections import Limits, Retry
from journeybatch.shapes import FailureLimit
from proofs import night
from proofs.books import READER, check, check_answers, pending, replies
from proofs.checker import Broken
from proofs.endpoint import FATE, Endpoint
from proofs.fate import Fate
from proofs.power import folder, in_process
from proofs.recorder import Recorder
from proofs.spread import spread

HOURS_S = 360_000.0


class Night(NamedTuple):
    """What a seed came to: the processes, how many were killed, the requests that arrived."""

    processes: int
    killed: int
    requests: int


class Process:
    """One process's life in the directory ``path``, with the lanes, the cap and the fate that were drawn; if it
    ``shrinks`` its journal, that is written anew without old replies at its end."""

    def __init__(
        self, path: Path, rng: random.Random, fate: Fate, pack: int, cap: int | None, *, shrinks: bool
    ) -> None:
        self.path, self.rng, self.fate, self.pack, self.cap = path, rng, fate, pack, cap
        self.lanes = rng.randint(1, 6)
        self.slowness_s = rng.uniform(0.02, 20)
        self.rival_at = rng.randint(0, 12)
        self.shrinks = shrinks
        self.flying, self.landed = 0, False
        self.fds: list[int] = []

    async def live(self, endpoint: Endpoint, keys: list[bytes], retry: Retry, *, peace: bool) -> None:
        """From the opening of the directory to its end, or its death. Raises Broken; what else there is, is told apart
        here."""
        FATE.set(self.fate)
        try:
            await self._live(endpoint, keys, retry, peace)
        except Broken:
            raise
        except BaseException as error:
            broken = _broken(error)
            if broken is not None:
                raise broken from None
            if not (self.fate.dead or self.fate.stumbled or isinstance(error, JourneybatchError)):
                raise Broken(f"{error!r} got out") from error
        finally:
            for fd in self.fds:  # what a dead process left open, the kernel closes
                with contextlib.suppress(OSError):
                    os.close(fd)

    async def _live(self, endpoint: Endpoint, keys: list[bytes], retry: Retry, peace: bool) -> None:
        book = open_directory(self.path, "heart")
        self.fds.append(book.fd)
        history = book.history
        book._sync = self._sync
        if peace and history.given_up:
            history.reopen()
            book.write(Reopened(time.time()))
        if history.run is None:
            book.write(Began(1, "heart", "{}", False, endpoint.bills_errors, time.time(), READER.identity))
        run = history.runs[-1]
        day = None
        if endpoint.day_cap is not None:
            day = open_daybook(self.path.parent / "day", endpoint.day_cap, lambda: 1e9)
            self.fds.append(day.fd)
        ledger = Ledger(self.cap, spent=run.spent, unknown=run.unknown, day=day)
        limits = Limits(failures=FailureLimit(percent=100.0), requests_per_minute=self.rng.choice((None, None, 90)))
        terms = Terms(InFlight(self.lanes), limits, retry, endpoint.bills_errors, self.rng, READER)
        deed = Dispatch(book, ledger, Numbers(len(keys), 0, 0, 0, 0), terms, {})
        client: Any = SimpleNamespace(send=lambda request: endpoint.answer(self, request))
        rounds = self._rounds(book, deed, keys)
        ending = await deed.run(rounds, client, screen=Screen(None), keep=lambda: None, signals=False)
        if ending.stop is None and peace and any(pending(history, keys)):
            raise Broken("in peace, and not all was asked")
        if ending.stop is not None and peace:
            raise Broken(f"in peace it is stopped: {ending.stop}")
        if (ledger.reserved, ledger.spent, ledger.unknown) != (0, run.spent, run.unknown):
            said = f"{ledger.reserved} reserved, {ledger.spent} spent, {ledger.unknown} unknown"
            raise Broken(f"the ledger says {said}, and the journal {run.spent}, {run.unknown}")
        if day is not None:
            day.close()
        sums = [(each.spent, each.unknown) for each in history.runs]
        since = time.time() - self.rng.choice((0.0, 5.0, 60.0)) if self.shrinks else None
        if self.shrinks and self.rng.random() < 0.3:
            self.fate.death = ("disk", self.fate.turns["disk"] + self.rng.randint(1, 12))
        compaction.close(book, since)
        self.fds.clear()
        after = read_directory(self.path, "heart")
        if book.broken is None and sums != [(each.spent, each.unknown) for each in after.runs]:
            raise Broken(f"closed with {sums}, and read back as {[(each.spent, each.unknown) for each in after.runs]}")

    async def _sync(self, fd: int) -> None:
        await anyio.sleep(self.rng.choice((0.0, 0.001, 0.2)))
        self.fate.disk("fsync", "")

    def _rounds(self, book: journal.Journal, deed: Dispatch, keys: list[bytes]) -> Iterator[Iterator[Request]]:
        size, history = self.pack, book.history
        while wanted := pending(history, keys):
            deed.more = False
            yield self._requests(history, [wanted[at : at + size] for at in range(0, len(wanted), size)])
            if not deed.more:
                return
            size = max(1, size // 2)

    def _requests(self, history: History, packs: list[list[bytes]]) -> Iterator[Request]:
        for keys in packs:
            number = history.next_request
            history.next_request += 1
            prompts = tuple(Prompt(key, (Message("user", "?"),)) for key in keys)
            body = json.dumps([token(history.id, number, key) for key in keys]).encode()
            yield Request(number, "m", prompts, body, Price(1, 1))


def _broken(error: BaseException) -> Broken | None:
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _broken(inner))), None)
    return error if isinstance(error, Broken) else None


async def _here(write: Callable[[Callable[[], None]], None]) -> None:
    """What stands for another thread: there is no telling when that would have come to its calls of the disk."""
    write(lambda: None)


@contextlib.contextmanager
def _virtual(root: Path, rng: random.Random) -> Iterator[None]:
    """Disk, clock and parser as the fates have them."""
    offset = [rng.choice((0.0, 0.0, 86_400.0, -86_400.0))]
    jumps = random.Random(rng.randrange(1 << 30))

    def clock() -> float:
        if jumps.random() < 0.002:
            offset[0] += jumps.choice((-3600.0, 3600.0))
        return 1e9 + offset[0] + (trio.current_time() if trio.lowlevel.in_trio_run() else 0.0)

    def read(*given: Any, **named: Any) -> Any:
        return FATE.get().read(*given, **named)

    with (
        Recorder(root, lambda call, path: FATE.get().disk(call, path)).recording(),
        patch.object(accounted, "judge", read),
        patch.object(time, "time", clock),
        patch.object(lock, "PAUSES_S", (0.0,)),
        patch.object(progress, "EVERY_S", 3600.0),
        patch.object(compaction, "WORTH", 0),
        patch.object(bookmark, "WORTH", rng.choice((1, 4, 250_000))),
        patch.object(marker, "PAUSE_S", 3.0),
        patch.object(marker, "beside", _here),
    ):
        yield


def _together(processes: list[Process], endpoint: Endpoint, keys: list[bytes], retry: Retry, *, peace: bool) -> None:
    """Let processes live at the same time."""

    async def main() -> None:
        with anyio.fail_after(HOURS_S):  # a lost wake-up would let virtual time run up to here
            async with anyio.create_task_group() as group:
                for process in processes:
                    live = process.live
                    group.start_soon(lambda live=live: live(endpoint, keys, retry, peace=peace))

    trio._core._run._r.seed(processes[0].rng.randrange(1 << 30))  # the order in which trio runs what is ready
    with _virtual(processes[0].path.parent, processes[0].rng):
        try:
            anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
        except BaseExceptionGroup as group:
            raise _broken(group) or group from None


def live_through(root: Path, seed: int) -> Night:
    """One night. Raises Broken with the seed, which is all it takes to see it again."""
    rng = random.Random(seed)
    pack = rng.choice((1, 1, 2, 5))
    keys = [rng.randbytes(16) for _ in range(rng.randint(1, 18))]
    retry = Retry(timeout_s=30, on_unknown=rng.choice(("retry", "retry", "hold", "fail")))
    endpoint = Endpoint(rng, rng.random() < 0.3)
    shrinks = rng.random() < 0.3
    paths = [root / "a", root / "b"][: rng.choice((1, 1, 2))]
    endpoint.day_cap = rng.choice((None, None, rng.randint(1, 30)))
    processes = killed = 0
    try:
        for _ in range(rng.randint(1, 3)):
            endpoint.rate = rng.choice((0.0, 0.1, 0.3, 0.7))
            start = rng.uniform(0, 20)
            how = rng.choice(("", "", "refused", "reset", "503"))
            endpoint.dead = (start, start + rng.choice((5.0, 600.0, 10_800.0)), how) if how else (0.0, 0.0, "")
            lives = []
            for path in paths:
                death = rng.choice((None, *((what, rng.randint(1, most)) for what, most in DEATHS.items())))
                fate = Fate(death, rng.choice((None, None, None, rng.randint(1, 60))))
                cap = rng.choice((None, endpoint.bill[path] + rng.randint(0, 12)))
                lives.append(Process(path, rng, fate, pack, cap, shrinks=shrinks))
            kept = {path: replies(check(path, endpoint)) for path in paths}
            _together(lives, endpoint, keys, retry, peace=False)
            for each in lives:
                processes, killed = processes + 1, killed + each.fate.dead
                kept_here, fate = replies(check(each.path, endpoint)) - kept[each.path], each.fate
                if fate.stumbled and not fate.dead and fate.full is None and kept_here < fate.delivered:
                    raise Broken(f"a bug in a parser cost {fate.delivered - kept_here} replies")
        endpoint.rate, endpoint.dead, endpoint.day_cap = 0.0, (0.0, 0.0, ""), None
        for path in paths:
            process = Process(path, rng, Fate(None, None), 1, None, shrinks=False)
            processes += 1
            _together([process], endpoint, keys, Retry(timeout_s=30), peace=True)
            history = check(path, endpoint)
            if history is None or history.unjudged:
                raise Broken("in peace, and there are unsettled replies, or no journal")
            check_answers(path, history, keys, once=pack == 1 and not shrinks)
    except Broken as broken:
        raise Broken(f"seed {seed}: {broken}") from None
    return Night(processes, killed, endpoint.requests)


DEATHS = {"disk": 60, "request": 20, "reply": 20, "bug": 20}
"""What can end a process, and at which of its turns at the latest."""


def live(seeds: range, whole: int) -> tuple[int, int, int]:
    """The nights of these seeds, every ``whole``-th of them one of the whole product (0: none). Returns the sums."""
    lived = []
    with in_process():
        for seed in seeds:
            with folder() as place:
                of = night.live_through if whole and seed % whole == 0 else live_through
                lived.append(of(place, seed))
    processes, killed, requests = (sum(column) for column in zip(*lived, strict=True))
    return processes, killed, requests


def prove(nights: int, seed: int, whole: int = 0) -> tuple[int, str]:
    """Live through so many nights, from a seed on. Returns their number and a sentence. Raises Broken."""
    seeds = range(seed, seed + nights)
    processes, killed, requests = (sum(column) for column in zip(*spread(live, seeds, 200, whole), strict=True))
    of = f", one of {whole} with the whole product" if whole else ""
    return nights, f"{processes:,} processes, {killed:,} of them killed; {requests:,} requests{of}"
