"""The prompt template: Jinja2 syntax, compiled once, rendered per row.

Strict: an unknown variable is an error before the first row, and a null cell is an error of its row unless the
template handles it (``{{ x or "none given" }}``, ``{{ x | default("…") }}``, ``{% if x %}``, ``{% if x is none
%}``). Null cells are simply not in the context, and minijinja runs in its semi-strict mode, where "undefined"
may be tested but not printed; what would still swallow it (some filters, slices) is guarded here.

Cells are data: they are never compiled, and nothing of Python can be reached from them (see ``cells``).
Rendering is bounded by fuel, which minijinja also charges for the text it makes, and by the prompt's size.
There is no clock, no randomness and no way to load other files, so the same row gives the same prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

import minijinja

from journeybatch import dialect
from journeybatch.cells import Fields, Items, json_text, shown
from journeybatch.errors import TemplateError
from journeybatch.filling import Filling
from journeybatch.records import Message, Role

if TYPE_CHECKING:
    import polars as pl

FUEL = 2_000_000
SIZE = 4 * 1024 * 1024
"""Characters one row's messages may have in all."""

# These take "undefined" for an empty text or a zero.
_LENIENT = ("count", "e", "escape", "indent", "join", "length", "truncate", "urlencode", "wordwrap")
# These would hand a null on, or show minijinja's inside.
_REMOVED = ("chain", "pprint", "zip")
# The type stub of 3.1 does not know the mode that may be tested but not printed.
_RULES: dict[str, Any] = {"undefined_behavior": "semi_strict", "pycompat": False, "fuel": FUEL}
_BUILTIN = minijinja.Environment(**_RULES)


class PromptTemplate:
    """A prompt's messages as templates over a table's columns.

    Every column is a variable of its name; ``row["My column"]`` reaches those whose name is no identifier
    (unless a column is itself called ``row``); ``row`` holds the cells that are not null. ``variables`` are the
    columns the prompt uses, in the table's order. Raises TemplateError, naming message and line, for what cannot
    work on any row.
    """

    variables: tuple[str, ...]

    def __init__(self, messages: Sequence[tuple[Role, str]], columns: Sequence[str]) -> None:
        self._environment = _environment(columns)
        self._roles = tuple(role for role, _ in messages)
        self._names = tuple(map(str, range(len(messages))))
        used: set[str] = set()
        for index, (role, source) in enumerate(messages):
            where = f"message {index + 1} ({role})" if len(messages) > 1 else "the prompt"
            used |= self._compile(str(index), source, tuple(columns), where)
        self._wants_row = "row" in used and "row" not in columns
        self.variables = tuple(name for name in columns if name in used)
        self._filling = Filling.of(messages, self.render)

    def _compile(self, name: str, source: str, columns: tuple[str, ...], where: str) -> set[str]:
        environment = self._environment
        try:
            environment.add_template(name, source)
        except minijinja.TemplateError as error:
            raise TemplateError(f"{where}, line {error.line}: {error.detail or error.message}") from None
        environment.add_template(name, dialect.guarded(source, "jb_cell"))
        dialect.refuse(source, lambda kind, word: _exists(environment, kind, word), where)
        return dialect.used(source, environment.undeclared_variables_in_str, columns, where)

    def render(self, row: Mapping[str, object]) -> tuple[Message, ...]:
        """The messages for one row, given its cells by column. Raises TemplateError with a short reason."""
        return self._render(map(row.get, self.variables))

    def render_batch(self, frame: pl.DataFrame) -> Iterator[tuple[Message, ...] | TemplateError]:
        """``render`` for every row of a frame, in order; a row's error is yielded in its place."""
        filled = self._filling.fill(frame) if self._filling else None
        return self._render_rows(frame) if filled is None else filled

    def _render_rows(self, frame: pl.DataFrame) -> Iterator[tuple[Message, ...] | TemplateError]:
        columns = [frame[name].to_list() for name in self.variables]
        for cells in zip(*columns, strict=True) if columns else repeat((), frame.height):
            try:
                messages: tuple[Message, ...] | TemplateError = self._render(cells)
            except TemplateError as error:
                messages = error
            yield messages

    def _render(self, cells: Iterable[object]) -> tuple[Message, ...]:
        named = zip(self.variables, cells, strict=True)
        render = self._environment.render_template
        try:
            if self._wants_row:
                present = {name: cell for name, cell in named if cell is not None}
                context = {name: shown(cell) for name, cell in present.items()} | {"row": Fields(present)}
            else:
                context = {name: cell if type(cell) is str else shown(cell) for name, cell in named if cell is not None}
            texts = [render(name, **context) for name in self._names]
        except minijinja.TemplateError as error:
            raise TemplateError(_reason(error)) from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise TemplateError(str(error)) from None
        if (size := sum(map(len, texts))) > SIZE:
            raise TemplateError(f"the prompt has {size:,} characters; {SIZE:,} is the most")
        return tuple(map(Message, self._roles, texts))


def _environment(columns: Sequence[str]) -> minijinja.Environment:
    environment = minijinja.Environment(
        **_RULES,
        auto_escape_callback=lambda _: False,
        finalizer=_printed,
        tests={"none": lambda value=None: value is None},
        filters={name: _strict(name) for name in _LENIENT} | {"tojson": _tojson, "items": _items, "jb_cell": _present},
    )
    for name in _REMOVED:
        environment.remove_filter(name)
    for name in ("debug", *(dialect.FUNCTIONS & set(columns))):  # a null cell must not uncover a namesake
        environment.remove_global(name)
    return environment


def _exists(environment: minijinja.Environment, kind: str, name: str) -> bool:
    try:
        environment.eval_expr(f"1|{name}" if kind == "filter" else f"1 is {name}")
    except minijinja.TemplateError as error:
        return error.kind not in ("UnknownFilter", "UnknownTest")
    except (TypeError, ValueError):
        return True  # it wants other arguments
    return True


def _present(value: Any = None) -> Any:
    if value is None:
        raise ValueError("a null is used as if it were a text")
    return value


def _strict(name: str) -> Callable[..., Any]:
    def filtered(value: Any = None, *args: Any, **kwargs: Any) -> Any:
        if value is None or (name == "join" and (None in list(value) or None in args)):
            raise ValueError(f"a null goes into the filter {name!r}")
        call = f"value|{name}(*args{', **kwargs' if kwargs else ''})"
        return _BUILTIN.eval_expr(call, value=value, args=args, kwargs=kwargs)

    return filtered


def _tojson(value: Any = None, indent: int | None = None) -> str:
    return json_text(_without_null(value), indent)


def _items(value: Any) -> Items:
    """Pairs of a struct, whose values may be null, or of a dict made in the template, whose may not."""
    fields = value._fields if isinstance(value, Fields) else _without_null(value)
    return Items([[name, fields[name]] for name in fields])


def _printed(value: Any) -> Any:
    """Last word on what ``{{ }}`` prints: lists and dicts of the template as JSON, a null never."""
    if value is None or isinstance(value, list | tuple | dict):
        return json_text(_without_null(value))
    return NotImplemented  # minijinja prints it, and knows 1.0 from 1, which Python is not told


def _without_null(value: Any) -> Any:
    if value is None:
        raise ValueError("a null would be printed")
    if isinstance(value, list | tuple):
        return [_without_null(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_null(item) for name, item in value.items()}
    return value


def _reason(error: minijinja.TemplateError) -> str:
    if error.kind == "OutOfFuel":
        return "rendering takes too much work; is there a loop, or a very large cell?"
    if missing := re.search(r"`(.+)` is undefined", error.message):
        name = missing[1]
        return f'{name} is null or missing; handle it with {{{{ {name} or "…" }}}} or {{% if {name} %}}'
    return str(error.detail or error.message)
