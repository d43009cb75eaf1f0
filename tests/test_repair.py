"""JSON written not quite as such: what is forgiven, and that nothing is ever made up."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeybatch import repair

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # the letters that repairs are about, and any others
    | st.text(alphabet="ab:,{}[]\"'\\/*# \n“”`u")
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('{"a": 1,}', {"a": 1}),
        ('{"a": [1, 2, ], }', {"a": [1, 2]}),
        ("{'a': 'it\\'s \"so\"'}", {"a": 'it\'s "so"'}),
        ('{"a": "it\\\'s"}', {"a": "it's"}),
        ("{a: 1, b_2: 2, c-d: 3}", {"a": 1, "b_2": 2, "c-d": 3}),
        ("{'a': True, 'b': False, 'c': None}", {"a": True, "b": False, "c": None}),
        ('{"a": 1, // one\n "b": 2, # two\n /* three, } */ "c": 3}', {"a": 1, "b": 2, "c": 3}),
        ("{“a”: “x, 'y' and \"z\"”}", {"a": "x, 'y' and \"z\""}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ('{"a": "http://x.y // no comment, }",}', {"a": "http://x.y // no comment, }"}),
    ],
)
def test_json_as_models_write_it_is_mended(written, meant):
    assert repair.mend(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        '{"a": }',
        '{"a": ...}',
        '{"a": positive}',
        '{"a": 1 "b": 2}',
        '{"a": "he said "hi" to me"}',
        "{'a': 'it's'}",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": undefined}',
        '{"a": .5}',
        '{"a": 1/2}',
        '{"a": 1, "a": 2,}',
        '{\\"a\\": 1}',
    ],
)
def test_what_would_need_a_guess_is_not_mended(written):
    with pytest.raises(ValueError):
        repair.mend(written)


@given(OBJECTS)
def test_a_comma_without_a_sequel_changes_nothing(value):
    written = json.dumps(value, ensure_ascii=False)
    assert repair.mend(f"{written[:-1]},}}" if value else written) == value


@given(st.dictionaries(st.from_regex(r"[a-z]+", fullmatch=True), st.text(), min_size=1, max_size=3))
def test_a_python_dict_of_texts_says_what_it_said(value):
    quoted = {
        key: "'" + json.dumps(text)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'" for key, text in value.items()
    }
    assert repair.mend("{" + ", ".join(f"'{key}': {text}" for key, text in quoted.items()) + "}") == value


@given(OBJECTS)
def test_a_key_that_stands_twice_is_fine_only_with_the_same_value(value):
    once = json.dumps(value)
    assert repair.decode(f'{{"k": {once}, "k": {once}}}') == {"k": value}
    with pytest.raises(repair.Unreadable, match="twice"):
        repair.decode(f'{{"k": {once}, "k": [{once}]}}')


def test_one_and_true_are_different_values_of_a_key():
    with pytest.raises(repair.Unreadable, match="twice"):
        repair.decode('{"k": 1, "k": true}')


@given(OBJECTS, st.text(alphabet="ab .\"'`\n]}“"), st.text(alphabet="ab .\"'\n]}“"))
def test_an_object_in_prose_is_found_whole(value, before, after):
    written = json.dumps(value, ensure_ascii=False)
    assert [chunk.text for chunk in repair.chunks(before + written + after)] == [written]


@given(OBJECTS.filter(bool), st.data())
def test_an_object_that_was_cut_off_is_no_chunk(value, data):
    written = json.dumps(value, ensure_ascii=False)
    cut = data.draw(st.integers(1, len(written) - 1))
    with pytest.raises(repair.Unreadable, match="cut off"):
        list(repair.chunks(f"Here: {written[:cut]}"))


def test_the_objects_inside_an_object_are_not_found_by_themselves():
    assert [chunk.text for chunk in repair.chunks('{"a": {"b": 1}} {"c": 2}')] == ['{"a": {"b": 1}}', '{"c": 2}']


def test_a_chunk_knows_whether_it_stands_in_a_fence():
    text = 'So {"a": "```"}:\n```json\n{"a": 1}\n```\nor {"a": 2}'
    assert [chunk.fenced for chunk in repair.chunks(text)] == [False, True, False]


def test_brackets_that_do_not_match_are_no_chunk():
    assert [chunk.text for chunk in repair.chunks('{"a": [1, 2} {"a": 1]} {"a": [3]}')] == ['{"a": [3]}']


def test_more_pieces_than_anyone_means_are_refused():
    with pytest.raises(repair.Unreadable, match="more than 1000"):
        list(repair.chunks('{"a": 1}' * 1001))


def test_reasoning_in_front_is_no_part_of_the_answer():
    assert repair.after_thinking("\n<think>{draft}</think>{}") == "{}"
    assert repair.after_thinking("a <think> b") == "a <think> b"
    with pytest.raises(repair.Unreadable, match="reasoning"):
        repair.after_thinking("<think>{}")


@pytest.mark.parametrize(
    ("value", "meant"),
    [(0.5, 0.5), (3, 3.0), ("0.8", 0.8), (" -1e3 ", -1000.0), ("1,234", None), ("80%", None)]
    + [(value, None) for value in (True, None, "", "nan", "inf", "1_0", "٣", "0x1", 10**400, "1" * 400, [1])],
)
def test_numbers_are_read_exactly_or_not_at_all(value, meant):
    if meant is None:
        with pytest.raises(ValueError):
            repair.number(value)
    else:
        assert repair.number(value) == meant


@pytest.mark.parametrize(
    ("value", "meant"),
    [(3, 3), (3.0, 3), ("3", 3), ("3.0", 3), ("-7", -7), (2**63 - 1, 2**63 - 1), (-(2**63), -(2**63))]
    + [(value, None) for value in (3.5, True, None, "3.5", "three", 2**63, 1e300, 2.0**60, "9" * 5000, "1e999")],
)
def test_integers_are_read_exactly_or_not_at_all(value, meant):
    if meant is None:
        with pytest.raises(ValueError):
            repair.integer(value)
    else:
        assert repair.integer(value) == meant


def test_true_and_false_are_read_as_words_too_but_not_as_numbers():
    assert [repair.boolean(value) for value in (True, "TRUE", " false ")] == [True, True, False]
    for value in (1, 0, "yes", "1", None):
        with pytest.raises(ValueError):
            repair.boolean(value)


def test_a_choice_is_known_by_its_letters_and_only_if_one_fits():
    assert repair.choose(" POSITIVE\n", ("positive", "negative")) == "positive"
    assert repair.choose("a", ("A", "a")) == "a"
    for value, choices in ((" A ", ("A", "a")), ("posit", ("positive", "negative")), ("", ("x", "y"))):
        with pytest.raises(ValueError):
            repair.choose(value, choices)


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert repair.string("a\ud800b😀") == "a\ufffdb😀"


MEGA = 1_000_000
HOSTILE = [
    "{",
    "[",
    "{}",
    "[{",
    '{"',
    "{'",
    "{“",
    '{"\\',
    "{/*",
    "{ //",
    "{ ,",
    "```",
    "} {",
    "{ '\\",
    "[ ",
    "{\n# ",
    "{a:1}",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_megabyte_of_rubbish_is_searched_in_under_a_second(piece):
    text = piece * (MEGA // len(piece))
    started = time.process_time()
    try:
        found = list(repair.chunks(text))
    except repair.Unreadable:
        found = []
    assert time.process_time() - started < 1
    assert len(found) <= repair.MOST_CHUNKS


@pytest.mark.parametrize("piece", ['"a",', "a ", "'a',", ", ", "a:", "“a”", "[", "\\"])
def test_a_megabyte_of_rubbish_in_braces_is_not_mended_slowly(piece):
    started = time.process_time()
    with pytest.raises((ValueError, RecursionError)):
        repair.mend("{1" + piece * (MEGA // 4 // len(piece)) + "}")
    assert time.process_time() - started < 1
