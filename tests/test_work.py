"""What a row costs, counted in calls of functions: the same on a busy machine as on an idle one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Flow

UPSTREAM = Path(__file__).parent.parent / "benchmarks" / "upstream.py"
CALLS_A_ROW = 308
"""Of Python and C functions, in the main thread, from reading the row to settling its reply; 293 when this was last
looked at. What is over this bound is either worth its calls, and then the bound goes up, or it is not."""


@pytest.fixture
def upstream() -> Iterator[str]:
    """The base URL of the benchmarks' upstream."""
    with subprocess.Popen([sys.executable, UPSTREAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        yield json.loads(process.stdout.readline())["base_url"]
        process.stdin.close()


def calls(flow: Flow, upstream: str, rows: int) -> int:
    """How many calls a whole run of so many rows takes."""
    flow.write([f"thing {n}" for n in range(rows)])
    counted = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        api, output = {"base_url": upstream, "auth": "none"}, str(flow.path / f"out-{rows}")
        report = flow.run({"transport": None}, api=api, concurrency=32, output=output)
    finally:
        sys.setprofile(None)
    assert report.summary["rows"]["answered"] == rows
    return counted


def test_a_row_takes_no_more_work_than_it_did(flow: Flow, upstream: str, record_property) -> None:
    calls(flow, upstream, 10)  # what is imported and compiled only once
    few, many = (calls(flow, upstream, rows) for rows in (100, 600))
    a_row = (many - few) / 500
    record_property("calls_a_row", round(a_row))
    assert a_row <= CALLS_A_ROW
