"""All workers of a run: work is shared, who is gone is replaced, what cannot work is said before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from near import KEY, NearStation, errand, request

from journeybatch import fleet as module
from journeybatch.distributed import _checker
from journeybatch.emulator import Emulator
from journeybatch.emulator.server import open_server
from journeybatch.errors import ApiFailure, JobError, WorkerLost
from journeybatch.fleet import Fleet
from journeybatch.parcels import Errand

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Yard:
    """Hires workers of this process; while ``held``, none that can be reached."""

    def __init__(self, told: Errand, environ: dict[str, str] | None = None) -> None:
        self.told, self.environ = told, environ
        self.stations: list[NearStation] = []
        self.said: list[str] = []
        self.held = False

    def hire(self) -> NearStation:
        station = NearStation(self.told, self.environ)
        station.silent = self.held
        self.stations.append(station)
        return station

    @asynccontextmanager
    async def fleet(self, places: int, **more: Any) -> AsyncIterator[Fleet]:
        made = Fleet(self.hire, places, check=_checker(self.told, KEY), say=self.said.append, lease_s=0.4, **more)
        try:
            async with made.at_work(5.0, lambda: "nobody came"):
                yield made
        finally:
            for station in self.stations:
                await station.outpost.aclose()


async def test_requests_are_shared_among_the_workers() -> None:
    with Emulator(key=KEY, latency_s=0.02) as emulator:
        async with open_server(emulator) as base_url, Yard(errand(base_url)).fleet(3) as fleet:
            await asyncio.gather(*(fleet.send(request(n)) for n in range(60)))
            rows = fleet.rows()
            assert [row["state"] for row in rows] == ["working"] * 3
            assert sum(row["answered"] for row in rows) == 60
            assert min(row["sent"] for row in rows) >= 10


async def test_a_worker_that_is_gone_is_replaced_and_the_others_carry_on() -> None:
    with Emulator(key=KEY, latency_s=0.2) as emulator:
        async with open_server(emulator) as base_url:
            yard = Yard(errand(base_url))
            async with yard.fleet(2) as fleet:
                sent = [asyncio.ensure_future(fleet.send(request(n))) for n in range(10)]
                while len(emulator.attempts) < 10:
                    await asyncio.sleep(0.01)
                yard.stations[0].die(sure=True)
                ends = await asyncio.gather(*sent, return_exceptions=True)
                lost = [end for end in ends if isinstance(end, WorkerLost)]
                assert 0 < len(lost) < 10
                assert all(end.status == 200 for end in ends if end not in lost)  # type: ignore[union-attr]
                while len(fleet.rows()) < 3 or fleet.rows()[2]["state"] != "working":
                    await asyncio.sleep(0.05)
                await asyncio.gather(*(fleet.send(request(n, 2)) for n in range(10)))
                first, _, third = fleet.rows()
                assert (first["state"], first["in_doubt"], first["why"]) == ("gone", len(lost), "it was killed")
                assert third["answered"] > 0
                assert yard.stations[0].dismissed
                assert "it was killed" in yard.said[0]


async def test_without_any_worker_a_request_waits_and_is_then_known_not_to_be_sent(monkeypatch) -> None:
    monkeypatch.setattr(module, "NOBODY_S", 0.2)
    with Emulator(key=KEY) as emulator:
        async with open_server(emulator) as base_url:
            yard = Yard(errand(base_url))
            async with yard.fleet(1) as fleet:
                yard.held = True
                yard.stations[0].die(sure=True)
                while fleet.rows()[0]["state"] != "gone":
                    await asyncio.sleep(0.01)
                with pytest.raises(ApiFailure, match="no worker is there") as failure:
                    await fleet.send(request(1))
                assert (failure.value.charge, failure.value.then) == ("free", "retry")
                assert emulator.attempts == []
                yard.held = False
                monkeypatch.setattr(module, "NOBODY_S", 20.0)
                assert (await fleet.send(request(1, 2))).status == 200


@pytest.mark.parametrize(
    ("more", "environ", "message"),
    [
        ({}, {}, "set THE_KEY where `ray start` is called"),
        ({}, {"THE_KEY": "another-key-123"}, "another key than this process"),
        ({"emulated": True}, {}, "another key"),
    ],
)
async def test_workers_without_the_key_or_with_another_end_the_run_before_it_begins(more, environ, message) -> None:
    yard = Yard(errand("http://127.0.0.1:9/v1", **more), environ)
    with pytest.raises(JobError, match=message):
        async with yard.fleet(2):
            pytest.fail("it began")


async def test_a_worker_with_another_version_of_ours_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("journeybatch.outpost.__version__", "0.0.1")
    with pytest.raises(JobError, match=r"has journeybatch 0\.0\.1, this process"):
        async with Yard(errand("http://127.0.0.1:9/v1")).fleet(1):
            pytest.fail("it began")


async def test_a_worker_that_comes_late_and_cannot_be_used_stops_nobody() -> None:
    with Emulator(key=KEY, latency_s=0.1) as emulator:
        async with open_server(emulator) as base_url:
            yard = Yard(errand(base_url))
            async with yard.fleet(2) as fleet:
                yard.environ = {}
                yard.stations[0].die(sure=True)
                while "refused" not in [row["state"] for row in fleet.rows()]:
                    await asyncio.sleep(0.05)
                assert (await fleet.send(request(1))).status == 200
                assert "worker 3 cannot be used" in yard.said[1]
