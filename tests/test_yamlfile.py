"""YAML: no surprises of version 1.1, bounded, and every error points at its place."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from journeybatch import yamlfile
from journeybatch.errors import SpecError

LETTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n\t :{}[]#&*!|>'\"%@`-?,\r\x85\u2028\ufeff")
TEXTS = st.text(LETTERS, max_size=20) | st.sampled_from(["no", "<<", "1e3", "0x1", "a: b", "null", "~", "010", "22:30"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as error:
        yamlfile.read(text, "f.yaml")
    return str(error.value)


def value_of(scalar: str) -> object:
    return yamlfile.read(f"a: {scalar}\n", "f.yaml").data["a"]


@pytest.mark.parametrize(
    "text",
    ["no", "yes", "on", "off", "y", "n", "No", "22:30", "1:20:30", "2024-01-01", "1_000", "0b1", "tRUE", "=", "٣"],
)
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(text):
    assert value_of(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("+7", 7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 010", "010"),
        ("! 3", "3"),
        ("!!float 3", 3.0),
        ("!!int 3", 3),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "9" * 65, "0x" + "f" * 70])
def test_numbers_that_json_does_not_have_are_refused_with_their_place(text):
    assert error_of(f"b: 1\na: {text}").startswith("f.yaml:2:4: ")


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(TEXTS, TREES, max_size=4))
@example({"a": {"b": [{"c": "x\n y\n"}]}, "\n\x85": "  lead\ntrail  \n\n"})
def test_what_is_written_is_read_back(data):
    text = yamlfile.write(data)
    assert yamlfile.read(text, "f.yaml").data == data


def test_texts_of_several_lines_are_written_as_blocks():
    assert yamlfile.write({"prompt": "one\ntwo\n"}) == "prompt: |\n  one\n  two\n"


def test_positions_are_those_of_keys_and_values():
    text = "a: 1\nb:\n  - x\n  - {c: 3, d: [4, 5]}\ne: |\n  text\n"
    document = yamlfile.read(text, "f.yaml")
    assert document.position(("a",)) == (1, 4)
    assert document.position(("a",), key=True) == (1, 1)
    assert document.position(("b", 1, "d", 1)) == (4, 19)
    assert document.position(("b", 1, "d"), key=True) == (4, 12)
    assert document.where(("e",)) == "f.yaml:5:4"


def test_the_position_of_what_is_missing_is_that_of_what_is_nearest_above():
    document = yamlfile.read("a:\n  b: {c: 1}\n", "f.yaml")
    assert document.position(("a", "b", "nope", 3)) == document.position(("a", "b")) == (2, 6)
    assert yamlfile.Document("job", {}).where(("a",)) == "job"


def test_a_duplicate_key_names_both_places():
    assert error_of("a: 1\nb:\n  c: 1\n  'c': 2\n") == "f.yaml:4:3: duplicate key 'c' (first at line 3, column 3)"


@pytest.mark.parametrize("key", ["404", "true", "null", "1.5", "~"])
def test_a_key_that_is_no_text_is_refused(key):
    assert f"key {key} is not text" in error_of(f"{key}: x")


@pytest.mark.parametrize("text", ["prompt: {{ review }}", "prompt: {{ review }} is it good?", "a:\n - {{ x }} y"])
def test_an_unquoted_template_gets_a_hint(text):
    assert "needs quotes" in error_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [ls]",
        "a: !!python/name:os.system",
        "a: !mine x",
        "a: !!set {x}",
        "a: !!binary aGk=",
        "a: !!timestamp 2024-01-01",
        "%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system x",
    ],
)
def test_tags_beyond_the_core_are_refused(text):
    assert "is not allowed" in error_of(text)


def test_a_second_document_is_refused():
    assert "f.yaml:2:1: a second document" in error_of("a: 1\n---\nb: 2\n")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a:\n\t- x", "2:1"),
        ("a: [1, 2", "1:9"),
        ("a: b: c", "1:5"),
        ("a: 'x", "1:6"),
        ("x: @y", "1:4"),
        ("a\x00", "1:2"),
    ],
)
def test_a_syntax_error_names_its_place(text, place):
    assert error_of(text).startswith(f"f.yaml:{place}: ")


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\ud800", "\ufffe", "\x9f"])
def test_unprintable_characters_are_refused_with_their_place(character):
    assert error_of(f"a: 1\nb: x{character}y") == f"f.yaml:2:5: unprintable character U+{ord(character):04X}"


def test_anchors_and_merge_keys_work():
    text = "one: &one {x: 1, y: 2}\ntwo: {<<: *one, x: 3}\nthree: {<<: [*two_, *one]}\n".replace("*two_", "{z: 1}")
    data = yamlfile.read(text, "f.yaml").data
    assert data["two"] == {"x": 3, "y": 2}
    assert data["three"] == {"z": 1, "x": 1, "y": 2}


@pytest.mark.parametrize("text", ["a: *nope", "a: &a [*a]", "&x a: *y", "<<: 3", "a: {<<: [x]}"])
def test_aliases_that_lead_nowhere_are_refused(text):
    assert error_of(text).startswith("f.yaml:1:")


def bomb(kind: str) -> str:
    lines = [f"{kind[0]}: &{kind[0]} [{', '.join(['lol'] * 9)}]"]
    for last, name in itertools.pairwise(kind):
        lines.append(f"{name}: &{name} [{', '.join(['*' + last] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb("abcdefghi"), "more than 10,000 values"),
        ("a: &a " + "x" * 100_000 + "\nb: [" + ", ".join(["*a"] * 20) + "]", "more than 1 MiB"),
        ("a: &a {k: 1}\n" + "".join(f"k{i}: {{<<: *a}}\n" for i in range(6000)), "more than 10,000 values"),
        ("[" * 1_000_000, "nested deeper than 50"),
        ("{a: " * 60, "nested deeper than 50"),
        ("- " * 60 + "x", "nested deeper than 50"),
        ("a: &a " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 30 + "*a" + "]" * 30, "nested deeper than 50"),
        ("a: " + "x" * (1 << 20), "larger than 1 MiB"),
    ],
    ids=["laughs", "long text", "merges", "lists", "mappings", "dashes", "aliases", "size"],
)
def test_bombs_are_refused_quickly(text, message):
    begun = time.process_time()
    assert message in error_of(text)
    assert time.process_time() - begun < 3


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("ab:-? \n\t[]{}&*!|>'\"#,%@`~0x1e.\\") | LETTERS, max_size=40))
def test_any_text_is_read_or_refused_with_a_clear_error(text):
    try:
        yamlfile.read(text, "f.yaml")
    except SpecError as error:
        assert str(error).startswith("f.yaml:")


def test_an_empty_file_is_nothing():
    assert yamlfile.read("", "f.yaml").data is None
    assert yamlfile.read("# only a comment\n", "f.yaml").data is None


def test_a_file_may_begin_with_a_byte_order_mark_and_have_any_line_ends(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: gr\xc3\xbc\xc3\x9fe\r\n")
    assert yamlfile.read_file(path).data == {"a": 1, "b": "grüße"}


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\nb: grüße\n".encode("latin-1"))
    large = tmp_path / "large.yaml"
    large.write_bytes(b"\xc3" * ((1 << 20) + 5))
    for path, message in [
        (latin, f"{latin}:2: this is not UTF-8 text"),
        (large, "larger than 1 MiB"),
        (tmp_path / "nope.yaml", "No such file"),
        (tmp_path, "directory"),
        (tmp_path / "nul\0", "null byte"),
    ]:
        with pytest.raises(SpecError) as error:
            yamlfile.read_file(path)
        assert message in str(error.value)
