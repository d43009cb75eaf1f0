"""The scorer ``python``: a function of the user's own.

Its file runs as the user's own code, with all that the user may do: nothing holds it in. It is imported before
anything is sent, so that a mistake in it costs nothing. promptfoo calls ``get_assert(output, context)``; ours is
called with the answer, the target and the row (a mapping of all its columns).
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from journeybatch.errors import SpecError
from journeybatch.evaluation.score import Rows, Score, shown, text_of

_EXPECTED = "expected FILE.py:FUNCTION, such as grade.py:grade"


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``call``: the file, relative to the job file, and the function in it."""

    call: str

    def __post_init__(self) -> None:
        file, _, function = self.call.rpartition(":")
        if not file.endswith(".py") or not function.isidentifier():
            raise ValueError(f"{_EXPECTED}, found {self.call!r:.80}")


class Function(msgspec.Struct, frozen=True):
    """The user's function, and the ``file`` it stands in."""

    call: Callable[[Any, Any, Mapping[str, Any]], Any]
    file: str


def imported(source: Source, folder: Path) -> Function:
    """The function, from its file run once. Raises SpecError: no such file, an error in it, no such function."""
    file, _, name = source.call.rpartition(":")
    path = folder / file
    module_name = f"journeybatch_scorer_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SpecError(f"python: there is no file {path}; {_EXPECTED}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001  the user's code may raise anything
        raise SpecError(f"python: {_told(error, str(path))}; mend it and run again") from None
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module_name]
        raise SpecError(f"python: {path} has no function {name!r} (it has: {', '.join(known) or 'none'})")
    if inspect.iscoroutinefunction(function):
        raise SpecError(f"python: {name} in {path} is async; expected a plain function of answer, target and row")
    try:
        inspect.signature(function).bind(None, None, {})
    except TypeError:
        raise SpecError(f"python: {name} in {path} cannot be called with answer, target and row") from None
    except ValueError:  # written in C: it has no signature
        pass
    return Function(function, str(path))


def python(options: Function, answers: Sequence[Any], targets: Sequence[Any], rows: Rows) -> list[Score]:
    """What the user's function says: true or false, a number, None for unscored, or a mapping of ``value`` (also
    ``score`` or ``pass``) with ``answer`` and ``explanation`` (also ``reason``). An error in it leaves the row
    unscored."""
    return [_called(options, *each) for each in zip(answers, targets, rows, strict=True)]


def _called(options: Function, answer: Any, target: Any, row: Mapping[str, Any]) -> Score:
    said = None if answer is None else shown(text_of(answer))
    try:
        return _read(options.call(answer, target, row), said)
    except (Exception, SystemExit) as error:  # noqa: BLE001  the user's code may raise anything
        return Score(None, said, _told(error, options.file))


def _read(result: Any, said: str | None) -> Score:
    explanation = ""
    if isinstance(result, Mapping):
        found = next((result[key] for key in ("value", "score", "pass") if key in result), None)
        said = shown(text_of(result["answer"])) if result.get("answer") is not None else said
        explanation = shown(str(result.get("explanation", result.get("reason", ""))))
        result = found
    if result is None:
        return Score(None, said, explanation or "the function gave no value")
    if isinstance(result, int | float) and math.isfinite(result):
        return Score(float(result), said, explanation)
    return Score(None, said, f"expected true, false, a number or None, the function gave {result!r:.60}")


def _told(error: BaseException, file: str) -> str:
    """An error of the user's code in one line, with the last line of ``file`` it passed through."""
    line, step = getattr(error, "lineno", None), error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == file:
            line = step.tb_lineno
        step = step.tb_next
    where = file if line is None else f"{file}, line {line}"
    return shown(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}")
