"""JSON Schema: what is one, what fits it, and that no reply can hold the checking up."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from journeybatch.answers import Invalid, schema_contract
from journeybatch.validity import Misfit, check, misfit, pointed

ENDLESS = ("^(a+)+$", r"^(\w+\s?)*$", "^(a|aa)+$", "^(?=(a+)+$)b", r"^(a*)*\1$")
LONG = "a" * 5000 + "!"


@pytest.mark.parametrize("pattern", ENDLESS)
@pytest.mark.parametrize("where", ["pattern", "patternProperties", "additionalProperties", "unevaluatedProperties"])
def test_a_pattern_that_backtracks_without_end_comes_to_one(pattern, where):
    if where == "pattern":
        schema, value = {"properties": {"x": {"pattern": pattern}}}, {"x": LONG}
    else:
        more = {} if where == "patternProperties" else {where: False}
        schema, value = {"patternProperties": {pattern: {"type": "integer"}}, **more}, {LONG: 1}
    check(schema)
    began = time.process_time()
    found = misfit(json.dumps(schema), value)
    assert time.process_time() - began < 2
    assert found is None or isinstance(found, Misfit)


def test_a_reply_that_makes_an_answers_pattern_backtrack_is_one_rows_matter():
    words = {"type": "object", "properties": {"said": {"type": "string", "pattern": r"^(\w+\s?)*$"}}}
    contract = schema_contract(words)
    assert contract.read('{"said": "well then"}') == {"said": "well then"}
    with pytest.raises(Invalid, match="pattern"):
        contract.read(json.dumps({"said": LONG}))


def test_references_that_double_do_not_double_the_work():
    doubling = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(18)}
    schema = {"$ref": "#/$defs/d0", "$defs": doubling | {"d18": {"type": "string"}}}
    assert misfit(json.dumps(schema), "x") is None


def test_what_does_not_fit_is_said_with_its_place_and_the_schemas_words():
    schema = {"properties": {"a": {"items": {"$ref": "#/$defs/small"}}}, "$defs": {"small": {"maximum": 3}}}
    assert misfit(json.dumps(schema), {"a": [1, 2, 3]}) is None
    assert misfit(json.dumps(schema), {"a": [1, 9]}) == Misfit(("a", 1), "maximum", 3)
    assert misfit('{"required": ["b"]}', {}) == Misfit((), "required", ["b"])


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "nothing"}, "type is not JSON Schema"),
        ({"properties": {"a": {"pattern": "("}}}, "properties/a/pattern is not JSON Schema"),
        ({"pattern": "(a{1000}){1000}"}, "pattern is not JSON Schema"),
        ({"$ref": "#/nowhere"}, "points at nothing"),
        ({"$ref": "#nowhere"}, "not exist"),
        ({"$ref": "http://127.0.0.1:1/s"}, "outside the schema"),
        ({"$ref": "file:///etc/hostname"}, "outside the schema"),
        ({"properties": {"a": {"$id": "http://127.0.0.1:1/s"}}}, "an \\$id of its own"),
    ],
)
def test_what_is_no_schema_or_looks_outside_is_refused(schema, why):
    with pytest.raises(ValueError, match=why):
        check(schema)


def test_a_pointer_is_read_as_its_rfc_says():
    root = {"a/b": {"~": [10, 20]}}
    assert pointed(root, "#/a~1b/~0/1") == 20
    assert pointed(root, "#") is root
    assert pointed(root, "#anchor") is True


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0]) | st.text("ab", max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=5
)
SCHEMAS = st.recursive(
    st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object"]).map(lambda t: {"type": t})
    | st.fixed_dictionaries({}, optional={"minimum": st.integers(-2, 2), "maxLength": st.integers(0, 2)})
    | st.lists(SCALARS, min_size=1, max_size=3).map(lambda values: {"enum": values})
    | st.sampled_from(["^a", "b$", "a+"]).map(lambda p: {"pattern": p}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "additionalProperties": st.booleans() | inner,
            "required": st.lists(st.sampled_from("ab"), unique=True),
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    ),
    max_leaves=4,
)


@given(SCHEMAS, VALUES)
def test_another_implementation_agrees_about_what_fits(schema, value):
    check(schema)
    assert (misfit(json.dumps(schema), value) is None) == Draft202012Validator(schema).is_valid(value)
