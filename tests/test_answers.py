"""A reply's text as typed columns: what is read, what is not, and what fields and schemas may say."""

from __future__ import annotations

import json
import string
import time
import urllib.request

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from journeybatch.answers import Contract, Invalid, fields_contract, schema_contract, text_contract

LABEL = fields_contract({"label": ["yes", "no"], "score": "number?"})
NAMES = st.text(min_size=1, max_size=6).filter(
    lambda name: name.strip() and not name.startswith("jb_") and not any("\ud800" <= c <= "\udfff" for c in name)
)
TEXTS = st.text(alphabet="ab:,{}[]\"'\\/*# \n“”`") | st.text(alphabet=st.characters(exclude_categories=["Cs"]))
CHOICES = st.lists(st.sampled_from(["a", "A", "b c", "ä", "none", "1", "“x”", "{}"]), min_size=2, unique=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
WORDS = {
    "string": TEXTS,
    "number": FINITE,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "strings": st.lists(TEXTS, max_size=3),
}


@st.composite
def answered(draw):
    """Fields, and values that fit them."""
    fields, values = {}, {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        optional = draw(st.booleans())
        if draw(st.booleans()):
            choices = draw(CHOICES)
            fields[name], value = {"choices": choices, "optional": optional}, st.sampled_from(choices)
        else:
            word = draw(st.sampled_from(sorted(WORDS)))
            fields[name], value = word + "?" * optional, WORDS[word]
        values[name] = draw(st.none() | value if optional else value)
    return fields_contract(fields), values


def reads(contract: Contract, text: str) -> bool:
    try:
        values = contract.read(text)
    except Invalid as error:
        assert 0 < len(str(error)) <= 300
        return False
    assert list(values) == list(contract.columns())
    pl.DataFrame([values], schema=contract.columns())
    return True


# What is read


@given(answered())
def test_values_written_as_json_are_read_as_they_were(case):
    contract, values = case
    assert contract.read(json.dumps(values)) == values
    assert contract.check(values) == contract.check(json.dumps(values)) == values
    assert pl.DataFrame([values], schema=contract.columns()).to_dicts() == [values]


@given(answered(), st.sampled_from(["json", "", "JSON5"]), st.booleans())
def test_values_in_prose_in_a_fence_or_with_a_comma_too_many_are_read_the_same(case, language, ascii_only):
    contract, values = case
    written = json.dumps(values, ensure_ascii=ascii_only)
    assert contract.read(f"Sure! Here's it: {written} I hope this “helps”.") == values
    assert contract.read(f"Sure:\n```{language}\n{written}\n```\nDone }}") == values
    assert contract.read(f"{written[:-1]},\n}}") == values
    assert contract.read(f"<think>maybe {{ or so</think>\n{written}") == values


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(answered(), st.data())
def test_no_strict_prefix_of_a_reply_is_an_answer(case, data):
    contract, values = case
    written = json.dumps(values, ensure_ascii=data.draw(st.booleans()))
    assert not reads(contract, written[: data.draw(st.integers(0, len(written) - 1))])


PIECES = st.sampled_from(
    [
        '{"label":',
        '"yes"',
        '"no"',
        "}",
        "{",
        '"score"',
        ":",
        ",",
        "1",
        "[",
        "]",
        "```",
        '"',
        "'",
        "\\",
        "NaN",
        "“",
        "<think>",
    ]
)


@given(
    st.text() | st.lists(PIECES, max_size=14).map("".join) | st.text(alphabet=st.characters(categories=["Cs", "Lu"]))
)
def test_any_text_is_read_or_invalid_and_nothing_else(text):
    reads(LABEL, text)
    reads(SCHEMA, text)
    assert reads(text_contract("response"), text)


@pytest.mark.parametrize(
    "text", ["{" * 1_000_000, '{"label":' * 100_000, "[" * 1_000_000, '{"score":' + "9" * 1_000_000 + "}"]
)
def test_a_megabyte_that_is_no_answer_is_invalid_within_a_second(text):
    started = time.process_time()
    assert not reads(LABEL, text)
    assert time.process_time() - started < 1


def test_values_nearly_of_their_type_are_read():
    contract = fields_contract({"c": ["Yes", "No"], "n": "number", "i": "integer", "b": "boolean"})
    written = '{"c": " yes ", "n": "0.8", "i": 3.0, "b": "True", "more": [1]}'
    assert contract.read(written) == {"c": "Yes", "n": 0.8, "i": 3, "b": True}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (["yes", "no"], '"maybe"'),
        (["1", "2"], "1"),
        ("string", "5"),
        ("number", '"1,234"'),
        ("number", "true"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "1.01"),
        ({"type": "integer", "minimum": 1}, "0"),
        ("integer", "3.5"),
        ("integer", str(2**63)),
        ("boolean", '"yes"'),
        ("strings", '"a"'),
        ("strings", '["a", null]'),
        ("strings", "[1]"),
        ("string", "null"),
    ],
)
def test_a_value_that_does_not_fit_is_invalid_and_its_field_is_named(field, value):
    with pytest.raises(Invalid, match=r"field 'this one': expected .+, found .+"):
        fields_contract({"this one": field}).read(f'{{"this one": {value}}}')


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": 1}, "an object"),
        ([1], "a list"),
        (10**40, repr(10**40)),
        (10**41, "a huge number"),
        (-(10**41), "a huge number"),
        ("x" * 60, repr("x" * 60)),
        ("x" * 61, repr("x" * 59 + "…")),
        (True, "True"),
    ],
)
def test_what_was_found_instead_is_told_in_few_words(value, shown):
    with pytest.raises(Invalid) as told:
        fields_contract({"n": {"type": "number", "minimum": 5, "maximum": 6}}).check({"n": value})
    assert str(told.value).endswith(f", found {shown}")


def test_a_reason_is_no_longer_than_300_characters():
    assert str(Invalid("x" * 300)) == "x" * 300
    assert str(Invalid("x" * 301)) == "x" * 299 + "…"


def test_a_field_that_is_missing_is_named():
    with pytest.raises(Invalid, match='field \'label\': expected one of "yes", "no", found no such field'):
        LABEL.read('{"score": 1}')


def test_what_is_optional_may_be_null_or_absent():
    assert LABEL.read('{"label": "yes"}') == LABEL.read('{"label": "yes", "score": null}')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('Perhaps {"label": "yes"}. No: {"label": "no"}', "several"),
        ('```\n{"label": "yes"}\n```\n```\n{"label": "no"}\n```', "several"),
        ('[{"label": "yes"}, {"label": "no"}]', "several"),
        ('{"label": "yes", "label": "no"}', "twice"),
        ('{"label": "yes", "score": NaN}', "NaN"),
        ('{"label": "yes"} Or rather {"label": "n', "cut off"),
        ("{'label': 'yes', 'score': 1", "cut off"),
        ("<think>{}</think>", "none"),
        ("yes", "expected one JSON object with the fields 'label', 'score', found none"),
        ("", "none"),
        ('"yes"', "none"),
        ('{"answer": {"label": "yes"}}', "label"),
        ('Well: {"label": "maybe"}', "field 'label': expected .* found 'maybe'"),
    ],
)
def test_what_is_not_one_whole_answer_is_invalid(text, why):
    with pytest.raises(Invalid, match=why):
        LABEL.read(text)


@pytest.mark.parametrize(
    "text",
    [
        'Draft {"label": "yes"} and final {"score": null, "label": "YES"}',
        '[{"label": "yes"}]',
        'Perhaps {"label": "no"}. No!\n```json\n{"label": "yes"}\n```',
        'With {name}, {https://x.y} and {"label": "maybe"} seen: {"label": "yes"}',
        "{'label': 'yes', 'score': None}",
        '<think>\n{"label": "no"}</think> {label: “yes”}',
        '\ufeff{"label": "yes"}',
    ],
)
def test_one_answer_said_more_than_once_or_among_other_things_is_read(text):
    assert LABEL.read(text) == {"label": "yes", "score": None}


def test_an_object_without_any_field_is_no_answer_in_prose():
    contract = fields_contract({"a": "string?"})
    assert contract.read('{"b": 1} and {"a": "x"}') == {"a": "x"}
    assert contract.read("{}") == {"a": None}


def test_text_is_read_as_it_is_but_for_what_utf8_cannot_hold():
    contract = text_contract("response")
    assert contract.read(' {"a": 1}\n') == {"response": ' {"a": 1}\n'}
    assert contract.read("a\ud800") == {"response": "a\ufffd"}


def test_a_decoded_value_becomes_text():
    contract = text_contract("r")
    values = ["a", 1, 0.5, True, {"a": [1, "ä"]}, []]
    assert [contract.check(value)["r"] for value in values] == ["a", "1", "0.5", "true", '{"a":[1,"ä"]}', "[]"]
    for value in (None, float("nan")):
        with pytest.raises(Invalid):
            contract.check(value)


def test_a_decoded_value_that_is_no_object_is_invalid_for_fields():
    for value in (None, 1, ["yes"], "yes", {"label": "maybe"}):
        with pytest.raises(Invalid):
            LABEL.check(value)


# What may be asked for


def test_columns_have_the_types_of_their_fields():
    contract = fields_contract(
        {"c": ["a", "b"], "s": "string", "n": "number?", "i": "integer", "b": "boolean", "l": "strings"}
    )
    kinds = [pl.String(), pl.String(), pl.Float64(), pl.Int64(), pl.Boolean(), pl.List(pl.String())]
    assert contract.columns() == dict(zip("csnibl", kinds, strict=True))
    assert text_contract("response").columns() == {"response": pl.String()}


def test_the_instructions_list_every_field():
    contract = fields_contract(
        {
            "label": ["yes", "no"],
            "sure": {"type": "number?", "minimum": 0, "maximum": 1, "description": "1 is\ncertain"},
        }
    )
    assert contract.instructions.splitlines() == [
        "Reply with one JSON object and nothing else: no prose, no code fence. Its fields:",
        '- "label": one of "yes", "no"',
        '- "sure": a number from 0 to 1, or null. 1 is certain',
    ]
    assert text_contract("a").instructions == ""


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "at least one field"),
        ({"": "string"}, "not empty"),
        ({"jb_x": "string"}, "'jb_x'"),
        ({"a": "nubmer"}, "field 'a': unknown type 'nubmer' .did you mean 'number'"),
        ({"a": "float"}, "did you mean 'number'"),
        ({"a": "xyz"}, "known: string, number"),
        ({"a": {"type": "number", "minimun": 0}}, "unknown key 'minimun' .did you mean 'minimum'"),
        ({"a": {"description": "x"}}, "found neither"),
        ({"a": {"type": "number", "minimum": 2, "maximum": 1}}, "above"),
        ({"a": {"type": "number", "minimum": True}}, "minimum is a number"),
        ({"a": {"type": "string", "minimum": 1}}, "goes with number"),
        ({"a": {"type": "strings", "choices": ["a", "b"]}}, "leave out type"),
        ({"a": {"type": "string", "optional": "no"}}, "optional is true or false"),
        ({"a": {"type": ["string"]}}, "unknown type"),
        ({"a": ["x"]}, "at least two"),
        ({"a": ["x", "x"]}, "all different"),
        ({"a": [True, False]}, "put it in quotes"),
        ({"a": 5}, "found 5"),
    ],
)
def test_a_wrong_field_is_refused_in_a_sentence(fields, why):
    with pytest.raises(ValueError, match=why):
        fields_contract(fields)


def test_identity_is_what_decides_the_reading():
    same = fields_contract({"score": {"type": "number", "optional": True, "description": "x"}, "label": ["no", "yes"]})
    assert same.identity == LABEL.identity
    others = [
        {"label": ["yes", "no"]},
        {"label": ["yes", "No"], "score": "number?"},
        {"label": "string", "score": "number?"},
    ]
    found = {LABEL.identity, *(fields_contract(fields).identity for fields in others), SCHEMA.identity}
    assert len(found) == 5
    assert text_contract("a").identity == text_contract("b").identity == "text"


def test_sense_is_the_same_for_answers_that_say_the_same():
    text = text_contract("r")
    assert text.sense({"r": " Yes,\n it IS. "}) == text.sense({"r": "yes, it is!"}) != text.sense({"r": "yes it is"})
    assert text.sense({"r": "..."}) != text.sense({"r": ""})
    assert LABEL.sense({"label": "yes", "score": 0.1}) == LABEL.sense({"score": None, "label": "yes"})
    assert LABEL.sense({"label": "yes", "score": 0.1}) != LABEL.sense({"label": "no", "score": 0.1})
    free = fields_contract({"n": "number", "s": "string"})
    assert free.sense({"n": 1.0, "s": "a"}) != free.sense({"n": 1.5, "s": "a"})


def test_sense_does_not_hang_on_the_order_in_which_the_job_names_its_fields():
    kinds = {"mood": ["good", "bad"], "due": ["yes", "no"]}
    values = {"mood": "good", "due": "no"}
    turned = dict(reversed(kinds.items()))
    assert fields_contract(kinds).sense(values) == fields_contract(turned).sense(values)


# JSON Schema

ORDER = {
    "type": "object",
    "properties": {
        "size": {"$ref": "#/$defs/Size"},
        "count": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
        "price": {"type": ["number", "null"]},
        "paid": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "ids": {"type": "array", "items": {"type": "integer"}},
        "address": {"type": "object", "required": ["city"]},
        "mixed": {"type": ["string", "integer"]},
        "any": True,
    },
    "required": ["size", "count"],
    "$defs": {"Size": {"enum": ["S", "M"]}},
}
SCHEMA = schema_contract(ORDER)


def test_a_schemas_properties_become_columns():
    texts, lists = pl.String(), (pl.List(pl.String()), pl.List(pl.Int64()))
    kinds = [texts, pl.Int64(), pl.Float64(), pl.Boolean(), *lists, texts, texts, texts]
    assert SCHEMA.columns() == dict(zip(ORDER["properties"], kinds, strict=True))


def test_the_order_in_which_a_schema_is_written_decides_nothing():
    turned = {key: ORDER[key] for key in reversed(ORDER)}
    turned["properties"] = dict(reversed(ORDER["properties"].items()))
    assert schema_contract(turned).identity == SCHEMA.identity


def test_what_a_schema_wants_decides_the_reading():
    """The columns are the same, but not what fits."""
    stricter = {**ORDER, "required": list(ORDER["properties"]), "minProperties": 2}
    assert schema_contract(stricter).columns() == SCHEMA.columns()
    assert schema_contract(stricter).identity != SCHEMA.identity


def test_a_reply_is_read_by_a_schema():
    reply = {"size": " s", "count": None, "price": "2.5", "paid": "true", "tags": ["x"], "ids": [1.0], "more": 1}
    nested = {"address": {"city": "Zürich"}, "mixed": "x", "any": [1, None]}
    assert SCHEMA.read(json.dumps(reply | nested)) == {
        "size": "S", "count": None, "price": 2.5, "paid": True, "tags": ["x"], "ids": [1],
        "address": '{"city":"Zürich"}', "mixed": '"x"', "any": "[1,null]",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({"count": 1}, "field 'size'.*no such field"),
        ({"size": "L", "count": 1}, "field 'size'.*enum"),
        ({"size": "S"}, "field 'count'.*no such field"),
        ({"size": "S", "count": 0}, "field 'count'.*anyOf"),
        ({"size": "S", "count": 1, "address": {}}, "field 'address'.*required.*city"),
        ({"size": "S", "count": 2**63}, "field 'count'"),
    ],
)
def test_what_a_schema_forbids_is_invalid(reply, why):
    with pytest.raises(Invalid, match=why):
        SCHEMA.read(json.dumps(reply))


def test_an_object_that_no_schema_can_be_checked_on_is_invalid():
    """Half of a pair of surrogates, in the name of a field that nobody asked for."""
    with pytest.raises(Invalid, match="that the schema can be checked on"):
        SCHEMA.read('{"size": "S", "count": 1, "\\ud800": 1}')


def test_null_for_a_property_that_may_be_absent_is_null():
    assert SCHEMA.read('{"size": "S", "count": 1, "paid": null}')["paid"] is None


def test_a_schemas_closed_properties_make_its_sense():
    assert json.loads(SCHEMA.sense(SCHEMA.read('{"size": "S", "count": 1, "price": 3}'))) == {
        "size": "S",
        "count": 1,
        "paid": None,
    }


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"type": "array"}, "type object"),
        ({"properties": {}}, "at least one property"),
        ({"properties": {"jb_a": {}}}, "jb_a"),
        ({"properties": {"a": {"type": "strnig"}}}, "properties/a/type"),
        ({"properties": {"a": {"$ref": "https://example.org/a"}}}, "outside the schema"),
        ({"properties": {"a": {"items": {"$ref": "file:///etc/passwd"}}}}, "outside the schema"),
        ({"properties": {"a": {"allOf": [{"$dynamicRef": "other.json#x"}]}}}, "outside the schema"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "points at nothing"),
        ({"properties": {"a": {"$id": "https://example.org/"}}}, "of its own"),
        ({"properties": {"a": {"pattern": "("}}}, "properties/a/pattern is not JSON Schema"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "draft 2020-12"),
        ({"title": object()}, "plain JSON data"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_in_a_sentence(change, why):
    with pytest.raises(ValueError, match=why):
        schema_contract({"type": "object", "properties": {"a": {"type": "string"}}} | change)


def test_nothing_is_fetched_for_a_schema_with_an_address(monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("fetched"))
    named = schema_contract({"$id": "https://example.org/order", **ORDER})
    assert named.read('{"size": "M", "count": 2}')["count"] == 2


def test_a_schema_that_runs_in_a_circle_says_nothing_about_a_value_and_does_nothing_worse():
    contract = schema_contract({"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}})
    assert contract.read('{"a": 1}') == {"a": "1"}


TYPES = {"string": "string", "number": "number", "integer": "integer", "boolean": "boolean"}


@given(
    st.dictionaries(st.sampled_from(string.ascii_lowercase), st.sampled_from(sorted(TYPES)), min_size=1, max_size=3),
    st.dictionaries(
        st.sampled_from(string.ascii_lowercase), FINITE | st.booleans() | st.text() | st.integers() | st.none()
    ),
)
def test_fields_and_the_schema_that_says_the_same_agree(fields, values):
    schema = {"type": "object", "properties": {k: {"type": v} for k, v in fields.items()}, "required": list(fields)}
    text = json.dumps(values)
    by_fields, by_schema = fields_contract(fields), schema_contract(schema)
    assert reads(by_fields, text) == reads(by_schema, text)
    if Draft202012Validator(schema).is_valid(values) and reads(by_fields, text):
        assert by_fields.read(text) == by_schema.read(text)
