"""CSV and TSV: what is regular is read exactly, what is not names its line."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeybatch import delimited
from journeybatch.errors import TableError

LAW = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=8) | st.text(
    ' "\r\n,\t', max_size=6
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    names = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    row = st.lists(TEXT, min_size=len(names), max_size=len(names))
    return names, draw(st.lists(row, max_size=6))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def rows(path: Path, separator: str = ",", block: int = 1 << 20) -> list[tuple[str | None, ...]]:
    return [row for frame in delimited.frames(path, separator, block) for row in frame.iter_rows()]


def refused(tmp_path: Path, data: bytes) -> str:
    path = write(tmp_path / "t.csv", data)
    with pytest.raises(TableError) as error:
        rows(path)
    return str(error.value).removeprefix(f"{path}")


@LAW
@given(tables(), st.sampled_from([",", "\t"]), st.booleans(), st.sampled_from([1, 7, 64, 1 << 20]))
def test_what_the_csv_module_writes_reads_back_cell_by_cell(tmp_path, table, separator, quote_all, block):
    names, cells = table
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerows([names, *cells])
    path = write(tmp_path / "t.csv", text.getvalue().encode())
    unquoted = not quote_all and len(names) > 1  # the module quotes an empty text that stands alone
    expected = [tuple(None if unquoted and cell == "" else cell for cell in row) for row in cells]
    assert delimited.header(path, separator).names == tuple(names)
    assert rows(path, separator, block) == expected


@LAW
@given(tables(), st.randoms(use_true_random=False))
def test_a_lost_separator_is_an_error_and_never_a_padded_row(tmp_path, table, random):
    names, cells = table
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["id" * 9, *names], *(["1", *row] for row in cells)])
    data = text.getvalue().encode()
    path = write(tmp_path / "t.csv", data)
    start = delimited.header(path, ",").start
    bare = [i for i in range(start, len(data)) if data[i : i + 1] == b"," and data.count(b'"', 0, i) % 2 == 0]
    if bare:
        at = random.choice(bare)
        write(path, data[:at] + data[at + 1 :])
        with pytest.raises(TableError, match=r"line \d+: "):
            rows(path)


@LAW
@given(st.text('ab",\r\n', max_size=30), st.sampled_from([b",", b"\t"]))
def test_the_first_quote_with_a_wrong_neighbour_is_found_where_a_plain_search_finds_it(text, separator):
    plain = re.search(rb'[^%b\r\n]"|"[^%b\r\n]' % (separator, separator), text.encode())
    assert delimited._stray(text.encode(), separator) == (plain.start() if plain else -1)


def test_every_column_is_text_and_nothing_is_guessed(tmp_path):
    path = write(tmp_path / "t.csv", b"zip,flag,day,gone\n00123,true,2024-01-02,null\n1e5,NaN,NA,None\n")
    assert rows(path) == [("00123", "true", "2024-01-02", "null"), ("1e5", "NaN", "NA", "None")]


def test_an_empty_field_is_null_and_a_quoted_one_is_empty_text(tmp_path):
    assert rows(write(tmp_path / "t.csv", b'a,b\n"",\n,""\n')) == [("", None), (None, "")]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfa,b\n1,2\n",
        b"a,b\r\n1,2\r\n",
        b"a,b\n1,2",
        b"a,b\n1,2\n\n\r\n\n",
        b"\n\na,b\n1,2\n",
        b'\xef\xbb\xbf"a",b\r\n"1","2"\r\n\r\n',
    ],
)
def test_byte_order_marks_line_ends_and_blank_ends_do_not_matter(tmp_path, data):
    path = write(tmp_path / "t.csv", data)
    assert delimited.header(path, ",").names == ("a", "b")
    for block in (1, 5, 1 << 20):
        assert rows(path, ",", block) == [("1", "2")]


def test_in_a_single_column_a_blank_line_is_a_missing_cell(tmp_path):
    assert rows(write(tmp_path / "t.csv", b'a\n\n1\n""\n\n')) == [(None,), ("1",), ("",), (None,)]


@pytest.mark.parametrize("data", [b"a,b\n", b"a,b", b"a,b\r\n\r\n"])
def test_a_header_alone_is_a_table_without_rows(tmp_path, data):
    path = write(tmp_path / "t.csv", data)
    assert (delimited.header(path, ",").names, rows(path)) == (("a", "b"), [])


@pytest.mark.parametrize("data", [b"", b"\n\r\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path, data):
    assert "is empty" in refused(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a,b\n1,2\n3\n", 3, "1 field, where the header has 2 (a, b); a field is missing"),
        (b"a,b\n1,2,3\n", 2, "3 fields, where the header has 2 (a, b); quote fields that contain ','"),
        (b'a,b\n"x\ny",2\n1\n', 4, "1 field"),
        (b'"a\nb",c\n1,2\n1\n', 4, "1 field"),
        (b"a,b\n1,2\n\n3,4\n", 3, "a blank line"),
        (b"a,b\r\n1,2\r\n\r\n3,4\r\n", 3, "a blank line"),
        (b'a,b\n1,2\n3,"x\ny\n', 3, "opened and never closed"),
        (b'a,b\n1,"x\n3,"y"\n', 2, "a quote inside a field"),
        (b'a,b\n5" disk,1\n3" disk,2\n', 2, "a quote inside a field"),
        (b'a,b\n1, "2"\n', 2, "a quote inside a field"),
        (b'a,b\n1,2\n"x" y,2\n', 3, "text beside a quoted one"),
        (b"a,b\n1,2\x00\n", 2, "NUL"),
        (b'a,b\n"\n\n",1\ncaf\xe9,3\n', 5, "not UTF-8 (byte 0xe9)"),
        (b"caf\xe9,b\n", 1, "not UTF-8"),
        (b"a,b\r1,2\r", 1, "carriage return"),
        (b"a,b\n1,2\r3\n", 2, "carriage return"),
        (b"a,b,a\n", 1, "the column 'a' twice"),
        (b'a,"b\n1,2\n', 1, "opened and never closed"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, data, line, words):
    message = refused(tmp_path, data)
    assert message.startswith(f", line {line}: ")
    assert words in message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("a,b\n".encode("utf-16"), "is UTF-16"),
        (b"\xfe\xff\x00a", "is UTF-16"),
        (b"\x1f\x8b\x08", "compressed with gzip"),
        (b"PK\x03\x04...", "a spreadsheet"),
        (b"PAR1....", "a Parquet file"),
    ],
)
def test_what_is_no_text_at_all_says_what_it_is(tmp_path, data, words):
    assert words in refused(tmp_path, data)


def test_the_line_is_right_far_into_a_file_of_many_blocks(tmp_path):
    good = b'1,"two\nlines"\n' * 5_000
    path = write(tmp_path / "t.csv", b"a,b\n" + good + b"1,2,3\n" + good)
    with pytest.raises(TableError, match="line 10002: 3 fields"):
        rows(path, ",", 1 << 12)


def test_rows_before_the_wrong_one_are_handed_out(tmp_path):
    path = write(tmp_path / "t.csv", b"a,b\n" + b"1,2\n" * 4_000 + b"1\n")
    frames = delimited.frames(path, ",", 1 << 10)
    assert next(frames).row(0) == ("1", "2")


def test_a_quote_that_is_never_closed_does_not_swallow_a_large_file(tmp_path, monkeypatch):
    monkeypatch.setattr("journeybatch.textfile.RECORD", 1 << 16)
    path = write(tmp_path / "t.csv", b'a,b\n1,"2\n' + b"3,4\n" * 100_000)
    with pytest.raises(TableError, match="line 2: no end of this record"):
        rows(path, ",", 1 << 12)


def test_a_wide_header_is_not_repeated_in_full(tmp_path):
    names = b",".join(b"column%d" % i for i in range(500))
    assert len(refused(tmp_path, names + b"\n1\n")) < 300
