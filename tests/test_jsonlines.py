"""JSON lines: types that hold for the whole file, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeybatch import jsonlines
from journeybatch.errors import TableError

LAW = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def read(path: Path, data: bytes | list[object]) -> tuple[dict[str, pl.DataType], list[tuple[object, ...]]]:
    lines = data if isinstance(data, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in data)
    path.write_bytes(lines)
    schema = jsonlines.schema(path)
    return schema, [row for frame in jsonlines.frames(path, schema) for row in frame.iter_rows()]


@LAW
@given(st.lists(st.fixed_dictionaries({"t": TEXT, "i": st.integers(-(2**63), 2**63 - 1)}), min_size=1, max_size=8))
def test_text_stays_text_and_integers_stay_integers(tmp_path, rows):
    schema, read_back = read(tmp_path / "t.jsonl", rows)
    assert schema == {"t": pl.String, "i": pl.Int64}
    assert [dict(zip(schema, row, strict=True)) for row in read_back] == rows


@LAW
@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
            max_leaves=6,
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_mixture_of_values_is_refused_and_no_row_is_lost(tmp_path, values):
    schema, rows = read(tmp_path / "t.jsonl", [{"x": value} for value in values])
    assert (list(schema), len(rows)) == (["x"], len(values))
    for value, (cell,) in zip(values, rows, strict=True):
        assert (value is None) == (cell is None)
        if isinstance(value, str):
            assert cell == value


def test_a_type_that_changes_late_in_a_large_file_fails_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("journeybatch.textfile.BLOCK", 1 << 12)
    rows = [{"n": i, "flag": True, "z": 1, "s": {"a": 1}} for i in range(2_000)]
    rows += [{"n": 0.5, "flag": "maybe", "z": False, "s": {"a": "x", "b": [1]}, "late": 1}]
    schema, read_back = read(tmp_path / "t.jsonl", rows)
    assert list(schema) == ["n", "flag", "z", "s", "late"]
    assert (schema["n"], schema["flag"], schema["z"]) == (pl.Float64, pl.String, pl.String)
    assert read_back[0] == (0.0, "true", "1", {"a": "1", "b": None}, None)
    assert read_back[-1] == (0.5, "maybe", "false", {"a": "x", "b": [1]}, 1)


def test_values_that_do_not_agree_are_json_text(tmp_path):
    _, rows = read(tmp_path / "t.jsonl", [{"x": [1, "a"]}, {"x": {"b": 1}}, {"x": None}, {}])
    assert [None if cell is None else json.loads(cell) for (cell,) in rows] == [[1, "a"], {"b": 1}, None, None]


def test_an_integer_beyond_64_bits_keeps_its_digits_as_text(tmp_path):
    _, rows = read(tmp_path / "t.jsonl", [{"x": 2**90}, {"x": 1}])
    assert rows == [(str(2**90),), ("1",)]


def test_half_a_surrogate_pair_becomes_the_replacement_character(tmp_path):
    line = rb'{"x": "\ud800 \\ud800 \ud83d\ude00 \udfff"}' + b"\n"
    assert read(tmp_path / "t.jsonl", line)[1] == [("\ufffd \\ud800 😀 \ufffd",)]


@pytest.mark.parametrize(
    "data",
    [b'{"a":1}\n{"a":2}', b'\xef\xbb\xbf{"a":1}\r\n{"a":2}\r\n', b'\n{"a":1}\n\n  \n{"a":2}\n\n'],
)
def test_byte_order_marks_line_ends_and_blank_lines_do_not_matter(tmp_path, data):
    assert read(tmp_path / "t.jsonl", data)[1] == [(1,), (2,)]


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b'{"a":1}\n\n{"a":\n{"a":3}\n', 3, "not JSON"),
        (b"[1,2]\n", 1, "a JSON list, not an object"),
        (b'{"a":1}\n7\n', 2, "a JSON int, not an object"),
        (b'{"a":1}{"a":2}\n', 1, "not JSON"),
        (b'{\n"a":1\n}\n', 1, "not JSON"),
        (b'{"a":1}\n{"a":NaN}\n', 2, "NaN is no JSON number"),
        (b'{"a":1}\n{"a":"caf\xe9"}\n', 2, "not UTF-8"),
        (b'{"a":1}\n{"a":"x\x00"}\n', 2, "NUL"),
        (b'{"a":1}\n{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", 2, ""),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, data, line, words):
    with pytest.raises(TableError, match=f"line {line}: ") as error:
        read(tmp_path / "t.jsonl", data)
    assert words in str(error.value)


def test_a_line_that_goes_bad_after_the_types_were_found_is_named(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"a":1}\n' * 100)
    schema = jsonlines.schema(path)
    path.write_bytes(b'{"a":1}\n' * 60 + b'{"a":"x"}\n' + b'{"a":1}\n' * 39)
    with pytest.raises(TableError, match="line 61: "):
        list(jsonlines.frames(path, schema))


@pytest.mark.parametrize("data", [b"", b"\n\n", b"{}\n{}\n"])
def test_a_file_without_keys_has_no_columns(tmp_path, data):
    with pytest.raises(TableError, match="no columns"):
        read(tmp_path / "t.jsonl", data)
