"""Tables in: every format the same way, in order, in batches, with one clear error where something is wrong."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from journeybatch import table
from journeybatch.errors import TableError
from journeybatch.table import Source

FRAME = pl.DataFrame({"id": ["00123", "7"], "stars": [5, None], "day": [date(2024, 1, 2), None], "tags": [["a"], []]})
CSV = b"id,stars,My text\n1,5,a\n2,1,b\n3,3,c\n"


def rows(source: Source, **options) -> list[tuple[object, ...]]:
    return [row for batch in table.batches(source, **options) for row in batch.iter_rows()]


def stored(path: Path, data: bytes = CSV) -> str:
    path.write_bytes(data)
    return str(path)


def refused(source: Source) -> str:
    with pytest.raises(TableError) as error:
        rows(source)
    return str(error.value)


@pytest.mark.parametrize("format_", ["parquet", "arrow", "ipc"])
def test_parquet_and_arrow_keep_their_types(tmp_path, format_):
    path = tmp_path / f"t.{format_}"
    FRAME.write_parquet(path) if format_ == "parquet" else FRAME.write_ipc(path)
    source = Source(str(path))
    assert table.schema(source) == FRAME.schema
    assert rows(source) == FRAME.rows()


def test_csv_tsv_and_json_lines_are_told_apart_by_name(tmp_path):
    assert rows(Source(stored(tmp_path / "t.csv", b"a,b\n1,x\ty\n"))) == [("1", "x\ty")]
    assert rows(Source(stored(tmp_path / "t.tsv", b"a\tb\n1\tx,y\n"))) == [("1", "x,y")]
    assert rows(Source(stored(tmp_path / "t.ndjson", b'{"a": 1, "b": "x"}\n'))) == [(1, "x")]
    assert rows(Source(stored(tmp_path / "t.txt", b"a\n1\n"), format="csv")) == [("1",)]


@pytest.mark.parametrize("frame", [FRAME, FRAME.lazy()])
def test_a_polars_frame_is_a_source_too(frame):
    assert table.columns(Source(frame=frame)) == ("id", "stars", "day", "tags")
    assert rows(Source(frame=frame, columns=("stars",))) == [(5,), (None,)]


def test_another_object_is_no_frame():
    assert "hand in a polars DataFrame" in refused(Source(frame=[1, 2]))


def test_columns_are_chosen_in_the_order_asked_for(tmp_path):
    source = Source(stored(tmp_path / "t.csv"), columns=("My text", "id"))
    assert table.columns(source) == ("My text", "id")
    assert rows(source)[0] == ("a", "1")


def test_where_may_use_columns_that_are_not_kept(tmp_path):
    source = Source(stored(tmp_path / "t.csv"), columns=("My text",), where="cast(stars as int) < 4")
    assert rows(source) == [("b",), ("c",)]


def test_where_sees_the_whole_table_and_not_a_batch_of_it(tmp_path):
    lines = "".join(f'{{"n": {n}}}\n' for n in range(30_000))
    source = Source(stored(tmp_path / "t.jsonl", lines.encode()), where="n > avg(n)")
    assert rows(source, rows=100) == [(n,) for n in range(15_000, 30_000)]


def test_a_limit_counts_the_rows_that_where_lets_through(tmp_path):
    path = stored(tmp_path / "t.csv")
    assert rows(Source(path), limit=2) == [("1", "5", "a"), ("2", "1", "b")]
    assert rows(Source(path, where="stars <> '5'"), limit=1) == [("2", "1", "b")]
    assert rows(Source(path), limit=0) == []


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_rows_from_a_number_on_are_the_rest_of_what_all_would_be(tmp_path, name):
    frame, path = pl.DataFrame({"n": [f"{n:05}" for n in range(25_000)]}), tmp_path / name
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[name[2:]](path)
    for source, limit in ((Source(str(path)), None), (Source(str(path), where="n > '00099'"), 21_000)):
        whole = rows(source, limit=limit)
        for start in (0, 1, 10_000, 20_999, 25_000):
            assert rows(source, limit=limit, start=start) == whole[start:]


def test_a_limit_leaves_the_rest_of_the_file_unread(tmp_path):
    assert rows(Source(stored(tmp_path / "t.csv", CSV * 1 + b"4,4,d\n" * 900_000 + b"bad\n")), limit=1)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("starz = '1'", "no column is called 'starz'; did you mean 'stars'?"),
        ("stars <", "is no condition"),
        ("", "is no condition"),
        ("stars", "it gives String, not true or false"),
        ("cast(id as int) < 'x'", "where"),
        ("nonsense(stars)", "is no condition"),
    ],
)
def test_a_condition_that_cannot_work_is_refused(tmp_path, where, words):
    source = Source(stored(tmp_path / "t.csv"), where=where)
    assert words in refused(source)


def test_a_cast_that_fails_names_the_value_and_the_way_out(tmp_path):
    message = refused(Source(stored(tmp_path / "t.csv", b"n\n1\nmany\n"), where="cast(n as int) > 0"))
    assert '"many"' in message
    assert "try_cast" in message


def test_an_unknown_column_names_the_nearest(tmp_path):
    message = refused(Source(stored(tmp_path / "t.csv"), columns=("My txt",)))
    assert "no column is called 'My txt'; did you mean 'My text'? (columns: id, stars, My text)" in message


def test_files_of_a_pattern_follow_each_other_by_name(tmp_path):
    stored(tmp_path / "b.csv", b"y,x\n3,4\n")
    stored(tmp_path / "a.csv", b"x,y\n1,2\n")
    assert rows(Source(str(tmp_path / "*.csv"))) == [("1", "2"), ("4", "3")]


def test_files_of_a_pattern_need_the_same_columns(tmp_path):
    stored(tmp_path / "a.csv", b"x,y\n1,2\n")
    stored(tmp_path / "b.csv", b"x,z\n1,2\n")
    message = refused(Source(str(tmp_path / "*.csv")))
    assert "b.csv has the columns x, z, but" in message
    assert "a.csv has x, y" in message


def test_parquet_files_of_a_pattern_need_the_same_types(tmp_path):
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"n": ["1"]}).write_parquet(tmp_path / "b.parquet")
    assert "b.parquet: column 'n' is String, but Int64 in" in refused(Source(str(tmp_path / "*.parquet")))


def test_json_lines_of_a_pattern_share_types_and_may_miss_keys(tmp_path):
    stored(tmp_path / "a.jsonl", b'{"n": 1}\n')
    stored(tmp_path / "b.jsonl", b'{"n": 0.5, "m": "x"}\n')
    assert rows(Source(str(tmp_path / "*.jsonl"))) == [(1.0, None), (0.5, "x")]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("keep", [0, 10, 0.5])
def test_a_truncated_binary_file_is_one_clear_error(tmp_path, suffix, keep):
    path = tmp_path / f"t.{suffix}"
    frame = pl.DataFrame({"n": range(50_000)})
    frame.write_parquet(path) if suffix == "parquet" else frame.write_ipc(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    message = refused(Source(str(path)))
    assert message.startswith(f"{path} cannot be read")
    assert "\n" not in message


def test_damage_in_the_middle_of_a_parquet_file_is_a_table_error(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"t": [f"text {n}" for n in range(50_000)]}).write_parquet(path)
    data = bytearray(path.read_bytes())
    data[1000:2000] = bytes(1000)
    path.write_bytes(data)
    assert str(path) in refused(Source(str(path)))


def test_a_ragged_row_names_its_line_through_every_layer(tmp_path):
    source = Source(stored(tmp_path / "t.csv", CSV + b"4,4\n"), where="stars is not null", columns=("id",))
    assert f"{source.path}, line 5: 2 fields, where the header has 3" in refused(source)


def test_batches_keep_the_order_and_their_size(tmp_path):
    text = "id,text\n" + "".join(f'{n},"text, {n}"\n' for n in range(120_000))
    source = Source(stored(tmp_path / "t.csv", text.encode()))
    batches = list(table.batches(source, rows=7_000))
    assert max(batch.height for batch in batches) == 7_000
    assert pl.concat(batches)["id"].to_list() == [str(n) for n in range(120_000)]


def test_a_reader_that_stops_early_leaves_nothing_running(tmp_path):
    source = Source(stored(tmp_path / "t.csv", b"a,b\n" + b"1,2\n" * 2_000_000))
    before = threading.active_count()
    batches = table.batches(source)
    assert next(batches).height == 10_000
    batches.close()
    gc.collect()  # a file left open would be a ResourceWarning, which is an error here
    assert threading.active_count() <= before + 1


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of one process alone is known on Linux only")
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_memory_does_not_grow_with_the_table(tmp_path, suffix):
    line = b"1,%s\n" % (b"x" * 400) if suffix == "csv" else b'{"a": 1, "b": "%s"}\n' % (b"x" * 400)
    head = b"a,b\n" if suffix == "csv" else b""
    peaks = []
    for count in (50_000, 250_000):
        path = stored(tmp_path / f"{count}.{suffix}", head + line * count)
        code = (
            "import re; from pathlib import Path; from journeybatch.table import Source, batches\n"
            f"assert sum(b.height for b in batches(Source({path!r}))) == {count}\n"
            "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
        )
        peaks.append(int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
        Path(path).unlink()
    assert peaks[1] - peaks[0] < 50_000  # KiB, for 80 MB more


def test_contents_are_the_same_as_long_as_every_byte_is(tmp_path):
    one, other = tmp_path / "a.csv", tmp_path / "b.csv"
    one.write_bytes(CSV)
    other.write_bytes(CSV)
    pattern = Source(str(tmp_path / "*.csv"))
    found = {
        "one": table.contents(Source(str(one))),
        "two": table.contents(pattern),
        "limited": table.contents(Source(str(one)), 1),
        "not limited": table.contents(Source(str(one)), 0),
        "columns": table.contents(Source(str(one), columns=("id",))),
        "condition": table.contents(Source(str(one), where="id > 1")),
        "format": table.contents(Source(str(one), format="tsv")),
    }
    assert None not in found.values()
    assert len(set(found.values())) == len(found)
    assert table.contents(Source(str(other))) == found["one"]  # a name is no part of a row
    stamp = one.stat()
    one.write_bytes(CSV.replace(b"1", b"7"))
    os.utime(one, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert one.stat().st_size == stamp.st_size
    changed = table.contents(pattern)
    assert changed not in (None, found["two"])
    one.write_bytes(CSV)
    other.write_bytes(CSV.replace(b"1", b"7"))
    assert table.contents(pattern) not in (None, found["two"], changed)  # they follow each other


def test_a_condition_that_asks_for_the_time_makes_another_table_each_time(tmp_path):
    path = stored(tmp_path / "a.csv")
    plain, now = (Source(path, where=condition) for condition in ("id > 1", "id > 1 and NOW() > '2000-01-01'"))
    assert table.contents(plain) == table.contents(plain)
    assert table.contents(now) != table.contents(now)
    assert None not in (table.contents(plain), table.contents(now))
    assert table.contents(Source(path, where="id >")) is None


def test_what_is_no_file_has_no_contents(tmp_path):
    assert table.contents(Source(frame=pl.DataFrame({"a": [1]}))) is None
    assert table.contents(Source(str(tmp_path / "gone.csv"))) is None
    os.mkfifo(tmp_path / "pipe.csv")
    assert table.contents(Source(str(tmp_path / "pipe.csv"))) is None


def test_importing_the_module_does_not_import_polars():
    code = "import sys, journeybatch.table, journeybatch.parquet, journeybatch.export; print('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"
