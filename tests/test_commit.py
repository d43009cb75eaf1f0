"""One sync of the disk serves everybody who waits for one, and nobody who came too late for it."""

from __future__ import annotations

import threading

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from journeybatch import commit
from journeybatch.commit import BESIDE, GroupCommit, Syncs


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, MockClock]]:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Log:
    """A log of entries, on a disk that takes ``seconds`` for a sync: how many entries each sync made safe."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds, self.entries, self.syncs = seconds, 0, list[int]()
        self.commits = GroupCommit(0, lambda: self.entries, self.sync)
        self.at_once = 0

    async def sync(self) -> None:
        written = self.entries
        self.at_once += 1
        assert self.at_once == 1
        try:
            await anyio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        self.syncs.append(written)

    async def add(self) -> None:
        """Add an entry and wait until it is safe."""
        self.entries += 1
        mine = self.entries
        await self.commits.reach(mine)
        assert self.commits.synced >= mine
        assert self.syncs[-1] >= mine


@pytest.mark.anyio
async def test_who_is_ready_in_the_same_turn_shares_a_sync() -> None:
    log = Log()
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(log.add)
    assert log.syncs == [50]


@pytest.mark.anyio
async def test_who_comes_while_a_sync_is_under_way_shares_the_next() -> None:
    log = Log()
    async with anyio.create_task_group() as group:
        group.start_soon(log.add)
        await anyio.sleep(0.5)
        for _ in range(20):
            group.start_soon(log.add)
    assert log.syncs == [1, 21]


@pytest.mark.anyio
@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_whoever_gives_up_the_others_get_their_sync(gone: int) -> None:
    log, scopes = Log(), [anyio.CancelScope() for _ in range(3)]
    safe = list[int]()

    async def wait(number: int) -> None:
        with scopes[number]:
            await log.add()
            safe.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, 0)
        await anyio.sleep(0.5)
        group.start_soon(wait, 1)
        await anyio.sleep(0.1)
        group.start_soon(wait, 2)
        await anyio.sleep(0.1)
        scopes[gone].cancel()
    assert safe == [number for number in range(3) if number != gone]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.none() | st.floats(0, 3)), min_size=1, max_size=25), st.floats(0.01, 2))
def test_nobody_is_told_too_early_nobody_is_forgotten_and_one_sync_runs_at_a_time(
    comers: list[tuple[float, float | None]], seconds: float
) -> None:
    async def main() -> None:
        log, safe = Log(seconds), 0

        async def come(at: float, patience: float | None) -> None:
            nonlocal safe
            await anyio.sleep(at)
            with anyio.move_on_after(patience):
                await log.add()
                safe += 1

        async with anyio.create_task_group() as group:
            for comer in comers:
                group.start_soon(come, *comer)
        assert safe >= sum(patience is None for _, patience in comers)

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


@pytest.mark.anyio
async def test_an_error_of_the_disk_reaches_everybody_who_waits() -> None:
    commits = GroupCommit(0, lambda: 3, _refuse)
    errors = list[str]()

    async def wait() -> None:
        try:
            await commits.reach(1)
        except OSError as error:
            errors.append(str(error))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait)
    assert errors == ["no"] * 3


async def _refuse() -> None:
    await anyio.sleep(1)
    raise OSError("no")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_quick_disk_is_waited_for_here_and_a_slow_one_elsewhere_until_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, where, takes = [0.0], list[bool](), [0.0]
    monkeypatch.setattr(commit, "perf_counter", lambda: clock[0])
    here = threading.get_ident()

    def sync(_: int) -> None:
        clock[0] += takes[0]
        where.append(threading.get_ident() == here)

    syncs = Syncs(sync)
    for _ in range(3):
        await syncs(0)
    takes[0] = 2 * commit.QUICK_S
    await syncs(0)
    takes[0] = 0.0
    for _ in range(BESIDE + 2):
        await syncs(0)
    assert where == [True] * 4 + [False] * BESIDE + [True] * 2


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_where_no_thread_can_be_had_a_slow_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a limit of memory or of threads."""
    clock, synced, here = [0.0], list[int](), threading.get_ident()
    monkeypatch.setattr(commit, "perf_counter", lambda: clock[0])

    def sync(fd: int) -> None:
        clock[0] += 2 * commit.QUICK_S
        synced.append(fd if threading.get_ident() == here else -1)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    syncs = Syncs(sync)
    for fd in (3, 4, 5):
        await syncs(fd)
    assert synced == [3, 4, 5]
