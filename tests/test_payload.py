"""The JSON body of a request."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.payload import ITEM_TOKENS, encoder
from journeybatch.records import Message

laws = settings(deadline=None, max_examples=200)


def test_a_request_says_the_model_the_parameters_and_last_the_messages():
    body = encoder("gpt-4o", {"temperature": 0.2, "stop": ["\n"]}, False)([Message("user", 'Größe? "😀"\n\x00')])
    pairs = json.loads(body, object_pairs_hook=list)
    assert [name for name, _ in pairs] == ["model", "temperature", "stop", "messages"]
    assert json.loads(body) == {
        "model": "gpt-4o",
        "temperature": 0.2,
        "stop": ["\n"],
        "messages": [{"role": "user", "content": 'Größe? "😀"\n\x00'}],
    }


def test_a_stream_is_asked_for_only_when_the_job_says_so():
    messages = [Message("system", "s"), Message("user", "u")]
    plain, streamed = (json.loads(encoder("m", {}, stream)(messages)) for stream in (False, True))
    assert list(plain) == ["model", "messages"]
    assert list(streamed) == ["model", "stream", "messages"]
    assert streamed["stream"] is True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.text(max_size=8).filter(lambda name: name not in ("model", "messages", "stream"))


@laws
@given(
    st.text(),
    st.dictionaries(names, json_values, max_size=4),
    st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text()), max_size=4),
    st.booleans(),
)
def test_what_is_encoded_is_what_was_meant(model, parameters, messages, stream):
    said = json.loads(encoder(model, parameters, stream)(messages))
    expected = {"model": model, **parameters, **({"stream": True} if stream else {})}
    assert said == {**expected, "messages": [{"role": m.role, "content": m.content} for m in messages]}
    assert list(said)[-1] == "messages"


def test_max_tokens_is_per_row_and_multiplied_for_a_pack():
    body = encoder("m", {"max_tokens": 200, "temperature": 0}, False)
    assert [json.loads(body([], rows))["max_tokens"] for rows in (1, 2, 20)] == [200, 400, 4000]
    assert json.loads(body([], 20))["temperature"] == 0


def test_a_one_word_answer_in_a_pack_has_room_for_its_id():
    body = encoder("m", {"max_tokens": 5}, False)
    assert json.loads(body([], 1))["max_tokens"] == 5
    assert json.loads(body([], 20))["max_tokens"] == 20 * ITEM_TOKENS


def test_without_max_tokens_a_pack_has_none_either():
    assert "max_tokens" not in json.loads(encoder("m", {}, False)([], 20))
