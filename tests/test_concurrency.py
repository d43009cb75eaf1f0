"""How a job says how many requests may be in flight."""

import pytest

from journeybatch.concurrency import InFlight
from journeybatch.errors import SpecError
from journeybatch.loading import dump, load_job

JOB = {"input": "a.csv", "prompt": "Say {{ x }}", "model": "o3"}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (1, InFlight(1)),
        (4096, InFlight(4096)),
        ("auto", InFlight(256, auto=True)),
        ({"auto": 1000}, InFlight(1000, auto=True)),
    ],
)
def test_a_number_is_a_limit_and_auto_looks_for_one(given, meant):
    assert load_job({**JOB, "concurrency": given}).concurrency == meant


@pytest.mark.parametrize(
    "given", ["64", "AUTO", {"auto": 0}, {"auto": "x"}, {"most": 3}, {"auto": 3, "most": 4}, [3], -1]
)
def test_anything_else_is_an_error_that_names_the_key(given):
    with pytest.raises(SpecError, match="concurrency: expected a "):
        load_job({**JOB, "concurrency": given})


@pytest.mark.parametrize("given", [8, {"auto": 300}])
def test_it_is_written_as_it_was_meant_and_read_back(tmp_path, given):
    job = load_job({**JOB, "concurrency": given})
    (tmp_path / "job.yaml").write_text(dump(job))
    assert load_job(tmp_path / "job.yaml").concurrency == job.concurrency
