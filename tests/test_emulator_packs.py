import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import items
from journeybatch.answers import fields_contract
from journeybatch.emulator import AnswerKey, Emulator
from journeybatch.emulator.packs import read_pack
from journeybatch.emulator.shapes import Call
from journeybatch.records import Message

CONTRACT = fields_contract(
    {"sentiment": ["positive", "negative"], "score": "number", "tags": "strings", "sure": {"type": "boolean"}}
)
RULES = '{"answers": [{"id": "ID", "answer": "…"}, …]}\n'
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    [
        "Is it good or bad, or ugly?",
        "[1, 2]",
        '{"answers": []}',
        "How many are 3 and 4?",
        "\n[\n",
        "Pick yes/no: \\u0041",
    ]
)


def ask(messages, *, emulator=None, **parameters):
    """What the emulator says to messages."""
    said = [{"role": message.role, "content": message.content} for message in messages]
    body = json.dumps({"model": "gpt-4o", "messages": said} | parameters).encode()
    reply = (emulator or Emulator()).answer(Call("POST", "/api/v1/chat/completions", {"authorization": "k"}, body), 0)
    return json.loads(reply.body)["choices"][0]


def spoken(messages, **parameters):
    return ask(messages, **parameters)["message"]["content"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(TEXTS, min_size=2, max_size=6),
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXTS), max_size=2),
    st.booleans(),
)
def test_an_item_of_a_pack_is_answered_as_it_is_alone(tasks, head, structured):
    head = tuple(Message(role, text) for role, text in head)
    told = CONTRACT.instructions if structured else ""
    tokens = [f"t{number:05}" for number in range(len(tasks))]
    reply = spoken(items.compose(head, list(zip(tokens, tasks, strict=True)), told))
    alone = [spoken(items.alone((*head, Message("user", task)), told)) for task in tasks]
    together = items.answers(reply, tokens)
    assert [json.loads(answer) if structured else answer for answer in alone] == together


def test_what_is_allowed_to_a_reply_does_not_change_what_it_says():
    tasks = [("a", "Name a river."), ("b", "Name a lake.")]
    whole = spoken(items.compose((), tasks, ""))
    assert spoken(items.compose((), tasks, ""), max_tokens=500) == whole
    cut = ask(items.compose((), tasks, ""), max_tokens=20)
    assert cut["finish_reason"] == "length"
    assert whole.startswith(cut["message"]["content"])


def test_parameters_change_what_is_said_in_packs_as_they_do_alone():
    tasks = [(f"t{number}", f"Describe thing {number}.") for number in range(9)]
    warm = items.answers(spoken(items.compose((), tasks, ""), temperature=1), [name for name, _ in tasks])
    assert warm == [spoken([Message("user", text)], temperature=1) for _, text in tasks]
    assert warm != [spoken([Message("user", text)]) for _, text in tasks]


def test_a_json_object_is_a_text_where_texts_are_asked_for():
    key = AnswerKey([{"question": "Which?", "answer": '{"id": "x", "answer": "y"}'}])
    emulator = Emulator(answers=key)
    reply = spoken(items.compose((), [("a", "Which?"), ("b", "What?")], ""), emulator=emulator)
    assert items.answers(reply, ["a"]) == ['{"id": "x", "answer": "y"}']


@pytest.mark.parametrize(
    "message",
    [
        "",
        '[{"id": "a", "task": "x"}]',
        RULES,
        f"{RULES}[]",
        f"{RULES}[1, 2]",
        f'{RULES}[{{"id": "a"}}]',
        f'{RULES}[{{"id": "a", "task": "x", "more": 1}}]',
        f'{RULES}[{{"id": "a", "task": "x"}}',
        f'{RULES}[{{"id": "a", "task": "x"}}] and so on',
        RULES + "[" * 100_000 + "]",
    ],
)
def test_a_message_that_only_looks_like_a_pack_is_none(message):
    assert read_pack(message) is None
    assert spoken([Message("user", message)])


@settings(deadline=None, max_examples=60)
@given(st.text(string.printable, max_size=100))
def test_any_message_can_be_looked_at(text):
    assert read_pack(f"{RULES}\n[{text}]") is None or text.lstrip().startswith("{")
