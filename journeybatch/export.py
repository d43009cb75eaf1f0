"""Results for people and other programs: CSV, Excel, JSON lines, or Parquet again.

CSV and Excel get text that a spreadsheet will not run: a cell that would begin a formula is defused, control
characters become U+FFFD; numbers stay numbers, also those that stand in text columns. Lists and structs become JSON,
binary becomes hexadecimal.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from journeybatch.errors import TableError
from journeybatch.replacement import replacement

if TYPE_CHECKING:
    import polars as pl

# What Excel, LibreOffice and Google Sheets take for a formula, also behind blanks and in full width.
_FORMULA = "^(?:[\t\r\n]|[\\x00-\\x20\\x{a0}\\x{feff}]*[=+\\-@＝＋－＠])"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"

EXCEL_ROWS = 1_048_576
EXCEL_COLUMNS = 16_384
EXCEL_TEXT = 32_767
_EXACT = 10**15  # Excel keeps fifteen digits


def export(results: Path, to: Path) -> None:
    """Write a results Parquet file as ``.csv``, ``.jsonl``, ``.parquet`` or ``.xlsx``, by the name of ``to``.

    ``to`` is replaced whole or not at all. Raises TableError for another ending, for a results file that cannot be
    read, and for what does not fit into a sheet; OSError.
    """
    import polars as pl

    write = _WRITERS.get(to.suffix.lower())
    if write is None:
        raise TableError(f"{to}: an export ends in {', '.join(_WRITERS)}")
    if not results.is_file():
        raise TableError(f"there is no {results}; run the job first")
    if not to.parent.is_dir():
        raise TableError(f"{to}: the directory {to.parent} does not exist")
    if to.exists() and to.samefile(results):
        raise TableError(f"{to} is the results file itself; name another file")
    try:
        with replacement(to, shared=True) as temporary:
            if to.suffix.lower() == ".parquet":
                shutil.copyfile(results, temporary)
            else:
                write(pl.scan_parquet(results, glob=False), temporary)
    except pl.exceptions.PolarsError as error:
        raise TableError(f"{results} cannot be exported: {str(error).partition(chr(10))[0]}") from None


def export_frame(frame: pl.LazyFrame, to: Path | str) -> None:
    """Write ``frame`` as the ending of ``to`` says: a file, replaced whole or not at all, or an object store's address.
    Raises TableError for what does not fit into a sheet; PolarsError, OSError."""
    if isinstance(to, str):
        _WRITERS[PurePosixPath(to).suffix.lower()](frame, to)
        return
    with replacement(to) as temporary:
        _WRITERS[to.suffix.lower()](frame, temporary)


def plain_nested(frame: pl.LazyFrame) -> pl.LazyFrame:
    """``frame`` with the JSON of lists and structs in their place."""
    schema = frame.collect_schema()
    return frame.with_columns([_json(name) for name, dtype in schema.items() if dtype.is_nested()])


def _json(name: str) -> pl.Expr:
    import polars as pl

    struct = pl.struct(pl.col(name).alias("v")).struct.json_encode()  # {"v":…}
    return pl.when(pl.col(name).is_not_null()).then(struct.str.slice(5).str.head(-1)).alias(name)


def _csv(frame: pl.LazyFrame, to: Path | str) -> None:
    import polars as pl

    frame = _plain(frame)
    schema = frame.collect_schema()
    header = pl.DataFrame({"name": schema.names()}, schema={"name": pl.String})
    names = header.select(_defused(pl.col("name")))["name"].to_list()
    texts = [_defused(pl.col(name)) for name, dtype in schema.items() if dtype == pl.String]
    frame.with_columns(texts).rename(dict(zip(schema.names(), names, strict=True))).sink_csv(to, maintain_order=True)


def _jsonl(frame: pl.LazyFrame, to: Path | str) -> None:
    import polars as pl
    import polars.selectors as cs

    frame = frame.with_columns(cs.decimal().cast(pl.Float64), cs.binary().bin.encode("hex"))
    frame.sink_ndjson(to, maintain_order=True)


def _parquet(frame: pl.LazyFrame, to: Path | str) -> None:
    frame.sink_parquet(to, maintain_order=True)


def _xlsx(frame: pl.LazyFrame, to: Path | str) -> None:
    import polars as pl
    import xlsxwriter

    frame = _plain(frame)
    names, rows = frame.collect_schema().names(), frame.select(pl.len()).collect().item()
    if rows >= EXCEL_ROWS or len(names) > EXCEL_COLUMNS:
        raise TableError(
            f"{rows:,} rows of {len(names):,} columns do not fit into a sheet, which holds {EXCEL_ROWS - 1:,} rows of "
            f"{EXCEL_COLUMNS:,}; export .csv or .parquet"
        )
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "use_zip64": True}
    with xlsxwriter.Workbook(to, options) as book:
        book.set_properties({"created": datetime.datetime(2000, 1, 1)})  # the same bytes every time
        sheet = book.add_worksheet("results")
        sheet.freeze_panes(1, 0)
        for column, name in enumerate(names):
            sheet.write_string(0, column, name[:EXCEL_TEXT])
        batches = frame.collect_batches(chunk_size=10_000, maintain_order=True)
        for row, cells in enumerate((cells for batch in batches for cells in batch.iter_rows()), 1):
            for column, cell in enumerate(cells):
                if cell is not None:
                    _write_cell(sheet, row, column, cell)


def _write_cell(sheet: Any, row: int, column: int, cell: Any) -> None:
    if isinstance(cell, bool):
        sheet.write_boolean(row, column, cell)
    elif isinstance(cell, int | float | Decimal) and -_EXACT < cell < _EXACT:  # not NaN, not infinite
        sheet.write_number(row, column, cell)
    else:
        text = cell if isinstance(cell, str) else str(cell)
        sheet.write_string(row, column, text if len(text) <= EXCEL_TEXT else f"{text[: EXCEL_TEXT - 6]}…[cut]")


def _plain(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Text, numbers and booleans, and of dates and times their ISO 8601 text; texts without control characters."""
    import polars as pl

    def plain(name: str, dtype: pl.DataType) -> pl.Expr:
        column = pl.col(name)
        if dtype.is_nested():
            column = _json(name)
        elif isinstance(dtype, pl.Binary):
            column = column.bin.encode("hex")
        elif dtype.is_temporal():
            column = column.dt.to_string("iso:strict")
        elif dtype.is_numeric() or isinstance(dtype, pl.Boolean):
            return column
        return column.cast(pl.String).str.replace_all(_CONTROL, "\ufffd").alias(name)

    return frame.select([plain(name, dtype) for name, dtype in frame.collect_schema().items()])


def _defused(text: pl.Expr) -> pl.Expr:
    import polars as pl

    formula = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    return pl.when(formula).then(pl.lit("'") + text).otherwise(text).name.keep()


_WRITERS: dict[str, Callable[[pl.LazyFrame, Path | str], None]] = {
    ".csv": _csv,
    ".xlsx": _xlsx,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
