import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from journeybatch.emulator.schemas import Voice, invent

SCHEMAS = [
    {},
    True,
    {"const": 7},
    {"enum": [1, None, "a"]},
    {"enum": [1, 2]},
    {"type": "null"},
    {"type": ["string", "null"]},
    {"type": "string", "minLength": 200},
    {"type": "string", "maxLength": 3},
    {"type": "string", "format": "date"},
    {"type": "integer"},
    {"type": "integer", "minimum": 2.5, "exclusiveMaximum": 4},
    {"type": "integer", "multipleOf": 7, "maximum": -20},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "minimum": 0.001, "maximum": 0.002},
    {"type": "number", "maximum": -5},
    {"type": "array"},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
    {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": 2, "maxItems": 4},
    {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": {"type": "null"}},
    {"properties": {"a": {"type": "boolean"}}, "required": ["a"]},
    {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 5}]},
    {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ]
    },
    {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer", "minimum": 3, "maximum": 3}}},
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["name"],
    },
]


@pytest.mark.parametrize("schema", SCHEMAS)
@settings(deadline=None, max_examples=20)
@given(digest=st.binary(min_size=32, max_size=32))
def test_a_value_fits_its_schema(schema, digest):
    voice = Voice(["Say something about rivers."], digest)
    value = invent(schema, voice, schema)
    Draft202012Validator(schema).validate(value)
    assert invent(schema, voice, schema) == value


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"allOf": [{"$ref": "#"}]},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
    ],
)
def test_a_schema_that_leads_in_a_circle_or_nowhere_comes_to_an_end(schema):
    invent(schema, Voice(["?"], bytes(32)), schema)
