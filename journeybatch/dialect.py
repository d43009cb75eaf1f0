"""The dialect of Jinja2 that prompts are written in: what a template's source asks for, and what it may not.

Works on text alone, for minijinja's Python binding shows no syntax tree and its list of undeclared variables
leaves out slices, filter blocks and names that are assigned to themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Set
from difflib import get_close_matches

from journeybatch.errors import TemplateError

FUNCTIONS = frozenset({"cycler", "dict", "joiner", "namespace", "range"})

_STRING = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_NAME = r"[^\W\d]\w*"
_KEYWORDS = r"(?!(?:and|elif|else|if|in|is|not|or)\b)"
_BLOCK = re.compile(
    r"\{#.*?#\}|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}"
    rf"|(?P<code>\{{\{{(?:{_STRING}|.)*?\}}\}}|\{{%(?:{_STRING}|.)*?%\}})",
    re.DOTALL,
)
_IDENTIFIER = re.compile(rf"{_STRING}|(?<![\w.])(?P<name>{_NAME})")
_ROW_ITEM = re.compile(r"""\brow\s*\[\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*\]""")
_SLICED = re.compile(
    rf"(?P<base>\brow\s*\[\s*(?:{_STRING})\s*\]|(?<![\w.]){_KEYWORDS}{_NAME}(?:\.\w+)*)"
    rf"\s*\[(?=[^\]\[\"':]*(?:(?:{_STRING})[^\]\[\"':]*)*:)|{_STRING}"
)
_LOADS = re.compile(r"\{%[-+]?\s*(include|extends|import|from)\b")
_ASSIGNED = re.compile(r"\{%[-+]?\s*set\s+([\w\s,()]+?)\s*(?:=|\||[-+]?%\})")
_CALLED = re.compile(rf"{_STRING}|\|\s*(?P<filter>{_NAME})|\bis\s+(?:not\s+)?(?P<test>{_NAME})")


def code(source: str) -> Iterator[tuple[str, int]]:
    """The ``{{ }}`` and ``{% %}`` blocks of a template with their 1-based lines; not comments, not raw text."""
    for block in _BLOCK.finditer(source):
        if block["code"]:
            yield block["code"], source.count("\n", 0, block.start()) + 1


def refuse(source: str, exists: Callable[[str, str], bool], where: str) -> None:
    """Find here, and not on the first row that takes their branch, other files and unknown filters or tests.

    ``exists(kind, name)`` tells whether there is a ``filter`` or ``test`` of that name. Raises TemplateError.
    """
    for block, line in code(source):
        if loads := _LOADS.match(block):
            raise TemplateError(f"{where}, line {line}: {loads[1]} is not possible; a prompt cannot load other files")
        for called in _CALLED.finditer(block):
            kind = called.lastgroup
            if kind and not exists(kind, called[kind]):
                raise TemplateError(f"{where}, line {line}: there is no {kind} called {called[kind]!r}")


def used(source: str, undeclared: Callable[..., Iterable[str]], columns: tuple[str, ...], where: str) -> set[str]:
    """Columns the template may ask for, and ``row`` if it asks for that.

    ``undeclared(source, nested=True)`` lists variables as dotted paths. Raises TemplateError for a name that is
    no column, with the nearest one.
    """
    names = {match["name"] for block, _ in code(source) for match in _IDENTIFIER.finditer(block)}
    paths, items = _paths(source, undeclared)
    assigned = {name for match in _ASSIGNED.finditer(source) for name in re.findall(r"\w+", match[1])}
    heads = {path.partition(".")[0] for path in paths}
    fields = _row_fields(paths, items) if "row" in names and "row" not in columns else set()
    if "row" in names and not fields:
        fields = set(columns)
    for name in sorted((heads | fields) - set(columns) - FUNCTIONS - assigned - {"row", "caller"}):
        near = get_close_matches(name, columns, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TemplateError(f"{where}: no column is called {name!r}{hint} (columns: {', '.join(columns) or 'none'})")
    return (names & {*columns, "row"}) | fields


def guarded(source: str, cell: str) -> str:
    """``x[:200]`` as ``(x|cell)[:200]``: the slice of a null would be an empty list, and no problem."""
    return _sliced(source, f"({{}}|{cell})[")


def _sliced(source: str, shape: str) -> str:
    def base(match: re.Match[str]) -> str:
        return shape.format(match["base"]) if match["base"] else match[0]

    def block(match: re.Match[str]) -> str:
        return _SLICED.sub(base, match[0]) if match["code"] else match[0]

    return _BLOCK.sub(block, source)


def _paths(source: str, undeclared: Callable[..., Iterable[str]]) -> tuple[Set[str], list[str]]:
    """Undeclared names as dotted paths; ``row["My column"]`` stands there as ``row.jb_item_0``."""
    items: list[str] = []

    def attribute(match: re.Match[str]) -> str:
        items.append(match[1] if match[1] is not None else match[2])
        return f"row.jb_item_{len(items) - 1}"

    visible = _ROW_ITEM.sub(attribute, _sliced(source, "{} ~ range["))
    return set(undeclared(visible, nested=True)), items


def _row_fields(paths: Set[str], items: list[str]) -> set[str]:
    """Columns asked for by name through ``row``; none when some use of ``row`` may reach any column."""
    fields = set()
    for path in paths:
        head, _, rest = path.partition(".")
        if head == "row":
            field = rest.partition(".")[0]
            if not field:
                return set()
            item = re.fullmatch(r"jb_item_(\d+)", field)
            fields.add(items[int(item[1])] if item else field)
    return fields
