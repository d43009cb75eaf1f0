"""The run's side of one worker: what comes of attempts when calls fail, when it dies, when it was only away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from near import KEY, NearStation, errand, request

from journeybatch.courier import Courier, Unposted
from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.server import open_server
from journeybatch.errors import ApiFailure, WorkerLost

pytestmark = pytest.mark.anyio
LEASE_S = 0.4


@pytest.fixture
def anyio_backend():
    return "asyncio"


@asynccontextmanager
async def at_work(emulator: Emulator) -> AsyncIterator[tuple[NearStation, Courier, asyncio.Task[Any]]]:
    async with open_server(emulator) as base_url:
        station = NearStation(errand(base_url, lease_s=LEASE_S))
        await station.greet()
        courier = Courier(station, LEASE_S)
        running = asyncio.ensure_future(courier.run())
        try:
            yield station, courier, running
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await station.outpost.aclose()


async def test_each_request_gets_its_own_reply_and_the_ends_are_counted() -> None:
    with Emulator(key=KEY, faults=Faults(cut=0.3)) as emulator:
        async with at_work(emulator) as (_, courier, _):
            ends = await asyncio.gather(*(courier.send(request(n)) for n in range(60)), return_exceptions=True)
            failed = [end for end in ends if isinstance(end, ApiFailure)]
            assert {failure.charge for failure in failed} == {"unknown"}
            assert (courier.sent, courier.answered, courier.failed) == (60, 60 - len(failed), len(failed))
            assert 0 < len(failed) < 60
            assert courier.in_flight == 0


async def test_calls_that_fail_for_a_while_lose_nothing_and_ask_nothing_twice() -> None:
    with Emulator(key=KEY, latency_s=0.1) as emulator:
        async with at_work(emulator) as (station, courier, _):
            first = [asyncio.ensure_future(courier.send(request(n))) for n in range(5)]
            await asyncio.sleep(0.05)
            station.silent = True
            then = [asyncio.ensure_future(courier.send(request(n))) for n in range(5, 10)]
            await asyncio.sleep(0.2)
            station.silent = False
            replies = await asyncio.gather(*first, *then)
            assert [reply.status for reply in replies] == [200] * 10
            assert (len(emulator.attempts), courier.late) == (10, 0)


async def test_what_a_dead_worker_had_is_in_doubt_and_what_had_not_left_can_go_elsewhere() -> None:
    with Emulator(key=KEY, latency_s=5.0) as emulator:
        async with at_work(emulator) as (station, courier, running):
            posted = asyncio.ensure_future(courier.send(request(1)))
            while not emulator.attempts:
                await asyncio.sleep(0.01)
            waiting = asyncio.ensure_future(courier.send(request(2)))
            await asyncio.sleep(0)
            station.die(sure=True)
            ends = await asyncio.gather(posted, waiting, return_exceptions=True)
            assert [type(end) for end in ends] == [WorkerLost, Unposted]
            assert ends[0].charge == "unknown"  # type: ignore[union-attr]
            assert courier.lost == 1
            assert "it was killed" in str(await running)
            with pytest.raises(Unposted):
                await courier.send(request(3))


async def test_where_nobody_knows_that_a_worker_is_dead_its_place_is_kept_until_it_has_ended_itself() -> None:
    with Emulator(key=KEY, latency_s=5.0) as emulator:
        async with at_work(emulator) as (station, courier, running):
            posted = asyncio.ensure_future(courier.send(request(1)))
            while not emulator.attempts:
                await asyncio.sleep(0.01)
            station.die(sure=False)
            await running
            assert not posted.done(), "the worker may be at it still"
            with pytest.raises(WorkerLost):
                await posted
            await asyncio.sleep(LEASE_S / 5)
            assert station.ended


async def test_a_zombies_late_reply_is_not_used_and_stays_in_doubt() -> None:
    with Emulator(key=KEY, latency_s=0.3) as emulator:
        async with at_work(emulator) as (_, courier, _):
            left = asyncio.ensure_future(courier.send(request(1)))
            while not emulator.attempts:
                await asyncio.sleep(0.01)
            left.cancel()  # given up: its attempt is settled as unknown
            again = await courier.send(request(1, attempt=2))
            assert again.status == 200
            assert (courier.late, courier.answered, len(emulator.attempts)) == (1, 1, 2)


async def test_a_worker_that_stays_silent_is_given_up_after_its_lease() -> None:
    with Emulator(key=KEY, latency_s=5.0) as emulator:
        async with at_work(emulator) as (station, courier, running):
            posted = asyncio.ensure_future(courier.send(request(1)))
            while not emulator.attempts:
                await asyncio.sleep(0.01)
            station.silent = True
            gone = await asyncio.wait_for(running, 5)
            assert not gone.sure
            with pytest.raises(WorkerLost, match="nothing was heard"):
                await posted
