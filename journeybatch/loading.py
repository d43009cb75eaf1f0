"""From a job file to a checked JobSpec: reading, defaults, overrides, and errors as sentences.

Every problem of a job is named at once, one line each: ``FILE:LINE:COLUMN: where: what``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from journeybatch import conflicts, spec, wording, yamlfile
from journeybatch.errors import SpecError
from journeybatch.shapes import Origin, absolute, is_url
from journeybatch.spec import SHORTHANDS, JobSpec
from journeybatch.yamlfile import Document, Key

Trail = tuple[Key, ...]
_PATHS = {
    *("input", "input.path", "output", "prompt.file", "api.key_file", "answer.schema", "limits.day_ledger"),
    "notify.metrics",
}
_REPLACES = {
    "input.path": {"database", "query"},
    "input.database": {"path", "format", "sheet"},
    "api.base_url": {"kind"},
    "api.kind": {"base_url"},
    "engine.address": {"kind"},
    "prompt.user": {"messages", "file"},
    "prompt.file": {"messages", "user"},
    "prompt.messages": {"user", "system", "file"},
    "answer.column": {"fields", "schema"},
    "answer.fields": {"column", "schema"},
    "answer.schema": {"column", "fields"},
}


def load_job(
    source: Path | str | Mapping[str, Any] | JobSpec,
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> JobSpec:
    """The job in a YAML file, a dict or a JobSpec, checked and frozen.

    ``overrides`` are dotted keys with their values (``{"limits.credits": 50}``); paths in them are relative to
    the working directory, paths in a file to the file. ``defaults`` (the user's) stand under the job's own keys.
    ``environ`` is what ``${env:NAME}`` is looked up in. Raises SpecError with every problem found.
    """
    document, path, frame = _open(source)
    if not isinstance(document.data, dict):
        raise SpecError(f"{document.where(())}: expected a job: keys like input, prompt and model")
    data = {key: _expand(key, value) for key, value in document.data.items()}
    for key, value in (overrides or {}).items():
        if key in ("input", "input.frame") and _is_frame(value):
            frame, data["input"] = value, {}
        else:
            frame = None if key in ("input", "input.path") else frame
            _put(data, key, _from_here(key, value))
    _put_under(data, defaults or {})
    stem = re.sub(r"[^\w.-]+", "-", path.stem).strip("-.") if path else ""
    origin = Origin(path.parent.resolve() if path else Path.cwd(), stem or "job", environ or {})
    job = checked(JobSpec, Document(document.name, data, document.root), origin, tuple(overrides or ()), frame)
    return spec.attach(job, path, frame)


def checked(
    kind: type[spec.Checked],
    document: Document,
    origin: Origin,
    overrides: tuple[str, ...] = (),
    frame: Any = None,
) -> spec.Checked:
    """``document`` as a ``kind``. Raises SpecError, a line for each problem, in the order of the file."""
    found = spec.check(kind, document.data, origin)
    errors = found if isinstance(found, list) else []
    problems = [wording.problem(kind, error) for error in errors if not wording.is_echo(error)]
    if kind is JobSpec:
        problems += conflicts.raw(document.data, frame is not None)
        problems += conflicts.checked(found) if isinstance(found, JobSpec) else []
    problems += [(trail, message, False) for trail, message in _texts((), document.data)]
    if problems or isinstance(found, list):
        raise SpecError("\n".join(_placed(problems, document, overrides)))
    return found


def dump(job: JobSpec) -> str:
    """YAML text of ``job`` as it ran: defaults filled in, paths absolute, no secrets. ``load_job`` reads it."""
    return yamlfile.write(spec.plain(job))


def _open(source: Path | str | Mapping[str, Any] | JobSpec) -> tuple[Document, Path | None, Any]:
    """What ``source`` says, the file it is from, and the frame given for a table."""
    if isinstance(source, JobSpec):
        data = spec.plain(source)
        if source.input.frame is not None:
            del data["input"]["path"]
        return Document("job", data), source.path, source.input.frame
    if isinstance(source, str | Path):
        return yamlfile.read_file(Path(source)), Path(source), None
    data = dict(source)
    given = data.get("input")
    if _is_frame(given):
        return Document("job", {**data, "input": {}}), None, given
    if isinstance(given, Mapping) and _is_frame(given.get("frame")):
        data["input"] = {key: value for key, value in given.items() if key != "frame"}
        return Document("job", data), None, given["frame"]
    return Document("job", data), None, None


def _is_frame(value: Any) -> bool:
    # asked without importing polars, which takes longer than everything else here
    return type(value).__module__.startswith("polars.") and hasattr(value, "collect_schema")


def _expand(key: Any, value: Any) -> Any:
    value = SHORTHANDS[key](value) if key in SHORTHANDS else value
    return dict(value) if isinstance(value, Mapping) else value


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted ``key``; what cannot stand beside it in its mapping goes."""
    section, _, rest = key.partition(".")
    if not rest:
        data[section] = _expand(section, value)
        return
    steps = [section, rest] if section == "credits" else key.split(".")  # models have dots in their names
    inner = data
    for step in steps[:-1]:
        below = inner.get(step)
        inner[step] = dict(below) if isinstance(below, Mapping) else {}
        inner = inner[step]
    for other in _REPLACES.get(key, ()):
        inner.pop(other, None)
    inner[steps[-1]] = value


def _put_under(data: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    for key, value in defaults.items():
        given = data.get(key)
        if key == "api" and isinstance(given, Mapping) and given.get("base_url") is not None:
            continue  # the user's key is meant for JourneyAPI
        if isinstance(value, Mapping) and isinstance(given, Mapping):
            data[key] = {**value, **given}
        elif key not in data:
            data[key] = dict(value) if isinstance(value, Mapping) else value


def _from_here(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _from_here(f"{key}.{name}", item) for name, item in value.items()}
    text = str(value) if isinstance(value, Path) else value
    if key not in _PATHS or not isinstance(text, str) or not text or text == "-" or is_url(text) or "${" in text:
        return value
    try:
        return absolute(text, Path.cwd())
    except ValueError:
        return value


def _texts(trail: Trail, value: Any) -> Iterator[tuple[Trail, str]]:
    """Lone surrogates, which a job from Python can hold and no file or request can."""
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        yield trail, "expected text, found half a surrogate pair in it"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts((*trail, str(key)), item)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _texts((*trail, number), item)


def _placed(problems: list[wording.Problem], document: Document, overrides: tuple[str, ...]) -> list[str]:
    """Each problem with where it stands, in the order of the file, what overrides brought last."""
    lines: dict[str, tuple[int, int]] = {}
    for trail, message, on_key in problems:
        dotted = ".".join(map(str, trail))
        by = next((key for key in overrides if dotted and _related(dotted, key)), None)
        where = f"override {by!r}" if by else document.where(trail, key=on_key)
        place = (10**9, 0) if by else document.position(trail, key=on_key) or (0, 0)
        within = ".".join(map(str, trail[:-1] if on_key else trail))
        lines.setdefault(f"{where}: {within}: {message}" if within and within != by else f"{where}: {message}", place)
    return sorted(lines, key=lambda line: lines[line])


def _related(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
