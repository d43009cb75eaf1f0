"""The rows of a run as the page's browser has them."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from journeybatch.archive import read_history
from journeybatch.emulator import Emulator, Faults
from journeybatch.loading import load_job
from journeybatch.report.evidence import Evidence
from journeybatch.report.replies import browser_of
from journeybatch.report.run import run_page
from journeybatch.summary import read_summary


def evidence(flow):
    spec = load_job(flow.output / "job.yaml", {}, environ={})
    history = read_history(flow.output / "journal")
    return Evidence(flow.output, spec, history, read_summary(flow.output), flow.output / "results.parquet")


class Scripted(httpx.AsyncBaseTransport):
    """An endpoint that says what a function of the prompt says: a text, or a status."""

    def __init__(self, says):
        self.says = says

    async def handle_async_request(self, request):
        if request.method == "GET":
            return httpx.Response(404, json={"error": {"message": "no account here"}})
        prompt = json.loads(await request.aread())["messages"][-1]["content"]
        said = self.says(prompt)
        if isinstance(said, int):
            return httpx.Response(said, json={"error": {"message": "no"}})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        return httpx.Response(200, json={"id": "x", "model": "m", "choices": [choice]})


def test_a_row_has_its_cells_its_prompt_its_reply_and_its_attempts(flow):
    flow.run(prompt={"system": "Be brief.", "user": "Say something about {{ text }}"})
    browser = browser_of(evidence(flow))
    row = browser.rows[3]
    assert browser.columns == ("id", "text") and row.cells == ("00003", "thing 3")
    assert [(role, browser.texts[place]) for role, place in row.messages] == [
        ("system", "Be brief."),
        ("user", "Say something about thing 3"),
    ]
    assert row.replies[0].text == flow.results()["response"][3]
    assert [(tried.outcome, tried.credits, tried.status) for tried in row.replies[0].attempts] == [
        ("settled", "1", 200)
    ]
    assert browser.texts.count("Be brief.") == 1


def test_a_failed_row_shows_every_attempt_and_why(flow):
    worse = iter((500, 400))
    transport = Scripted(lambda prompt: next(worse) if prompt.endswith("thing 7") else "well")
    flow.run({"transport": transport})
    browser = browser_of(evidence(flow))
    row = browser.rows[7]
    reply = row.replies[0]
    assert (reply.status, reply.text, reply.error) == ("failed", "", "rejected")
    first, last = reply.attempts
    assert (first.attempt, first.outcome, first.credits, first.status) == (1, "unknown", "0 to 1", 500)
    assert (last.outcome, last.credits, last.status) == ("free", "0", 400) and "HTTP 400" in last.message
    assert {browser.marks[place].name for place in row.marks} >= {"failed", "more than one", "rejected"}


def test_a_reply_that_could_not_be_read_is_shown_all_the_same(flow):
    def says(prompt):
        return '{"mood": "good", "tags": ["a", "b"]}' if "thing 1" in prompt else "I would rather not."

    answer = {"fields": {"mood": ["good", "bad"], "tags": "strings"}}
    flow.run({"transport": Scripted(says)}, answer=answer, limits={"failures": "100%"})
    browser = browser_of(evidence(flow))
    failed, fine = browser.rows[0].replies[0], browser.rows[1].replies[0]
    assert (failed.error, failed.text) == ("invalid", "I would rather not.")
    assert browser.fields == ("mood", "tags") and fine.fields == ("good", '["a", "b"]')


def test_samples_stand_side_by_side_and_disagreement_is_marked(flow):
    said = iter(range(1000))
    flow.run({"transport": Scripted(lambda _: str(next(said)))}, samples=3)
    browser = browser_of(evidence(flow))
    assert browser.variants == ("Sample 1", "Sample 2", "Sample 3")
    assert len(browser.rows) == 12 and all(len(row.replies) == 3 for row in browser.rows)
    assert all(len(reply.attempts) == 1 for row in browser.rows for reply in row.replies)
    assert {browser.marks[place].name for place in browser.rows[0].marks} >= {"disagree"}


def test_identical_prompts_that_are_asked_each_keep_their_own_attempts(flow):
    flow.write(["the same"] * 4)
    flow.run(dedupe=False)
    rows = browser_of(evidence(flow)).rows
    assert len({row.replies[0].attempts[0].request for row in rows}) == 4
    some = browser_of(evidence(flow), 2).rows
    asked = flow.results()["jb_request"]
    assert [row.replies[0].attempts[0].request for row in some] == [asked[row.number] for row in some]
    assert [row.number for row in some] == [0, 2]


def test_a_prefix_of_columns_changes_nothing(flow):
    flow.write([f"thing {n}" for n in range(3)], response=["x", "y", "z"])
    flow.run(output_prefix="out_")
    browser = browser_of(evidence(flow))
    assert browser.columns == ("id", "text", "response")
    assert browser.rows[0].replies[0].status == "answered"


def test_a_text_too_long_for_a_page_is_cut_and_says_so(flow):
    flow.write(["x" * 50_000])
    flow.run()
    browser = browser_of(evidence(flow))
    assert len(browser.texts[0]) < 21_000 and "more characters" in browser.texts[0]


def test_a_page_of_all_that_is_known_has_its_sections(flow):
    flow.emulator = Emulator(faults=Faults(statuses={400: 0.3}, seed=2))
    flow.run(limits={"failures": "100%"})
    page = run_page(evidence(flow), history=True)
    assert [section.name for section in page.sections] == [
        "status", "credits", "runs", "failures", "pace", "models", "samples",
    ]  # fmt: skip
    assert page.headline.startswith(f"{page.browser.rows and flow.summary()['rows']['answered']} of 12 rows answered, ")


def test_where_the_journal_was_moved_to_makes_no_difference(flow, tmp_path):
    flow.run()
    moved = Path(flow.output).rename(tmp_path / "elsewhere")
    flow.table.unlink()
    flow.output = moved
    assert len(browser_of(evidence(flow)).rows) == 12
