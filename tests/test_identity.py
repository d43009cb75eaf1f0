"""The content key: what changes it, what does not, and that it is the same everywhere and for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.identity import KEY_BYTES, keys_for
from journeybatch.records import Message

ASKED = (Message("system", "Be brief."), Message("user", "Größe? 😀\n"))
PARAMETERS = {"temperature": 0.2, "max_tokens": 200, "stop": ["\n", "é"], "extra": {"b": None, "a": True}}
GOLDEN = "2f8cac7cd04a08ca906c0e04f4ec54d9"

texts = st.text(max_size=12)
roles = st.sampled_from(["system", "user", "assistant"])
asked = st.lists(st.builds(Message, roles, texts), max_size=4).map(tuple)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
laws = settings(deadline=None, max_examples=150)


def key(messages=ASKED, label=0, *, provider="journeyapi.co:443", model="gpt-4o", parameters=PARAMETERS):
    return keys_for(provider, model, parameters)(messages, label)


def shuffled(value):
    """The same JSON value with the members of every object in reverse."""
    if isinstance(value, dict):
        return {name: shuffled(item) for name, item in reversed(value.items())}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def floated(value):
    """The same JSON value with every number that allows it written as a float."""
    if isinstance(value, dict):
        return {name: floated(item) for name, item in value.items()}
    if isinstance(value, list):
        return [floated(item) for item in value]
    return float(value) if type(value) is int and abs(value) < 2**53 else value


def test_the_key_of_a_known_request_never_changes():
    assert key().hex() == GOLDEN
    assert len(key()) == KEY_BYTES == 16


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_the_key_is_the_same_under_another_hash_seed_and_locale(seed):
    program = (
        "import json, sys; from journeybatch.identity import keys_for; from journeybatch.records import Message;"
        "provider, model, parameters, messages = json.loads(sys.argv[1]);"
        "print(keys_for(provider, model, parameters)([Message(*m) for m in messages], 0).hex())"
    )
    messages = [(message.role, message.content) for message in ASKED]
    argument = json.dumps(["journeyapi.co:443", "gpt-4o", PARAMETERS, messages])
    environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program, argument], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == GOLDEN


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "emulator"},
        {"provider": "journeyapi.co:80"},
        {"model": "gpt-4o-mini"},
        {"parameters": {**PARAMETERS, "temperature": 0.3}},
        {"parameters": {**PARAMETERS, "stop": ["é", "\n"]}},
        {"parameters": {**PARAMETERS, "extra": {"a": 1, "b": None}}},
        {"parameters": {name: value for name, value in PARAMETERS.items() if name != "extra"}},
        {"parameters": {}},
        {"label": 1},
        {"messages": ASKED[::-1]},
        {"messages": ASKED[:1]},
        {"messages": (*ASKED, Message("user", ""))},
        {"messages": (ASKED[0], Message("assistant", ASKED[1].content))},
        {"messages": (ASKED[0], Message("user", ASKED[1].content + " "))},
    ],
)
def test_what_can_change_an_answer_changes_the_key(change):
    assert key(**change) != key()


def test_the_ordinary_label_is_zero_and_every_label_has_its_own_key():
    ask = keys_for("emulator", "m", {})
    assert ask(ASKED) == ask(ASKED, 0)
    assert len({ask(ASKED, label) for label in (*range(300), 2**32, 2**64 - 1)}) == 302


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c", {}), ("a", "bc", {})),
        (("", "ab", {}), ("ab", "", {})),
        (("1:a", "b", {}), ("1", ":ab", {})),
        (("a", "m{}", {}), ("a", "m", {})),
        (("a", "m", {"x": "1,y:2"}), ("a", "m", {"x": "1", "y": "2"})),
        (("a", "m", {"x": "1"}), ("a", "m", {"x": 1})),
        (("a", "m", {"x": True}), ("a", "m", {"x": 1})),
        (("a", "m", {"x": None}), ("a", "m", {})),
    ],
)
def test_no_two_requests_meet_by_running_together(one, other):
    assert keys_for(*one)(ASKED, 0) != keys_for(*other)(ASKED, 0)


def test_a_message_that_spells_the_border_of_two_is_not_two():
    ask = keys_for("p", "m", {})
    two = (Message("user", "a"), Message("user", "b"))
    assert ask((Message("user", "a4:user1:b"),)) != ask(two)
    assert ask((Message("user", "ab"),)) != ask(two) != ask((Message("user", "a"), Message("user", "b"), *two))


@laws
@given(st.tuples(texts, texts, asked), st.tuples(texts, texts, asked))
def test_keys_are_equal_exactly_when_what_is_asked_is(one, other):
    ours, theirs = (keys_for(provider, model, {})(messages) for provider, model, messages in (one, other))
    assert (ours == theirs) == (one == other)


@laws
@given(asked, asked, st.integers(0, 2), st.integers(0, 2))
def test_a_label_never_passes_for_a_message(one, other, label, another):
    ask = keys_for("p", "m", {})
    assert (ask(one, label) == ask(other, another)) == ((one, label) == (other, another))


@laws
@given(st.dictionaries(texts, json_values, max_size=4))
def test_neither_the_order_of_parameters_nor_one_as_a_float_changes_the_key(parameters):
    expected = key(parameters=parameters)
    assert key(parameters=shuffled(parameters)) == expected
    assert key(parameters=floated(parameters)) == expected


def test_numbers_are_known_by_their_value_and_tuples_by_their_members():
    assert key(parameters={"t": 1}) == key(parameters={"t": 1.0})
    assert key(parameters={"t": 0}) == key(parameters={"t": -0.0})
    assert key(parameters={"t": [1, [2.0]]}) == key(parameters={"t": (1.0, (2,))})
    assert key(parameters={"t": 1.5}) != key(parameters={"t": 1})


def test_even_half_a_surrogate_pair_has_a_key():
    assert key((Message("user", "\ud800"),)) != key((Message("user", "\udc00"),)) != key((Message("user", "?"),))


def test_one_function_serves_all_rows_in_any_order():
    ask = keys_for("p", "m", PARAMETERS)
    rows = [(Message("user", str(row)),) for row in range(50)]
    forth = [ask(row) for row in rows]
    assert [ask(row) for row in reversed(rows)] == forth[::-1]
    assert len(set(forth)) == 50
