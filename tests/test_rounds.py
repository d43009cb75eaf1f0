"""Rounds: what is left to ask once a round is done, and that there is an end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Generator
from typing import Any

import httpx
import polars as pl
import pytest
from conftest import Flow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parrot import Items, Parrot
from test_dispatch import heeding_signals

from journeybatch import conclusion, standing
from journeybatch.audit import audit
from journeybatch.job import Job
from journeybatch.rounds import sharers
from journeybatch.standing import Standing
from journeybatch.survey import Survey

MOODS = {"fields": {"mood": ["good", "bad"]}}
LOOSE = {"failures": "100%"}


def test_keys_of_several_rows_are_counted() -> None:
    keys = pl.Series([b"a", b"b", None, b"a", None], dtype=pl.Binary)
    assert sharers(Survey([keys, pl.Series([b"c"] * 5, dtype=pl.Binary)], [], [], []), 2) == {b"a": 2, b"c": 5}
    assert sharers(Survey([keys], [], [], []), 2) == {b"a": 2}
    assert sharers(Survey([keys.unique()], [], [], []), 2) == {}


def test_a_round_sends_what_the_one_before_missed_in_smaller_packs(flow: Flow) -> None:
    parrot = Parrot(spoil=lambda items, _: items[::2])
    assert flow.run({"transport": parrot}, pack=12).exit_code == 0
    assert parrot.sizes == [12, 3, 3, 1, 1]


def test_request_numbers_are_never_used_twice(flow: Flow) -> None:
    parrot = Parrot(spoil=lambda items, _: items[1:])
    flow.run({"transport": parrot, "limit": 7}, pack=4)
    flow.write([f"thing {n}" for n in range(20)])
    flow.run({"transport": parrot}, pack=4)
    ledger = flow.ledger()
    assert ledger.select("request", "attempt").is_unique().all()


def test_progress_counts_rows_once_however_often_they_are_asked(flow: Flow) -> None:
    flow.write([f"thing {n % 6}" for n in range(12)])
    parrot = Parrot(spoil=lambda items, _: items[1:])
    rows = flow.run({"transport": parrot}, pack=6).summary["rows"]
    assert rows == {"total": 12, "answered": 12, "failed": 0, "pending": 0, "reused": 6, "refused": 0}


STEPS = st.lists(
    st.sampled_from(["fine", "drop", "empty", "garble", "refuse", "reject", "doubt", "busy", "odd", "cut"]),
    min_size=1,
    max_size=15,  # with more at once the breaker would wait for the endpoint
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.integers(1, 7), st.sampled_from(["fail", "ask_again"]), st.integers(0, 10**9))
def test_whatever_a_server_does_a_run_ends_and_every_book_agrees(flow, steps, pack, on_invalid, number):
    script = iter(steps)
    step = "fine"

    def act(parrot: Parrot, request: httpx.Request) -> httpx.Response | None:
        nonlocal step
        step = next(script, "fine")
        if step == "reject":
            return httpx.Response(400, json={"error": {"message": "no"}})
        if step == "doubt":
            parrot.reply(request)
            return httpx.Response(200, content=b'{"choices": []}')
        if step == "busy":
            return httpx.Response(429, headers={"retry-after-ms": "1"})
        return parrot.reply(request, "length", cut=150) if step == "cut" else None

    def spoil(items: Items, _: object) -> Items | str:
        damage = {"drop": items[1:], "empty": [], "garble": "{" + json.dumps(items)[::2], "refuse": "I can't help."}
        return damage.get(step, items)

    parrot = Parrot(lambda *_: {"mood": "odd" if step == "odd" else "good"}, act=act, spoil=spoil)
    flow.output = flow.path / f"out-{number}"
    answer = MOODS | {"on_invalid": on_invalid}
    keys = {"pack": pack, "answer": answer, "limits": LOOSE, "concurrency": 2, "retry": {"attempts": 1}}
    report = flow.run({"transport": parrot, "fresh": True}, **keys)
    assert report.exit_code in (0, 1)
    assert report.summary["rows"]["pending"] == 0
    assert audit(flow.output) == []
    credits = report.summary["credits"]
    assert credits["spent"] <= parrot.billed <= credits["spent"] + credits["unknown_max"]
    assert flow.results()["jb_credits"].sum() == credits["spent"]


def test_a_signal_is_heard_while_all_rows_are_looked_at(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    stand_by_parts = Job.stand_by_parts

    def signalled(*given: Any) -> Generator[None, None, Standing]:
        at_work = len(parrot.bill) > 0
        parts = stand_by_parts(*given)
        while True:
            try:
                next(parts)
            except StopIteration as end:
                found: Standing = end.value
                return found
            if at_work:
                looked.append(len(looked))
                if len(looked) == 2:
                    os.kill(os.getpid(), signal.SIGTERM)
            yield

    flow.write([f"thing {n}" for n in range(40)])
    parrot = Parrot(lambda *_: "no mood at all")
    keys = {"answer": MOODS | {"on_invalid": "ask_again"}, "limits": LOOSE}
    with monkeypatch.context() as patch:
        heeding_signals(patch)
        patch.setattr(standing, "ROWS", 1)
        patch.setattr(conclusion, "LOOKED_AT", 0)
        patch.setattr(Job, "stand_by_parts", signalled)
        report = flow.run({"transport": parrot}, **keys)
    assert (report.exit_code, report.summary["rows"]["pending"], parrot.billed) == (143, 40, 40)
    assert 2 <= len(looked) < 10, "nobody waits until all are looked at"
    assert flow.run({"transport": parrot}, **keys).exit_code == 1
    assert parrot.billed == 120, "each is asked three times, as without the signal"
