"""The scorers of a job: names, options, and what is wrong with them."""

import pytest

from journeybatch.answers import fields_contract
from journeybatch.evaluation.scorers import KINDS, check_field, parse

FIELDS = fields_contract(
    {"sentiment": ["good", "bad"], "total": "number", "spam": "boolean", "tags": "strings", "why": "string"}
).fields

NEED_AN_ARGUMENT = {"python": "'call' is missing", "json-schema": "'schema' is missing"}


def one(item):
    return parse([item])[0]


def test_every_name_alone_is_a_scorer_but_those_that_need_an_argument():
    for name in KINDS.keys() - NEED_AN_ARGUMENT.keys():
        assert one(name).kind == one(name).name == name
        assert one(f"not-{name}").negated
        assert one({name: {}}) == one(name)
    for name, missing in NEED_AN_ARGUMENT.items():
        with pytest.raises(ValueError, match=f"{name}: {missing}"):
            one(name)


def test_an_argument_is_the_target_or_the_option_that_matters_most():
    assert one({"contains": "yes"}).value == "yes"
    assert one({"equals": True}).value is True
    assert one({"contains-any": ["a", "b"]}).value == ["a", "b"]
    assert one({"number": 42}).value == 42
    assert one({"exact-set": []}).value == []
    assert one({"levenshtein": 3}).options.distance == 3
    assert one({"json-schema": {"type": "object"}}).options.schema == {"type": "object"}
    assert one({"json-schema": "s.json"}).options.schema == "s.json"
    assert one({"python": "grade.py:grade"}).options.call == "grade.py:grade"
    assert one({"model-graded": "Is it polite?"}).options.rubric == "Is it polite?"


def test_options_and_a_target_can_be_given_together():
    scorer = one({"number": {"value": 42, "tolerance": "1%", "marker": "####"}})
    assert (scorer.value, scorer.options.tolerance, scorer.options.marker) == (42, "1%", "####")
    assert one({"match": {"location": "any", "ignore_case": False}}).options.location == "any"
    assert one({"choice": {"options": ["Paris", 4]}}).options.options == ("Paris", 4)
    assert one({"choice": {"options": "column"}}).options.options == "column"
    assert one({"model-graded": {"scale": [1, 5], "model": "o3"}}).options.scale == (1, 5)


def test_common_keys_stand_beside_the_scorer():
    scorer = one({"not-f1": {}, "field": "why", "target": "gold", "weight": 2, "name": "prose", "threshold": 0.5})
    assert (scorer.kind, scorer.negated, scorer.name) == ("f1", True, "prose")
    assert (scorer.field, scorer.target, scorer.weight, scorer.threshold) == ("why", "gold", 2, 0.5)


def test_what_a_scorer_needs_is_known():
    assert one("equals").needs_target
    assert not one({"equals": "x"}).needs_target
    assert not one("is-json").needs_target
    assert one("model-graded").asks and not one("equals").asks


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ("equals", r"expected a list of scorers, such as \[equals\]"),
        ([], "expected a list of scorers"),
        ([3], "expected a scorer's name, or a mapping of one name to its options, found 3"),
        ([{}], "expected one scorer in an item, found none"),
        ([{"equals": "a", "contains": "b"}], "expected one scorer in an item, found equals, contains"),
        (["equal"], r"there is no scorer 'equal' \(did you mean 'equals'\?\)"),
        (["not-eqals"], r"there is no scorer 'not-eqals' \(did you mean 'not-equals'\?\)"),
        (["starts_with"], r"did you mean 'starts-with'\?"),
        (["quux"], "there is no scorer 'quux'; known: equals, iequals, "),
        (["equals", {"equals": "x"}], "'equals' stands twice; give each a name of its own"),
        ([{"number": {"tolerence": 1}}], r"number: unknown option 'tolerence' \(did you mean 'tolerance'\?\)"),
        ([{"is-json": {"x": 1}}], "is-json: unknown option 'x'; it has none"),
        ([{"number": {"field": "total"}}], "number: 'field' stands beside the scorer, not in it"),
        ([{"number": {"tolerance": [1]}}], r"number: tolerance: expected a number or text, found \[1\]"),
        ([{"number": {"tolerance": -1}}], "number: tolerance: expected a number from 0, or a share like 1%, found -1"),
        ([{"number": {"decimal": ";"}}], "number: decimal: unexpected value ';', found ';'"),
        ([{"match": {"location": "middle"}}], "match: location: unexpected value 'middle'"),
        ([{"match": {"ignore_case": "yes"}}], "match: ignore_case: expected true or false, found 'yes'"),
        ([{"levenshtein": "three"}], "levenshtein: distance: expected a whole number, found 'three'"),
        ([{"similar": 0.8}], r"similar: a threshold stands beside it: \{similar: \{\}, threshold: 0.8\}"),
        ([{"contains": ""}], "contains: value: expected text, a number or a list of them, found ''"),
        ([{"contains": []}], "contains: value: expected at least one, found an empty list"),
        ([{"contains": {"value": {"a": 1}}}], "contains: value: expected text"),
        ([{"regex": "("}], "regex: '\\(' is no regular expression that runs in linear time: unclosed group"),
        ([{"regex": ["a", "(?=b)"]}], "look-around"),
        ([{"json-schema": {"type": "nothing"}}], r"json-schema: type is not JSON Schema: .nothing. is not valid"),
        ([{"python": "grade.py"}], r"python: expected FILE\.py:FUNCTION"),
        ([{"choice": {"options": ["a"], "columns": ["A"]}}], "choice: expected one of 'options' and 'columns'"),
        ([{"choice": {"options": [str(n) for n in range(27)]}}], "choice: expected at most 26 options"),
        ([{"equals": None, "weight": 0}], "equals: weight: expected a number above 0, found 0"),
        ([{"equals": None, "threshold": "high"}], "equals: threshold: expected a number, found 'high'"),
        ([{"equals": None, "name": ""}], "equals: name: expected text, found ''"),
        ([{"equals": "x", "target": "gold"}], "equals: target: it has no use for the column"),
        ([{"model-graded": {"scale": [5, 1]}}], "model-graded: scale: expected the lowest mark and a higher one"),
    ],
)
def test_a_mistake_is_named_with_its_scorer(items, why):
    with pytest.raises(ValueError, match=why):
        parse(items)


@pytest.mark.parametrize(
    ("item", "fields", "found"),
    [
        ("equals", (), ""),
        ({"equals": None, "field": "total"}, FIELDS, "total"),
        ("equals", FIELDS[:1], "sentiment"),
        ({"exact-set": None, "field": "tags"}, FIELDS, "tags"),
        ({"number": None, "field": "total"}, FIELDS, "total"),
        ("is-json", FIELDS, ""),
        ({"python": "g.py:g"}, FIELDS, ""),
        ({"python": "g.py:g"}, FIELDS[:1], "sentiment"),
        ({"python": "g.py:g", "field": "tags"}, FIELDS, "tags"),
    ],
)
def test_a_scorer_looks_at_one_field_or_at_the_reply(item, fields, found):
    assert check_field(one(item), fields) == found


@pytest.mark.parametrize(
    ("item", "fields", "why"),
    [
        ("equals", FIELDS, "equals: which field of the answer.* field: sentiment"),
        (
            {"equals": None, "field": "totl"},
            FIELDS,
            r"equals: the answer has no field 'totl' \(did you mean 'total'\?\)",
        ),
        ({"equals": None, "field": "total"}, (), "the answer has no field 'total'; the answer is plain text"),
        ({"number": None, "field": "spam"}, FIELDS, "number: it cannot work with 'spam', which is of type boolean"),
        ({"choice": None, "field": "total"}, FIELDS, "choice: it cannot work with 'total', which is of type number"),
        ({"contains": None, "field": "tags"}, FIELDS, "which is a list; exact-set, python, model-graded can"),
        ({"is-json": None, "field": "why"}, FIELDS, "is-json: it looks at the whole reply; leave out field"),
    ],
)
def test_a_scorer_that_cannot_work_with_the_answer_is_refused(item, fields, why):
    with pytest.raises(ValueError, match=why):
        check_field(one(item), fields)
