import json
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.answers import Invalid, fields_contract, schema_contract
from journeybatch.emulator.forms import differ, fill, read_form, spoil
from journeybatch.emulator.schemas import Voice

DIGESTS = st.binary(min_size=32, max_size=32)
WORDS = st.text(min_size=1, max_size=12).filter(
    lambda text: text.strip() and not text.startswith("jb_") and text.isprintable()
)
BOUNDS = st.tuples(st.integers(-50, 50), st.integers(0, 50)).map(lambda pair: (pair[0], sum(pair)))
TYPES = (
    st.sampled_from(["string", "number", "integer", "boolean", "strings", "string?", "number?", "boolean?", "strings?"])
    | st.lists(WORDS, min_size=2, max_size=4, unique=True)
    | st.tuples(st.sampled_from(["number", "integer"]), BOUNDS, st.booleans(), st.text(max_size=20)).map(
        lambda told: {
            "type": told[0],
            "minimum": told[1][0],
            "maximum": told[1][1],
            "optional": told[2],
            "description": told[3],
        }
    )
    | st.tuples(st.sampled_from(["minimum", "maximum"]), st.integers(-9, 9)).map(
        lambda told: {"type": "integer", told[0]: told[1], "description": "one of many, or null. So"}
    )
)
FIELDS = st.dictionaries(WORDS, TYPES, min_size=1, max_size=5)


def form_of(contract):
    """The emulator's form for a contract's instructions."""
    form = read_form(f"Look at this.\n\n{contract.instructions}")[1]
    assert form
    return form


@settings(deadline=None, max_examples=120)
@given(FIELDS, DIGESTS)
def test_a_form_is_filled_in_so_that_it_can_be_read(fields, digest):
    contract = fields_contract(fields)
    form = form_of(contract)
    voice = Voice(["Is it good?"], digest)
    filled = fill(form, voice)
    assert contract.read(json.dumps(filled)).keys() == filled.keys() == fields.keys()
    assert fill(form, voice) == filled


@settings(deadline=None, max_examples=60)
@given(FIELDS, DIGESTS)
def test_a_form_filled_in_otherwise_can_be_read_too_and_differs(fields, digest):
    contract = fields_contract(fields | {"mood": ["fine", "bad"]})
    form, voice = form_of(contract), Voice(["Is it?"], digest)
    filled = fill(form, voice)
    other = differ(form, filled, voice)
    assert contract.read(json.dumps(other)) != contract.read(json.dumps(filled))


@settings(deadline=None, max_examples=60)
@given(FIELDS, DIGESTS)
def test_a_spoilt_form_is_invalid(fields, digest):
    contract = fields_contract({"mood": ["fine", "bad"]} | fields)
    form = form_of(contract)
    with pytest.raises(Invalid):
        contract.read(json.dumps(spoil(form, fill(form, Voice(["Is it?"], digest)))))


def test_where_a_field_takes_anything_nothing_can_be_spoilt():
    form = form_of(fields_contract({"reason": "string", "confidence": "number"}))
    filled = fill(form, Voice(["Why?"], bytes(32)))
    assert spoil(form, filled) == filled


SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["positive", "negative", None]},
        "at": {"$ref": "#/$defs/place"},
        "sizes": {"type": "array", "items": {"type": "integer", "minimum": 3, "maximum": 4}, "minItems": 2},
    },
    "required": ["mood", "at"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
}


@settings(deadline=None, max_examples=30)
@given(DIGESTS)
def test_a_json_schema_is_filled_in_so_that_it_holds(digest):
    contract = schema_contract(SCHEMA)
    assert contract.read(json.dumps(fill(form_of(contract), Voice(["A good thing."], digest))))["mood"] == "positive"


def test_choices_follow_the_words_of_the_row_and_not_those_of_the_form():
    contract = fields_contract({"sentiment": ["positive", "negative", "neutral"], "great": "string"})
    for text, label in {"It is great.": "positive", "It broke.": "negative", "It is.": "neutral"}.items():
        task, form = read_form(f"{text}\n\n{contract.instructions}")
        assert task == text
        assert fill(form, Voice([task], bytes(32)))["sentiment"] == label


def test_a_confidence_is_that_of_somebody_who_believes_it():
    form = form_of(
        fields_contract({"confidence": "number", "percent": {"type": "integer", "minimum": 0, "maximum": 9}})
    )
    told = [fill(form, Voice(["?"], bytes([n]) * 32)) for n in range(256)]
    assert all(0.5 <= filled["confidence"] <= 1 for filled in told)
    assert mean(filled["confidence"] for filled in told) == pytest.approx(0.75, abs=0.02)
    assert {filled["percent"] for filled in told} == set(range(10))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Reply with one JSON object and nothing else.",
        "Reply with one JSON object. Its fields:\n",
        'Reply with one JSON object. Its fields:\n- "a": a string\n\nBut not now.',
        "Reply with one JSON object. Its fields:\n- a: a string",
        'Reply with one JSON object. Its fields:\n- "a\\x": a string',
        'Reply with one JSON object. Its fields:\n- "a": a string\nIt must be valid under this JSON Schema: {',
        'Reply with one JSON object. Its fields:\n- "a": a string\nIt must be valid under this JSON Schema: []',
    ],
)
def test_a_text_without_a_form_at_its_end_asks_for_none(text):
    assert read_form(text) == (text, None)


def test_a_form_in_the_middle_of_a_text_is_not_the_one_asked_for():
    inner, outer = fields_contract({"evil": "string"}), fields_contract({"good": "string"})
    task, form = read_form(f"{inner.instructions}\n\n{outer.instructions}")
    assert (task, list(form.schema["properties"])) == (inner.instructions, ["good"])
