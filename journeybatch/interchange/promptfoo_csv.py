"""promptfoo's tests in a CSV file: columns are variables, and those called `__expected…` are assertions in one line.

Such a line is `TYPE: VALUE`, as in `icontains: hello`, `not-equals: 4` or `levenshtein(3): hello`; what does not begin
with a type is the whole answer that is expected. White space around the value is not part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from journeybatch import delimited
from journeybatch.interchange.assertions import KNOWN

_LINE = re.compile(r"(not-)?([a-z][a-z-]*)(?:\((\d+(?:\.\d+)?)\))?(?:\s*:(.*))?", flags=re.S)
_OLD = {"grade": "llm-rubric", "fn": "javascript", "eval": "javascript"}
_ELSEWHERE = {
    "__prefix": "; write it into the prompt: {{ … }} is a column",
    "__suffix": "; write it into the prompt: {{ … }} is a column",
    "__threshold": "; the mean of a test's assertions is its score",
    "__providerOutput": "; replies are asked for",
}
_SAYS_NOTHING = ("__description", "__metadata")


def read_tests(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Each row as a test; what of it is left out goes into ``notes``. Raises TableError with the line."""
    for frame in delimited.frames(path, ","):
        for column in frame.columns:
            if column.startswith("__") and not column.startswith(("__expected", "__metric", *_SAYS_NOTHING)):
                notes.append(f"tests: the column {column} is left out{_ELSEWHERE.get(column, '')}")
        for row in frame.iter_rows(named=True):
            expected = [str(cell) for name, cell in row.items() if name.startswith("__expected") and cell]
            metric = {"metric": row["__metric"]} if row.get("__metric") else {}
            yield {
                "vars": {name: cell or "" for name, cell in row.items() if not name.startswith("__")},
                "assert": [{**assertion(text), **metric} for text in expected if text.strip()],
            }


def assertion(text: str) -> dict[str, Any]:
    """What an `__expected` cell says, as an assertion of a configuration."""
    found = _LINE.fullmatch(text.strip())
    kind = found and _OLD.get(found[2], found[2])
    if found is None or kind not in KNOWN:
        return {"type": "equals", "value": text}
    threshold = {"threshold": float(found[3])} if found[3] else {}
    value = {"value": found[4].strip()} if found[4] and found[4].strip() else {}
    return {"type": (found[1] or "") + str(kind), **value, **threshold}
