"""Clients that nobody here wrote: they talk to the emulator as to the servers they were made for, whole and streamed.

They live in environments of their own, since their dependencies are not ours: `make foreign` makes them. The programs
that call them stand in `tests/foreign`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from conftest import spawned

from journeybatch.catalog import MODELS
from journeybatch.emulator import read_bill

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests" / "foreign"
PYTHON, NODE, LLM = (ROOT / ".venv-foreign" / "bin" / name for name in ("python", "node", "llm"))
QUESTION = "Tell me about the sea, and of the ships on it."
KEY = "a-key-that-nobody-else-has"

needs_python = pytest.mark.skipif(not LLM.exists(), reason="needs foreign clients: make foreign")
needs_node = pytest.mark.skipif(
    not (NODE.exists() and (PROGRAMS / "node_modules" / "made").exists()),
    reason="needs foreign clients for Node: make foreign",
)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """What `journeybatch emulate` serves: its URL, and the file of its bill."""
    bill = tmp_path_factory.mktemp("ours") / "bill.jsonl"
    with spawned("emulate", "--port", 0, "--bill", bill) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["base_url"], bill


@pytest.fixture
def ours(emulated: tuple[str, Path]) -> SimpleNamespace:
    """The emulator's ``url``, and the ``statuses`` that it answered in this test."""
    url, bill = emulated
    before = len(read_bill(bill))
    return SimpleNamespace(url=url, statuses=lambda: [attempt.status for attempt in read_bill(bill)[before:]])


def ask(*command: object, **environ: str) -> str:
    """What a program prints; its own word where it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "LLM_"))}
    asked = list(map(str, command))
    done = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=300, env={**inherited, **environ})
    assert done.returncode == 0, done.stderr
    return done.stdout


def speaks(said: dict[str, Any]) -> bool:
    """Whether a client got the same text whole and in pieces, its end, its tokens; and the reason it was refused."""
    whole, streamed = said["tokens"]
    quoted = re.search("“(.+)”", said["whole"])
    assert quoted and quoted[1] in QUESTION
    assert said["streamed"] == said["whole"]
    assert said["pieces"] > 5, "it came in pieces"
    assert said["finish"] == "stop"
    assert whole == streamed > 20
    assert "The model `nobody` does not exist" in said["refused"]
    return True


def test_the_official_python_sdk(ours: SimpleNamespace) -> None:
    with openai.OpenAI(base_url=ours.url, api_key=KEY, max_retries=0) as client:
        asked: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": QUESTION}]}
        whole = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
        formed = client.chat.completions.create(**asked, response_format={"type": "json_object"})
        with pytest.raises(openai.NotFoundError) as refused:
            client.chat.completions.create(**{**asked, "model": "nobody"})
        assert [model.id for model in client.models.list()] == list(MODELS)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    said = {
        "whole": whole.choices[0].message.content,
        "finish": whole.choices[0].finish_reason,
        "tokens": [whole.usage.total_tokens, chunks[-1].usage.total_tokens],
        "streamed": "".join(pieces),
        "pieces": len(pieces),
        "refused": str(refused.value),
    }
    assert speaks(said)
    assert isinstance(json.loads(formed.choices[0].message.content), dict)
    assert ours.statuses() == [200, 200, 200, 404]


@needs_node
def test_the_official_node_sdk(ours: SimpleNamespace) -> None:
    said = json.loads(ask(NODE, PROGRAMS / "chat-openai.mjs", ours.url, "gpt-4o", QUESTION))
    assert speaks(said)
    assert said["refused"].startswith("NotFoundError: 404")
    assert said["models"] == list(MODELS)
    assert ours.statuses() == [200, 200, 404]


@needs_node
@pytest.mark.parametrize("model", ["gpt-4o", "o3"])
def test_the_vercel_ai_sdk(ours: SimpleNamespace, model: str) -> None:
    """It writes to a reasoning model otherwise: its instructions are a `developer`'s."""
    said = json.loads(ask(NODE, PROGRAMS / "chat-ai-sdk.mjs", ours.url, model, QUESTION))
    for provider in ("openai", "compatible"):
        assert speaks(said[provider])
        assert said[provider]["formed"] in ({"mood": "positive"}, {"mood": "negative"})
    assert ours.statuses() == [200, 200, 200, 404] * 2


@needs_python
def test_langchain_openai(ours: SimpleNamespace) -> None:
    said = json.loads(ask(PYTHON, PROGRAMS / "chat_langchain.py", ours.url, "gpt-4o", QUESTION))
    assert speaks(said)
    assert said["formed"] in ({"mood": "positive"}, {"mood": "negative"})
    assert ours.statuses() == [200, 200, 200, 404]


@needs_python
def test_llm_with_a_model_of_its_own_configuration(ours: SimpleNamespace, tmp_path: Path) -> None:
    model = {"model_id": "ours", "model_name": "gpt-4o", "api_base": ours.url, "supports_schema": True}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([model]))

    def llm(*arguments: str) -> str:
        return ask(LLM, "-m", "ours", "--key", KEY, *arguments, LLM_USER_PATH=str(tmp_path)).strip()

    streamed, whole = llm(QUESTION), llm("--no-stream", QUESTION)
    assert streamed == whole != ""
    assert llm("--system", "Answer with good or bad.", "It is lovely.") == "good"
    formed = json.loads(llm("--schema", "mood, score int", QUESTION))
    assert (type(formed["mood"]), type(formed["score"])) == (str, int)
    kept = ask(LLM, "logs", "--json", "--count", "1", LLM_USER_PATH=str(tmp_path))
    assert json.loads(kept)[0]["input_tokens"] > 10, "a stream tells its tokens, too"
    assert ours.statuses() == [200] * 4
