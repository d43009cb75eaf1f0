"""A deadline is a time of day here, and from then on nothing more is sent."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

import journeybatch
from journeybatch.deadline import moment
from journeybatch.emulator import Emulator
from journeybatch.emulator.faults import Faults, Uniform
from journeybatch.errors import SpecError


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/St_Johns"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("now", "clock", "then"),
    [
        ("2026-11-25 02:15:00", "05:00", "2026-11-25 05:00:00"),
        ("2026-11-25 05:00:00", "05:00", "2026-11-26 05:00:00"),
        ("2026-11-25 23:59:59", "0:00", "2026-11-26 00:00:00"),
        ("2026-10-24 23:00:00", "05:00", "2026-10-25 05:00:00"),  # an hour longer in Berlin
        ("2026-03-28 23:00:00", "05:00", "2026-03-29 05:00:00"),  # an hour shorter
        ("2026-12-31 23:00:00", "22:59", "2027-01-01 22:59:00"),
    ],
)
def test_the_next_time_that_clocks_here_show_it(zone, now, clock, then):
    found = moment(clock, datetime.fromisoformat(now).timestamp())
    assert str(datetime.fromtimestamp(found)) == then


@pytest.mark.parametrize("clock", ["24:00", "5", "05:60", "five", "05:00:00"])
def test_what_is_no_time_of_day_is_refused(flow, clock):
    with pytest.raises(SpecError, match="expected a time of day like 05:00"):
        flow.run(limits={"deadline": clock})


@pytest.fixture
def soon(monkeypatch):
    """A deadline so many seconds ahead, whatever the time of day is."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr("journeybatch.preparation.moment", lambda clock, now: now + seconds)

    return set_to


def test_a_run_that_is_late_stops_in_time_and_goes_on_the_next_night(flow, soon):
    flow.write([f"thing {n}" for n in range(400)])
    journeybatch.plan(flow.job())  # whatever is slow the first time is so before the clock runs
    flow.emulator = Emulator(faults=Faults(latency=Uniform(0.05, 0.05)))
    soon(1.0)
    report = flow.run(concurrency=1, limits={"deadline": "05:00"})
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "deadline")
    assert 0 < report.summary["rows"]["answered"] < 400
    assert report.summary["requests"]["in_doubt"] == 0
    assert flow.results()["jb_status"].to_list().count("answered") == report.summary["rows"]["answered"]
    soon(600)
    flow.emulator = Emulator()
    report = flow.run(limits={"deadline": "05:00"})
    assert report.exit_code == 0
    assert report.summary["requests"]["sent"] == 400


def test_a_deadline_that_passed_while_the_table_was_read_sends_nothing(flow, soon):
    soon(-1)
    report = flow.run(limits={"deadline": "05:00"})
    assert report.summary["stopped_by"] == "deadline"
    assert report.summary["requests"]["sent"] == 0
