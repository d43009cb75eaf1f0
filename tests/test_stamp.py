"""A view that would come out the same is not written again; one that might not, is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from conftest import Flow

from journeybatch.stamp import fingerprint, note, stamp, stands

TABLE = pl.DataFrame({"a": [1, 2, None], "b": ["x", None, "z"]})
VIEWS = ("results.parquet", "requests.parquet")


def test_the_same_cells_have_the_same_stamp_in_every_process():
    code = (
        "import polars as pl; from journeybatch.stamp import stamp;"
        "print(stamp({'n': 1}, [pl.DataFrame({'a': [1, 2, None], 'b': ['x', None, 'z']})]))"
    )
    environ = {**os.environ, "PYTHONHASHSEED": "7"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert said.stdout.strip() == stamp({"n": 1}, [TABLE])


@pytest.mark.parametrize(
    "other",
    [
        TABLE.reverse(),
        TABLE.rename({"a": "c"}),
        TABLE.cast({"a": pl.Int32}),
        TABLE.with_columns(b=pl.lit("x")),
        TABLE.head(2),
    ],
    ids=["order", "name", "type", "cell", "rows"],
)
def test_another_table_has_another_stamp(other):
    assert stamp({}, [other]) != stamp({}, [TABLE])


COLOURS = pl.Enum(["red", "blue"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.Series(["a", "b"]), pl.Series(["b", "a"])),
        (pl.Series(["a", None]), pl.Series(["a", ""])),
        (pl.Series(["a"]), pl.Series(["a", "a"])),
        (pl.Series([1]), pl.Series([1.0])),
        (pl.Series([1], dtype=pl.Int32), pl.Series([1], dtype=pl.Int64)),
        (pl.Series([0.0]), pl.Series([-0.0])),
        (pl.Series([float("nan")]), pl.Series([None], dtype=pl.Float64)),
        (pl.Series([[0.0]]), pl.Series([[-0.0]])),
        (pl.Series([[1], [2, 3]]), pl.Series([[1, 2], [3]])),
        (pl.Series([{"a": 0.0}]), pl.Series([{"a": -0.0}])),
        (pl.Series(["red"], dtype=COLOURS), pl.Series(["blue"], dtype=pl.Enum(["blue", "red"]))),
        (pl.Series(["red"], dtype=pl.Categorical), pl.Series(["blue"], dtype=pl.Categorical)),
        (pl.Series(["1.5"]).cast(pl.Decimal(9, 1)), pl.Series(["1.50"]).cast(pl.Decimal(9, 2))),
        (pl.Series([0], dtype=pl.Datetime("ns")), pl.Series([1], dtype=pl.Datetime("ns"))),
        (pl.Series([[0]], dtype=pl.List(pl.Datetime("ns"))), pl.Series([[1]], dtype=pl.List(pl.Datetime("ns")))),
        (pl.Series([1]).cast(pl.Datetime("us")), pl.Series([1]).cast(pl.Datetime("us", "UTC"))),
    ],
    ids=lambda series: f"{series.dtype}-{series.to_list()}",
)
def test_cells_that_a_template_would_print_otherwise_have_another_fingerprint(one, other):
    assert fingerprint(one.to_frame("x")) != fingerprint(other.to_frame("x"))


PI = 0xC0AC29B7C97C50DD
"""A number that polars' hashes are made with, whatever their seed."""
PRAISE, BLAME = (
    f"syiokgibvagmfdwt%r!]fF,?fsF=IC8r The product is {judged} refers to this."
    for judged in ("is wonderful!!! ", "is a total fraud")
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.Series([PRAISE]), pl.Series([BLAME])),
        (pl.Series([b"aaaa" + PI.to_bytes(8, "little")]), pl.Series([b"bbbb" + PI.to_bytes(8, "little")])),
        (
            pl.Series([(PI - 2**64) * 2**64 + 1], dtype=pl.Int128),
            pl.Series([(PI - 2**64) * 2**64 + 2], dtype=pl.Int128),
        ),
    ],
    ids=["text", "bytes", "numbers"],
)
def test_cells_that_were_made_to_have_the_same_hash_in_polars_have_another_fingerprint(one, other):
    assert fingerprint(one.to_frame("x")) != fingerprint(other.to_frame("x"))
    assert stamp({}, [one.to_frame("x")]) != stamp({}, [other.to_frame("x")])


def test_a_fingerprint_is_the_same_in_every_process_and_however_a_frame_is_cut():
    frame = pl.DataFrame({"a": [1.5, None, 3.0], "b": ["x", None, "z"], "c": [[1], [], None], "d": [{"e": 1}] * 3})
    assert fingerprint(pl.concat([frame.head(1), frame.slice(1)], rechunk=False)) == fingerprint(frame)
    code = (
        "import polars as pl; from journeybatch.stamp import fingerprint;"
        "f = pl.DataFrame({'a': [1.5, None, 3.0], 'b': ['x', None, 'z'], 'c': [[1], [], None], 'd': [{'e': 1}] * 3});"
        "print(fingerprint(f).hex())"
    )
    environ = {**os.environ, "PYTHONHASHSEED": "7"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert said.stdout.strip() == fingerprint(frame).hex()


def test_a_file_stands_as_long_as_it_is_the_one_that_was_noted(tmp_path):
    file = tmp_path / "view"
    assert not stands(file, "this")
    file.write_bytes(b"made")
    assert not stands(file, "this")
    note(file, "this")
    assert stands(file, "this")
    assert not stands(file, "that")
    file.write_bytes(b"mode")
    assert not stands(file, "this")


def written(flow: Flow) -> dict[str, int]:
    """The views' inodes: a view that is written again is another file."""
    return {name: (flow.output / name).stat().st_ino for name in VIEWS}


def held(flow: Flow) -> list[Path]:
    """Names for the views' files, so that no inode is used again."""
    names = [flow.path / f"{name}.{os.urandom(4).hex()}" for name in VIEWS]
    for name, view in zip(names, VIEWS, strict=True):
        os.link(flow.output / view, name)
    return names


def test_a_night_that_changed_nothing_writes_no_view(flow: Flow):
    flow.run()
    before = written(flow)
    held(flow)
    report = flow.run()
    assert written(flow) == before
    assert report.summary["rows"]["answered"] == 12
    assert len(flow.emulator.attempts) == 12


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_that_somebody_changed_is_written_again(flow: Flow, name: str):
    flow.run()
    whole = (flow.output / name).read_bytes()
    for spoiled in (whole[:-1], whole[:100] + b"?" + whole[101:], None):
        (flow.output / name).unlink()
        if spoiled is not None:
            (flow.output / name).write_bytes(spoiled)
        flow.run()
        assert (flow.output / name).read_bytes() == whole


def test_a_column_that_is_not_asked_about_is_news_to_the_results_alone(flow: Flow):
    flow.write([f"thing {n}" for n in range(12)], note=["old"] * 12)
    flow.run()
    before = written(flow)
    held(flow)
    flow.write([f"thing {n}" for n in range(12)], note=["old"] * 11 + ["new"])
    flow.run()
    after = written(flow)
    assert flow.results()["note"].to_list()[-1] == "new"
    assert after["results.parquet"] != before["results.parquet"]
    assert after["requests.parquet"] == before["requests.parquet"]
    assert len(flow.emulator.attempts) == 12


@pytest.mark.parametrize(
    "change",
    [
        {"output_prefix": "x_"},
        {"answer": {"column": "said"}},
        {"limit": 5},
    ],
    ids=["prefix", "column", "limit"],
)
def test_another_way_of_telling_is_another_view(flow: Flow, change):
    flow.run()
    before = written(flow)
    held(flow)
    options = {"limit": change.pop("limit")} if "limit" in change else {}
    flow.run(options, **change)
    assert written(flow)["results.parquet"] != before["results.parquet"]
    assert len(flow.emulator.attempts) == 12


def test_export_writes_whatever_is_asked_of_it(flow: Flow, call):
    flow.run()
    before = written(flow)
    held(flow)
    assert call("export", flow.output).code == 0
    assert all(written(flow)[name] != before[name] for name in VIEWS)
