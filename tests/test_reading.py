"""Reading: any reply becomes one verdict for each prompt, for nothing, as often as one likes."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.answers import fields_contract, schema_contract, text_contract
from journeybatch.entries import Received
from journeybatch.escalation import rules_of
from journeybatch.items import token
from journeybatch.reading import PLAIN, Reader, codes_of
from journeybatch.records import Reply
from journeybatch.verdict import ANSWERED, DECLINED, INVALID, MISSED, REFUSED, UNFIT, UNREAD, WEAK

JOURNAL = b"journal1"
KEYS = [bytes([n]) * 16 for n in range(3)]
TOKENS = [token(JOURNAL, 1, key) for key in KEYS]
FIELDS = fields_contract({"mood": ["good", "bad"], "score": "number?", "tags": "strings?"})
SCHEMA = schema_contract({"type": "object", "properties": {"a": {"type": "object"}, "n": {"type": "integer"}}})
READERS = [PLAIN, Reader(FIELDS), Reader(SCHEMA), Reader(FIELDS, rules_of(["length", {"disagree": 3}]))]
NO = "I'm sorry, but I can't help with that."


def reply(text: str | None, finish: str = "stop", refusal: str | None = None) -> Reply:
    return Reply(text, refusal, finish, "id", "model", 1, 1)


def packed(*items: object) -> str:
    return json.dumps({"answers": [{"id": name, "answer": item} for name, item in zip(TOKENS, items, strict=True)]})


def codes(reader: Reader, said: Reply, keys: list[bytes] = KEYS) -> list[int]:
    return [verdict.code for verdict in reader.read(said, JOURNAL, 1, keys)]


# -- total ---------------------------------------------------------------------------------------------------------

ODD = st.sampled_from(
    ["1" + "0" * 30, '"\\ud800"', "1e999", '{"mood": "\\udc00"}', "[" * 900 + "]" * 900, "-0", "1e-400", '""', "{}"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["mood", "score", "a", "n"]), inner),
    max_leaves=6,
).map(json.dumps)


@settings(max_examples=300)
@given(st.sampled_from(READERS), st.lists(ODD | JSON | st.text(max_size=20), min_size=3, max_size=3))
def test_any_items_become_verdicts_that_a_table_can_hold(reader, items):
    text = ", ".join(f'{{"id": "{name}", "answer": {item}}}' for name, item in zip(TOKENS, items, strict=True))
    verdicts = reader.read(reply(f'{{"answers": [{text}]}}'), JOURNAL, 1, KEYS)
    assert len(verdicts) == 3
    for verdict in verdicts:
        assert verdict.code in (ANSWERED, WEAK, DECLINED, MISSED, UNFIT)
        assert (verdict.code in (MISSED, UNFIT)) == bool(verdict.message) == (not verdict.values)
        for name, dtype in reader.contract.columns().items():
            pl.Series(name, [verdict.values.get(name)], dtype=dtype)
        pl.Series([verdict.text, verdict.message]).to_frame().write_ipc(None)


@settings(max_examples=200)
@given(st.sampled_from(READERS), st.binary(max_size=200), st.integers(1, 3))
def test_any_bytes_become_verdicts(reader, body, prompts):
    keys = b"".join(KEYS[:prompts])
    verdicts = reader.verdicts(Received(1, 1, keys, 200, {}, body, 0.1, 1.0), JOURNAL)
    assert [verdict.code for verdict in verdicts] == [UNREAD] * prompts, "no bytes here are a completion by chance"
    text = body.decode("latin-1")
    whole = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()
    assert len(reader.verdicts(Received(1, 1, keys, 200, {}, whole, 0.1, 1.0), JOURNAL)) == prompts


# -- one prompt ----------------------------------------------------------------------------------------------------


def test_alone_any_text_is_an_answer_and_one_that_declines_is_told_apart():
    assert codes(PLAIN, reply("fine"), KEYS[:1]) == [ANSWERED]
    assert codes(PLAIN, reply(""), KEYS[:1]) == [ANSWERED]
    assert codes(PLAIN, reply(NO), KEYS[:1]) == [DECLINED]
    assert codes(PLAIN, reply(None, refusal="no"), KEYS[:1]) == [REFUSED]


def test_alone_what_cannot_be_read_is_invalid_or_a_refusal():
    reader = Reader(FIELDS)
    assert codes(reader, reply('{"mood": "good"}'), KEYS[:1]) == [ANSWERED]
    assert codes(reader, reply('{"mood": "so-so"}'), KEYS[:1]) == [INVALID]
    assert codes(reader, reply(NO), KEYS[:1]) == [REFUSED]
    verdict = reader.read(reply('{"mood": "so-so"}'), JOURNAL, 1, KEYS[:1])[0]
    assert "mood" in verdict.message
    assert verdict.text == '{"mood": "so-so"}'


# -- a pack --------------------------------------------------------------------------------------------------------


def test_in_a_pack_each_prompt_has_its_own_verdict_and_text():
    verdicts = Reader(FIELDS).read(reply(packed({"mood": "good"}, {"mood": "so-so"}, NO)), JOURNAL, 1, KEYS)
    assert [verdict.code for verdict in verdicts] == [ANSWERED, UNFIT, UNFIT], "asked alone before it is its fault"
    assert verdicts[0].values == {"mood": "good", "score": None, "tags": None}
    assert verdicts[0].text == '{"mood":"good"}'


def test_an_object_is_text_where_text_is_asked_for():
    verdicts = PLAIN.read(reply(packed({"a": 1}, 5, "s")), JOURNAL, 1, KEYS)
    assert [verdict.values["response"] for verdict in verdicts] == ['{"a":1}', "5", "s"]


def test_tokens_of_another_journal_request_or_order_assign_nothing():
    said = reply(packed("a", "b", "c"))
    assert [v.code for v in PLAIN.read(said, b"journal2", 1, KEYS)] == [MISSED] * 3
    assert [v.code for v in PLAIN.read(said, JOURNAL, 2, KEYS)] == [MISSED] * 3
    assert [v.values["response"] for v in PLAIN.read(said, JOURNAL, 1, KEYS[::-1])] == ["c", "b", "a"]


def test_a_pack_that_is_refused_as_a_whole_is_missed():
    assert codes(PLAIN, reply(None, refusal="no")) == [MISSED] * 3


def test_items_that_are_whole_were_not_cut_off_though_their_reply_was():
    reader = Reader(text_contract("r"), rules_of(["length"]))
    text = packed("a", "b", "c")
    cut = text[: text.index(TOKENS[2])]
    assert codes(reader, reply(cut, "length")) == [ANSWERED, ANSWERED, MISSED]
    assert codes(reader, reply("half an ans", "length"), KEYS[:1]) == [WEAK]


# -- rules ---------------------------------------------------------------------------------------------------------


def test_answers_are_compared_where_a_rule_compares_only():
    contract, rules = text_contract("r"), rules_of([{"disagree": 2}])
    one, same, other = Reader(contract, rules).read(reply(packed("Yes.", " yes ", "no")), JOURNAL, 1, KEYS)
    assert one.sense == same.sense != other.sense != 0
    assert codes_of([one, same, other])[1][:8] == one.sense.to_bytes(8, "big")
    assert codes_of(Reader(contract).read(reply(packed("a", "b", "c")), JOURNAL, 1, KEYS)) == (bytes([1, 1, 1]), b"")


def test_the_way_of_reading_is_named_by_what_decides_it():
    assert PLAIN.identity == Reader(text_contract("other name")).identity == b""
    named = {
        Reader(FIELDS).identity,
        Reader(SCHEMA).identity,
        Reader(FIELDS, rules_of(["length"])).identity,
        Reader(text_contract("r"), rules_of([{"disagree": 3}])).identity,
    }
    assert len(named) == 4
    described = fields_contract({"mood": {"choices": ["bad", "good"], "description": "x"}, "score": "number?"})
    reordered = fields_contract({"score": "number?", "mood": ["good", "bad"]})
    assert Reader(described).identity == Reader(reordered).identity


@pytest.mark.parametrize(("below", "code"), [(0.9, WEAK), (0.8, ANSWERED), (0.1, ANSWERED)])
def test_a_field_below_its_bound_or_missing_is_weak(below, code):
    reader = Reader(FIELDS, rules_of([{"field": "score", "below": below}]))
    assert codes(reader, reply('{"mood": "good", "score": 0.8}'), KEYS[:1]) == [code]
    assert codes(reader, reply('{"mood": "good"}'), KEYS[:1]) == [WEAK]
