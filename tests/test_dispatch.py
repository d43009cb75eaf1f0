"""What dispatch counts, asks again and grants while a run is at work, seen in whole runs."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from conftest import BASE_URL, Flow
from parrot import Parrot, completion, tasks
from test_flows_money import Account

from journeybatch import api, bookmark, compaction, dispatch, journal, marker, rounds, tuning
from journeybatch.archive import read_history
from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.faults import Uniform
from journeybatch.emulator.transport import EmulatorTransport
from journeybatch.tuning import Tuning, leave

MOOD = {"fields": {"mood": ["good", "bad"]}}
CHEAP, STRONG = "deepseek-chat", "gpt-4o"


def run(flow: Flow, parrot: Parrot, **keys: Any) -> Any:
    return flow.run({"transport": parrot}, **keys)


def rejecting(too_large: Callable[[int, Parrot], bool]) -> Callable[[Parrot, httpx.Request], httpx.Response | None]:
    """A server that finds requests of so many rows too large."""

    def act(parrot: Parrot, request: httpx.Request) -> httpx.Response | None:
        rows = len(tasks(json.loads(request.content)["messages"][-1]["content"]))
        return httpx.Response(413, json={"error": {"message": "too large"}}) if too_large(rows, parrot) else None

    return act


@pytest.mark.parametrize("twins", [1, 3])
def test_a_limit_of_failures_counts_each_row_that_failed_or_is_answered_once(flow: Flow, twins: int) -> None:
    flow.write([f"thing {n % (60 // twins)}" for n in range(60)])
    flow.emulator = Emulator(faults=Faults(seed=4, statuses={422: 0.3}))
    report = flow.run(concurrency=1, limits={"failures": 7})
    said = re.search(r"(\d+) of (\d+) rows failed", report.message)
    assert said is not None
    failed, answered = (flow.results()["jb_status"].to_list().count(status) for status in ("failed", "answered"))
    assert report.summary["stopped_by"] == "failures"
    assert (int(said[1]), int(said[2])) == (failed, failed + answered)
    assert 7 < failed <= 7 + twins
    assert answered > 0


def test_what_is_shown_while_a_run_is_at_work_is_what_the_results_say(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.write([f"thing {n % 20}" for n in range(50)])
    flow.emulator = Emulator(faults=Faults(seed=4, statuses={422: 0.3}))
    shown, reported = [], dispatch.reported
    monkeypatch.setattr(
        dispatch, "reported", lambda numbers, *more: (shown.append(numbers), reported(numbers, *more))[1]
    )
    flow.run(limits={"failures": "100%"})
    states = flow.results()["jb_status"].to_list()
    assert (shown[0].answered, shown[0].failed) == (states.count("answered"), states.count("failed"))
    assert shown[0].failed > 2
    assert shown[0].reused == flow.summary()["rows"]["reused"] > 2


def test_the_summary_of_a_run_at_work_is_its_own_from_before_the_first_request(flow: Flow) -> None:
    """Whoever looks after a kill must not take an earlier run's end for this one's."""
    flow.run()
    seen = []
    flow.write(["something new"])
    parrot = Parrot(act=lambda *_: seen.append(flow.summary()))  # type: ignore[func-returns-value]
    run(flow, parrot)
    assert [(each["run"], each["exit_code"], each["finished_at"]) for each in seen] == [(2, None, None)]


def test_what_a_model_refuses_is_counted_in_rows_while_a_run_is_at_work(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(parrot: Parrot, request: httpx.Request) -> httpx.Response | None:
        if b"thing 3" in request.content:
            return completion(None, "no", CHEAP, "stop", request, refusal="not that one")
        return httpx.Response(422, json={"error": {}}) if b"thing 0" in request.content else None

    shown, reported = [], dispatch.reported
    monkeypatch.setattr(
        dispatch, "reported", lambda numbers, *more: (shown.append(numbers), reported(numbers, *more))[1]
    )
    flow.write([f"thing {n % 6}" for n in range(25)])
    parrot = Parrot(lambda task, _: "I'm sorry, but I can't help with that." if "thing 5" in task else "yes", act=act)
    run(flow, parrot, limits={"failures": "100%"})
    assert shown[0].rows() == flow.summary()["rows"]
    assert (shown[0].refused, shown[0].failed) == (8, 9), "what is rejected is no refusal, what reads like one is"


def test_a_good_answer_is_no_failure_where_bad_ones_are_asked_again(flow: Flow) -> None:
    flow.write([f"thing {n}" for n in range(60)])
    parrot = Parrot(lambda task, _: {"mood": "good"})
    report = run(flow, parrot, answer=MOOD | {"on_invalid": "ask_again"})
    assert (report.exit_code, parrot.billed) == (0, 60)


def test_bad_answers_that_are_asked_again_count_until_they_are_good(flow: Flow) -> None:
    flow.write([f"thing {n}" for n in range(60)])
    parrot = Parrot(lambda task, _: {"mood": "so-so"})
    report = run(flow, parrot, concurrency=1, answer=MOOD | {"on_invalid": "ask_again"}, limits={"failures": 9})
    assert (report.exit_code, report.summary["stopped_by"], parrot.billed) == (3, "failures", 10)


def test_a_success_now_and_then_keeps_packs_as_large_as_they_are(flow: Flow) -> None:
    """Only many rejections without a success between them say that all packs are too large."""
    flow.write([f"thing {n}" for n in range(160)])

    def act(parrot: Parrot, request: httpx.Request) -> httpx.Response | None:
        turn[0] += 1
        fits = turn[0] % 20 == 0
        return None if fits or len(parrot.bill) > 1 else httpx.Response(413, json={"error": {"message": "too large"}})

    turn = [0]
    parrot = Parrot(act=act)
    assert run(flow, parrot, concurrency=1, pack=4, limits={"failures": "100%"}).exit_code == 0
    assert turn[0] == 40 + 38 * 2, "each pack that was too large is asked in two halves"


def test_twenty_packs_rejected_in_a_row_tell_that_the_others_are_too_large_as_well(flow: Flow) -> None:
    flow.write([f"thing {n}" for n in range(160)])
    parrot = Parrot(act=rejecting(lambda rows, _: rows > 2))
    assert run(flow, parrot, concurrency=1, pack=4, limits={"failures": "100%"}).exit_code == 0
    assert flow.summary()["requests"]["sent"] == 20 + 80, "all that is left goes out in halves"


def test_one_pack_too_large_makes_no_others_smaller(flow: Flow) -> None:
    """They cost what a request costs, and a stronger model's cost more."""
    flow.write([f"thing {n}" for n in range(48)])
    parrot = Parrot(lambda task, model: {"mood": "good" if model == STRONG else "so-so"})
    parrot.act = rejecting(lambda rows, _: rows > 4 and not parrot.bill)
    keys = {"model": [CHEAP, STRONG], "answer": MOOD | {"on_invalid": "escalate"}, "limits": {"failures": "100%"}}
    assert run(flow, parrot, concurrency=1, pack=8, **keys).exit_code == 0
    assert [len(asked) for _, model, _, asked in parrot.bill if model == STRONG] == [8] * 6


def test_a_charge_that_comes_within_two_seconds_cries_no_wolf(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(dispatch.LATE_S) == 2, "a run that is done does not keep anybody waiting longer"
    monkeypatch.setattr(dispatch, "LATE_S", (0.0, 0.2))
    first: list[float] = []

    def tell(balance: int, nth: int) -> int:
        if nth > 1:
            first.append(time.monotonic())
        late = bool(first) and time.monotonic() - first[0] < 0.1
        return balance + 5 * late

    assert flow.run({"transport": Account(flow.emulator, tell)}).exit_code == 0
    assert flow.summary()["credits"]["reconciliation"]["verdict"] == "agrees"


def test_a_reply_is_synced_while_others_are_still_under_way(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each intent takes what was written before it along; the last replies have only the clock."""
    replies, synced, fdatasync = [], [], journal.fdatasync
    monkeypatch.setattr(journal, "fdatasync", lambda fd: (synced.append(len(replies)), fdatasync(fd))[1])

    class Slow(EmulatorTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if b"thing 2" in request.content:
                await anyio.sleep(1)
                assert synced.count(2), "two replies are there since a second, and not one sync"
            replies.extend([request] * (request.method == "POST"))
            return response

    flow.write([f"thing {n}" for n in range(3)])
    assert flow.run({"transport": Slow(flow.emulator)}, api={"base_url": BASE_URL}).exit_code == 0


def heeding_signals(patch: pytest.MonkeyPatch) -> None:
    """As a run from the command line does."""
    patch.setattr(api, "Options", partial(api.Options, signals=True))


def test_a_run_at_work_leaves_bookmarks_for_whoever_carries_on(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "leave", lambda *_: None)  # as a process that is killed
    monkeypatch.setattr(bookmark, "WORTH", 1)
    monkeypatch.setattr(marker, "PAUSE_S", 0.001)
    flow.emulator = Emulator(latency_s=0.02)

    async def beside(write: Any) -> None:
        write(lambda: None)  # in this thread: another one may not have its turn before so short a run is over

    monkeypatch.setattr(marker, "beside", beside)
    assert flow.run().exit_code == 0
    assert read_history(flow.output / journal.NAME).marked.attempts > 0


def test_after_a_signal_nothing_new_is_sent_and_what_is_under_way_is_kept(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Patient(EmulatorTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if b"thing 5" in request.content:
                os.kill(os.getpid(), signal.SIGINT)
                await anyio.sleep(0.2)
            return response

    flow.write([f"thing {n}" for n in range(40)])
    with monkeypatch.context() as patch:
        heeding_signals(patch)
        report = flow.run({"transport": Patient(flow.emulator)}, concurrency=2)
    rows, requests = report.summary["rows"], report.summary["requests"]
    assert report.exit_code == 130
    assert 6 <= rows["answered"] == len(flow.emulator.attempts) <= 8
    assert requests["in_doubt"] == 0
    assert flow.run().summary["requests"]["sent"] == 40


def test_a_request_that_waits_for_its_turn_when_the_run_is_stopped_is_not_sent(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    heeding_signals(monkeypatch)
    parrot = Parrot(act=lambda *_: os.kill(os.getpid(), signal.SIGINT))  # type: ignore[func-returns-value]
    report = run(flow, parrot, limits={"requests_per_minute": 300})
    assert (report.exit_code, parrot.billed) == (130, 1)


class Turning(EmulatorTransport):
    """Answers two requests; the third, which takes the cap's last credit, ends as ``what`` says, and costs nothing."""

    def __init__(self, emulator: Emulator, what: Callable[[], httpx.Response | None]) -> None:
        super().__init__(emulator)
        self.what, self.seen = what, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST":
            return await super().handle_async_request(request)
        self.seen += 1
        if self.seen < 3:
            return await super().handle_async_request(request)
        answer = self.what()
        await anyio.sleep(0.05)
        return answer or httpx.Response(500, json={"error": {"message": "no charge"}})


@pytest.mark.parametrize("why", ["a signal", "a stop"])
def test_who_waits_for_room_under_the_cap_when_the_run_is_stopped_is_not_sent(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Each end without a charge makes room for one that waits."""
    heeding_signals(monkeypatch)

    def what() -> httpx.Response | None:
        if why == "a signal":
            os.kill(os.getpid(), signal.SIGINT)
            return None
        return httpx.Response(401, json={"error": {"message": "revoked"}})

    turning = Turning(flow.emulator, what)
    limits = {"credits": 3, "failures": "100%"}
    report = flow.run({"transport": turning}, concurrency=6, limits=limits, retry={"attempts": 1})
    assert report.summary["stopped_by"] == ("signal" if why == "a signal" else "auth")
    assert turning.seen == 3
    assert report.summary["requests"]["sent"] == 3


def test_a_deadline_that_passes_while_the_machine_sleeps_is_passed(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LOOK_S", 0.02)
    slept = [0.0]
    real = time.time
    monkeypatch.setattr("journeybatch.preparation.moment", lambda clock, now: now + 3600)
    monkeypatch.setattr(time, "time", lambda: real() + slept[0])
    flow.emulator = Emulator(faults=Faults(latency=Uniform(0.02, 0.02)))
    flow.write([f"thing {n}" for n in range(200)])

    class Sleeping(EmulatorTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            slept[0] = 7200.0 if len(flow.emulator.attempts) > 5 else 0.0
            return await super().handle_async_request(request)

    report = flow.run({"transport": Sleeping(flow.emulator)}, concurrency=2, limits={"deadline": "05:00"})
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "deadline")
    assert 6 <= report.summary["rows"]["answered"] < 60


def test_a_deadline_leaves_those_who_wait_for_their_turn_to_the_next_run(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journeybatch.preparation.moment", lambda clock, now: now + 0.3)
    parrot = Parrot()
    report = run(flow, parrot, limits={"requests_per_minute": 100, "deadline": "05:00"})
    assert report.summary["stopped_by"] == "deadline"
    assert parrot.billed <= 1


def test_what_has_not_ended_a_grace_after_the_deadline_stays_in_doubt(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journeybatch.preparation.moment", lambda clock, now: now + 0.5)
    monkeypatch.setattr(dispatch, "LAST_S", 0.1)
    flow.emulator = Emulator(faults=Faults(latency=Uniform(3, 3)))
    report = flow.run(limits={"deadline": "05:00"})
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "deadline")
    assert report.summary["rows"]["answered"] == 0
    assert report.summary["requests"]["in_doubt"] == report.summary["requests"]["sent"] <= 1


def only_trial(patch: pytest.MonkeyPatch) -> list[Any]:
    """The trial of a pilot that begins: a second one must not."""
    trials, tried = [], rounds.tried

    def count(*given: Any) -> Any:
        trials.append(given)
        assert len(trials) == 1
        return tried(*given)

    patch.setattr(rounds, "tried", count)
    return trials


def test_a_trial_whose_packs_are_rejected_ends_the_pilot(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = only_trial(monkeypatch)
    flow.write([f"thing {n}" for n in range(100)])
    parrot = Parrot(act=rejecting(lambda rows, _: rows > 1))
    assert run(flow, parrot, pack={"rows": "auto", "pilot": 40}).exit_code == 0
    assert (len(trials), parrot.billed) == (1, 100)


@pytest.mark.parametrize("by", ["a signal", "the deadline"])
def test_a_pilot_that_is_stopped_begins_no_other_trial(flow: Flow, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    trials, stopped = only_trial(monkeypatch), []

    class Stopping(Parrot):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if trials and not stopped:
                stopped.append(by == "a signal" and os.kill(os.getpid(), signal.SIGINT))
                await anyio.sleep(0.5)
            return await super().handle_async_request(request)

    heeding_signals(monkeypatch)
    monkeypatch.setattr("journeybatch.preparation.moment", lambda clock, now: now + (600 if by == "a signal" else 0.5))
    flow.write([f"thing {n}" for n in range(200)])
    report = run(flow, Stopping(), pack={"rows": "auto", "pilot": 40}, limits={"deadline": "05:00"})
    assert report.exit_code == (130 if by == "a signal" else 3)


def test_a_wish_is_granted_while_the_run_is_at_work(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "EVERY_S", 0.01)
    flow.emulator = Emulator(faults=Faults(latency=Uniform(0.04, 0.04)))

    class Wishing(EmulatorTransport):
        most = flying = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST" and len(flow.emulator.attempts) == 2:
                leave(flow.output, Tuning(concurrency=3, credits=40))
            elif len(flow.emulator.attempts) > 2 and not tuning.wishes(flow.output):
                granted.append(flow.summary())
            self.flying += 1
            self.most = max(self.most, self.flying)
            try:
                return await super().handle_async_request(request)
            finally:
                self.flying -= 1

    flow.write([f"thing {n}" for n in range(40)])
    granted: list[dict[str, Any]] = []
    transport = Wishing(flow.emulator)
    report = flow.run({"transport": transport, "progress": True}, concurrency=1, limits={"credits": 9})
    assert (report.exit_code, report.summary["rows"]["answered"]) == (0, 40), report.message
    assert (report.summary["concurrency"], report.summary["credits"]["cap"]) == (3, 40)
    assert transport.most == 3
    assert "tuned: 3 requests in flight at most, a cap of 40 credits\n" in capsys.readouterr().err
    first = granted[0]
    assert (first["concurrency"], first["credits"]["cap"]) == (3, 40), "the answer is there when the wish is gone"
    assert not tuning.wishes(flow.output)


def test_a_wish_that_the_disk_does_not_take_is_not_granted(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What counts has to survive a power cut first."""
    monkeypatch.setattr(tuning, "EVERY_S", 0.01)
    flow.emulator = Emulator(faults=Faults(latency=Uniform(0.2, 0.2)))
    refuses, fdatasync = [], journal.fdatasync

    def sync(fd: int) -> None:
        if refuses:
            raise OSError(errno.EIO, "Input/output error")
        fdatasync(fd)

    class Wishing(EmulatorTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST" and len(flow.emulator.attempts) == 2:
                refuses.append(leave(flow.output, Tuning(concurrency=3, credits=40)))
            return await super().handle_async_request(request)

    monkeypatch.setattr(journal, "fdatasync", sync)
    flow.write([f"thing {n}" for n in range(40)])
    report = flow.run({"transport": Wishing(flow.emulator), "progress": True}, concurrency=1)
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "disk")
    assert not tuning.wishes(flow.output), "it was seen"
    assert "tuned" not in capsys.readouterr().err


def test_a_wish_to_a_run_that_is_stopping_is_not_granted(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    heeding_signals(monkeypatch)
    monkeypatch.setattr(tuning, "EVERY_S", 0.01)

    class Stopping(Parrot):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                os.kill(os.getpid(), signal.SIGINT)
                await anyio.sleep(0.1)
                leave(flow.output, Tuning(concurrency=3))
                with anyio.fail_after(5):
                    while tuning.wishes(flow.output):
                        await anyio.sleep(0.01)
            return await super().handle_async_request(request)

    report = run(flow, Stopping())
    assert (report.exit_code, report.summary["rows"]["answered"], report.summary["concurrency"]) == (130, 1, 4)


def test_a_doubt_from_longer_ago_than_an_attempt_may_take_is_no_charge_of_this_process(flow: Flow) -> None:
    flow.emulator = Emulator(faults=Faults(seed=3, truncate=0.5, bills_errors=False))
    flow.run(retry={"on_unknown": "hold"}, concurrency=1, limits={"failures": "100%"})
    flow.emulator.faults = Faults()
    assert flow.summary()["credits"]["unknown_max"] > 0
    time.sleep(0.6)
    flow.run(retry={"timeout_s": 0.5})
    found = flow.summary()["credits"]["reconciliation"]
    assert found["most"] == found["least"] > 0


def test_what_an_account_is_told_late_of_a_killed_process_is_as_much_as_was_in_doubt(flow: Flow) -> None:
    class Cutting(EmulatorTransport):
        """The first reply, the last and one between are cut off."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            cut = any(thing in request.content for thing in (b"thing 0", b"thing 5", b"thing 11"))
            return httpx.Response(200, content=b'{"id": "x", "cho', request=request) if cut else response

    flow.emulator = Emulator(prices={CHEAP: 2})
    keys = {"credits": {CHEAP: 2}, "retry": {"on_unknown": "hold"}, "concurrency": 1, "limits": {"failures": "100%"}}
    flow.run({"transport": Cutting(flow.emulator)}, **keys)
    credits = flow.summary()["credits"]
    assert (credits["spent"], credits["unknown_max"]) == (18, 6)
    flow.run(**keys | {"retry": {"on_unknown": "retry"}})
    found = flow.summary()["credits"]["reconciliation"]
    assert found["most"] - found["least"] == 6


@pytest.mark.parametrize("policy", ["hold", "fail", "retry"])
def test_what_is_rejected_has_failed_as_such_even_where_it_may_have_been_charged(flow: Flow, policy: str) -> None:
    parrot = Parrot(act=lambda _, asked: httpx.Response(422, json={"error": {}}) if b"ing 7" in asked.content else None)
    run(flow, parrot, retry={"on_unknown": policy}, api={"base_url": BASE_URL, "bills_errors": True})
    assert flow.summary()["credits"]["unknown_max"] == 1
    assert flow.results().filter(jb_status="failed").select("text", "jb_error").rows() == [("thing 7", "rejected")]
    assert flow.summary()["rows"]["answered"] == 11


def test_what_was_tried_as_often_as_it_may_says_what_was_wrong_the_last_time(flow: Flow) -> None:
    parrot = Parrot(act=lambda _, asked: httpx.Response(200, content=b"{") if b"ing 7" in asked.content else None)
    run(flow, parrot, retry={"attempts": 2, "on_unknown": "retry"}, limits={"failures": "100%"})
    assert flow.results().filter(jb_status="failed").select("text", "jb_error").rows() == [("thing 7", "malformed")]


def test_what_was_not_sent_is_no_error_that_may_have_been_billed(flow: Flow) -> None:
    class Refusing(EmulatorTransport):
        refused = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if b"thing 7" in request.content and not self.refused:
                self.refused = True
                raise httpx.ConnectError("nobody listens")
            return await super().handle_async_request(request)

    flow.emulator = Emulator(prices={CHEAP: 3})
    assert flow.run({"transport": Refusing(flow.emulator)}).exit_code == 0
    assert flow.summary()["requests"]["sent"] == 13
    found = flow.summary()["credits"]["reconciliation"]
    assert (found["verdict"], "errors are billed" in found["message"]) == ("more", False)
