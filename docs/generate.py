"""Writes the reference pages that follow from the code; ``--check`` only says whether they are up to date."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from journeybatch import spec
from journeybatch.cli import journeybatch
from journeybatch.cli.explaining import page

DOCS = Path(__file__).parent
WORDS = {"string": "text", "boolean": "true or false", "object": "mapping", "array": "list", "null": "nothing"}
DERIVED = {"name": "the file's stem", "output": "`runs/NAME`"}

INTRO = """\
# The job file

<!-- Written by docs/generate.py from the code. Do not edit. -->

A job is one YAML file. Five keys make a complete one:

```yaml
# yaml-language-server: $schema=job.schema.json
input: ../sample_data/reviews.csv
prompt: "Classify the sentiment of: {{ review }}"
model: deepseek-chat
concurrency: 32
output: ../runs/review-sentiment
```

The first line is for editors: where the schema stands beside your jobs (`journeybatch init` writes it there, and
`journeybatch schema > job.schema.json` does), keys and values are completed and checked as you type.

**How it is read.** YAML 1.2: `no`, `on` and `22:30` are text, `1e3` is a number. Unknown keys, duplicate keys and
wrong types are errors that name the file, the line, the key and the nearest valid key; all of them are listed at
once. Paths are relative to the job file; on the command line, to the working directory. `${env:NAME}` stands for
an environment variable in `output` and `api` only, never in prompts. A key never stands in a job file.
"""


def pages() -> dict[Path, str]:
    """The generated pages: their paths and texts; and the schema that the sample jobs name in their first line."""
    schema = json.dumps(spec.schema(), indent=2, ensure_ascii=False) + "\n"
    return {
        DOCS / "job-spec.md": job_spec(),
        DOCS / "cli.md": cli(),
        DOCS / "errors.md": page(),
        DOCS.parent / "jobs" / "job.schema.json": schema,
    }


def cli() -> str:
    """The reference of the command line: every verb's own help."""
    parts = [
        "# The command line",
        "Generated from the commands themselves by `make docs`.",
        help_of(journeybatch, None),
    ]
    context = click.Context(journeybatch, info_name="journeybatch")
    for verb in journeybatch.list_commands(context):
        command = journeybatch.get_command(context, verb)
        parts += [f"## `{verb}`", help_of(command, context)]
        if isinstance(command, click.Group):
            within = click.Context(command, info_name=verb, parent=context)
            for name, inner in command.commands.items():
                parts += [f"### `{verb} {name}`", help_of(inner, within)]
    return "\n\n".join(parts) + "\n"


def help_of(command: click.Command, parent: click.Context | None) -> str:
    """What ``--help`` prints, at a fixed width."""
    name = command.name if parent else "journeybatch"
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100, max_content_width=100)
    return f"```text\n{command.get_help(context)}\n```"


def job_spec() -> str:
    """The reference of the job file: a table of its keys, then one for each mapping inside."""
    schema = spec.schema()
    parts = [INTRO, "## Keys", table(schema, schema["$defs"])]
    for name, mapping in sections(schema):
        parts += [f"## `{name}`", mapping["description"].replace("``", "`")]
        parts.append(table(mapping, schema["$defs"]))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def sections(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The mappings inside a job, by dotted key, in the order of its keys."""

    def within(name: str, properties: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for key, shape in properties.items():
            for reference in references(shape):
                mapping = schema["$defs"][reference]
                if "properties" in mapping:
                    yield f"{name}{key}", mapping
                    yield from within(f"{name}{key}.", mapping["properties"])

    return within("", schema["properties"])


def references(shape: Mapping[str, Any]) -> Iterator[str]:
    """Names of the definitions that a schema refers to."""
    if "$ref" in shape:
        yield shape["$ref"].rpartition("/")[2]
    for part in shape.get("anyOf", [shape["items"]] if "items" in shape else ()):
        yield from references(part)


def table(mapping: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """One line per key: key, type, default, what it does, an example."""
    rows = ["| key | type | default | what it does | example |", "| --- | --- | --- | --- | --- |"]
    for key, shape in mapping["properties"].items():
        found = shape if "description" in shape else definitions[next(references(shape))]
        example = code(shape["examples"][0]) if shape.get("examples") else ""
        absent = "**required**" if key in mapping.get("required", ()) else default(key, shape)
        cells = (f"`{key}`", kind(shape), absent, found["description"], example)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def kind(shape: Mapping[str, Any]) -> str:
    """A schema in words."""
    if "$ref" in shape:
        return "anything" if shape["$ref"].endswith("JsonValue") else "mapping"
    if "anyOf" in shape:
        kinds = [kind(part) for part in shape["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in shape or "enum" in shape:
        return ", ".join(f"`{value}`" for value in shape.get("enum", [shape.get("const")]))
    if shape.get("type") in ("integer", "number"):
        return number(shape)
    if shape.get("type") == "array" and shape.get("items"):
        return f"list of {kind(shape['items'])}"
    return WORDS[shape["type"]]


def number(shape: Mapping[str, Any]) -> str:
    """A number's kind and bounds."""
    name = "whole number" if shape["type"] == "integer" else "number"
    above = f" above {shape['exclusiveMinimum']}" if "exclusiveMinimum" in shape else ""
    start = f" from {shape['minimum']}" if "minimum" in shape else above
    return name + start + (f" to {shape['maximum']:,}" if "maximum" in shape else "")


def default(key: str, shape: Mapping[str, Any]) -> str:
    """What holds where the key is absent."""
    if key in DERIVED and "default" not in shape:
        return DERIVED[key]
    value = shape.get("default")
    if isinstance(value, dict) and value:
        return "see below"
    return "none" if value is None else code(value)


def code(value: Any) -> str:
    """A value as it stands in a job file."""
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


def main() -> None:
    """Writes the pages, or with ``--check`` ends with 1 and the names of those out of date."""
    stale = {path: text for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text}
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"out of date, run `make docs`: {', '.join(path.name for path in stale)}")
        return
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
