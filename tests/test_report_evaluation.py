"""The page of an evaluation."""

from __future__ import annotations

import pytest
from appraised import appraised

from journeybatch.emulator import Faults
from journeybatch.report import evaluation
from journeybatch.report.evaluation import evaluation_page
from journeybatch.report.page import html

TARGETS = [str(n) for n in range(40)]
SAID = {"deepseek-chat": [*TARGETS[:10], *["x"] * 30], "gpt-4o": TARGETS, "qwen-turbo": [*TARGETS[:39], "x"]}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def names(page):
    return [section.name for section in page.sections]


def test_what_is_decided_is_the_headline_and_the_rest_follows(flow):
    page = evaluation_page(appraised(flow, TARGETS, SAID))
    assert page.headline.startswith("gpt-4o answers 75.0 points more than deepseek-chat, 95 % interval ")
    assert page.sentences[0].text.startswith("qwen-turbo cannot be told from gpt-4o with these rows: ")
    assert names(page) == ["variants", "thrift", "comparisons", "credits"]
    assert [chart.name for chart in page.charts] == ["scores", "quality-and-credits"]
    assert dict(page.facts)["Credits"] == "240 credits"


def test_what_cannot_be_told_apart_is_said_in_short_first(flow):
    page = evaluation_page(appraised(flow, TARGETS[:5], {"deepseek-chat": TARGETS[:5], "gpt-4o": [*TARGETS[:4], "x"]}))
    assert page.headline == "gpt-4o cannot be told from deepseek-chat with these rows"
    assert page.sentences[0].text.startswith("Difference −20.0 points, interval ")


def test_a_missed_gate_is_a_warning_on_top(flow):
    page = evaluation_page(appraised(flow, TARGETS, SAID, gate={"accuracy": 0.9}))
    assert [one.text for one in page.sentences if one.warning] == ["The gate is missed: 1 of 3 checks."]
    page = evaluation_page(appraised(flow, TARGETS, SAID, gate={"accuracy": 0.2}))
    assert "The gate is passed: 3 checks." in [one.text for one in page.sentences]


def test_comparisons_beyond_a_few_are_counted_on_top(flow, monkeypatch):
    monkeypatch.setattr(evaluation, "SENTENCES", 0)
    page = evaluation_page(appraised(flow, TARGETS, SAID))
    assert page.sentences[0].text == "1 more comparisons stand below."


def test_failed_replies_are_counted_and_shown(flow):
    found = appraised(flow, TARGETS, SAID, faults=Faults(statuses={400: 0.2}, seed=1))
    page = evaluation_page(found)
    failed = sum(variant.failed for variant in found.found.variants)
    assert f"{failed} replies failed: without a reply there is no score." in [one.text for one in page.sentences]
    assert "failures" in names(page)


def test_nothing_but_failures_has_a_page(flow):
    found = appraised(flow, TARGETS[:10], {"gpt-4o": TARGETS[:10]}, faults=Faults(statuses={400: 1.0}))
    page = evaluation_page(found)
    assert page.headline == "No row has a score: nothing can be said"
    assert names(page) == ["variants", "failures", "credits"] and not page.charts


def test_no_rows_have_a_page(flow):
    page = evaluation_page(appraised(flow, [], {"deepseek-chat": [], "gpt-4o": []}))
    assert page.headline == "The input has no rows: nothing was asked, 0 credits"
    assert names(page) == ["credits"] and page.browser is None


def test_one_variant_is_told_by_its_level(flow):
    page = evaluation_page(appraised(flow, TARGETS, {"gpt-4o": TARGETS}))
    assert page.headline.startswith("gpt-4o scores 100 % on 40 rows, 95 % interval ")
    assert names(page) == ["variants", "credits"]


def test_a_row_has_each_variants_reply_its_scores_its_target_and_its_group(flow):
    kinds = {"kind": ["even", "odd"] * 20}
    page = evaluation_page(appraised(flow, TARGETS, SAID, columns=kinds, group="kind"))
    browser, row = page.browser, page.browser.rows[10]
    assert browser.variants == ("deepseek-chat", "gpt-4o", "qwen-turbo")
    assert browser.columns == ("id", "text", "target", "kind")
    assert (row.target, row.group) == ("10", "even")
    assert [reply.text for reply in row.replies] == ["x", "10", "10"]
    assert [reply.scores[0].good for reply in row.replies] == [False, True, True]
    assert [browser.marks[place].name for place in row.marks] == ["disagree", "deepseek-chat", "answered"]
    assert [browser.texts[place] for _, place in row.messages] == ["thing number 10 of many"]
    assert [reply.attempts[0].model for reply in row.replies] == list(browser.variants)


def test_variants_that_ask_in_their_own_words_keep_them(flow):
    variants = {"plain": {"prompt": "{{ text }}"}, "kind": {"prompt": {"system": "Be kind.", "user": "{{ text }}?"}}}
    page = evaluation_page(
        appraised(flow, TARGETS, {"gpt-4o": TARGETS}, variants=variants, job={"model": "gpt-4o", "samples": 2})
    )
    browser, row = page.browser, page.browser.rows[3]
    assert browser.variants == ("plain, sample 1", "plain, sample 2", "kind, sample 1", "kind, sample 2")
    assert row.messages == ()
    said = [[(role, browser.texts[place]) for role, place in reply.messages] for reply in row.replies]
    assert said[0] == said[1] == [("user", "thing number 3 of many")]
    assert said[2] == said[3] == [("system", "Be kind."), ("user", "thing number 3 of many?")]


@pytest.mark.parametrize("prefix", [None, "out_"])
def test_hostile_names_and_replies_are_only_texts(flow, prefix):
    variants = {HOSTILE: {"model": "gpt-4o"}, "other": {"model": "deepseek-chat"}}
    said = {"gpt-4o": [HOSTILE, "x"], "deepseek-chat": ["x", HOSTILE]}
    scorers = ["equals", {"contains": HOSTILE, "name": HOSTILE}]
    given = {"columns": {HOSTILE: [HOSTILE, HOSTILE]}, "group": HOSTILE, "scorers": scorers, "variants": variants}
    page = evaluation_page(
        appraised(flow, [HOSTILE, "y"], said, **given, job={"output_prefix": prefix} if prefix else {})
    )
    text = html(page)
    assert "<img" not in text and "<script>alert" not in text
    assert page.browser.rows[0].group == page.browser.rows[0].target == HOSTILE


def test_all_runs_of_the_directory_are_told_when_asked_for(flow):
    found = appraised(flow, TARGETS, SAID)
    assert names(evaluation_page(found, history=True))[-1] == "runs"
