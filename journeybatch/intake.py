"""What is read once and kept: standard input, databases, addresses, spreadsheets, lake tables, polars frames.

Their rows are stored as one Arrow file, and everything after that reads the file: a database's rows are those of one
moment, and an object store is asked once a run.
"""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from journeybatch import database, iceberg, table
from journeybatch.errors import TableError
from journeybatch.location import is_delta, located, table_format
from journeybatch.replacement import replacement
from journeybatch.sections import Input
from journeybatch.shapes import is_url

if TYPE_CHECKING:
    import polars as pl

SPOOLED = "input.arrow"
STORES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl", "hf")


def spools(given: Input) -> bool:
    """Whether the rows of ``given`` are stored before they are used."""
    path = given.path or ""
    if given.frame is not None or given.database is not None or path == "-" or is_url(path):
        return True
    sheet = given.format is None and path.lower().endswith(".xlsx")
    return sheet or given.format in ("delta", "iceberg", "xlsx") or is_delta(path) or iceberg.is_iceberg(path)


def spool(given: Input, to: Path, environ: Mapping[str, str]) -> None:
    """Store the rows of ``given`` as the Arrow file ``to``, whole or not at all. Raises TableError, OSError."""
    path = given.path or ""
    if given.frame is not None:
        spool_frame(given.frame, to)
    elif given.database is not None:
        with database.asked(database.address(given.database, environ), given.query or "") as answer:
            spool_frame(table.streamed(lambda: answer.batches, dict(answer.schema)), to)
    elif path == "-":
        spool_stream(sys.stdin.buffer, to, given.format)
    elif given.format == "iceberg" or iceberg.is_iceberg(path):
        with iceberg.opened(path) as answer:
            spool_frame(table.streamed(lambda: answer.batches, dict(answer.schema)), to)
    elif given.format == "delta" or is_delta(path):
        _spool_delta(path, to)
    elif is_url(path):
        _spool_address(path, given.format, to)
    else:
        _spool_sheet(path, given, to)


def loaded(given: Input, environ: Mapping[str, str]) -> pl.DataFrame:
    """The rows of ``given`` for a dry run, which leaves no copy of them anywhere. Raises TableError, OSError."""
    import polars as pl

    with TemporaryDirectory() as folder:
        path = Path(folder) / SPOOLED
        spool(given, path, environ)
        return pl.read_ipc(path.read_bytes())


def spool_frame(frame: object, to: Path) -> None:
    """Store a polars DataFrame or LazyFrame as an Arrow file, whole or not at all. Raises TableError, OSError."""
    source = table.Source(frame=frame)
    with table.explained(source):
        _store(table.whole(source), to)


def _store(frame: pl.LazyFrame, to: Path) -> None:
    with replacement(to) as temporary:
        frame.sink_ipc(temporary, compression="zstd", maintain_order=True)


def spool_stream(stream: BinaryIO, to: Path, format: str | None) -> None:
    """Store the rows of a stream in ``format`` as an Arrow file, whole or not at all. Raises TableError, OSError."""
    if format is None:
        raise TableError("standard input has no name to tell the format from; set `input.format`")
    if format in ("xlsx", "delta", "iceberg"):
        raise TableError(f"standard input cannot be of the format {format}; name the file")
    with _raw(to, "standard input") as raw:
        with replacement(raw) as temporary, temporary.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
        _spool_file(raw, format, to)


def _spool_file(file: Path, format: str, to: Path) -> None:
    source = table.Source(str(file), format=format)
    with table.explained(source):
        spool_frame(table.whole(source), to)


@contextmanager
def _raw(to: Path, name: str) -> Iterator[Path]:
    """A file beside ``to`` for bytes as they came, gone afterwards; errors call it by ``name``."""
    raw = to.with_name(f".{to.name}.raw")
    try:
        yield raw
    except TableError as error:
        raise TableError(str(error).replace(str(raw), name)) from None
    finally:
        raw.unlink(missing_ok=True)


def _spool_address(address: str, format: str | None, to: Path) -> None:
    """Fetch with polars' own object store: Parquet and Arrow by column, text as its lines, read as a local file is."""
    import polars as pl

    if urlsplit(address).scheme.lower() not in STORES:
        raise TableError(f"{address}: expected a path, or an address that begins with {', '.join(STORES)} and ://")
    path = urlsplit(address).path
    try:
        kind = table_format(PurePosixPath(path), format)
    except TableError as error:
        raise TableError(str(error).replace(path, address, 1)) from None
    if kind == "xlsx":
        raise TableError(f"{address}: spreadsheets are read from files; copy it to one first")
    with reached(address), _raw(to, address) as raw:
        if kind == "parquet":
            _store(pl.scan_parquet(address, hive_partitioning=False), to)
        elif kind == "arrow":
            _store(pl.scan_ipc(address, hive_partitioning=False), to)
        else:
            with replacement(raw) as temporary, temporary.open("wb") as file:
                for batch in pl.scan_lines(address, name="line").collect_batches(maintain_order=True):
                    file.writelines(f"{line}\n".encode() for line in batch["line"])
            _spool_file(raw, kind, to)


def _spool_delta(path: str, to: Path) -> None:
    """The newest version of a Delta table, read in one go."""
    import polars as pl

    try:
        import deltalake.exceptions
    except ImportError:
        raise TableError("Delta tables need the extra `delta`: pip install 'journeybatch[delta]'") from None
    with reached(path):
        try:
            _store(pl.scan_delta(path), to)
        except deltalake.exceptions.DeltaError as error:
            raise TableError(f"{path} cannot be read as a Delta table: {_first_line(error)}") from None


def _spool_sheet(path: str, given: Input, to: Path) -> None:
    """The named sheet of an Excel file, or its first; a column of numbers and texts is text."""
    import polars as pl

    try:
        import fastexcel
    except ImportError:
        raise TableError("Excel files need the extra `excel`: pip install 'journeybatch[excel]'") from None
    files = located(path)
    frames: list[pl.DataFrame] = []
    for file in files:
        try:
            frame = pl.read_excel(file, sheet_name=given.sheet, infer_schema_length=None)
        except (fastexcel.FastExcelError, pl.exceptions.PolarsError, ValueError) as error:
            where = f"the sheet {given.sheet!r} of " if given.sheet else ""
            known = _sheets(file)
            hint = f" (sheets: {', '.join(known)})" if known else "; is it an Excel file?"
            raise TableError(f"{where}{file} cannot be read: {_first_line(error)}{hint}") from None
        if frames and frame.schema != frames[0].schema:
            raise TableError(f"{file} has other columns than {files[0]}; files that are read together need the same")
        frames.append(frame)
    spool_frame(pl.concat(frames), to)


def _sheets(file: Path) -> list[str]:
    import fastexcel

    try:
        return list(fastexcel.read_excel(file).sheet_names)
    except fastexcel.FastExcelError:
        return []


@contextmanager
def reached(address: str, *, disk: bool = True) -> Iterator[None]:
    """What an object store says, as one TableError that says who was to be asked for permission; so, too, what a
    ``disk`` says."""
    from polars.exceptions import PolarsError

    try:
        with warnings.catch_warnings(action="ignore"):  # of a region that is not set
            yield
    except (PolarsError, OSError) as error:
        if isinstance(error, OSError) and not disk and not is_url(address):
            raise
        raise TableError(f"{address} cannot be reached or read: {_reason(address, error)}") from None


def _reason(address: str, error: Exception) -> str:
    """``error`` of an object store (or a disk) in a sentence, with what to look at."""
    text = re.sub(r"<\?xml.*| \(path: .*", "", _first_line(error)).strip().rstrip(":")
    code = re.search(r"<Code>(\w+)</Code>.*?<Message>([^<]*)", str(error), re.DOTALL)
    said = f"{code[1]}: {code[2]}" if code else text.removeprefix("object-store error: ")
    variables = _VARIABLES.get(urlsplit(address).scheme.lower()[:2], "")
    if re.search(r"token request|Account must be specified|instance metadata|No credentials", said):
        return f"no credentials for it were found{f'; set {variables}' if variables else ''}"
    if re.search(r"AccessDenied|Forbidden|403|InvalidAccessKey|SignatureDoesNotMatch|401", said + text):
        said += f"; check the credentials in the environment ({variables}) and what they may do"
    return said


_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "gc": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "ab": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "ad": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "hf": "HF_TOKEN",
}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
