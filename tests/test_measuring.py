"""A price out of the balance: how many requests it takes, what disturbs it, and what is said about the cost."""

from __future__ import annotations

import json
import stat
from datetime import date
from pathlib import Path

import anyio
import httpx
import pytest
import trio.testing
from conftest import KEY
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.cli import screen
from journeybatch.client import Client, Endpoint
from journeybatch.emulator import Emulator, Faults
from journeybatch.errors import ApiFailure, JobError, Outage, OutOfCredits, WrongEndpoint
from journeybatch.measuring import MOST_CREDITS, MOST_REQUESTS, learned, measure
from journeybatch.pricebook import NAME, Measurement

URL = "https://journeyapi.co/api/v1"
REPLY = {"choices": [{"message": {"content": "1"}, "finish_reason": "stop"}]}


class Account(httpx.AsyncBaseTransport):
    """An endpoint whose n-th request costs ``costs[n]``, seen in the balance after ``late_s`` seconds.

    ``hidden`` readings of the account, counted from 0, get a 404, ``failing`` ones a 500.
    """

    def __init__(self, *costs, balance=1000, late_s=0.0, hidden=(), failing=()):
        self.costs, self.start, self.late_s, self.hidden, self.failing = costs, balance, late_s, hidden, failing
        self.charges, self.bodies, self.readings = [], [], 0

    async def handle_async_request(self, request):
        if request.method == "POST":
            self.bodies.append(json.loads(await request.aread()))
            self.charges.append((anyio.current_time() + self.late_s, self.costs[len(self.bodies) - 1]))
            return httpx.Response(200, json=REPLY, request=request)
        nth, self.readings = self.readings, self.readings + 1
        if nth in self.hidden or nth in self.failing:
            return httpx.Response(404 if nth in self.hidden else 500, json={"error": {"message": "no"}})
        balance = self.start
        for at, cost in self.charges:
            balance = round(balance - cost * (at <= anyio.current_time()), 6)
        return httpx.Response(200, json={"credits": balance}, request=request)


def ask(transport, model="gpt-4o"):
    """Measure through ``transport``, under a clock that does not make anybody wait."""

    async def deed():
        return await measure(Client(transport, Endpoint(URL, KEY)), model)

    clock = trio.testing.MockClock(autojump_threshold=0)
    return anyio.run(deed, backend="trio", backend_options={"clock": clock})


@pytest.mark.parametrize(
    ("costs", "credits", "requests"),
    [
        ((3, 3), 3, 2),
        ((1, 1), 1, 2),
        ((5, 5), 5, 2),
        ((9, 3, 3), 3, 3),
        ((2, 3, 2, 2), 2, 4),
        ((-500, 4, 4), 4, 3),
        ((0, 2, 2), 2, 3),
        ((3, 2, 3, 2), None, 4),
        ((0, 0, 0, 0), None, 4),
        ((0.5, 0.5, 0.5, 0.5), None, 4),
        ((7, 7), None, 2),
        ((16,), None, 1),
        ((-500, 16), None, 2),
    ],
)
def test_two_equal_whole_deltas_in_a_row_are_a_price_and_nothing_else_is(costs, credits, requests):
    account = Account(*costs)
    found = ask(account)
    assert (found.credits, found.requests, found.deltas) == (credits, requests, costs)
    assert len(account.bodies) == requests
    assert found.provider == "journeyapi.co:443"
    assert ("could not be measured" in found.message) == (credits is None)
    assert ("`credits: {gpt-4o: N}`" in found.message) == (credits is None)


def test_what_was_learned_is_said_with_its_evidence():
    assert ask(Account(9, 3, 3)).message == (
        "gpt-4o costs 3 credits a request: the account lost 9, 3, 3 credits with 3 requests"
    )


def test_fractions_of_a_balance_do_not_spoil_whole_deltas():
    found = ask(Account(3, 3, balance=1000.3))
    assert (found.credits, found.deltas) == (3, (3, 3))


def test_each_request_is_another_one_to_the_model_and_nothing_is_set():
    account = Account(9, 3, 3)
    ask(account, "o3")
    assert [sorted(body) for body in account.bodies] == [["messages", "model"]] * 3
    assert {body["model"] for body in account.bodies} == {"o3"}
    assert len({str(body["messages"]) for body in account.bodies}) == 3


def test_a_charge_that_comes_within_two_seconds_is_waited_for():
    found = ask(Account(3, 3, late_s=1.5))
    assert (found.credits, found.requests) == (3, 2)


def test_a_charge_that_comes_too_late_is_told_as_such():
    found = ask(Account(3, 3, 3, 3, late_s=60))
    assert (found.credits, found.deltas) == (None, (0, 0, 0, 0))
    assert "charges late, or not at all" in found.message


def test_an_endpoint_without_a_balance_gets_no_request():
    account = Account(hidden={0})
    with pytest.raises(JobError, match=r"cannot be measured here.*`credits: \{gpt-4o: N\}`"):
        ask(account)
    assert account.bodies == []


def test_a_balance_that_cannot_be_asked_for_sends_no_request():
    account = Account(failing={0})
    with pytest.raises(ApiFailure, match="HTTP 500"):
        ask(account)
    assert account.bodies == []


def test_a_reading_that_fails_once_is_read_again():
    assert ask(Account(3, 3, failing={1}, hidden={3})).credits == 3


def test_a_balance_that_is_gone_after_a_request_says_what_was_sent():
    found = ask(Account(3, 3, hidden=range(2, 50)))
    assert (found.credits, found.deltas, found.requests) == (None, (3,), 2)
    assert "no balance after request 2" in found.message
    with pytest.raises(Outage, match=r"request 2 .* charged, but .* cannot be read.* lost 3 credits"):
        ask(Account(3, 3, failing=range(2, 50)))


@pytest.mark.parametrize(
    ("emulator", "model", "stop", "said"),
    [
        (Emulator(faults=Faults(statuses={500: 1.0})), "gpt-4o", Outage, "may have cost up to 5 credits"),
        (Emulator(), "nonesuch", WrongEndpoint, "cost nothing"),
        (Emulator(credits=4, prices={"gpt-4o": 3}), "gpt-4o", OutOfCredits, "request 2 .* cost nothing; .* lost 3"),
    ],
)
def test_a_request_that_fails_ends_it_and_says_what_it_may_have_cost(emulator, model, stop, said):
    with pytest.raises(stop, match=said):
        ask(emulator.transport(), model)
    assert len(emulator.attempts) <= 2


@given(st.lists(st.integers(-50, 50), max_size=6))
def test_a_price_is_always_one_that_was_seen_twice_at_the_end(deltas):
    price = learned(deltas)
    assert (price is not None) == (len(deltas) > 1 and deltas[-1] == deltas[-2] and 1 <= deltas[-1] <= 5)
    assert price is None or price == deltas[-1]


@given(st.lists(st.integers(1, 5), min_size=4, max_size=4))
def test_no_measurement_costs_more_than_was_agreed_to(costs):
    account = Account(*costs)
    found = ask(account)
    assert len(account.bodies) <= MOST_REQUESTS
    assert sum(found.deltas) <= MOST_CREDITS


def test_what_is_remembered_carries_date_and_host():
    measurement = ask(Account(3, 3)).measurement(date(2026, 11, 24))
    assert measurement == Measurement(3, date(2026, 11, 24), "journeyapi.co", (3, 3))
    with pytest.raises(ValueError, match="could not be measured"):
        ask(Account(0, 0, 0, 0)).measurement()


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's config file, which does not exist yet, in a directory of its own."""
    path = tmp_path / "config" / "mine.yaml"
    monkeypatch.setenv("JOURNEYBATCH_CONFIG", str(path))
    return path


def listed(call, *more):
    return {model["model"]: model for model in json.loads(call("models", "--json", *more).out)}


def test_a_measured_price_stands_in_the_catalogue_of_its_provider_only(config, call):
    said = call("models", "--measure", "gpt-4o", "--api", "emulator")
    assert (said.code, said.err) == (0, "")
    book = config.parent / NAME
    assert f"remembered in {book}" in said.out
    assert stat.S_IMODE(book.stat().st_mode) == 0o600
    there, ours = listed(call, "--api", "emulator")["gpt-4o"], listed(call)["gpt-4o"]
    assert there["credits_min"] == there["credits_max"] == json.loads(book.read_text())["emulator"]["gpt-4o"]["credits"]
    assert there["source"].startswith("measured on 20")
    assert there["source"].endswith(" at emulator")
    assert (ours["credits_min"], ours["credits_max"]) == (1, 5)


def test_a_measurement_as_json_says_what_it_took(config, call):
    found = json.loads(call("models", "--measure", "deepseek-chat", "--api", "emulator", "--json").out)
    assert (found["credits"], found["deltas"], found["requests"]) == (1, [1, 1], 2)
    assert found["remembered"] == str(config.parent / NAME)


def test_the_users_own_price_comes_first_and_that_is_said(config, call):
    config.parent.mkdir()
    config.write_text("credits: {deepseek-chat: 2}")
    said = call("models", "--measure", "deepseek-chat", "--api", "emulator")
    assert (said.code, "come first" in said.err) == (0, True)
    assert listed(call, "--api", "emulator")["deepseek-chat"]["source"] == "your config's credits"


def test_real_credits_are_asked_about_first(config, call, monkeypatch):
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    said = call("models", "--measure", "gpt-4o")
    assert said.code == 2
    assert "up to 20 credits" in said.err
    assert "--yes" in said.err
    asked = []
    monkeypatch.setattr(screen, "can_ask", lambda: True)
    monkeypatch.setattr(screen, "confirm", lambda question: asked.append(question) or False)
    said = call("models", "--measure", "gpt-4o")
    assert (said.code, "nothing was sent" in said.err) == (2, True)
    assert "up to 20 credits" in asked[0]
    assert not config.parent.exists()


def test_a_served_endpoint_is_measured_under_its_own_host(config, call, monkeypatch, served):
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    said = call("models", "--measure", "deepseek-chat", "--api", served.base_url, "--yes")
    assert said.code == 0, said.err
    assert len(served.bill.read_text().splitlines()) == 2
    host = served.base_url.split("/")[2]
    assert listed(call, "--api", served.base_url)["deepseek-chat"]["source"].endswith(f" at {host}")
    assert listed(call)["deepseek-chat"]["source"] == "the endpoint's page"


def test_a_price_that_cannot_be_written_down_is_said_all_the_same(config, call):
    config.parent.write_text("in the way")
    said = call("models", "--measure", "deepseek-chat", "--api", "emulator")
    assert said.code == 0, said.err
    assert "costs 1 credit a request" in said.out
    assert "`credits: {deepseek-chat: 1}`" in said.err
    assert "remembered" not in said.out


def test_a_damaged_price_book_is_said_before_a_credit_is_spent(config, call, monkeypatch, served):
    monkeypatch.setenv("JOURNEYAPI_KEY", KEY)
    config.parent.mkdir()
    (config.parent / NAME).write_text("{")
    said = call("models", "--measure", "deepseek-chat", "--api", served.base_url, "--yes")
    assert (said.code, NAME in said.err) == (2, True)
    assert not served.bill.exists() or not served.bill.read_text()


@pytest.mark.parametrize("verb", ["models", "account"])
def test_an_api_that_is_none_is_said(call, verb):
    said = call(verb, "--api", "nonsense")
    assert (said.code, "expected journeyapi, emulator, or a base URL" in said.err) == (2, True)
