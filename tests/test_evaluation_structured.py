"""Scorers of structured replies."""

import json

import pytest

from journeybatch.errors import SpecError
from journeybatch.evaluation.structured import Schema, is_json, json_schema, loaded
from journeybatch.evaluation.text import Plain

SCHEMA = {"type": "object", "properties": {"stars": {"type": "integer", "maximum": 5}}, "required": ["stars"]}


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ('{"a": 1}', True),
        (" [1, 2]\n", True),
        ("null", True),
        ("3", True),
        ("{'a': 1}", False),
        ('```json\n{"a": 1}\n```', False),
        ('{"a": NaN}', False),
        ('{"a": 1, "a": 2}', False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_the_whole_reply_is_json_or_not(reply, right):
    assert is_json(Plain(), reply, None).value == right


def checked(reply, schema=SCHEMA, folder=None):
    return json_schema(loaded(Schema(schema=schema), folder), reply, None)


def test_a_reply_fits_a_schema_or_it_is_said_where_not():
    assert checked('{"stars": 5}').value == 1
    assert checked('{"stars": 6}').explanation == "/stars: maximum '5'"
    assert checked("{}").explanation == "the whole: required '['stars']'"
    assert checked("five").explanation == "it is no JSON"


def test_a_schema_that_runs_in_a_circle_says_nothing_about_a_reply():
    assert checked('{"stars": 5}', {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}).value == 1


def test_a_reply_that_a_schema_cannot_be_checked_on_is_wrong_and_no_more():
    assert checked(r'{"stars": "\ud800"}').value == 0


def test_a_schema_may_stand_in_a_file(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    assert checked('{"stars": 5}', "s.json", tmp_path).value == 1


@pytest.mark.parametrize("content", [None, "{", '{"type": "nothing"}', "3"])
def test_a_file_without_a_schema_is_an_error(tmp_path, content):
    if content is not None:
        (tmp_path / "s.json").write_text(content)
    with pytest.raises(SpecError, match=r"json-schema: .*s\.json: expected a file with a JSON Schema"):
        loaded(Schema(schema="s.json"), tmp_path)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "nothing"}, "is not JSON Schema"),
        ({"$ref": "https://example.com/s.json"}, "outside the schema"),
        ({"a": {1, 2}}, "plain data"),
    ],
)
def test_what_is_no_schema_or_looks_outside_is_refused(schema, why):
    with pytest.raises(ValueError, match=why):
        Schema(schema=schema)
