"""Fields of a structured answer: what a job or a schema says about them, and what fits a column."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.answers import Contract
from journeybatch.fields import Field, fields_of, fields_of_schema

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = fields_of(
    {
        "s": "string",
        "n": {"type": "number", "minimum": 0},
        "i": "integer?",
        "b": "boolean",
        "c": ["x", "y"],
        "l": "strings",
    }
)


def of_schema(**properties: object) -> dict[str, Field]:
    fields, _ = fields_of_schema({"type": "object", "properties": properties})
    return {field.name: field for field in fields}


@given(st.sampled_from(FIELDS), JSON.filter(lambda value: value is not None))
def test_what_a_field_takes_fits_its_column_and_is_taken_again_as_it_is(field, value):
    try:
        taken = field.take(value)
    except (ValueError, TypeError, RecursionError):
        return
    assert field.take(taken) == taken
    pl.Series("column", [taken], dtype=Contract(fields=(field,)).columns()[field.name])


@pytest.mark.parametrize("name", ["a b", "ünï/cödé", "a.b", "0", "null", "answer", "id", " x", "'\""])
def test_a_name_is_any_text(name):
    assert fields_of({name: "string"})[0].name == name


@pytest.mark.parametrize("name", ["", " ", "jb_row", "\ud800", 3, None])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="field"):
        fields_of({name: "string"})


def test_a_short_form_says_the_same_as_the_long_one():
    assert fields_of({"a": "string?"}) == fields_of({"a": {"type": "string", "optional": True}})
    assert fields_of({"a": ["x", "y"]}) == fields_of({"a": {"choices": ["x", "y"]}})


def test_a_schema_s_properties_have_the_kind_that_a_column_can_hold():
    found = of_schema(
        text={"type": "string"},
        flag={"type": ["boolean", "null"]},
        nested={"type": "object", "properties": {"a": {}}},
        texts={"type": "array", "items": {"type": "string"}},
        gaps={"type": "array", "items": {"type": ["number", "null"]}},
        lists={"type": "array", "items": {"type": "array"}},
        level={"enum": ["low", "high", None]},
        mixed={"type": ["string", "number"]},
        anything=True,
    )
    kinds = {name: (field.kind, field.many) for name, field in found.items()}
    assert kinds == {
        "text": ("string", False),
        "flag": ("boolean", False),
        "nested": ("json", False),
        "texts": ("string", True),
        "gaps": ("number", True),
        "lists": ("json", False),
        "level": ("string", False),
        "mixed": ("json", False),
        "anything": ("json", False),
    }
    assert found["level"].choices == ("low", "high")
    assert found["level"].nullable
    assert found["flag"].nullable
    assert found["gaps"].take([1, None]) == [1.0, None]
    with pytest.raises(ValueError, match="not"):
        found["texts"].take(["a", None])


def test_references_are_followed_and_circles_end():
    root = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/one"}, "b": {"$ref": "#/$defs/round"}},
        "$defs": {"one": {"type": "integer"}, "round": {"$ref": "#/$defs/round"}},
    }
    fields, _ = fields_of_schema(root)
    assert [field.kind for field in fields] == ["integer", "json"]


@given(JSON)
def test_any_schema_is_fields_or_a_sentence(value):
    for schema in (value, {"type": "object", "properties": value}, {"type": "object", "properties": {"a": value}}):
        try:
            fields, text = fields_of_schema(schema)
        except ValueError as error:
            assert str(error)
        else:
            assert fields
            assert text
