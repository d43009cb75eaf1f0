"""A worker from within: each parcel is tried once, no reply is lost on the way, and who hears nothing ends."""

from __future__ import annotations

import asyncio
import os

import pytest
from near import KEY, NearStation, errand, request

from journeybatch import __version__
from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.server import open_server
from journeybatch.parcels import Delivered, Failed, Parcel, greeting_of, haul_of, pack, proof_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def batch(*numbers: int) -> bytes:
    return pack([Parcel(number, 1, request(number).body) for number in numbers])


async def test_a_worker_says_who_it_is_and_shows_that_it_has_the_key_without_telling_it() -> None:
    station = NearStation(errand("http://127.0.0.1:9/v1"))
    said = await station.outpost.greet()
    greeting = greeting_of(said)
    assert (greeting.version, greeting.pid, greeting.problem) == (__version__, os.getpid(), None)
    assert greeting.proof == proof_of(KEY, "n") != proof_of(KEY + "x", "n")
    assert KEY.encode() not in said
    await station.outpost.aclose()


@pytest.mark.parametrize(
    ("more", "problem"),
    [({}, "THE_KEY is empty or not set"), ({"key_file": "/nowhere/key"}, "/nowhere/key: cannot be read")],
)
async def test_a_worker_whose_machine_lacks_the_key_says_what_is_missing(more, problem) -> None:
    station = NearStation(errand("http://127.0.0.1:9/v1", **more), environ={})
    assert problem in (greeting_of(await station.outpost.greet()).problem or "")


async def test_a_batch_that_comes_twice_is_tried_once() -> None:
    with Emulator(key=KEY) as emulator:
        async with open_server(emulator) as base_url:
            outpost = NearStation(errand(base_url)).outpost
            await outpost.greet()
            for number in (1, 1, 2, 1, 2):
                await outpost.post(number, batch(10 * number, 10 * number + 1))
            got, seen = [], 0
            while len(got) < 4:
                haul = haul_of(await outpost.take(seen))
                seen, got = haul.upto, got + haul.replies
            assert sorted(reply.request for reply in got) == [10, 11, 20, 21]
            assert len(emulator.attempts) == 4
            await outpost.aclose()


async def test_a_reply_is_handed_over_again_until_the_run_has_it() -> None:
    with Emulator(key=KEY) as emulator:
        async with open_server(emulator) as base_url:
            outpost = NearStation(errand(base_url)).outpost
            await outpost.greet()
            await outpost.post(1, batch(1))
            lost, again = haul_of(await outpost.take(0)), haul_of(await outpost.take(0))
            assert lost == again
            reply = again.replies[0]
            assert isinstance(reply, Delivered)
            assert (reply.request, reply.status, again.upto) == (1, 200, 1)
            assert haul_of(await outpost.take(1)).replies == []
            await outpost.aclose()


async def test_what_goes_wrong_comes_back_with_what_it_may_have_cost() -> None:
    with Emulator(key=KEY, faults=Faults(reset=1.0)) as emulator:
        async with open_server(emulator) as base_url:
            outpost = NearStation(errand(base_url)).outpost
            await outpost.greet()
            await outpost.post(1, batch(1))
            (reset,) = haul_of(await outpost.take(0)).replies
            assert isinstance(reset, Failed)
            assert reset.sent
    nobody = NearStation(errand(base_url)).outpost
    await nobody.greet()
    await nobody.post(1, batch(2))
    (refused,) = haul_of(await nobody.take(0)).replies
    assert isinstance(refused, Failed)
    assert (refused.kind, refused.sent) == ("connection", False)
    await outpost.aclose()
    await nobody.aclose()


async def test_a_worker_that_hears_nothing_ends_itself_while_something_is_in_flight_and_only_then() -> None:
    with Emulator(key=KEY, latency_s=2.0) as emulator:
        async with open_server(emulator) as base_url:
            idle, busy, heard = (NearStation(errand(base_url, lease_s=0.3)) for _ in range(3))
            for station in (idle, busy, heard):
                await station.outpost.greet()
            await busy.outpost.post(1, batch(1))
            await heard.outpost.post(1, batch(2))
            for _ in range(3):
                await asyncio.wait([asyncio.ensure_future(heard.outpost.take(0))], timeout=0.2)
            assert [station.ended for station in (idle, busy, heard)] == [False, True, False]
            for station in (idle, busy, heard):
                await station.outpost.aclose()
