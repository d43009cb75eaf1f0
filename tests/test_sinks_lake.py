"""Delta tables are merged by key, and a commit is made once."""

from __future__ import annotations

import polars as pl
import pytest
from deltalake import DeltaTable

from journeybatch.errors import TableError
from journeybatch.outlets import Sink
from journeybatch.sinks import lake

FRAME = pl.DataFrame({"id": [1, 2], "a label": ["good", None], "n": pl.Series(["1.5", "2"]).cast(pl.Decimal(18, 6))})


def rows(place) -> list[tuple]:
    return pl.scan_delta(str(place)).sort("id").collect().rows()


@pytest.mark.parametrize("store", ["disk", "bucket"])
def test_a_merge_updates_what_differs_and_adds_what_is_new(tmp_path, store, request):
    place = tmp_path / "lake" if store == "disk" else f"{request.getfixturevalue('bucket')}/merged"
    sink = Sink(delta=str(place), key=["id"])
    lake.check(sink, dict(FRAME.schema))
    lake.deliver(sink, FRAME.lazy(), "one")
    later = pl.DataFrame({"id": [2, 3], "a label": ["bad", "new"], "n": [None, None]}, schema=FRAME.schema)
    lake.check(sink, dict(FRAME.schema))
    lake.deliver(sink, later.lazy(), "two")
    assert rows(place) == [FRAME.row(0), *later.rows()]


def test_without_a_key_each_results_file_is_appended_once(tmp_path):
    sink = Sink(delta=str(tmp_path / "lake"))
    for digest in ("one", "one", "two", "one", "two"):
        lake.deliver(sink, FRAME.lazy(), digest)
    assert len(rows(tmp_path / "lake")) == 4
    assert DeltaTable(tmp_path / "lake").version() == 1


def test_columns_that_the_table_lacks_are_named(tmp_path):
    FRAME.write_delta(tmp_path / "lake")
    with pytest.raises(TableError, match=r"has no column 'more' \(columns: id, a label, n\)"):
        lake.check(Sink(delta=str(tmp_path / "lake")), {**FRAME.schema, "more": pl.String()})


def test_a_type_that_does_not_fit_is_one_line(tmp_path):
    FRAME.write_delta(tmp_path / "lake")
    with pytest.raises(TableError) as error:
        lake.deliver(Sink(delta=str(tmp_path / "lake")), FRAME.lazy().with_columns(n=pl.lit("text")), "one")
    assert "\n" not in str(error.value)
    assert len(rows(tmp_path / "lake")) == 2
