"""Iceberg tables are read as they newly stand, by a catalog's word or a metadata file's."""

from __future__ import annotations

import json
import uuid

import polars as pl
import pyarrow as pa
import pytest

import journeybatch
from journeybatch import intake
from journeybatch.emulator import Emulator
from journeybatch.errors import TableError
from journeybatch.iceberg import is_iceberg
from journeybatch.sections import Input

FRAME = pl.DataFrame({"id": [1, 2], "text": ["a", None], "tags": [["x"], []]})


@pytest.fixture
def environment(monkeypatch):
    """Sets variables of pyiceberg's, which reads them when it is imported: once in the life of a process."""
    from pyiceberg.utils.config import Config

    def told(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"PYICEBERG_CATALOG__{name}", value)
        monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())

    return told


@pytest.fixture
def lake(tmp_path, environment):
    """A catalog called `lake` on SQLite, as the environment tells of it."""
    from pyiceberg.catalog import load_catalog

    environment(LAKE__URI=f"sqlite:///{tmp_path}/catalog.db", LAKE__WAREHOUSE=f"file://{tmp_path}/w")
    catalog = load_catalog("lake")
    catalog.create_namespace("shop")
    yield catalog
    catalog.close()


def made(lake, frame=FRAME, name="shop.reviews"):
    table = lake.create_table(name, schema=frame.to_arrow().schema)
    table.append(frame.to_arrow())
    return table


def rows(path, **keys) -> list[tuple]:
    return intake.loaded(Input(path=str(path), **keys), {}).rows()


def refused(path, **keys) -> str:
    with pytest.raises(TableError) as error:
        rows(path, **keys)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_catalog_knows_the_newest_snapshot(lake):
    table = made(lake)
    assert rows("iceberg://lake/shop.reviews") == FRAME.rows()
    table.append(FRAME.head(1).to_arrow())
    assert len(rows("iceberg://lake/shop.reviews")) == 3
    table.delete("id = 1")
    assert rows("iceberg://lake/shop.reviews") == [FRAME.row(1)]


def test_a_metadata_file_is_one_state_of_a_table(lake):
    table = made(lake)
    before = table.metadata_location.removeprefix("file://")
    table.delete("id = 1")
    assert rows(before) == FRAME.rows()
    assert rows(table.metadata_location.removeprefix("file://")) == [FRAME.row(1)]


def test_a_directory_with_a_hint_is_a_table_and_one_without_asks_for_its_catalog(lake, tmp_path):
    table = made(lake)
    metadata = tmp_path / "w" / "shop" / "reviews" / "metadata"
    assert is_iceberg(str(metadata.parent))
    assert "iceberg://CATALOG/NAMESPACE.TABLE" in refused(metadata.parent)
    newest = table.metadata_location.rpartition("/")[2]
    (metadata / "version-hint.text").write_text(newest.removesuffix(".metadata.json"))
    assert rows(metadata.parent) == FRAME.rows()


def test_uuids_and_times_are_as_one_knows_them(lake):
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField, TimestamptzType, UUIDType

    name = uuid.uuid4()
    table = lake.create_table(
        "shop.u", schema=Schema(NestedField(1, "u", UUIDType()), NestedField(2, "t", TimestamptzType()))
    )
    column = pa.array([10**15], pa.timestamp("us", tz="UTC"))
    table.append(pa.table({"u": pa.array([name.bytes], pa.binary(16)), "t": column}))
    frame = intake.loaded(Input(path="iceberg://lake/shop.u"), {})
    assert frame["u"].to_list() == [str(name)]
    assert frame.schema["t"] == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("iceberg://lake/shop.none", "Table does not exist: shop.none"),
        ("iceberg://lake/reviews", "expected iceberg://CATALOG/NAMESPACE.TABLE"),
        ("iceberg://shop.reviews", "expected iceberg://CATALOG/NAMESPACE.TABLE"),
        ("iceberg://nowhere/shop.reviews", "PYICEBERG_CATALOG__NOWHERE__URI"),
        ("/nowhere/00001.metadata.json", "Failed to open local file"),
    ],
)
def test_what_is_wrong_is_one_line(lake, path, word):
    assert word in refused(path)


def test_a_metadata_file_that_is_none_is_refused(lake, tmp_path):
    for text in ("{}", "nonsense", json.dumps({"format-version": 9})):
        (tmp_path / "x.metadata.json").write_text(text)
        assert "cannot be read as an Iceberg table" in refused(tmp_path / "x.metadata.json")


def test_a_password_in_a_catalog_s_address_is_not_told(environment):
    environment(SAFE__URI="sqlite://me:hunter2@nowhere/x.db")
    assert "hunter2" not in refused("iceberg://safe/shop.reviews")


def test_the_second_night_of_a_table_asks_only_what_is_new(lake, tmp_path):
    table, emulator = made(lake, FRAME.fill_null("b")), Emulator()
    job = {
        "name": "ice",
        "input": "iceberg://lake/shop.reviews",
        "prompt": "Say {{ text }}",
        "model": "deepseek-chat",
        "api": "emulator",
        "output": str(tmp_path / "out"),
    }
    journeybatch.run(job, transport=emulator.transport())
    table.append(pl.DataFrame({"id": [3], "text": ["c"], "tags": [["y"]]}).to_arrow())
    report = journeybatch.run(job, transport=emulator.transport())
    assert (report.exit_code, report.summary["requests"]["sent"]) == (0, 1)
    assert sorted(pl.read_parquet(report.results)["id"]) == [1, 2, 3]
