"""Iceberg tables: the newest snapshot of one that a catalog keeps, or of a metadata file, batch by batch.

Where catalogs are, and what opens them, is pyiceberg's own configuration: the environment (``PYICEBERG_CATALOG__…``) or
``.pyiceberg.yaml``. So no secret stands in a job file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from journeybatch.database import Answer, answer_of
from journeybatch.errors import TableError

SCHEME = "iceberg"
ENDING = ".metadata.json"
_FOREIGN = {"pyiceberg", "sqlalchemy", "requests", "urllib3", "pyarrow", "botocore", "s3fs", "gcsfs", "adlfs"}


def is_iceberg(path: str) -> bool:
    """Whether ``path`` is an Iceberg table: an address in a catalog, a metadata file, or a table's directory."""
    if urlsplit(path).scheme == SCHEME or path.endswith(ENDING):
        return True
    return path not in ("", "-") and any((Path(path) / "metadata").glob(f"*{ENDING}"))


@contextmanager
def opened(path: str) -> Iterator[Answer]:
    """The rows of the newest snapshot. Raises TableError for whatever goes wrong."""
    try:
        import pyiceberg.catalog
        import pyiceberg.table  # noqa: F401
    except ImportError:
        raise TableError("Iceberg tables need the extra `iceberg`: pip install 'journeybatch[iceberg]'") from None
    try:
        yield answer_of(_table(path).scan().to_arrow_batch_reader())
    except TableError:
        raise
    except Exception as error:
        known = isinstance(error, OSError | ValueError | ImportError)
        if not known and type(error).__module__.partition(".")[0] not in _FOREIGN:
            raise
        raise TableError(f"{path} cannot be read as an Iceberg table: {_said(error)}") from None


def _table(path: str) -> Any:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.table import StaticTable

    if urlsplit(path).scheme != SCHEME:
        if Path(path).is_dir() and not (Path(path) / "metadata" / "version-hint.text").exists():
            raise TableError(
                f"{path}: a catalog knows which state of this Iceberg table is the newest; name it as "
                f"{SCHEME}://CATALOG/NAMESPACE.TABLE, or name one of its {ENDING} files"
            )
        return StaticTable.from_metadata(path)
    catalog, _, name = path.partition("://")[2].partition("/")
    if not catalog or "." not in name.strip("."):
        raise TableError(f"{path}: expected {SCHEME}://CATALOG/NAMESPACE.TABLE")
    return load_catalog(catalog).load_table(name)


def _said(error: Exception) -> str:
    """The first line of an error, without what may stand in the address of a catalog."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return re.sub(r"//[^/@\s]*@", "//***@", line)
