"""A promptfoo configuration becomes an evaluation: prompts × providers are variants, tests are rows.

An assertion becomes a scorer. Where tests expect different things of it, a column of the table holds what each expects;
a test without the assertion is unscored there. What has no counterpart here is left out and told, with the nearest
thing: a configuration says too much of promptfoo's own business for all of that to be an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from journeybatch import yamlfile
from journeybatch.errors import JobError, SpecError
from journeybatch.interchange.assertions import Assertion, free, read_assertion, scorers_of
from journeybatch.interchange.promptfoo_csv import read_tests
from journeybatch.shapes import read_text

_SAYS_NOTHING = {"description", "tags", "outputPath", "sharing", "writeLatestResults", "$schema"}
_PARAMETERS = {"temperature", "max_tokens", "max_completion_tokens", "top_p", "frequency_penalty", "presence_penalty"}
_PARAMETERS |= {"seed", "stop", "reasoning_effort", "response_format"}
_ELSEWHERE = {
    "scenarios": "write the combinations out as tests",
    "env": "export them in the shell",
    "redteam": "there is nothing like it",
    "derivedMetrics": "compute them from scores.parquet",
    "nunjucksFilters": "prompts have the filters of Jinja2",
    "extensions": "there are none",
    "transform": "read columns out of replies with `answer.fields`",
}
_SERVICES = ("file:", "exec:", "http:", "https:", "python:", "webhook:", "ws:", "golang:", "ruby:")


class Conversion(msgspec.Struct, frozen=True):
    """A job file's data, the rows of its table, and what of the configuration is in neither, a sentence each."""

    job: dict[str, Any]
    rows: list[dict[str, Any]]
    notes: list[str]

    def table(self) -> str:
        """The rows as JSON lines."""
        return "".join(f"{json.dumps(row, ensure_ascii=False, default=str)}\n" for row in self.rows)


def convert(path: Path) -> Conversion:
    """The evaluation that a promptfoo configuration asks for; ``input`` and ``output`` are the caller's to name.

    Raises SpecError, or JobError where nothing is left to evaluate.
    """
    data = yamlfile.read_file(path).data
    if not isinstance(data, Mapping):
        raise SpecError(f"{path}: expected a promptfoo configuration: prompts, providers and tests")
    notes: list[str] = []
    prompts = list(_prompts(path.parent, _listed(data.get("prompts")), notes))
    providers = list(_providers(_listed(data.get("providers", data.get("targets"))), notes))
    default = _mapping(data.get("defaultTest"), "defaultTest", notes)
    tests = list(_tests(path.parent, data.get("tests"), notes))
    for what, found in (("prompts", prompts), ("providers", providers), ("tests", tests)):
        if not found:
            raise JobError("\n".join([f"{path}: none of the {what} can be used", *notes]))
    rows, assertions = _rows(default, tests, notes)
    scorers = scorers_of(assertions, rows, notes)
    if not scorers:
        raise JobError("\n".join([f"{path}: none of the assertions can be used", *notes]))
    job = {**_options(data, notes), "eval": {"variants": _variants(prompts, providers), "scorers": scorers}}
    return Conversion(job, rows, list(dict.fromkeys(notes)))


def _options(data: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """What the configuration says of the run as a whole."""
    options = _mapping(data.get("evaluateOptions"), "evaluateOptions", notes)
    known = {"prompts", "providers", "targets", "tests", "defaultTest", "evaluateOptions", *_SAYS_NOTHING}
    for key in data:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            otherwise = f"did you mean {near[0]!r}?" if near else "it is left out"
            notes.append(f"{key}: not supported; {_ELSEWHERE.get(key, otherwise)}")
    found = {}
    for key, value in options.items():
        name = {"maxConcurrency": "concurrency", "repeat": "samples"}.get(key)
        if name is not None:
            found[name] = value
        elif key not in ("showProgressBar", "cache"):
            nearest = "; `limits.requests_per_minute` is nearest" if key == "delay" else ""
            notes.append(f"evaluateOptions.{key}: not supported{nearest}")
    return found


def _listed(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [{key: item} if isinstance(item, Mapping) else item for key, item in value.items()]
    return value if isinstance(value, list) else [] if value is None else [value]


def _mapping(value: Any, what: str, notes: list[str]) -> dict[Any, Any]:
    if value is not None and not isinstance(value, Mapping):
        notes.append(f"{what}: expected a mapping, found {value!r:.60}; a file is not read")
    return dict(value) if isinstance(value, Mapping) else {}


# -- prompts and providers ------------------------------------------------------------------------------------


def _prompts(folder: Path, items: list[Any], notes: list[str]) -> Iterator[tuple[str, Any]]:
    """A label and what stands under `prompt`, for each prompt."""
    for number, item in enumerate(items, 1):
        told = item if isinstance(item, Mapping) else {"raw": item}
        raw = told.get("raw", told.get("id"))
        label = told.get("label") or (told.get("id") if "raw" in told else None) or f"prompt-{number}"
        if not isinstance(raw, str):
            notes.append(f"prompts[{number - 1}]: expected text or file://")
            continue
        texts = _file_texts(folder, raw, notes) if raw.startswith("file://") else [raw]
        for place, text in enumerate(texts, 1):
            yield f"{label}-{place}" if len(texts) > 1 else str(label), _prompt(text)


def _file_texts(folder: Path, raw: str, notes: list[str]) -> list[str]:
    """The prompts in a file: a text file may hold several, with a line of --- between them."""
    path = folder / raw.removeprefix("file://")
    if path.suffix not in (".txt", ".md", ".json", ".yaml", ".yml"):
        notes.append(f"{raw}: not supported: a prompt is a template; write it as text, Markdown or JSON")
        return []
    try:
        text = read_text(str(path))
    except ValueError as error:
        raise SpecError(f"{raw}: {error}") from None
    if path.suffix in (".yaml", ".yml"):
        return [json.dumps(yamlfile.read(text, str(path)).data)]
    return (
        [text] if path.suffix == ".json" else [part.strip() for part in re.split(r"(?m)^---\s*$", text) if part.strip()]
    )


def _prompt(text: str) -> Any:
    """A text, or the messages that it lists as JSON."""
    try:
        turns = json.loads(text) if text.lstrip().startswith("[") else None
    except ValueError:
        turns = None
    if isinstance(turns, list) and turns and all(isinstance(turn, Mapping) and "role" in turn for turn in turns):
        return {"messages": [{"role": turn["role"], "content": turn.get("content")} for turn in turns]}
    return text


def _providers(items: list[Any], notes: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A label, a model and its parameters, for each provider."""
    for item in items:
        told: dict[Any, Any] = (
            {"id": item} if isinstance(item, str) else dict(item) if isinstance(item, Mapping) else {}
        )
        if len(told) == 1 and "id" not in told and isinstance(next(iter(told.values())), Mapping):
            ((name, more),) = told.items()  # {openai:gpt-4o: {config: …}}
            told = {"id": name, **more}
        name = told.get("id")
        if not isinstance(name, str) or name.startswith(_SERVICES):
            notes.append(f"provider {name!r}: not supported; a variant is a model of the endpoint: openai:MODEL")
            continue
        config = _mapping(told.get("config"), f"provider {name}: config", notes)
        for key in config:
            if key not in _PARAMETERS:
                nearest = "; the endpoint and its key are the job's `api`" if str(key).startswith("api") else ""
                notes.append(f"provider {name}: config.{key} is left out{nearest}")
        for key in sorted(set(told) - {"id", "label", "config"}):
            notes.append(f"provider {name}: {key} is left out")
        model = name.split(":")[-1]
        yield str(told.get("label") or model), model, {key: config[key] for key in config if key in _PARAMETERS}


def _variants(
    prompts: list[tuple[str, Any]], providers: list[tuple[str, str, dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for (label, prompt), (called, model, parameters) in product(prompts, providers):
        parts = [label] * (len(prompts) > 1) + [called] * (len(providers) > 1 or len(prompts) == 1)
        name = free("/".join(parts), found)
        found[name] = {"prompt": prompt, "model": model, **({"parameters": parameters} if parameters else {})}
    return found


# -- tests ----------------------------------------------------------------------------------------------------


def _tests(folder: Path, value: Any, notes: list[str]) -> Iterator[Mapping[str, Any]]:
    for number, item in enumerate(_listed(value)):
        if isinstance(item, str):
            path = folder / item.removeprefix("file://")
            if path.suffix in (".yaml", ".yml", ".json"):
                yield from _tests(path.parent, yamlfile.read_file(path).data, notes)
            elif path.suffix == ".csv":
                yield from read_tests(path, notes)
            else:
                notes.append(f"tests: {item} is not read; write the tests as YAML or CSV")
        elif isinstance(item, Mapping):
            yield item
        else:
            notes.append(f"tests[{number}]: expected a mapping with vars and assert")


def _rows(
    default: Mapping[str, Any], tests: list[Mapping[str, Any]], notes: list[str]
) -> tuple[list[dict[str, Any]], list[list[Assertion]]]:
    """Each test's variables, a list of values multiplied out, and its assertions."""
    rows: list[dict[str, Any]] = []
    found: list[list[Assertion]] = []
    for test in (default, *tests):
        for key in sorted(set(test) - {"vars", "assert", "description", "metadata"}):
            notes.append(f"tests: {key} is left out")
    for test in tests:
        told = _mapping(default.get("vars"), "vars", notes) | _mapping(test.get("vars"), "vars", notes)
        axes = [value if isinstance(value, list) else [value] for value in told.values()]
        for values in product(*axes):
            row = dict(zip(map(str, told), values, strict=True))
            if files := [name for name, cell in row.items() if isinstance(cell, str) and cell.startswith("file://")]:
                raise SpecError(f"vars.{files[0]}: a file is not read; write its text into the configuration")
            items = [*_listed(test.get("assert")), *_listed(default.get("assert"))]
            rows.append(row)
            found.append([made for item in items if (made := read_assertion(item, row, notes)) is not None])
    return rows, found
