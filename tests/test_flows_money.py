"""Whole runs and their money: the cap by the day, the balance before a run, what the account says after it."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from conftest import BASE_URL, KEY, Flow, spawned

from journeybatch import api, connection, dispatch, reading
from journeybatch.daybook import DAY_S, DAYBOOK, open_daybook, taken_today
from journeybatch.emulator import Emulator, Faults, read_bill
from journeybatch.emulator.transport import EmulatorTransport
from journeybatch.errors import JourneybatchError, OutputError, Unanswered
from journeybatch.verdict import INVALID, Verdict

Call = Callable[..., SimpleNamespace]


class Account(EmulatorTransport):
    """An emulator whose account answers as ``tell`` says, given the true balance and how often it was asked."""

    def __init__(self, emulator: Emulator, tell: Callable[[int, int], Any]) -> None:
        super().__init__(emulator)
        self.tell, self.readings = tell, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/account"):
            return await super().handle_async_request(request)
        self.readings += 1
        told = self.tell(self.emulator.balance, self.readings)
        if isinstance(told, httpx.Response):
            return told
        return httpx.Response(200, json={"credits": told}, request=request)


def spend_on(path: Path, credits: int, seconds: float) -> None:
    book = open_daybook(path, 10**6, lambda: seconds)
    assert book.reserve(credits)
    book.close()


# -- the cap by the day --------------------------------------------------------------------------------------------


def test_jobs_that_name_the_same_file_share_the_credits_of_a_day(flow: Flow) -> None:
    shared = {"credits_per_day": 20, "day_ledger": str(flow.path / "day")}
    assert flow.run(limits=shared).exit_code == 0
    report = flow.run(limits=shared, output=str(flow.path / "other"))
    assert (report.exit_code, report.summary["stopped_by"], flow.emulator.billed) == (3, "budget", 20)
    for fact in ("the cap of 20 credits for ", "limits.credits_per_day", str(flow.path / "day"), "after that day"):
        assert fact in report.message
    assert report.summary["rows"]["pending"] == 4
    assert flow.run(limits=shared).exit_code == 0, "what is finished needs no credits"
    report = flow.run(limits={**shared, "credits_per_day": 30}, output=str(flow.path / "other"))
    assert (report.exit_code, flow.emulator.billed) == (0, 24)


def test_a_job_alone_counts_in_its_own_directory_and_starting_over_does_not_reset_the_day(flow: Flow) -> None:
    limits = {"credits_per_day": 15}
    assert flow.run(limits=limits).exit_code == 0
    assert taken_today(flow.output / DAYBOOK, time.time()) == 12
    report = flow.run({"fresh": True}, limits=limits)
    assert (report.exit_code, flow.emulator.billed) == (3, 15)


@pytest.mark.parametrize("name", ["today", "days/today", "away/today", "linked"])
def test_starting_over_does_not_reset_the_day_wherever_in_the_directory_it_is_counted(flow: Flow, name: str) -> None:
    day, elsewhere = flow.output / name, flow.path / "elsewhere"
    for folder in (elsewhere, flow.output / "days"):
        folder.mkdir(parents=True)
    (flow.output / "away").symlink_to(elsewhere)
    (flow.output / "linked").symlink_to(elsewhere / "day")
    (flow.output / "days" / "notes").write_text("mine")
    limits = {"credits_per_day": 15, "day_ledger": str(day)}
    assert flow.run(limits=limits).exit_code == 0
    file = day.stat()
    report = flow.run({"fresh": True}, limits=limits)
    assert (report.exit_code, flow.emulator.billed, taken_today(day, time.time())) == (3, 15, 15)
    assert os.path.samestat(day.stat(), file)
    (beside,) = flow.path.glob("out.*")
    assert (beside / "days" / "notes").read_text() == "mine"
    assert not (flow.output / "days" / "notes").exists()


def test_a_kill_at_any_step_of_starting_over_costs_neither_the_day_nor_an_answer(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits, rename = {"credits_per_day": 15}, Path.rename
    flow.run({"limit": 5}, limits=limits)
    flow.run(limits=limits)
    day, steps = (flow.output / DAYBOOK).stat(), iter(range(100))
    for lived in steps:
        left = iter(range(lived))

        def killed(path: Path, to: Path, left: Iterator[int] = left) -> Path:
            assert os.path.samestat((flow.output / DAYBOOK).stat(), day), "another process may look at any time"
            if next(left, None) is None:
                raise OSError(errno.EIO, "a process that is gone renames no more, back neither")
            return rename(path, to)

        with monkeypatch.context() as patch, suppress(OSError, JourneybatchError):
            patch.setattr(Path, "rename", killed)
            assert flow.run({"fresh": True}, limits=limits).exit_code == 3
            break
        assert (flow.run(limits=limits).exit_code, flow.emulator.billed) == (0, 12)
        assert flow.balanced()
    assert (next(steps) > 5, flow.emulator.billed) == (True, 15)


def test_what_yesterday_cost_is_no_matter_today(flow: Flow) -> None:
    day = flow.path / "day"
    spend_on(day, 12, time.time() - DAY_S)
    assert flow.run(limits={"credits_per_day": 12, "day_ledger": str(day)}).exit_code == 0
    assert taken_today(day, time.time()) == 12


def test_credits_of_the_emulator_are_none_of_the_day(flow: Flow) -> None:
    flow.run(limits={"credits_per_day": 12}, api="emulator")
    assert flow.emulator.billed == 12
    assert taken_today(flow.output / DAYBOOK, time.time()) == 0


def test_a_plan_warns_where_the_day_has_less_left_and_writes_nothing(flow: Flow) -> None:
    day = flow.path / "day"
    limits = {"credits_per_day": 15, "day_ledger": str(day)}
    assert api.plan(flow.job(limits=limits)).warnings == []
    assert not day.exists()
    spend_on(day, 8, time.time())
    (warning,) = api.plan(flow.job(limits=limits)).warnings
    assert "limits.credits_per_day: 7 of 15" in warning
    assert "will stop there" in warning


def test_a_foreign_file_for_the_day_is_refused_before_anything_is_sent(flow: Flow) -> None:
    day = flow.path / "day"
    day.write_text("Dear diary, " * 100)
    limits = {"credits_per_day": 15, "day_ledger": str(day)}
    for act in (lambda: api.plan(flow.job(limits=limits)), lambda: flow.run(limits=limits)):
        with pytest.raises(OutputError, match="day_ledger"):
            act()
    assert (flow.emulator.attempts, flow.output.exists()) == ([], False)


def test_two_processes_and_a_kill_share_the_credits_of_a_day(flow: Flow, served: SimpleNamespace) -> None:
    cap, specs = 100, []
    flow.write([f"thing {n}" for n in range(90)])
    limits = {"credits_per_day": cap, "day_ledger": str(flow.path / "day")}
    for name in ("one", "two"):
        output = str(flow.path / name)
        specs.append(flow.path / f"{name}.yaml")
        job = flow.job(api={"base_url": served.base_url}, limits=limits, concurrency=8, output=output, name=name)
        specs[-1].write_text(json.dumps(job))
    with spawned("run", specs[0], "--quiet") as one, spawned("run", specs[1], "--quiet") as two:
        until = time.monotonic() + 30
        while served.bill.read_bytes().count(b"\n") < 30:
            assert one.poll() is None is two.poll(), "both are at work"
            assert time.monotonic() < until
            time.sleep(0.002)
        one.kill()
        one.wait(timeout=10)
        with spawned("run", specs[0], "--quiet") as again:
            assert {again.wait(timeout=30), two.wait(timeout=30)} <= {0, 3}
    bill = sum(record.credits for record in read_bill(served.bill))
    assert bill <= taken_today(flow.path / "day", time.time()) <= cap
    assert bill >= cap - 8 - 2 * (cap // 50), "what was in flight, and two blocks"
    summaries = [json.loads((flow.path / name / "summary.json").read_text()) for name in ("one", "two")]
    assert "budget" in [summary["stopped_by"] for summary in summaries]


# -- the balance before a run --------------------------------------------------------------------------------------


def test_a_balance_below_the_plan_refuses_to_start_and_leaves_nothing(flow: Flow) -> None:
    flow.emulator = Emulator(credits=11)
    with pytest.raises(Unanswered) as refused:
        flow.run(limits={"credits_per_day": 100})
    for fact in ("has 11 credits", "at least 12", "top up", "--limit", "--max-credits", "--yes"):
        assert fact in str(refused.value)
    assert refused.value.exit_code == 2
    assert (flow.emulator.attempts, flow.output.exists()) == ([], False)


@pytest.mark.parametrize(
    "change",
    [
        {"limits": {"credits": 11}},
        {"limits": {"credits_per_day": 11}},
        {"credits": {"deepseek-chat": [0, 1]}},
    ],
)
def test_a_balance_that_covers_the_cap_or_the_least_is_enough(flow: Flow, change: dict[str, Any]) -> None:
    flow.emulator = Emulator(credits=11)
    report = flow.run(**change)
    assert (report.exit_code, flow.emulator.billed) == (3, 11)


def test_a_resumed_run_is_refused_with_its_journal_as_it_was(flow: Flow) -> None:
    flow.run(limits={"credits": 5})
    before = {path.name: path.read_bytes() for path in flow.output.iterdir()}
    flow.emulator = Emulator(credits=4)
    with pytest.raises(Unanswered, match=r"has 4 credits.* at least 7"):
        flow.run()
    assert {path.name: path.read_bytes() for path in flow.output.iterdir()} == before
    with pytest.raises(Unanswered, match=r"has 4 credits.* at least 5"):
        flow.run(limits={"credits": 10})
    assert flow.run(limits={"credits": 9}).summary["stopped_by"] == "budget"
    assert flow.emulator.billed == 4


def test_a_finished_run_asks_nobody_for_a_balance(flow: Flow) -> None:
    flow.run()
    account = Account(flow.emulator, lambda *_: 0)
    assert flow.run({"transport": account}).exit_code == 0
    assert account.readings == 0


UNKNOWN = {
    "no account": httpx.Response(404, json={"error": {"message": "no such page"}}),
    "an error": httpx.Response(500, text="oops"),
    "a closed door": httpx.Response(403, json={"error": {"message": "no"}}),
    "no JSON": httpx.Response(200, text="<html>"),
    "no number": httpx.Response(200, json={"credits": "many"}),
    "nothing": httpx.Response(200, json={}),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_a_balance_that_nobody_knows_stops_nothing(flow: Flow, what: str) -> None:
    report = flow.run({"transport": Account(flow.emulator, lambda *_: UNKNOWN[what])})
    credits = report.summary["credits"]
    assert report.exit_code == 0
    assert (credits["balance_before"], credits["balance_after"]) == (None, None)
    assert (credits["reconciliation"]["verdict"], credits["reconciliation"]["lost"]) == ("unknown", None)


def test_an_account_that_does_not_answer_stops_nothing(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(EmulatorTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/account"):
                import anyio

                await anyio.sleep_forever()
            return await super().handle_async_request(request)

    monkeypatch.setattr(connection, "BALANCE_S", 0.05)
    report = flow.run({"transport": Silent(flow.emulator)})
    assert (report.exit_code, report.summary["credits"]["balance_before"]) == (0, None)


def test_one_reading_serves_the_question_and_the_summary_and_a_resumed_run_keeps_it(flow: Flow) -> None:
    account = Account(flow.emulator, lambda balance, _: balance)
    credits = flow.run({"transport": account}, limits={"credits": 5}).summary["credits"]
    assert (account.readings, credits["balance_before"], credits["balance_after"]) == (2, 1_000_000, 999_995)
    credits = flow.run({"transport": account}).summary["credits"]
    assert (credits["balance_before"], credits["balance_after"]) == (1_000_000, 999_988)
    assert (credits["reconciliation"]["verdict"], credits["reconciliation"]["lost"]) == ("agrees", 7)


# -- the account after it ------------------------------------------------------------------------------------------


def reconciled(flow: Flow, options: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    report = flow.run(options, **keys)
    found: dict[str, Any] = report.summary["credits"]["reconciliation"]
    assert set(found) == {"verdict", "lost", "least", "most", "difference", "message"}
    assert found == flow.summary()["credits"]["reconciliation"]
    return found


def test_a_ledger_that_agrees_says_so(flow: Flow) -> None:
    found = reconciled(flow)
    assert (found["verdict"], found["lost"], found["least"], found["most"]) == ("agrees", 12, 12, 12)


def test_a_price_that_is_too_low_is_flagged_with_what_to_do(flow: Flow) -> None:
    flow.emulator = Emulator(prices={"deepseek-chat": 3})
    found = reconciled(flow)
    assert (found["verdict"], found["lost"], found["most"], found["difference"]) == ("more", 36, 12, 24)
    assert "`models --measure deepseek-chat`" in found["message"]
    assert "`credits: {deepseek-chat: N}`" in found["message"]


def test_errors_that_are_billed_after_all_are_named_as_a_cause(flow: Flow) -> None:
    flow.emulator = Emulator(faults=Faults(seed=2, statuses={422: 0.3}, bills_errors=True))
    found = reconciled(flow, limits={"failures": "100%"})
    rejected = flow.summary()["rows"]["failed"]
    assert (found["verdict"], found["difference"]) == ("more", rejected)
    assert (
        f"or errors are billed ({rejected} were counted as free: set `api: {{bills_errors: true}}`" in found["message"]
    )
    flow.emulator = Emulator(faults=flow.emulator.faults)
    api_ = {"base_url": BASE_URL, "bills_errors": True}
    assert reconciled(flow, {"fresh": True}, limits={"failures": "100%"}, api=api_)["verdict"] == "in doubt"


def test_a_price_that_is_too_high_is_flagged_with_what_to_do(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LATE_S", (0.0, 0.0))
    found = reconciled(flow, credits={"deepseek-chat": 2})
    assert (found["verdict"], found["lost"], found["least"], found["difference"]) == ("less", 12, 24, -12)
    assert "`models --measure deepseek-chat`" in found["message"]


def test_a_charge_that_comes_late_cries_no_wolf(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LATE_S", (0.0, 0.0, 0.0))
    account = Account(flow.emulator, lambda balance, nth: balance + (5 if nth == 2 else 0))
    assert reconciled(flow, {"transport": account})["verdict"] == "agrees"
    assert account.readings == 3


@pytest.mark.parametrize(("bills", "verdict"), [(True, "in doubt"), (False, "agrees")])
def test_the_account_resolves_doubts(flow: Flow, bills: bool, verdict: str) -> None:
    flow.emulator = Emulator(faults=Faults(seed=3, truncate=0.3, bills_errors=bills, bills_cut=bills))
    found = reconciled(flow, limits={"failures": "100%"})
    assert found["verdict"] == verdict
    assert found["least"] <= found["lost"] == flow.emulator.billed <= found["most"]
    assert found["most"] > found["least"] >= 1
    assert found["difference"] == 0
    assert "in doubt" in found["message"]


def test_the_models_of_a_cascade_are_all_named(flow: Flow) -> None:
    models = ["deepseek-chat", "gpt-4o"]
    flow.emulator = Emulator(prices={"deepseek-chat": 5, "gpt-4o": 5}, faults=Faults(invalid_field=1.0))
    answer = {"fields": {"mood": ["good", "bad"]}, "on_invalid": "escalate"}
    found = reconciled(flow, model=models, answer=answer, credits={"gpt-4o": 1}, limits={"failures": "100%"})
    assert found["verdict"] == "more"
    assert "`models --measure deepseek-chat`, `models --measure gpt-4o`" in found["message"]
    assert "`credits: {deepseek-chat: N, gpt-4o: N}`" in found["message"]


def test_a_doubt_of_a_killed_process_that_is_charged_late_cries_no_wolf(flow: Flow) -> None:
    flow.emulator = Emulator(faults=Faults(seed=3, truncate=0.5, bills_errors=False))
    flow.run(retry={"on_unknown": "hold"}, concurrency=1, limits={"failures": "100%"})
    flow.emulator.faults = Faults()
    doubt = flow.summary()["credits"]["unknown_max"]
    assert doubt > 0
    account = Account(flow.emulator, lambda balance, nth: balance - (doubt if nth > 1 else 0))
    assert reconciled(flow, {"transport": account})["verdict"] == "in doubt"


def test_the_summary_on_the_terminal_speaks_of_the_account_when_there_is_news(
    flow: Flow, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LATE_S", (0.0,))
    spec = flow.path / "flow.yaml"
    spec.write_text(json.dumps(flow.job(api="emulator")))
    assert "the account" not in call("run", spec, "--quiet").out
    said = call("run", spec, "--quiet", "--fresh", "--set", "credits.deepseek-chat=2")
    assert "the account lost 12 credits, 12 less than the ledger's 24 credits" in said.out
    assert "models --measure deepseek-chat" in said.out
    assert "12 less than the ledger's 24 credits" in call("status", spec).out
    assert json.loads(call("status", spec, "--json").out)["reconciliation"]["verdict"] == "less"


# -- replies read again --------------------------------------------------------------------------------------------


def test_reparse_reads_all_replies_again_for_nothing(flow: Flow, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = flow.path / "flow.yaml"
    spec.write_text(json.dumps(flow.job(api="emulator")))
    assert call("run", spec, "--quiet").code == 0
    before = {path.name: path.read_bytes() for path in flow.output.iterdir()}
    said = call("run", spec, "--reparse")
    told = "replies read again, for 0 credits: 12; answers that came out differently: {}; that can be read no more: 0"
    assert (said.code, said.err) == (0, told.format(0) + "\n")
    assert {path.name: path.read_bytes() for path in flow.output.iterdir()} == before
    monkeypatch.setattr(reading, "declines", lambda _: True)
    assert told.format(12) in call("plan", spec, "--reparse").err
    assert told.format(12) in call("run", spec, "--reparse").err
    assert told.format(0) in call("run", spec, "--reparse").err, "it is written down"
    assert len(read_bill(flow.output / "emulator-bill.jsonl")) == 12
    assert call("verify", spec).code == 0


def test_a_parser_that_reads_less_asks_before_it_pays_again(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"on_invalid": "ask_again"}
    flow.run(answer=answer)
    monkeypatch.setattr(reading.Reader, "_alone", lambda *_: Verdict(INVALID, message="no"))
    assert flow.run(answer=answer).exit_code == 0, "nobody asked for another reading"
    with pytest.raises(Unanswered, match=r"12 of 12 .*already answered.*12 credits"):
        flow.run({"reparse": True}, answer=answer)
    assert len(flow.emulator.attempts) == 12
    monkeypatch.undo()
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    assert flow.run({"reparse": True}, answer=answer).exit_code == 0
    assert len(flow.emulator.attempts) == 12


def test_an_answer_that_old_replies_cannot_give_asks_before_it_pays_again(flow: Flow) -> None:
    flow.run()
    fields = {"answer": {"fields": {"mood": ["good", "bad"]}}, "limits": {"failures": "100%"}}
    assert api.plan(flow.job(**fields)).requests == 12
    with pytest.raises(Unanswered, match=r"12 of 12 .*already answered.*12 credits"):
        flow.run(**fields)
    assert len(flow.emulator.attempts) == 12
    report = flow.run({"yes": True}, **fields)
    assert (report.summary["rows"]["pending"], len(flow.emulator.attempts)) == (0, 24)


# -- rows in doubt -------------------------------------------------------------------------------------------------


def test_rows_held_in_doubt_end_a_run_with_1_and_a_word_on_what_to_do(flow: Flow, call: Call) -> None:
    faults = flow.path / "faults.yaml"
    faults.write_text("{seed: 3, truncate: 0.5}")
    spec = flow.path / "flow.yaml"
    with spawned("emulate", "--port", 0, "--faults", faults) as server:
        assert server.stdout is not None
        base_url = json.loads(server.stdout.readline())["base_url"]
        job = flow.job(api={"base_url": base_url}, retry={"on_unknown": "hold"}, limits={"failures": "100%"})
        spec.write_text(json.dumps(job))
        said = call("run", spec, "--quiet")
        held = flow.summary()["rows"]["pending"]
        assert (said.code, held > 0, flow.summary()["stopped_by"]) == (1, True, None)
        assert f"{held} rows are held in doubt" in said.out
        assert "--set retry.on_unknown=retry" in said.out
        status = call("status", spec).out
        assert "held in doubt" in status
        assert "carry on" not in status, "to run it again as it is would do nothing"
        sent = flow.summary()["requests"]["sent"]
        assert call("run", spec, "--quiet").code == 1
        assert call("run", spec, "--quiet", "--set", "retry.on_unknown=fail").code == 1
        assert (flow.summary()["rows"]["failed"], flow.summary()["requests"]["sent"]) == (held, sent)


# -- an endpoint without an account --------------------------------------------------------------------------------


@contextmanager
def accountless() -> Iterator[str]:
    """A chat endpoint on loopback that knows of no account; its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(404, {"error": {"message": "Not Found"}})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.reply(200, {"choices": [{"message": {"content": "1"}, "finish_reason": "stop"}]})

        def reply(self, status: int, data: dict[str, Any]) -> None:
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def test_an_endpoint_without_an_account_is_fine_and_no_price_is_measured_there(flow: Flow, call: Call) -> None:
    with accountless() as base_url:
        said = call("account", "--api", base_url)
        assert (said.code, said.out) == (0, "balance: unknown (this endpoint has no /account)\n")
        said = call("models", "--measure", "gpt-4o", "--api", base_url, "--yes")
        assert (said.code, said.out) == (2, "")
        assert "does not tell the account's balance" in said.err
        assert "`credits: {gpt-4o: N}`" in said.err
        spec = flow.path / "flow.yaml"
        spec.write_text(json.dumps(flow.job(api={"base_url": base_url})))
        assert call("run", spec, "--quiet").code == 0
        assert flow.summary()["credits"]["reconciliation"]["verdict"] == "unknown"
        plan = json.loads(call("plan", spec, "--balance", "--json").out)
        assert (plan["balance"], plan["requests"]) == (None, 0)
