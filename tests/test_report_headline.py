"""What is true first: one sentence about a run, and how to go on from it."""

from __future__ import annotations

import pytest

from journeybatch.errors import STOPS
from journeybatch.report.headline import Standing, headline, next_steps


def standing(total=2000, answered=2000, failed=0, **more):
    given = {"spent": answered, "unknown": 0, "seconds": 93.0} | more
    return Standing(total=total, answered=answered, failed=failed, pending=total - answered - failed, **given)


def test_a_finished_run_is_said_in_rows_credits_and_time():
    assert headline(standing(1319, 1319)) == "1,319 of 1,319 rows answered, 1,319 credits, 93 s"


def test_what_failed_and_what_is_in_doubt_is_not_left_out():
    said = headline(standing(1319, 1300, 19, unknown=4))
    assert said == "1,300 of 1,319 rows answered, 19 failed, 1,300 to 1,304 credits, 93 s"


def test_a_cap_is_named_with_what_to_do():
    stopped = standing(answered=50, stopped_by="budget", cap=50)
    assert headline(stopped) == "Stopped at the cap of 50 credits: 50 of 2,000 rows answered, 50 credits, 93 s"
    assert next_steps(stopped) == [
        "1,950 rows wait for an answer: `journeybatch run JOB` with a higher `--max-credits N` carries on and asks "
        "only these."
    ]


@pytest.mark.parametrize("reason", [*STOPS, "signal", "died", "deadline"])
def test_every_reason_to_stop_has_its_words(reason):
    said = headline(standing(answered=10, stopped_by=reason))
    assert said.startswith(("Stopped ", "Stopped,", "Interrupted")), said


def test_a_run_at_work_is_said_to_be_so():
    running = standing(answered=10, running=True)
    assert headline(running).startswith("Still running: 10 of 2,000 rows answered")
    assert "when it was made" in next_steps(running)[0]


def test_no_rows_is_a_sentence_too():
    assert headline(standing(0, 0)) == "The input has no rows: nothing was asked, 0 credits"


def test_samples_are_counted_as_replies():
    assert headline(standing(30, 30, width=3)).startswith("30 of 30 replies answered")


def test_a_run_with_nothing_left_has_no_next_steps():
    assert next_steps(standing()) == []
    assert "--retry-failed" in next_steps(standing(answered=1990, failed=10))[0]
