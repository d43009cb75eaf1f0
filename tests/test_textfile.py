"""A text file in chunks that end where a record ends."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeybatch.errors import TableError
from journeybatch.textfile import chunks


def line_end(data: bytes) -> int:
    return data.rfind(b"\n") + 1


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("ab\né", max_size=60), st.integers(1, 20))
def test_chunks_are_the_file_in_whole_records_with_true_lines(tmp_path, text, block):
    path = tmp_path / "t"
    path.write_bytes(text.encode())
    found = list(chunks(path, line_end, block=block))
    assert b"".join(chunk.data for chunk in found) == text.encode()
    seen = b""
    for chunk in found:
        assert chunk.line == 1 + seen.count(b"\n")
        seen += chunk.data
        assert chunk.end == len(seen)
        assert chunk.data.endswith(b"\n") or chunk is found[-1]


def test_a_byte_order_mark_is_skipped_and_a_start_respected(tmp_path):
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfa\nb\n")
    assert [chunk.data for chunk in chunks(tmp_path / "t", line_end)] == [b"a\nb\n"]
    (chunk,) = chunks(tmp_path / "t", line_end, start=5, line=2)
    assert (chunk.data, chunk.line, chunk.end) == (b"b\n", 2, 7)


@pytest.mark.parametrize(("data", "words"), [(b"a\nb\xff\n", "byte 0xff"), (b"a\nb\0\n", "NUL")])
def test_what_is_no_text_names_its_line(tmp_path, data, words):
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(TableError, match=f"line 2: .*{words}"):
        list(chunks(tmp_path / "t", line_end))
