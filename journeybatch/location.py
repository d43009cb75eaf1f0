"""Where a table is: a path or a pattern, as files and their format."""

from __future__ import annotations

import glob
from difflib import get_close_matches
from pathlib import Path, PurePath

from journeybatch.errors import TableError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
    ".xlsx": "xlsx",
}
_ALIASES = {"ndjson": "jsonl", "ipc": "arrow"}
_PACKED = {".gz", ".zst", ".bz2", ".xz", ".zip"}
_SHEETS = {".xls", ".xlsb", ".ods"}


def located(path: str) -> list[Path]:
    """The files that ``path`` means, a pattern's sorted by name. Raises TableError if there is none."""
    if path in ("", "-"):
        raise TableError("standard input has to be stored in a file first, with its format named")
    file = Path(path)
    if file.is_file():
        return [file]
    if file.is_dir():
        raise TableError(f"{path} is a directory; name a file in it, or a pattern such as {file / '*.csv'}")
    if file.exists():
        raise TableError(f"{path} is not a regular file; use - to read from standard input")
    if not glob.has_magic(path):
        raise _absent(file)
    names = glob.glob(path, recursive=True)  # noqa: PTH207  # pathlib has no absolute patterns
    if files := sorted(Path(name) for name in names if Path(name).is_file()):
        return files
    raise TableError(f"no file matches {path}")


def table_format(file: PurePath, named: str | None) -> str:
    """csv, tsv, jsonl, parquet, arrow or xlsx: what is ``named``, else what the extension says. Raises TableError."""
    suffix = file.suffix.lower()
    if suffix in _PACKED:
        raise TableError(f"{file} is compressed; unpack it first")
    if suffix in _SHEETS and named in (None, "xlsx"):
        raise TableError(f"{file}: of spreadsheets only .xlsx is read; save it as that, or as CSV")
    found = _ALIASES.get(named, named) if named else FORMATS.get(suffix)
    if found is None or found not in FORMATS.values():
        what = f"unknown format {named!r}" if named else f"cannot tell the format from the name {file.name!r}"
        raise TableError(f"{file}: {what}; set `format` to one of {', '.join(dict.fromkeys(FORMATS.values()))}")
    return found


def is_delta(path: str) -> bool:
    """Whether ``path`` is the directory of a Delta table."""
    return path not in ("", "-") and (Path(path) / "_delta_log").is_dir()


def _absent(file: Path) -> TableError:
    if not file.parent.is_dir():
        return TableError(f"there is no {file}: the directory {file.parent} does not exist")
    near = get_close_matches(file.name, [entry.name for entry in file.parent.iterdir()], n=1)
    return TableError(f"there is no {file}" + (f"; did you mean {near[0]}?" if near else ""))
