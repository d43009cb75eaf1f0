"""The tree of errors: what users catch, and what a process ends with."""

import inspect
import re

import pytest

from journeybatch import errors
from journeybatch.errors import (
    STOPS,
    ApiFailure,
    Damaged,
    JobError,
    JourneybatchError,
    RunLocked,
    RunStopped,
)

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


def test_the_drawing_shows_every_class_under_its_parent():
    drawn, path = {}, []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^ {4}([│ ]*(?:[├└]─ )?)(\w+)(?:  |$)", line)
        if found:
            depth = len(found[1]) // 3
            path[depth:] = [found[2]]
            drawn[found[2]] = path[depth - 1] if depth else "Exception"
    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


def test_one_except_clause_catches_everything_of_ours():
    assert all(issubclass(cls, JourneybatchError) for cls in CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_exit_codes_follow_the_branch(cls):
    branches = {JobError: 2, RunStopped: 3, RunLocked: 4, Damaged: 5}
    codes = [code for branch, code in branches.items() if issubclass(cls, branch)]
    assert cls.exit_code == (codes[0] if codes else 70)


def test_every_stop_has_a_reason_of_its_own_and_is_found_by_it():
    stops = [cls for cls in CLASSES if issubclass(cls, RunStopped) and cls is not RunStopped]
    assert len({stop.reason for stop in stops}) == len(stops)
    assert {stop.reason: stop for stop in stops} == STOPS
    assert set(STOPS) == {
        "budget",
        "credits",
        "auth",
        "endpoint",
        "outage",
        "disk",
        "memory",
        "failures",
        "input",
        "sink",
        "deadline",
    }


def test_a_failure_says_what_it_may_have_cost_and_what_is_to_be_done():
    failure = ApiFailure("rate_limited", "slow down", charge="free", then="pause", status=429, retry_after_s=2.0)
    assert str(failure) == "slow down"
    said = (failure.kind, failure.charge, failure.then, failure.status, failure.retry_after_s, failure.stopped_by)
    assert said == ("rate_limited", "free", "pause", 429, 2.0, None)
    assert failure.counted
