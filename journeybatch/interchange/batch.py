"""An input file of OpenAI's Batch API becomes jobs: its lines are rows, and what they have in common is the job.

A line is ``{"custom_id", "method": "POST", "url": "/v1/chat/completions", "body"}``. A job has one model, one set of
parameters and one sequence of roles, so lines that differ in these become a job each. What a job cannot say is an
error that names the line: nothing is left out in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from journeybatch import catalog, yamlfile
from journeybatch.errors import TableError
from journeybatch.records import Role

URL = "/v1/chat/completions"
MOST_JOBS = 100
MOST_PROBLEMS = 20
ID = "custom_id"


class Line(msgspec.Struct, frozen=True):
    """One request of a file: its id, what it has in common with others, and the texts of its messages."""

    custom_id: str
    model: str
    parameters: dict[str, Any]
    roles: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def kind(self) -> tuple[str, str, tuple[str, ...]]:
        """What a job can have only one of."""
        return self.model, json.dumps(self.parameters, sort_keys=True), self.roles


class Batch(msgspec.Struct, frozen=True):
    """The lines that make one job."""

    lines: list[Line]

    @property
    def columns(self) -> tuple[str, ...]:
        """The table's columns for the messages: their roles, with a number where a role speaks more than once."""
        roles = self.lines[0].roles
        counts = {role: roles.count(role) for role in roles}
        seen: dict[str, int] = {}
        names = []
        for role in roles:
            seen[role] = seen.get(role, 0) + 1
            names.append(role if counts[role] == 1 else f"{role}_{seen[role]}")
        return tuple(names)

    def table(self) -> str:
        """The rows as JSON lines."""
        columns = (ID, *self.columns)
        rows = (dict(zip(columns, (line.custom_id, *line.texts), strict=True)) for line in self.lines)
        return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)

    def job(self, name: str, table: str, api: str | None) -> dict[str, Any]:
        """The job file over the table called ``table``, as data."""
        first = self.lines[0]
        turns = [
            {"role": role, "content": f"{{{{ {column} }}}}"}
            for role, column in zip(first.roles, self.columns, strict=True)
        ]
        return {
            "name": name,
            "input": table,
            "prompt": {"messages": turns},
            "model": first.model,
            **({"parameters": first.parameters} if first.parameters else {}),
            **({"api": api} if api else {}),
            "output": f"runs/{name}",
        }


def read_batches(path: Path) -> list[Batch]:
    """The jobs in an input file, in the order in which they begin. The whole file is held: the Batch API takes at most
    200 MB.

    Raises:
        TableError: with a line for each of the first 20 lines that a job cannot say, and why.
    """
    found: dict[tuple[str, str, tuple[str, ...]], Batch] = {}
    places: dict[str, int] = {}
    problems: list[str] = []
    for number, raw in lines_of(path):
        try:
            line = read_line(raw)
            if (earlier := places.setdefault(line.custom_id, number)) != number:
                raise ValueError(f"the custom_id {line.custom_id!r} is that of line {earlier}, too")
        except ValueError as error:
            problems.append(f"{path}, line {number}: {error}")
            if len(problems) == MOST_PROBLEMS:
                break
        else:
            found.setdefault(line.kind, Batch([])).lines.append(line)
    if not problems and not found:
        problems.append(f"{path}: no requests; expected one JSON object per line")
    if not problems and len(found) > MOST_JOBS:
        problems.append(
            f"{path}: {len(found)} combinations of model, parameters and roles, and each makes a job of its own; "
            f"{MOST_JOBS} is the most: split the file"
        )
    if problems:
        raise TableError("\n".join(problems))
    return list(found.values())


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, with their numbers. Raises TableError."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror}") from None


def read_line(raw: bytes) -> Line:
    """One line of an input file. Raises ValueError with what a job cannot say, and the nearest thing."""
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError("expected a JSON object with custom_id, method, url and body")
    custom_id, body = data.get(ID), data.get("body")
    if not isinstance(custom_id, str) or not custom_id:
        raise ValueError("custom_id: expected text that names the request")
    if data.get("method", "POST") != "POST":
        raise ValueError(f"method: expected POST, found {data['method']!r:.60}")
    if data.get("url", URL) != URL:
        raise ValueError(f"url: only {URL} becomes a job, found {data['url']!r:.60}")
    if not isinstance(body, dict):
        raise ValueError("body: expected the JSON object of a request")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not model:
        raise ValueError("body.model: expected the name of a model")
    if not isinstance(messages, list) or not messages:
        raise ValueError("body.messages: expected a list of messages")
    turns = [_turn(f"body.messages[{place}]", message) for place, message in enumerate(messages)]
    roles, texts = zip(*turns, strict=True)
    return Line(custom_id, model, _parameters(model, body), roles, texts)


def _parameters(model: str, body: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {name: value for name, value in body.items() if name not in ("model", "messages")}
    if parameters.get("stream") is False:
        del parameters["stream"]
    if "stream" in parameters:
        raise ValueError("body.stream: a batch is not streamed; set `stream: true` in the job")
    if "tools" in parameters or "functions" in parameters:
        raise ValueError("body.tools: a row's answer is a text; ask for JSON with `answer.fields` instead")
    if found := catalog.problems(model, parameters):
        name, message = found[0]
        raise ValueError(f"body.{name}: {message}")
    return parameters


def _turn(where: str, message: Any) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise ValueError(f"{where}: expected a JSON object with role and content")
    role, content = message.get("role"), message.get("content")
    if role not in get_args(Role):
        nearest = "; `system` is nearest" if role == "developer" else ""
        raise ValueError(f"{where}.role: expected {', '.join(get_args(Role))}, found {role!r:.60}{nearest}")
    more = [name for name, value in message.items() if name not in ("role", "content") and value is not None]
    if more:
        raise ValueError(f"{where}.{more[0]}: a prompt's message has a role and a content only")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        part = content[0]  # one part of text asks the same as the text
        content = part.get("text") if part.get("type") == "text" else content
    if not isinstance(content, str):
        raise ValueError(
            f"{where}.content: expected text; pictures, sound and several parts cannot be said in a prompt"
        )
    return str(role), content


def job_text(job: Mapping[str, Any], source: str) -> str:
    """The YAML of a job that was made from ``source``."""
    return f"# From {source}. journeybatch plan says what it costs.\n{yamlfile.write(job)}"
