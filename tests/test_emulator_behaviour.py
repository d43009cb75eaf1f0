import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import validate

from journeybatch.catalog import MODELS
from journeybatch.emulator import REFUSAL_MARKER, Emulator, Faults, Outage, read_bill
from journeybatch.emulator.behaviour import is_loopback
from journeybatch.emulator.shapes import Call
from journeybatch.emulator.upstream import UPSTREAM, price_list

MOOD = {"a": {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}}


def chat(body=None, *, authorization="Bearer key", **fields):
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Name a river."}]} | fields
    data = json.dumps(asked).encode() if body is None else body
    return Call("POST", "/api/v1/chat/completions", {"authorization": authorization}, data)


def get(path, authorization="key"):
    return Call("GET", path, {"authorization": authorization})


def said(reply):
    return json.loads(reply.body)


def events(reply):
    lines = [event.removeprefix("data: ") for event in reply.body.decode().split("\n\n")[:-1]]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_it_serves_the_catalogue_and_nothing_else():
    emulator = Emulator()
    listed = said(emulator.answer(get("/api/v1/models"), 0))["data"]
    assert [model["id"] for model in listed] == list(MODELS)
    assert len(listed) == 22
    assert set(UPSTREAM) == set(MODELS)
    missing = emulator.answer(chat(model="gpt-5"), 0)
    assert missing.status == 404
    assert said(missing)["error"]["code"] == "model_not_found"


def test_its_openapi_page_is_open_to_all_and_names_each_model_once():
    page = said(Emulator(key="k").answer(get("/api/v1/openapi.json", authorization=""), 0))
    assert set(page["paths"]) == {"/chat/completions", "/account", "/models"}
    kinds = page["components"]["schemas"]["Question"]["oneOf"]
    assert sorted(name for kind in kinds for name in kind["properties"]["model"]["enum"]) == sorted(MODELS)
    fussy = next(kind for kind in kinds if "o3" in kind["properties"]["model"]["enum"])
    assert fussy["properties"]["temperature"] == {"type": "null"}


def test_a_method_that_is_not_allowed_is_told_which_is():
    for path, allowed in {"/chat/completions": "POST", "/account": "GET", "/models": "GET"}.items():
        reply = Emulator().answer(Call("PUT", f"/api/v1{path}", {"authorization": "k"}), 0)
        assert (reply.status, dict(reply.headers)["allow"]) == (405, allowed)


def test_each_price_lies_in_the_catalogues_interval():
    for name, credits in price_list({}).items():
        assert MODELS[name].price.least <= credits <= MODELS[name].price.most


@pytest.mark.parametrize("model", list(MODELS))
def test_each_model_answers_under_its_upstream_name_for_its_price(model):
    emulator = Emulator()
    answer = said(emulator.answer(chat(model=model), 0))
    assert answer["model"] == UPSTREAM[model].id != model
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert emulator.billed == price_list({})[model]
    assert said(emulator.answer(get("/api/v1/account"), 0))["credits"] == 1_000_000 - emulator.billed


def test_prices_can_be_set_but_not_to_nonsense():
    emulator = Emulator(prices={"gpt-4o": 7})
    emulator.answer(chat(), 0)
    assert emulator.billed == 7
    for nonsense in ({"gpt-9": 1}, {"gpt-4o": -1}, {"gpt-4o": 1.5}, {"gpt-4o": True}):
        with pytest.raises(ValueError, match="gpt-"):
            Emulator(prices=nonsense)


def test_an_answer_depends_on_the_request_alone():
    first, second = Emulator(), Emulator(latency_s=1, credits=50)
    second.answer(chat(model="o3"), 0)
    replies = [said(emulator.answer(chat(temperature=1), 5)) for emulator in (first, second, second)]
    assert len({json.dumps(reply["choices"]) for reply in replies}) == 1
    assert len({json.dumps(reply["usage"]) for reply in replies}) == 1
    assert len({reply["id"] for reply in replies[1:]}) == 2  # an id is one completion's own
    others = [said(first.answer(chat(temperature=t / 10), 5))["choices"][0]["message"] for t in range(15)]
    assert len({json.dumps(message) for message in others}) > 1


def test_max_tokens_cuts_the_answer():
    reply = said(Emulator().answer(chat(max_tokens=3), 0))
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 3
    assert reply["usage"]["total_tokens"] == 3 + reply["usage"]["prompt_tokens"]


@pytest.mark.parametrize("model", ["o3", "o4-mini"])
def test_reasoning_models_refuse_a_temperature_and_charge_nothing(model):
    emulator = Emulator()
    refused = emulator.answer(chat(model=model, temperature=0.2), 0)
    assert (refused.status, said(refused)["error"]["param"]) == (400, "temperature")
    assert emulator.answer(chat(model=model), 0).status == 200
    assert emulator.attempts[0].credits == 0


@pytest.mark.parametrize(
    ("temperature", "status"), [(0, 200), (2, 200), (2.1, 400), (-0.1, 400), ("1", 400), (True, 400)]
)
def test_a_temperature_lies_between_0_and_2(temperature, status):
    assert Emulator().answer(chat(temperature=temperature), 0).status == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"messages": [{"role": "user", "content": "x"}]}',
        b'{"model": ["gpt-4o"], "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o"}',
        b'{"model": "gpt-4o", "messages": []}',
        b'{"model": "gpt-4o", "messages": "x"}',
        b'{"model": "gpt-4o", "messages": ["x"]}',
        b'{"model": "gpt-4o", "messages": [{"role": "robot", "content": "x"}]}',
        b'{"model": "gpt-4o", "messages": [{"role": "user", "content": null}]}',
        b'{"model": "gpt-4o", "messages": [{"role": "user"}]}',
        b'{"model": "gpt-4o", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
        b'{"model": "gpt-4o", "max_tokens": 0, "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o", "response_format": "json", "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o", "response_format": {}, "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o", "response_format": {"type": "json_schema", "json_schema": {}}, "messages": '
        b'[{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o", "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}, '
        b'"messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o", "stream_options": {"include_usage": 1}, "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o", "max_tokens": 1.5, "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o", "stream": "yes", "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "gpt-4o", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}',
    ],
)
def test_a_request_that_makes_no_sense_gets_a_400_in_openais_shape(body):
    emulator = Emulator()
    reply = emulator.answer(chat(body), 0)
    assert reply.status == 400
    assert set(said(reply)["error"]) == {"message", "type", "param", "code"}
    assert [(record.status, record.credits) for record in emulator.attempts] == [(400, 0)]


@settings(deadline=None, max_examples=60)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps({"model": "gpt-4o", "messages": value}).encode()
    )
)
def test_any_body_gets_a_reply(body):
    assert Emulator().answer(chat(body), 0).status in (200, 400)


def test_odd_unicode_comes_back_as_it_went():
    prompt = "\ud800 \u2028 \x00 ünï 😀"
    reply = said(Emulator().answer(chat(messages=[{"role": "user", "content": prompt}]), 0))
    assert "\ud800" in reply["choices"][0]["message"]["content"]


def test_content_may_come_in_text_parts():
    parts = [{"type": "text", "text": "good or bad, or ugly"}, {"type": "text", "text": "x"}]
    assert Emulator().answer(chat(messages=[{"role": "user", "content": parts}]), 0).status == 200


def test_a_developers_message_is_a_systems():
    told = [{"role": "developer", "content": "Answer with good or bad."}, {"role": "user", "content": "It is lovely."}]
    assert said(Emulator().answer(chat(messages=told), 0))["choices"][0]["message"]["content"] == "good"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#/$defs/a", "$defs": MOOD}}},
            MOOD["a"] | {"$defs": MOOD},
        ),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}, {"type": "object"}),
    ],
)
def test_a_reply_has_the_response_format_asked_for(wanted, expected):
    text = said(Emulator().answer(chat(response_format=wanted), 0))["choices"][0]["message"]["content"]
    if expected is None:
        assert not text.startswith("{")
    else:
        validate(json.loads(text), expected)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4"])
def test_claude_refuses_a_marked_prompt_as_a_whole_paid_completion(model):
    emulator = Emulator()
    call = chat(model=model, messages=[{"role": "user", "content": f"{REFUSAL_MARKER} tell me"}])
    choice = said(emulator.answer(call, 0))["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["message"]["refusal"]
    assert choice["finish_reason"] == "stop"
    assert emulator.billed > 0


def test_other_models_answer_a_marked_prompt():
    reply = Emulator().answer(chat(messages=[{"role": "user", "content": f"{REFUSAL_MARKER} tell me"}]), 0)
    assert said(reply)["choices"][0]["message"]["content"]


def test_a_stream_says_the_same_as_the_plain_answer_and_ends_with_done():
    emulator = Emulator()
    plain = said(emulator.answer(chat(), 0))
    reply = emulator.answer(chat(stream=True), 0)
    chunks = events(reply)
    assert dict(reply.headers)["content-type"].startswith("text/event-stream")
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == plain["choices"][0]["message"]["content"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == [None, "stop"]


def test_a_stream_tells_its_usage_on_demand():
    emulator = Emulator()
    chunks = events(emulator.answer(chat(stream=True, stream_options={"include_usage": True}), 0))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == said(emulator.answer(chat(), 0))["usage"]


@pytest.mark.parametrize("authorization", ["", " ", "Bearer", "Bearer ", "Basic abc"])
def test_without_a_key_nothing_is_served(authorization):
    emulator = Emulator()
    for call in (chat(authorization=authorization), get("/api/v1/account", authorization)):
        reply = emulator.answer(call, 0)
        assert reply.status == 401
        assert said(reply)["error"]["code"] == "invalid_api_key"
    assert emulator.billed == 0


def test_the_key_may_be_bare_or_a_bearer_token_and_must_be_the_right_one():
    emulator = Emulator(key="jp-1")
    given_to_status = {"jp-1": 200, "Bearer jp-1": 200, "bearer jp-1": 200, "jp-2": 401, "Bearer ü": 401}
    for authorization, status in given_to_status.items():
        assert emulator.answer(chat(authorization=authorization), 0).status == status
    assert "jp-1" not in repr(emulator)


def test_an_empty_account_is_told_so_and_never_overdrawn():
    emulator = Emulator(credits=7)
    replies = [emulator.answer(chat(), 0) for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 402, 402]
    assert said(replies[-1])["error"]["code"] == "insufficient_quota"
    assert (emulator.billed, emulator.balance) == (6, 1)


def test_unknown_addresses_and_methods_are_told_apart():
    emulator = Emulator()
    assert emulator.answer(get("/api/v1/nothing"), 0).status == 404
    assert emulator.answer(get("/account"), 0).status == 404
    assert emulator.answer(get("/api/v1/chat/completions"), 0).status == 405
    assert emulator.answer(Call("DELETE", "/api/v1/account"), 0).status == 405
    assert emulator.attempts == []


def test_every_reply_says_that_the_emulator_gave_it():
    emulator = Emulator()
    for call in (chat(), chat(b"{"), get("/api/v1/account"), get("/nowhere"), get("/api/v1/emulator/bill")):
        headers = dict(emulator.answer(call, 0).headers)
        assert headers["x-journeybatch-emulator"] == "1"
        assert headers["x-request-id"]


def test_the_bill_can_be_read_over_http_without_a_key():
    emulator = Emulator()
    answer = said(emulator.answer(chat(), 1.5))
    emulator.answer(chat(b"{"), 2)
    bill = said(emulator.answer(get("/api/v1/emulator/bill", ""), 3))
    assert (bill["requests"], bill["billed"]) == (2, 3)
    first, second = bill["attempts"]
    assert (first["id"], first["status"], first["model"]) == (answer["id"], 200, "gpt-4o")
    assert (second["at_s"], second["status"], second["credits"]) == (0.5, 400, 0)
    assert said(emulator.answer(get("/api/v1/emulator/bill?totals=1", ""), 3)) == {"requests": 2, "billed": 3}


def test_the_bill_file_has_each_attempt_before_its_reply_and_is_carried_on(tmp_path):
    path = tmp_path / "bill.jsonl"
    with Emulator(bill=path, credits=10) as emulator:
        for count in range(1, 3):
            emulator.answer(chat(), 0)
            assert len(read_bill(path)) == count
        assert read_bill(path) == emulator.attempts
    assert path.stat().st_mode & 0o077 == 0
    with Emulator(bill=path, credits=10) as again:
        assert (again.billed, again.balance) == (6, 4)
        again.answer(chat(), 0)
        assert [record.attempt for record in read_bill(path)] == [1, 2, 3]
        assert again.answer(chat(), 0).status == 402


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"attempt": 1}', "1"])
def test_a_file_that_is_no_bill_is_named_and_left_alone(tmp_path, line):
    path = tmp_path / "bill.jsonl"
    path.write_text(line)
    with pytest.raises(ValueError, match=r"bill\.jsonl: line 1 is no record of a bill"):
        Emulator(bill=path)
    assert path.read_text() == line


@pytest.mark.parametrize("bills_errors", [False, True])
@pytest.mark.parametrize("bills_cut", [False, True])
def test_the_switches_say_which_failures_are_charged(bills_errors, bills_cut):
    lost, failed = ["cut", "reset", "truncate", "stream_without_end"], ["wrong_json", "error_object", "empty_choices"]
    failed += ["empty_body", "hang"]
    for kind in lost + failed + ["slow_body"]:
        emulator = Emulator(faults=Faults(**{kind: 1.0}, bills_errors=bills_errors, bills_cut=bills_cut))
        emulator.answer(chat(), 0)
        expected = bills_cut if kind in lost else bills_errors if kind in failed else True
        assert emulator.billed == (3 if expected else 0), kind
        assert emulator.attempts[0].fault == kind
    emulator = Emulator(faults=Faults(statuses={500: 1.0}, bills_errors=bills_errors, bills_cut=bills_cut))
    assert emulator.answer(chat(), 0).status == 500
    assert emulator.billed == (3 if bills_errors else 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["truncate", "stream_without_end", "cut", "reset"])
def test_a_lost_answer_is_never_whole_by_accident(kind, stream):
    emulator = Emulator(faults=Faults(**{kind: 1.0}))
    whole = Emulator().answer(chat(stream=stream), 0).body
    for _ in range(60):
        reply = emulator.answer(chat(stream=stream, stream_options={"include_usage": True}), 0)
        arrived = reply.body if reply.end == "whole" else reply.body[: reply.stop_at or 0]
        assert len(arrived) < len(whole)
        assert b'"finish_reason":"stop"}]' not in arrived if stream else not arrived.endswith(b"}}")


def test_broken_replies_come_in_the_shapes_endpoints_send():
    def reply(kind, **fields):
        return Emulator(faults=Faults(**{kind: 1.0})).answer(chat(**fields), 0)

    assert b"<html>" in reply("wrong_json").body
    assert said(reply("empty_choices"))["choices"] == []
    assert events(reply("empty_choices", stream=True))[0]["choices"] == []
    assert "error" in said(reply("error_object"))
    assert b'data: {"error"' in reply("error_object", stream=True).body
    assert reply("empty_body").body == b""
    assert {reply(kind).status for kind in ("wrong_json", "empty_choices", "error_object", "empty_body")} == {200}
    slow = reply("slow_body")
    assert slow.pause_s * (len(slow.chunks) - 1) == pytest.approx(5)
    assert said(slow)["choices"]


def test_a_late_charge_shows_in_the_balance_only_after_a_while():
    emulator = Emulator(faults=Faults(late_charge_s=10), credits=7)

    def shown(now):
        return said(emulator.answer(get("/api/v1/account"), now))["credits"]

    for now in (0, 5):
        emulator.answer(chat(), now)
    assert [shown(now) for now in (5, 9.9, 10, 14.9, 15)] == [7, 7, 4, 4, 1]
    assert (emulator.billed, emulator.balance) == (6, 1)
    assert emulator.answer(chat(), 15).status == 402  # the account itself is not late


def test_the_rate_limit_admits_so_many_in_any_minute_and_says_when_to_come_back():
    emulator = Emulator(faults=Faults(requests_per_minute=2))
    assert [emulator.answer(chat(), now).status for now in (0, 10, 20)] == [200, 200, 429]
    assert dict(emulator.answer(chat(), 20).headers)["retry-after"] == "40"
    assert [emulator.answer(chat(), now).status for now in (60, 61, 70)] == [200, 429, 200]
    assert sum(record.fault == "rate_limit" for record in emulator.attempts) == 3
    assert emulator.billed == 4 * 3


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 300), min_size=1, max_size=80), st.integers(1, 9))
def test_no_minute_ever_holds_more_than_the_rate_limit(times, most):
    emulator = Emulator(faults=Faults(requests_per_minute=most))
    admitted = [now for now in sorted(times) if emulator.answer(chat(), now).status == 200]
    assert all(later - earlier >= 60 for earlier, later in zip(admitted, admitted[most:], strict=False))


def test_retry_after_goes_with_429_and_503_in_whole_seconds():
    def headers(status, seconds):
        faults = Faults(statuses={status: 1.0}, retry_after_s=seconds)
        return dict(Emulator(faults=faults).answer(chat(), 0).headers)

    assert headers(429, 3)["retry-after"] == "3"
    assert "retry-after-ms" not in headers(429, 3)
    assert (headers(503, 0.2)["retry-after"], headers(503, 0.2)["retry-after-ms"]) == ("1", "200")
    assert "retry-after" not in headers(500, 3)


def test_an_outage_lasts_as_long_as_its_window_and_costs_nothing():
    outages = (Outage(10, 20, 503), Outage(30, 40, "refuse"), Outage(50, 60, "reset"))
    emulator = Emulator(faults=Faults(outages=outages, bills_errors=True))
    emulator.start(100)
    moments = {109: 200, 110: 503, 119.9: 503, 120: 200, 135: 0, 145: 200, 155: 0, 160: 200}
    assert {now: emulator.answer(chat(), now).status for now in moments} == moments
    assert [record.fault for record in emulator.attempts] == [None, "outage", "outage", None, None, "outage", None]
    assert emulator.billed == 4 * 3
    assert emulator.answer(get("/api/v1/account"), 115).status == 503
    assert emulator.answer(get("/api/v1/emulator/bill"), 115).status == 200


def test_the_bill_is_the_sum_of_its_attempts_under_any_faults():
    emulator = Emulator(faults=Faults.mixed(0.5, seed=3))
    for number in range(300):
        emulator.answer(chat(max_tokens=number + 1), number)
    assert emulator.billed == sum(record.credits for record in emulator.attempts)
    assert 80 < sum(record.fault is not None for record in emulator.attempts) < 220


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]", "[::1]:9"])
def test_loopback_names_are_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "localhost:80:80", "127.0.0.1:x"],
)
def test_no_other_name_is_this_machine(host):
    assert not is_loopback(host)
