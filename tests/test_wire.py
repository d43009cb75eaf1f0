"""The endpoint's replies, JSON and SSE, and what an attempt's end means."""

from __future__ import annotations

import json
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from journeybatch.errors import ApiFailure
from journeybatch.records import Completion, Reply
from journeybatch.wire import KEPT_HEADERS, delta, events, judge, lost

MIB = 2**20
REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Grüße 😀"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}
READ = Reply("Grüße 😀", None, "stop", "chatcmpl-1", "gpt-4o-2024-08-06", 7, 3)
laws = settings(deadline=None, max_examples=200)


def completion(body=b"", status=200, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Completion(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, 0.1)


def failure(body=b"", status=200, *, bills_errors=False, **headers):
    with pytest.raises(ApiFailure) as raised:
        judge(completion(body, status, **headers), bills_errors=bills_errors)
    return raised.value


def read(body):
    return judge(completion(body))


def varied(**message):
    """The valid reply with another message."""
    return {**REPLY, "choices": [{"message": message, "finish_reason": "stop"}]}


def harmless(text):
    """No control characters, no half surrogate pairs, one line."""
    return not any(unicodedata.category(c) in ("Cc", "Cs") for c in text) and len(text.splitlines()) <= 1


def judged(body, status=200):
    """The reply or the failure; anything else fails the test. Whatever it is can be stored and printed."""
    try:
        reply = judge(completion(body, status))
    except ApiFailure as error:
        assert error.charge in ("free", "unknown")
        assert error.then in ("retry", "pause", "stop", "reject")
        assert (error.stopped_by is None) == (error.then != "stop")
        assert harmless(str(error))
        return error
    assert type(reply) is Reply
    assert (reply.text is not None) or reply.refusal
    for text in (reply.text, reply.refusal, reply.finish_reason, reply.upstream_id, reply.upstream_model):
        assert text is None or text.encode().decode() == text
    for count in (reply.prompt_tokens, reply.completion_tokens):
        assert count is None or (type(count) is int and 0 <= count < 2**63)
    return reply


# -- what an attempt's end means ------------------------------------------------------------------------------

ENDS = [
    # status, error code, Retry-After · charge, then, stopped_by
    (429, None, None, "free", "pause", None),
    (429, "rate_limit_exceeded", "7", "free", "pause", None),
    (503, None, None, "free", "pause", None),
    (529, None, None, "free", "pause", None),
    (402, None, "7", "free", "pause", None),
    (401, None, None, "free", "stop", "auth"),
    (403, None, None, "free", "stop", "auth"),
    (402, None, None, "free", "stop", "credits"),
    (402, None, "soon", "free", "stop", "credits"),
    (429, "insufficient_quota", None, "free", "stop", "credits"),
    (429, "insufficient_quota", "7", "free", "stop", "credits"),
    (403, "insufficient_quota", None, "free", "stop", "credits"),
    (404, None, None, "free", "stop", "endpoint"),
    (405, None, None, "free", "stop", "endpoint"),
    (410, None, None, "free", "stop", "endpoint"),
    (301, None, None, "free", "stop", "endpoint"),
    (302, None, None, "free", "stop", "endpoint"),
    (304, None, None, "free", "stop", "endpoint"),
    (307, None, None, "free", "stop", "endpoint"),
    (308, None, None, "free", "stop", "endpoint"),
    (400, "model_not_found", None, "free", "stop", "endpoint"),
    (404, "model_not_found", None, "free", "stop", "endpoint"),
    (400, None, None, "free", "reject", None),
    (413, None, None, "free", "reject", None),
    (422, None, None, "free", "reject", None),
    (408, None, None, "unknown", "retry", None),
    (409, None, None, "unknown", "retry", None),
    (425, None, None, "unknown", "retry", None),
    (500, None, None, "unknown", "retry", None),
    (501, None, None, "free", "stop", "endpoint"),
    (502, None, None, "unknown", "retry", None),
    (504, None, "7", "unknown", "retry", None),
    (520, None, None, "unknown", "retry", None),
    (599, None, None, "unknown", "retry", None),
]


@pytest.mark.parametrize("bills_errors", [False, True], ids=["errors are free", "errors are billed"])
@pytest.mark.parametrize(("status", "code", "wish", "charge", "then", "stopped_by"), ENDS)
def test_an_answer_that_is_no_reply_means_what_the_table_says(
    status, code, wish, charge, then, stopped_by, bills_errors
):
    body = {"error": {"message": "No.", "type": "some_error", "code": code}}
    headers = {"retry_after": wish} if wish else {}
    error = failure(body, status, bills_errors=bills_errors, **headers)
    assert (error.charge, error.then, error.stopped_by) == ("unknown" if bills_errors else charge, then, stopped_by)
    assert error.status == status
    assert error.retry_after_s == (7.0 if wish == "7" else None)
    assert str(error) == f"HTTP {status}: No."
    assert error.counted


KINDS = {
    "rate_limited": [429],
    "unavailable": [503, 529],
    "unauthorized": [401, 403],
    "out_of_credits": [402],
    "endpoint": [301, 307, 404, 405, 410, 501],
    "rejected": [400, 413, 415, 422, 451],
    "timeout": [408, 425],
    "conflict": [409],
    "server_error": [500, 502, 504, 520],
}


@pytest.mark.parametrize(("kind", "status"), [(kind, status) for kind, found in KINDS.items() for status in found])
def test_a_failure_has_a_short_word_for_the_results(kind, status):
    assert failure({"error": {"message": "No."}}, status).kind == kind


@pytest.mark.parametrize("name", ["code", "type"])
def test_openai_says_what_is_wrong_in_code_or_in_type(name):
    assert failure({"error": {name: "insufficient_quota"}}, 429).stopped_by == "credits"
    assert failure({"error": {"code": None, "type": "x", name: "model_not_found"}}, 400).stopped_by == "endpoint"


BROKEN = {
    "an empty body": b"",
    "only blanks": b" \r\n\t ",
    "a byte order mark": b"\xef\xbb\xbf",
    "HTML": b"<html><body>Bad gateway</body></html>",
    "text": b"upstream connect error",
    "cut JSON": json.dumps(REPLY).encode()[:-1],
    "two values": b"{}{}",
    "null": b"null",
    "a number": b"1",
    "a list": b"[]",
    "an empty object": b"{}",
    "no choices": {**REPLY, "choices": []},
    "choices null": {**REPLY, "choices": None},
    "choices an object": {**REPLY, "choices": {"0": REPLY["choices"][0]}},
    "a choice that is null": {**REPLY, "choices": [None]},
    "a choice without a message": {**REPLY, "choices": [{"finish_reason": "stop"}]},
    "a message that is text": {**REPLY, "choices": [{"message": "Hello."}]},
    "an error object": {"error": {"message": "overloaded"}},
    "an error object beside choices": {**REPLY, "error": {"code": 502}},
    "an error as text": {"error": "overloaded"},
    "an error without a message": {"error": {"message": ["x"]}},
    "deep nesting": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "NUL bytes": bytes(64),
}


@pytest.mark.parametrize("bills_errors", [False, True])
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_200_that_is_no_whole_completion_may_have_been_billed(body, bills_errors):
    error = failure(body, bills_errors=bills_errors)
    assert (error.kind, error.charge, error.then, error.stopped_by) == ("malformed", "unknown", "retry", None)


def test_a_2xx_is_known_by_its_own_status():
    assert failure(b"", 204).status == 204
    assert failure(b"", 200).status == 200
    assert judge(completion(REPLY, 201)) == READ


@pytest.mark.parametrize("bills_errors", [False, True])
@pytest.mark.parametrize(
    ("message", "finish_reason", "text", "refusal"),
    [
        ({"content": "yes"}, "stop", "yes", None),
        ({"content": "ye"}, "length", "ye", None),
        ({"content": ""}, "content_filter", "", None),
        ({"content": None}, "stop", "", None),
        ({}, "stop", "", None),
        ({"content": None, "tool_calls": [{}]}, "tool_calls", "", None),
        ({"content": None, "refusal": "I can't."}, "stop", None, "I can't."),
        ({"content": "", "refusal": "I can't."}, "stop", None, "I can't."),
        ({"content": "So: ", "refusal": "I can't."}, "stop", "So: ", "I can't."),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}, "x", {"text": "b"}]}, "stop", "ab", None),
        ({"content": "4", "reasoning_content": "2 + 2 is 4", "reasoning": "so"}, "stop", "4", None),
        ({"content": 42}, None, "", None),
        ({"content": "x"}, 7, "x", None),
    ],
)
def test_a_whole_completion_is_settled_whatever_it_says(message, finish_reason, text, refusal, bills_errors):
    body = {**REPLY, "choices": [{"message": message, "finish_reason": finish_reason}]}
    reply = judge(completion(body), bills_errors=bills_errors)
    expected = finish_reason if isinstance(finish_reason, str) else None
    assert (reply.text, reply.refusal, reply.finish_reason) == (text, refusal, expected)


def test_a_reply_is_read_with_its_tokens_and_who_wrote_it():
    assert read(REPLY) == READ
    bare = {"choices": REPLY["choices"], "error": None}
    assert read(bare) == Reply("Grüße 😀", None, "stop", None, None, None, None)


@laws
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.none() | st.just("") | st.text(max_size=3) | st.integers(),
            "model": st.none() | st.text(max_size=3) | st.booleans(),
            "error": st.none() | st.just({}) | st.just("") | st.just({"message": "x"}),
            "usage": st.none() | st.lists(st.none()) | st.dictionaries(st.just("prompt_tokens"), st.integers(-1, 9)),
            "choices": st.lists(
                st.none()
                | st.fixed_dictionaries(
                    {},
                    optional={
                        "message": st.none()
                        | st.dictionaries(
                            st.sampled_from(["content", "refusal", "tool_calls"]),
                            st.none() | st.text(max_size=3) | st.integers() | st.just([{"text": "a"}]),
                        ),
                        "finish_reason": st.none() | st.sampled_from(["", "stop"]) | st.integers(),
                    },
                ),
                max_size=2,
            ),
        },
    )
)
def test_a_reply_says_the_same_in_json_that_is_not_quite_json(value):
    told = json.dumps(value).encode()
    odd = told[:-1] + (b", " if value else b"") + b'"logprob": NaN}'  # only the patient way of reading takes NaN
    both = [completion(told), completion(odd)]
    try:
        first = judge(both[0])
    except ApiFailure as failed:
        with pytest.raises(ApiFailure) as caught:
            judge(both[1])
        assert str(caught.value).partition(": {")[0] == str(failed).partition(": {")[0]
    else:
        assert judge(both[1]) == first


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", None, 2**63, 10**40, [1]])
def test_a_token_count_that_is_none_is_left_out(count):
    reply = read({**REPLY, "usage": {"prompt_tokens": count, "completion_tokens": 3}})
    assert (reply.prompt_tokens, reply.completion_tokens) == (None, 3)


@pytest.mark.parametrize("usage", [None, [], "x", 1])
def test_usage_of_another_shape_costs_no_reply(usage):
    assert read({**REPLY, "usage": usage}).text == "Grüße 😀"


ODD = {
    "NaN": b'"logprob":NaN,',
    "infinity": b'"logprob":-Infinity,',
    "a float out of range": b'"logprob":1e999,',
    "an integer of 5,000 digits": b'"seed":' + b"7" * 5000 + b",",
    "an integer of 200 digits": b'"seed":-' + b"7" * 200 + b",",
    "half a surrogate pair": rb'"x":"\ud800",',
    "surrogates in the wrong order": rb'"x":"\udc00\ud800",',
    "bytes that are no UTF-8": b'"x":"\xff\xc3",',
    "a raw surrogate": b'"x":"\xed\xa0\x80",',
    "a raw control character in a name it will not read": rb'"\u0000":"\u001b[2J",',
    "a duplicate key": b'"model":"other",',
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_oddity_beside_the_answer_does_not_cost_the_answer(odd):
    body = json.dumps(REPLY, ensure_ascii=False).encode()
    assert judged(b"{" + odd + body[1:]) == READ


def test_a_byte_order_mark_and_blanks_around_a_reply_do_no_harm():
    body = json.dumps(REPLY).encode()
    assert read(b"\xef\xbb\xbf" + body) == READ
    assert read(b"\r\n \t" + body + b"\n\n") == READ


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (rb"a\ud800b", "a\ufffdb"),
        (rb"\udc00", "\ufffd"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\ud83d\ude00\ud83d", "😀\ufffd"),
        (rb"\\ud800", r"\ud800"),
        (b"\xff", "\ufffd"),
        (rb"\u0000", "\x00"),
    ],
)
def test_text_that_is_no_unicode_becomes_the_replacement_character(escaped, text):
    assert judged(b'{"choices":[{"message":{"content":"' + escaped + b'"}}]}').text == text


@laws
@given(st.binary(max_size=300), st.sampled_from([200, 201, 299, 100, 302, 400, 403, 429, 500, 999]))
def test_any_bytes_are_a_reply_or_a_failure(body, status):
    judged(body, status)


def spliced(body):
    """A valid body with bytes cut, doubled, flipped and put in."""
    inserted = st.sampled_from(
        [
            b"",
            b"\x00",
            b'"',
            b"{",
            b"}",
            b"[" * 5000,
            b'{"a":' * 5000,
            b"\\ud800",
            b"\xed\xa0\x80",
            b"\xff",
            b"NaN",
            b"1e999",
            b"9" * 5000,
            b"\xef\xbb\xbf",
            b"null",
            b"\r\n\r\n",
            b"data: [DONE]\n\n",
            b'"error":1,',
        ]
    ) | st.binary(max_size=6)
    where = st.integers(0, len(body))
    edits = st.lists(st.tuples(where, where, inserted), min_size=1, max_size=4)

    def edited(changes):
        data = body
        for start, end, new in changes:
            data = (
                data[: min(start, end)] + new + data[max(start, end) :] if end % 2 else data[:start] + new + data[end:]
            )
        return data

    return edits.map(edited)


@laws
@given(spliced(json.dumps(REPLY, ensure_ascii=False).encode()))
def test_a_damaged_reply_is_a_reply_or_a_failure(body):
    judged(body)
    judged(body, 400)


@laws
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "message",
                        "content",
                        "refusal",
                        "error",
                        "usage",
                        "prompt_tokens",
                        "id",
                        "model",
                        "finish_reason",
                        "delta",
                        "code",
                        "type",
                        "text",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    ),
    st.sampled_from([200, 302, 400, 402, 500]),
)
def test_any_json_is_a_reply_or_a_failure(value, status):
    body = json.dumps(value).encode()
    judged(body, status)
    judged(b"data: " + body + b"\n\ndata: [DONE]\n\n", status)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * (4 * MIB),
        b" " * (4 * MIB),
        b"data:" + b"\n" * (4 * MIB),
        b"data: {}\n\n" * (MIB // 4),
        b"\r" * (4 * MIB),
        b'{"choices":[{"message":{"content":"' + rb"\ud800" * MIB + b'"}}]}',
        b'{"error":{"message":"' + rb"\u001b]" * MIB + b'"}}',
        b'{"a":' + b"9" * (4 * MIB) + b"}",
    ],
    ids=["brackets", "blanks", "empty lines", "empty events", "returns", "surrogates", "escapes", "digits"],
)
def test_a_huge_body_made_to_hurt_is_done_with_in_seconds(body):
    began = time.process_time()
    judged(body)
    judged(body, 400)
    assert time.process_time() - began < 10


@pytest.mark.parametrize("sent", [True, False])
def test_a_lost_attempt_is_in_doubt_only_when_it_was_sent(sent):
    error = lost("connection", "gone", sent=sent)
    assert (error.kind, str(error), error.charge, error.then) == (
        "connection",
        "gone",
        "unknown" if sent else "free",
        "retry",
    )
    assert error.status is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "Bad \x1b[31mthing\x1b[0m\r\nhere"}}, "Bad thing here"),
        ({"error": {"message": "", "code": "bad_thing"}}, "bad_thing"),
        ({"error": {"message": None, "code": 7, "type": "bad_type"}}, "bad_type"),
        ({"error": "too long"}, "too long"),
        ({"message": "flat"}, "flat"),
        ({"detail": "elsewhere"}, '{"detail": "elsewhere"}'),
        (["x"], '["x"]'),
        (b"<h1>Bad\x07 Request</h1>", "<h1>Bad Request</h1>"),
        (b"", "(empty)"),
    ],
)
def test_a_refusal_is_told_in_the_endpoints_own_words(body, said):
    assert str(failure(body, 400)) == f"HTTP 400: {said}"


def test_a_redirect_says_where_it_would_go():
    assert str(failure(b"", 302, location="https://else\x1b[2Jwhere/")) == "HTTP 302: https://elsewhere/"


# -- server-sent events ---------------------------------------------------------------------------------------


def chunk(content=None, finish_reason=None, **more):
    said = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": said, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06", "choices": [choice], **more}


def stream(*chunks, done=True, end="\n"):
    said = [json.dumps(each, ensure_ascii=False) for each in chunks] + ["[DONE]"] * done
    return "".join(f"data: {each}{end}{end}" for each in said).encode()


USAGE = {"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
SAID = (chunk(""), chunk("Grüße"), chunk(" 😀"), chunk(finish_reason="stop"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_a_stream_reads_like_the_whole_reply(end):
    assert judged(stream(*SAID, USAGE, end=end)) == READ


def test_the_content_type_is_not_needed_to_know_a_stream():
    assert judge(completion(stream(*SAID, USAGE), content_type="application/json")) == READ
    assert judge(completion(REPLY, content_type="text/event-stream")) == READ


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", b"\n\n", b": ping\n\n", b"event: x\n", b"id: 1\n", b"retry: 9\r\n\r\n"]
)
def test_comments_and_other_fields_are_no_part_of_the_answer(before):
    body = before + stream(*SAID, USAGE).replace(b"\n\ndata:", b"\n\n: keep-alive\n\nevent: chunk\nid: 7\ndata:")
    assert judged(body) == READ


def test_an_event_is_the_lines_of_its_data():
    body = b'data: {"a":\ndata:1}\n\ndata\n\ndata:\n\ndatax: 2\n:data: 3\n\ndata:  two\r\rdata: last'
    assert list(events(body)) == ['{"a":\n1}', " two", "last"]
    assert list(events(b"")) == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_cut_stream_is_no_answer_before_its_end(end):
    body = stream(*SAID, USAGE, end=end)
    finished = body.index(b'"stop"') + len(b'"stop"}]}')
    for cut in range(len(body)):
        outcome = judged(body[:cut])
        if cut < finished:
            assert isinstance(outcome, ApiFailure), body[:cut]
            assert (outcome.charge, outcome.then) == ("unknown", "retry")
        else:
            assert (outcome.text, outcome.finish_reason) == ("Grüße 😀", "stop"), body[:cut]


def test_a_stream_without_a_finish_reason_ends_with_done():
    body = stream(chunk("a"), chunk("b"))
    ended = body.index(b"[DONE]") + len(b"[DONE]")
    for cut in range(len(body) + 1):
        outcome = judged(body[:cut])
        assert isinstance(outcome, Reply) == (cut >= ended), body[:cut]
    assert (outcome.text, outcome.finish_reason) == ("ab", None)


@pytest.mark.parametrize(
    "body",
    [
        stream(),
        stream(USAGE),
        stream(chunk("a"), done=False),
        stream(chunk("a"), {"error": {"message": "overloaded"}}),
        stream(chunk("a"), ["x"]),
        stream(chunk("a")).replace(b"[DONE]", b"DONE"),
        b"data: <html>\n\n" + stream(*SAID),
        stream(REPLY["choices"]),
    ],
    ids=["only DONE", "only usage", "no end", "an error", "a list", "another end", "HTML first", "choices alone"],
)
def test_a_broken_stream_is_no_answer(body):
    error = judged(body)
    assert (error.kind, error.charge, error.then) == ("malformed", "unknown", "retry")


@pytest.mark.parametrize("after", [{"error": {"message": "late"}}, ["x"]])
def test_what_follows_the_end_cannot_take_the_answer_back(after):
    assert judged(stream(*SAID, USAGE, after, done=False)) == READ
    assert judged(stream(*SAID, USAGE) + stream(after)) == READ


def test_a_stream_that_breaks_off_with_an_error_says_so():
    error = judged(stream(chunk("a"), {"error": {"message": "overloaded"}}))
    assert str(error) == 'the stream broke off with: {"error": {"message": "overloaded"}}'


def test_a_streamed_refusal_is_a_refusal():
    refused = [{"choices": [{"delta": {"refusal": part}}]} for part in ("I ", "can't.")]
    reply = judged(stream(*refused, chunk(finish_reason="stop")))
    assert (reply.text, reply.refusal) == (None, "I can't.")


def test_an_empty_stream_that_finished_is_an_empty_answer():
    reply = judged(stream(chunk(finish_reason="content_filter"), done=False))
    assert (reply.text, reply.refusal, reply.finish_reason) == ("", None, "content_filter")


@laws
@given(st.lists(st.text(), max_size=6), st.sampled_from(["\n", "\r\n", "\r"]))
@example(["\r\n\r\ndata: [DONE]\u2028\x85\x0b"], "\n")
def test_streamed_text_is_the_sum_of_its_parts(parts, end):
    assert judged(stream(*map(chunk, parts), chunk(finish_reason="stop"), end=end)).text == "".join(parts)


@laws
@given(spliced(stream(*SAID, USAGE)))
def test_a_damaged_stream_is_a_reply_or_a_failure(body):
    judged(body)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (chunk("Grüße"), "Grüße"),
        (chunk(finish_reason="stop"), ""),
        (USAGE, ""),
        ({}, ""),
        ({"choices": [{"delta": None}]}, ""),
        (chunk([{"text": "a"}, {"text": "b"}]), "ab"),
    ],
)
def test_an_event_adds_its_text(event, text):
    assert delta(json.dumps(event)) == text


@pytest.mark.parametrize("event", ["", "[DONE]", "[]", "7", '{"error":{"message":"x"}}', '{"choices":'])
def test_an_event_that_is_no_chunk_is_a_failure(event):
    with pytest.raises(ApiFailure, match=r"broke off|not JSON"):
        delta(event)


# -- headers and odds -----------------------------------------------------------------------------------------


def test_only_harmless_headers_are_kept():
    assert all(name == name.lower() for name in KEPT_HEADERS)
    assert {"retry-after", "date", "content-type"} <= KEPT_HEADERS
    assert not KEPT_HEADERS & {"set-cookie", "authorization", "www-authenticate"}


@pytest.mark.parametrize(
    ("body", "foreign"),
    [
        (b"<!DOCTYPE html><title>Welcome</title>", True),
        (b"It works!", True),
        (b"[1]", True),
        (b'{"status": "ok"}', True),
        (b'{"choices": []}', False),
        (b'{"choices": [{"mess', False),
        (b'{"error": {"message": "x"}}', False),
        (b"", False),
        (b'data: {"choices": []}\n\n', False),
    ],
)
def test_what_no_server_of_this_kind_says_is_foreign(body, foreign):
    assert failure(body).foreign is foreign


def test_a_web_page_is_named_by_its_title():
    page = b"<!doctype html><html><head><title>\n Error &amp; response\x1b[2J</title></head><body>x</body></html>"
    assert str(failure(page)) == "the reply is not JSON: a web page, “Error & response”"
    assert str(failure(page, 501)) == "HTTP 501: a web page, “Error & response”"
