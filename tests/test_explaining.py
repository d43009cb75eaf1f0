"""explain: every error names a section of the page, and the page has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Flow

from journeybatch import cli
from journeybatch.cli.explaining import sections
from journeybatch.errors import ApiFailure, JourneybatchError, RunStopped
from journeybatch.turns import Drained
from journeybatch.verdict import ERRORS

Call = Callable[..., SimpleNamespace]


def kinds(of: type[JourneybatchError] = JourneybatchError) -> Iterator[type[JourneybatchError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize(
    "kind", sorted(set(kinds()) - {ApiFailure, RunStopped, Drained}, key=lambda kind: kind.__name__)
)
def test_every_error_a_user_can_meet_has_a_section_of_its_own_code(kind: type[JourneybatchError]) -> None:
    assert len(sections()[kind.code]) > 60
    if kind.code != "command":
        assert f"Exit code {kind.exit_code}" in " ".join(sections()[kind.code].split())


def test_the_words_of_failed_rows_have_sections_too() -> None:
    told = {"rejected", "malformed", "timeout", "connection", "lost", "conflict", "rate_limited", "unavailable"}
    assert (told | set(ERRORS.values()) | {"server_error", "in_doubt", "signal", "bug"}) <= set(sections())


def test_a_message_ends_with_the_section_that_says_more_and_explain_prints_it(call: Call, tmp_path: Path) -> None:
    said = call("run", tmp_path / "nowhere.yaml")
    *_, last = said.err.splitlines()
    assert last == cli.more("job-file") == "more: journeybatch explain job-file"
    shown = call(*last.split()[2:])
    assert shown.code == 0
    assert "All keys (docs/job-spec.md)" in shown.out
    assert call("explain").out.split() == list(sections())


def test_a_name_that_is_not_there_is_told_with_the_nearest_one(call: Call) -> None:
    said = call("explain", "budgett")
    assert said.code == 2
    assert "did you mean 'budget'?" in said.err


def test_a_run_that_stops_says_where_more_is_said_but_not_among_json(flow: Flow, call: Call, tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(json.dumps(flow.job(api="emulator", limits={"credits": 2})), "utf-8")
    job = job.rename(tmp_path / "job.yaml")
    assert call("run", job, "--quiet").err.splitlines()[-1] == "more: journeybatch explain budget"
    for line in call("run", job, "--quiet", "--log-format", "json").err.splitlines():
        assert json.loads(line)["message"]
