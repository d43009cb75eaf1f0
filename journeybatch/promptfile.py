"""Prompt files: plain text, Markdown with front matter, and `.prompty`.

A file without front matter is one user message, as it stands. Front matter is YAML between two lines of ``---``; below
it a line like ``system:`` begins a message, and without one all of it is the user's. In a `.prompty` what stands before
the first such line is the system's, as its specification has it. Front matter may say ``model`` and ``parameters``, for
jobs that do not; whatever else would change what is asked is an error that names the key. Where requests go is never a
prompt's to say: what a `.prompty` tells of connections is left aside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import msgspec

from journeybatch import catalog, yamlfile
from journeybatch.errors import SpecError
from journeybatch.records import Role
from journeybatch.shapes import read_text

_ROLE = re.compile(r"^[ \t]*#?[ \t]*(system|user|assistant|developer|tool|function)[ \t]*:[ \t]*$", re.I | re.M)
_FENCE = re.compile(r"^---[ \t]*$", re.M)
_DESCRIBES = {"name", "displayName", "description", "authors", "author", "tags", "version", "metadata", "$schema"}
_DESCRIBES |= {"inputs", "outputs", "sample", "title"}
_NEAREST = {
    "tools": "ask for JSON with the job's `answer.fields`",
    "config": "say `parameters`",
    "system": "write a line `system:` below the front matter",
    "base": "write the whole prompt into one file",
}
_OPTIONS = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxOutputTokens": "max_tokens",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "stopSequences": "stop",
    "seed": "seed",
}
"""What `.prompty` calls the endpoint's parameters, in its second version."""


class PromptFile(msgspec.Struct, frozen=True):
    """A prompt as a file has it: pairs of role and template, and what it says of model and parameters."""

    messages: tuple[tuple[Role, str], ...]
    model: str | None = None
    parameters: dict[str, Any] = {}


def read_prompt(path: str) -> PromptFile:
    """The prompt in a file of at most 1 MiB. Raises ValueError, naming the key or the line."""
    text, prompty = read_text(path), Path(path).suffix == ".prompty"
    front, body, line = _split(text)
    if front is None:
        if prompty:
            raise ValueError(f"{path}: a .prompty begins with front matter between two lines of ---")
        return PromptFile((("user", text),))
    try:
        data = yamlfile.read("\n" + front, path).data  # lines are counted as in the file
    except SpecError as error:
        raise ValueError(f"{error}; if this is no front matter, begin the file with an empty line") from None
    if not isinstance(data, Mapping):
        raise ValueError(f"{path}: expected keys like model and parameters between the lines of ---")
    model, parameters = _settings(path, data)
    return PromptFile(_messages(path, body, line, "system" if prompty else "user"), model, parameters)


def _split(text: str) -> tuple[str | None, str, int]:
    """Front matter (None without any), what is below it, and the line at which that begins."""
    fences = list(islice(_FENCE.finditer(text), 2))
    if len(fences) < 2 or fences[0].start() != 0:
        return None, text, 1
    first, last = fences
    return text[first.end() + 1 : last.start()], text[last.end() :], text.count("\n", 0, last.end()) + 1


def _messages(path: str, body: str, line: int, alone: Role) -> tuple[tuple[Role, str], ...]:
    marks = list(_ROLE.finditer(body))
    if not marks:
        if not body.strip():
            raise ValueError(f"{path}: there is no prompt below the front matter")
        return ((alone, body.strip()),)
    found: list[tuple[Role, str]] = []
    if before := body[: marks[0].start()].strip():
        found.append(("system", before))
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        role, content = mark[1].lower(), body[mark.end() : after.start() if after else len(body)].strip()
        where = f"{path}:{line + body.count(chr(10), 0, mark.start(1))}"
        if role not in get_args(Role):
            raise ValueError(f"{where}: a prompt speaks as {', '.join(get_args(Role))}, not as {role}")
        if not content:
            raise ValueError(f"{where}: {role} says nothing")
        found.append((role, content))  # type: ignore[arg-type]  # looked up above
    return tuple(found)


def _settings(path: str, data: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The model and the parameters that front matter names."""
    model, parameters = data.get("model"), _mapping(path, "parameters", data.get("parameters"))
    for key, value in data.items():
        if key == "template":
            _check_template(path, value)
        elif key not in {"model", "parameters", *_DESCRIBES}:
            raise ValueError(_unsupported(path, key))
    if isinstance(model, Mapping):
        model, own = _model(path, model)
        parameters = own | parameters
    if model is not None and not isinstance(model, str):
        raise ValueError(f"{path}: model: expected a model's name, found {model!r:.60}")
    if found := catalog.problems("", parameters):
        raise ValueError(f"{path}: parameters: {found[0][1]}")
    return model, parameters


def _model(path: str, told: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What a `.prompty` says of its model. Its connection is the endpoint's business."""
    connection = _mapping(path, "model.configuration", told.get("configuration"))
    names = [told.get("id"), *(connection.get(key) for key in ("azure_deployment", "model", "name"))]
    parameters = _mapping(path, "model.parameters", told.get("parameters"))
    for key, value in _mapping(path, "model.options", told.get("options")).items():
        if key not in _OPTIONS:
            raise ValueError(f"{path}: model.options.{key} is not supported; known: {', '.join(_OPTIONS)}")
        parameters[_OPTIONS[key]] = value
    if told.get("api", "chat") != "chat" or told.get("apiType", "chat") != "chat":
        raise ValueError(f"{path}: model.api: expected chat, found {told.get('api') or told.get('apiType')!r:.60}")
    if told.get("response", "first") != "first":
        raise ValueError(f"{path}: model.response: expected first: a row has one answer")
    known = {"api", "apiType", "id", "provider", "connection", "configuration", "parameters", "options", "response"}
    if more := [key for key in told if key not in known]:
        raise ValueError(_unsupported(path, f"model.{more[0]}"))
    return next((name for name in names if isinstance(name, str) and "${" not in name), None), parameters


def _check_template(path: str, value: Any) -> None:
    told = value if isinstance(value, Mapping) else {"format": value}
    kinds = [told.get("format"), told.get("type"), told.get("engine")]
    kinds = [kind.get("kind") if isinstance(kind, Mapping) else kind for kind in kinds]
    if any(kind not in (None, "jinja2", "nunjucks") for kind in kinds):
        raise ValueError(f"{path}: template: prompts are written in Jinja2 syntax (jinja2), found {value!r:.60}")


def _mapping(path: str, key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{path}: {key}: expected a mapping, found {value!r:.60}")
    return dict(value)


def _unsupported(path: str, key: str) -> str:
    nearest = _NEAREST.get(key.rpartition(".")[2], "take it out, or say it in the job")
    return f"{path}: {key} is not supported in a prompt file; {nearest}"
