"""OpenAI's Batch files: what goes in comes out again, and what a job cannot say is an error that names its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import polars as pl
import pytest
from conftest import KEY, Flow
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from parrot import Parrot
from pydantic import TypeAdapter

from journeybatch.emulator import Emulator
from journeybatch.errors import TableError
from journeybatch.interchange.batch import read_batches

Call = Callable[..., SimpleNamespace]
BODY: dict[str, Any] = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "hi"}]}


def line(custom_id: str = "a", **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": BODY | body}


def written(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(f"{text if isinstance(text, str) else json.dumps(text)}\n" for text in lines))
    return path


def says(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def test_the_way_there_and_back_asks_the_same_and_answers_under_the_same_ids(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [
        line("one", messages=[says("system", "Be brief."), says("user", "{{ not }} a template\n")], max_tokens=9),
        line("two", messages=[says("system", ""), says("user", 'quotes " and \\ and ü')], max_tokens=9),
        line("three", model="gpt-4o", messages=[says("user", "hello"), says("assistant", "hi"), says("user", "so?")]),
        line("four", messages=[says("system", "Be brief."), says("user", "{{ not }} a template\n")], max_tokens=9),
    ]
    assert call("batch", "import", written(tmp_path / "in.jsonl", asked), "--api", "emulator").code == 0
    sent = []
    for job, rows in (("in", 3), ("in-2", 1)):
        assert call("run", f"{job}.yaml", "--quiet").code == 0
        sent += [json.loads(call("show", f"runs/{job}", row, "--json").out)["messages"] for row in range(rows)]
    assert sent == [asked[place]["body"]["messages"] for place in (0, 1, 3, 2)]
    assert call("batch", "export", "runs/in", "in-2.yaml", "--to", "out.jsonl").code == 0
    lines = [json.loads(text) for text in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [told["custom_id"] for told in lines] == ["one", "two", "four", "three"]
    assert len({told["id"] for told in lines}) == 4
    for told in lines:
        assert told.keys() == {"id", "custom_id", "response", "error"}
        assert told["error"] is None
        assert told["response"]["status_code"] == 200
        assert told["response"]["request_id"]
        completion = ChatCompletion.model_validate(told["response"]["body"])
        assert completion.choices[0].message.content
    assert call("batch", "import", "in.jsonl").code == 2, "nothing is overwritten"


def test_rows_without_an_answer_have_an_error_and_a_file_of_their_own(flow: Flow, call: Call) -> None:
    flow.run(limits={"credits": 5})
    good, bad = flow.path / "good.jsonl", flow.path / "bad.jsonl"
    assert call("batch", "export", flow.output, "--to", good, "--errors", bad, "--id", "id").code == 0
    answered, others = ([json.loads(text) for text in path.read_text().splitlines()] for path in (good, bad))
    assert (len(answered), len(others)) == (5, 7)
    assert answered[0]["custom_id"] == "00000"
    assert all(told["response"] is None and told["error"]["code"] == "pending" for told in others)
    assert call("batch", "export", flow.output, "--to", good).code == 0
    assert len(good.read_text().splitlines()) == 12


def test_an_answer_that_was_taken_over_hides_no_reply_of_the_same_name(flow: Flow, call: Call) -> None:
    def ask(output: str, texts: list[str], **keys: Any) -> None:
        flow.output = flow.path / output
        flow.write(texts)
        assert flow.run({"transport": parrot}, **keys).exit_code == 0

    parrot = Parrot()
    ask("other", ["four", "five"])
    ask("own", ["one", "two"])
    ask("own", ["one", "two", "four", "five"], reuse=[str(flow.path / "other")])
    to = flow.path / "lines.jsonl"
    assert call("batch", "export", flow.output, "--to", to).code == 0
    bodies = [json.loads(told)["response"]["body"] for told in to.read_text().splitlines()]
    said = [body["choices"][0]["message"]["content"] for body in bodies]
    assert said == [f"heard Say something about {text}" for text in ("one", "two", "four", "five")]


def test_a_row_of_a_pack_gets_a_completion_made_of_its_text(flow: Flow, call: Call) -> None:
    flow.run(pack=4, answer={"fields": {"word": "string"}})
    to = flow.path / "out.jsonl"
    said = call("batch", "export", flow.output, "--to", to)
    assert said.code == 0, said.err
    lines = [json.loads(text) for text in to.read_text().splitlines()]
    assert [told["custom_id"] for told in lines] == [f"row-{row}" for row in range(12)]
    for told in lines:
        content = ChatCompletion.model_validate(told["response"]["body"]).choices[0].message.content
        assert content is not None
        assert "word" in json.loads(content)


def test_samples_have_ids_of_their_own(flow: Flow, call: Call) -> None:
    flow.run(samples=2)
    to = flow.path / "out.jsonl"
    call("batch", "export", flow.output, "--to", to, "--id", "id")
    ids = [json.loads(text)["custom_id"] for text in to.read_text().splitlines()]
    assert len(set(ids)) == len(ids) == 24


def test_a_column_that_is_not_there_is_named(flow: Flow, call: Call) -> None:
    flow.run()
    said = call("batch", "export", flow.output, "--to", flow.path / "out.jsonl", "--id", "nr")
    assert (said.code, "'nr'" in said.err) == (2, True)
    assert not (flow.path / "out.jsonl").exists()


REFUSED: dict[str, tuple[Any, str]] = {
    "no JSON": ('{"custom_id": ', "not JSON"),
    "no object": ("[1]", "expected a JSON object"),
    "no id": (line("") | {"custom_id": 7}, "custom_id"),
    "another method": (line() | {"method": "GET"}, "expected POST"),
    "another url": (line() | {"url": "/v1/embeddings"}, "/v1/embeddings"),
    "no body": (line() | {"body": None}, "body"),
    "no model": (line(model=""), "body.model"),
    "no messages": (line(messages=[]), "body.messages"),
    "a stream": (line(stream=True), "stream: true"),
    "tools": (line(tools=[]), "answer.fields"),
    "several answers": (line(n=2), "n must be 1"),
    "what the model refuses": (line(model="o3", temperature=1), "o3 does not support temperature"),
    "a developer": (line(messages=[says("developer", "x")]), "`system` is nearest"),
    "a picture": (line(messages=[says("user", [{"type": "image_url", "image_url": {"url": "x"}}])]), "expected text"),
    "two parts": (line(messages=[says("user", [{"type": "text", "text": "x"}] * 2)]), "expected text"),
    "a name": (line(messages=[says("user", "x", name="Ann")]), "messages[0].name"),
    "a call": (line(messages=[says("assistant", None, tool_calls=[])]), "messages[0].tool_calls"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_job_cannot_say_is_refused_with_its_line(tmp_path: Path, what: str) -> None:
    wrong, word = REFUSED[what]
    path = written(tmp_path / "in.jsonl", [line("first"), "", wrong])
    with pytest.raises(TableError, match="line 3: ") as error:
        read_batches(path)
    assert word in str(error.value)


def test_an_id_that_comes_twice_names_both_lines_and_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "in.jsonl", [line("a"), line("a"), "{"])
    with pytest.raises(TableError, match="that of line 1") as error:
        read_batches(path)
    assert [text.split(", ")[1].split(":")[0] for text in str(error.value).splitlines()] == ["line 2", "line 3"]


def test_an_empty_file_and_one_that_is_not_there_are_said(tmp_path: Path, call: Call) -> None:
    for path in (written(tmp_path / "in.jsonl", []), tmp_path / "none.jsonl"):
        said = call("batch", "import", path)
        assert (said.code, path.name in said.err) == (2, True)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([{}, {"seed": 1}]), st.text()), min_size=1, max_size=8)
)
def test_lines_become_as_many_jobs_as_differ_and_none_is_lost(tmp_path_factory: Any, asked: list[Any]) -> None:
    lines = [
        line(str(number), model=model, messages=[says("user", text)], **more)
        for number, (model, more, text) in enumerate(asked)
    ]
    batches = read_batches(written(tmp_path_factory.mktemp("batch") / "in.jsonl", lines))
    assert len(batches) == len({(model, bool(more)) for model, more, _ in asked})
    found = [json.loads(row) for batch in batches for row in batch.table().split("\n")[:-1]]
    assert {row["custom_id"]: row["user"] for row in found} == {str(n): text for n, (_, _, text) in enumerate(asked)}


# -- a job's requests as an input file


def job_file(tmp_path: Path, **keys: Any) -> Path:
    path = tmp_path / "job.yaml"
    rows = [{"id": "x", "text": "one"}, {"id": "y", "text": 'two " ü {{ text }}'}, {"id": "z", "text": "one"}]
    written(tmp_path / "rows.jsonl", rows)
    job = {"input": str(tmp_path / "rows.jsonl"), "prompt": "Say {{ text }}", "model": "deepseek-chat"}
    path.write_text(json.dumps(job | keys))
    return path


def requests_of(call: Call, job: Path, *more: object) -> list[dict[str, Any]]:
    to = job.with_name("requests.jsonl")
    said = call("batch", "requests", job, "--to", to, *more)
    assert said.code == 0, said.err
    return [json.loads(text) for text in to.read_text().splitlines()]


def test_a_jobs_requests_are_lines_that_the_official_sdk_takes_and_bodies_that_a_run_sends(
    call: Call, tmp_path: Path
) -> None:
    job = job_file(tmp_path, parameters={"max_tokens": 5}, stream=True, answer={"fields": {"word": "string"}})
    lines = requests_of(call, job, "--id", "id")
    assert [told["custom_id"] for told in lines] == ["x", "y", "z"]
    for told in lines:
        assert told.keys() == {"custom_id", "method", "url", "body"}
        assert (told["method"], told["url"]) == ("POST", "/v1/chat/completions")
        TypeAdapter(CompletionCreateParamsNonStreaming).validate_python(told["body"])
    shown = call("plan", job, "--show", 2, "--set", "stream=false").out
    sent = [json.loads("{" + part.partition("\n{")[2]) for part in shown.split("\n\n")[1:]]
    assert [told["body"] for told in lines[:2]] == sent


def test_there_and_back_again_the_requests_are_the_same(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{ text }}"}]
    first = requests_of(call, job_file(tmp_path, prompt={"messages": turns}, parameters={"temperature": 0}))
    assert call("batch", "import", "requests.jsonl", "--to", "again.yaml").code == 0
    assert requests_of(call, tmp_path / "again.yaml") == first
    assert [told["custom_id"] for told in first] == ["row-0", "row-1", "row-2"]


def test_variants_and_samples_have_lines_of_their_own_under_the_ids_of_the_output_file(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = {"a": {"prompt": "A {{ text }}"}, "b": {"prompt": "B {{ text }}", "model": "gpt-4o"}}
    job = job_file(
        tmp_path, prompt=None, samples=2, eval={"variants": variants, "scorers": ["is-json"]}, api="emulator"
    )
    data = json.loads(job.read_text())
    del data["prompt"]
    job.write_text(json.dumps(data))
    lines = requests_of(call, job, "--id", "id")
    told = {line["custom_id"]: line["body"] for line in lines}
    assert len(told) == len(lines) == 12
    assert told["y/b/1"]["model"] == "gpt-4o"
    assert told["y/b/1"]["messages"][0]["content"].startswith("B two")
    monkeypatch.chdir(tmp_path)
    assert call("eval", job, "--quiet").code == 0
    assert call("batch", "export", job, "--to", "out.jsonl", "--id", "id").code == 0
    assert {json.loads(text)["custom_id"] for text in Path("out.jsonl").read_text().splitlines()} == set(told)


@pytest.mark.parametrize(
    ("rows", "column", "said"),
    [
        ([{"id": "x"}, {"id": "x"}], "id", "'x' comes 2 times"),
        ([{"id": "x"}, {"id": None}], "id", "row 1 is empty"),
        ([{"id": "x"}], "nr", "no column is called 'nr'"),
    ],
)
def test_ids_that_are_none_are_refused_and_no_file_is_left(
    call: Call, tmp_path: Path, rows: list[Any], column: str, said: str
) -> None:
    job = job_file(tmp_path, prompt="Say something")
    written(tmp_path / "rows.jsonl", rows)
    refused = call("batch", "requests", job, "--to", tmp_path / "to.jsonl", "--id", column)
    assert (refused.code, said in refused.err) == (2, True)
    assert not (tmp_path / "to.jsonl").exists()


# -- an output file as answers


def answered(lines: list[dict[str, Any]], to: Path) -> Path:
    """What the Batch API would make of input lines: the emulator answers them, through the official SDK."""
    told = []
    with httpx.Client(transport=Synchronous(Emulator())) as http:
        client = OpenAI(base_url="http://127.0.0.1/api/v1", api_key=KEY, http_client=http)
        for number, asked in enumerate(lines):
            body = client.chat.completions.create(**asked["body"]).model_dump(mode="json")
            response = {"status_code": 200, "request_id": f"r{number}", "body": body}
            told.append({"id": f"b{number}", "custom_id": asked["custom_id"], "response": response, "error": None})
    return written(to, told)


class Synchronous(httpx.BaseTransport):
    """The emulator for a client that does not await."""

    def __init__(self, emulator: Emulator) -> None:
        self._inner = emulator.transport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def ask() -> httpx.Response:
            asked = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
            reply = await self._inner.handle_async_request(asked)
            return httpx.Response(reply.status_code, headers=reply.headers, content=await reply.aread())

        return anyio.run(ask)


def test_answers_of_the_batch_api_are_answers_of_the_job_and_only_the_rest_is_asked(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = job_file(tmp_path, api="emulator", output=str(tmp_path / "out"))
    lines = requests_of(call, job, "--id", "id")
    output = answered([told for told in lines if told["custom_id"] != "y"], tmp_path / "output.jsonl")
    said = call("batch", "answers", job, output, "--id", "id")
    assert said.code == 0, said.err
    assert "1 answers taken over" in said.out, "x and z ask the same: that is one answer"
    assert "left aside: 1 lines of rows that have an answer" in said.out
    assert json.loads(call("plan", job, "--json").out)["requests"] == 1
    ran = json.loads(call("run", job, "--quiet", "--json").out)
    assert (ran["exit_code"], ran["requests"]["sent"], ran["rows"]["answered"]) == (0, 1, 3)
    results = pl.read_parquet(tmp_path / "out" / "results.parquet")
    first = json.loads(output.read_text().splitlines()[0])["response"]["body"]["choices"][0]["message"]["content"]
    assert results["response"].to_list()[0] == first == results["response"].to_list()[2]
    assert results["jb_credits"].to_list() == [0, 1, 0]
    assert call("verify", job).code == 0
    again = call("batch", "answers", job, output, "--id", "id")
    assert "0 answers taken over" in again.out
    assert json.loads(call("run", job, "--quiet", "--json").out)["requests"]["sent"] == 1, "that of the first run"


def test_what_one_job_exported_is_all_that_another_needs(call: Call, flow: Flow, tmp_path: Path) -> None:
    flow.run(answer={"column": "said"})
    output = tmp_path / "output.jsonl"
    assert call("batch", "export", flow.output, "--to", output, "--id", "id").code == 0
    job = tmp_path / "other.yaml"
    job.write_text(json.dumps(flow.job(name="other", output=str(tmp_path / "other"), answer={"column": "said"})))
    assert "12 answers taken over" in call("batch", "answers", job, output, "--id", "id").out
    ran = json.loads(call("run", job, "--quiet", "--json").out)
    assert (ran["exit_code"], ran["requests"]["sent"]) == (0, 0)
    said = pl.read_parquet(tmp_path / "other" / "results.parquet")["said"]
    assert said.to_list() == flow.results()["said"].to_list()


def test_lines_that_bring_no_answer_are_counted_and_those_that_are_none_are_refused(call: Call, tmp_path: Path) -> None:
    job = job_file(tmp_path, api="emulator", output=str(tmp_path / "out"), answer={"fields": {"n": "integer"}})
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0}]}
    plain = {"index": 0, "message": {"role": "assistant", "content": "no number"}, "finish_reason": "stop"}
    lines: list[Any] = [
        {"custom_id": "x", "response": None, "error": {"code": "batch_expired", "message": "late"}},
        {"custom_id": "x", "response": {"status_code": 500, "body": {}}, "error": None},
        {"custom_id": "q", "response": {"status_code": 200, "body": body}, "error": None},
        {"custom_id": "y", "response": {"status_code": 200, "body": body}, "error": None},
        {"custom_id": "z", "response": {"status_code": 200, "body": body | {"choices": [plain]}}, "error": None},
    ]
    said = call("batch", "answers", job, written(tmp_path / "output.jsonl", lines), "--id", "id")
    assert said.code == 0, said.err
    assert [line.split()[2] for line in said.out.splitlines() if line.startswith("left aside")] == ["1", "2", "2"]
    assert not (tmp_path / "out").exists(), "nothing was taken, and nothing is left behind"
    for wrong, word in (("{", "not JSON"), ('{"custom_id": "x"}', "expected an output line")):
        refused = call("batch", "answers", job, written(tmp_path / "output.jsonl", [lines[0], wrong]), "--id", "id")
        assert (refused.code, f"line 2: {word}" in refused.err) == (2, True)
