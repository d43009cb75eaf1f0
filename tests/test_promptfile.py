"""Prompt files: plain ones as ever, front matter under the job's own keys, and unsupported keys by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Flow

from journeybatch import yamlfile
from journeybatch.errors import SpecError
from journeybatch.loading import dump, load_job
from journeybatch.promptfile import read_prompt
from journeybatch.spec import variants

PROMPTY = """\
---
name: Basic Prompt
description: A prompt of the chat API
model:
  api: chat
  configuration:
    type: azure_openai
    azure_endpoint: ${env:AZURE_OPENAI_ENDPOINT}
    azure_deployment: gpt-4o
  parameters:
    max_tokens: 128
    temperature: 0.2
inputs:
  text: {type: string}
sample: {text: hello}
---
system:
You are terse.

# user:
Say {{ text }}
assistant:
Hm: what?
user:
Please: now.
"""


def file(tmp_path: Path, text: str, name: str = "prompt.md") -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def job(tmp_path: Path, text: str, name: str = "prompt.md", **keys: Any) -> Any:
    data = {"input": "rows.csv", "prompt": {"file": file(tmp_path, text, name)}} | keys
    return load_job(data)


def test_a_file_without_front_matter_is_one_user_message_as_it_stands(tmp_path: Path) -> None:
    for text in (
        "Say {{ text }}\n",
        "system:\nno role\n",
        "----\nrule\n",
        "Text\n---\nand a: rule\n---\n",
        "---\nalone",
    ):
        assert read_prompt(file(tmp_path, text)).messages == (("user", text),)


def test_a_prompty_brings_roles_model_and_parameters(tmp_path: Path) -> None:
    found = read_prompt(file(tmp_path, PROMPTY, "basic.prompty"))
    assert found.messages == (
        ("system", "You are terse."),
        ("user", "Say {{ text }}"),
        ("assistant", "Hm: what?"),
        ("user", "Please: now."),
    )
    assert found.model == "gpt-4o"
    assert found.parameters == {"max_tokens": 128, "temperature": 0.2}


def test_the_second_version_of_prompty_is_read_too(tmp_path: Path) -> None:
    text = "---\nmodel: {id: gpt-4o, provider: openai, options: {topP: 0.5, maxOutputTokens: 9}}\n"
    text += "template: {format: {kind: jinja2}, parser: {kind: prompty}}\n---\nBe brief.\n"
    found = read_prompt(file(tmp_path, text, "v2.prompty"))
    assert (found.model, found.parameters) == ("gpt-4o", {"top_p": 0.5, "max_tokens": 9})
    assert found.messages == (("system", "Be brief."),)


def test_markdown_with_front_matter_is_the_users_unless_it_says_who_speaks(tmp_path: Path) -> None:
    assert read_prompt(file(tmp_path, "---\nmodel: gpt-4o\n---\n\n# Hello\n")).messages == (("user", "# Hello"),)
    two = "---\nmodel: gpt-4o\n---\nsystem:\nS\nuser:\nU\n"
    assert read_prompt(file(tmp_path, two)).messages == (("system", "S"), ("user", "U"))


def test_model_and_parameters_hold_where_the_job_does_not_say(tmp_path: Path) -> None:
    alone = job(tmp_path, PROMPTY, "basic.prompty")
    assert (alone.model, dict(alone.parameters)) == ("gpt-4o", {"max_tokens": 128, "temperature": 0.2})
    beside = job(tmp_path, PROMPTY, "basic.prompty", model="deepseek-chat", parameters={"temperature": 0, "seed": 1})
    assert beside.model == "deepseek-chat"
    assert dict(beside.parameters) == {"max_tokens": 128, "temperature": 0, "seed": 1}


def test_variants_take_what_neither_they_nor_the_job_say(tmp_path: Path) -> None:
    path = file(tmp_path, PROMPTY, "basic.prompty")
    grid = {"prompts": {"file": {"file": path}, "plain": "Say {{ text }}"}}
    spec = load_job(
        {"input": "rows.csv", "model": "qwen-turbo", "parameters": {"temperature": 1}, "eval": {"variants": grid}}
    )
    found = variants(spec)
    assert {name: each.model for name, each in found.items()} == {"file": "qwen-turbo", "plain": "qwen-turbo"}
    assert dict(found["file"].parameters) == {"temperature": 1, "max_tokens": 128}
    assert dict(found["plain"].parameters) == {"temperature": 1}
    named = load_job({"input": "rows.csv", "eval": {"variants": {"a": {"prompt": {"file": path}}}}})
    assert variants(named)["a"].model == "gpt-4o"


def test_the_job_as_it_ran_stands_without_the_file(tmp_path: Path) -> None:
    spec = job(tmp_path, PROMPTY, "basic.prompty")
    (tmp_path / "basic.prompty").unlink()
    again = load_job(yamlfile.read(dump(spec), "job.yaml").data)
    assert again.prompt.messages == spec.prompt.messages
    assert (again.model, again.parameters) == (spec.model, spec.parameters)


REFUSED = {
    "tools": ("tools: []", "x", "answer.fields"),
    "an unknown key": ("modle: gpt-4o", "x", "modle is not supported"),
    "mustache": ("template: mustache", "x", "Jinja2"),
    "another api": ("model: {api: completion}", "x", "expected chat"),
    "all choices": ("model: {response: all}", "x", "one answer"),
    "an unknown option": ("model: {options: {topK: 3}}", "x", "model.options.topK"),
    "several answers": ("parameters: {n: 2}", "x", "n must be 1"),
    "a stream": ("parameters: {stream: true}", "x", "stream"),
    "a model of no name": ("model: 3", "x", "expected a model's name"),
    "parameters of no name": ("parameters: 3", "x", "expected a mapping"),
    "not YAML": ("model: [", "x", "empty line"),
    "no keys": ("- a", "x", "expected keys"),
    "a tool that speaks": ("model: gpt-4o", "user:\nx\ntool:\ny", "prompt.md:6: a prompt speaks as"),
    "silence": ("model: gpt-4o", "system:\n\nuser:\nx", "prompt.md:4: system says nothing"),
    "nothing": ("model: gpt-4o", "  ", "no prompt below"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_prompt_file_cannot_say_is_named(tmp_path: Path, what: str) -> None:
    front, body, word = REFUSED[what]
    with pytest.raises(SpecError) as error:
        job(tmp_path, f"---\n{front}\n---\n{body}\n", model="gpt-4o")
    assert word in str(error.value)
    assert "prompt" in str(error.value)


def test_what_the_named_model_refuses_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="o3 does not support temperature"):
        job(tmp_path, "---\nmodel: o3\nparameters: {temperature: 1}\n---\nx\n")


def test_a_system_message_beside_a_file_with_roles_is_one_too_many(tmp_path: Path) -> None:
    prompt = {"file": file(tmp_path, PROMPTY, "basic.prompty"), "system": "Be kind."}
    with pytest.raises(SpecError, match="messages of its own"):
        load_job({"input": "rows.csv", "model": "gpt-4o", "prompt": prompt})


def test_a_prompty_is_asked_and_an_edit_of_its_front_matter_asks_anew(
    flow: Flow, call: Callable[..., SimpleNamespace]
) -> None:
    path = file(flow.path, PROMPTY, "basic.prompty")
    keys = flow.job(prompt={"file": path})
    del keys["model"]
    flow.job = lambda **more: keys | more  # type: ignore[method-assign]
    report = flow.run()
    assert (report.exit_code, report.summary["requests"]["sent"]) == (0, 12)
    shown = call("show", flow.output, 0, "--json").out
    assert "You are terse." in shown
    Path(path).write_text(PROMPTY.replace("0.2", "0.3"))
    assert flow.run({"yes": True}).summary["requests"]["sent"] == 12
