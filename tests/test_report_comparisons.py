"""Variants against each other, and against an earlier evaluation."""

from __future__ import annotations

from appraised import appraised, texts_of

from journeybatch.report.blocks import Sentence, Table, Tint
from journeybatch.report.comparisons import changes_section, comparisons_section, gate_section

TARGETS = [str(n) for n in range(40)]
GOOD, BAD = TARGETS, [*TARGETS[:10], *["x"] * 30]
SAID = {"deepseek-chat": BAD, "gpt-4o": GOOD, "qwen-turbo": [*GOOD[:39], "x"]}


def tables(section):
    return [block for block in section.blocks if isinstance(block, Table)]


def test_every_two_variants_stand_in_a_matrix_with_a_verdict_in_words(flow):
    matrix, listed = tables(comparisons_section(appraised(flow, TARGETS, SAID)))
    assert [row[:2] for row in texts_of(matrix)] == [["1", "gpt-4o"], ["2", "qwen-turbo"], ["3", "deepseek-chat"]]
    assert [row[2:] for row in texts_of(matrix)] == [
        ["", "+2.5 undecided", "+75.0 better"],
        ["−2.5 undecided", "", "+72.5 better"],
        ["−75.0 worse", "−72.5 worse", ""],
    ]
    better, worse = matrix.rows[0][4], matrix.rows[2][2]
    assert isinstance(better, Tint) and (better.level, better.bad) == (2, False)
    assert worse.bad and worse.detail == " to ".join(
        part.replace("+", "−") for part in reversed(better.detail.split(" to "))
    )
    assert len(listed.rows) == 3


def test_with_a_baseline_all_others_are_compared_with_it(flow):
    (listed,) = tables(comparisons_section(appraised(flow, TARGETS, SAID, baseline="deepseek-chat")))
    assert [row[:3] for row in texts_of(listed)] == [
        ["gpt-4o", "deepseek-chat", "+75.0 better"],
        ["qwen-turbo", "deepseek-chat", "+72.5 better"],
    ]
    assert [row[3:7] for row in texts_of(listed)] == [["< 0.001", "30", "0", "10"], ["< 0.001", "29", "0", "11"]]


def test_a_scorer_by_which_nothing_differs_takes_one_sentence(flow):
    scorers = ["equals", {"regex": "."}]
    section = comparisons_section(appraised(flow, TARGETS, SAID, scorers=scorers))
    assert "By the scorer regex all score the same, row by row." in [
        block.text for block in section.blocks if isinstance(block, Sentence)
    ]


def test_scores_that_are_no_shares_are_compared_in_their_own_unit(flow):
    code = flow.path / "mine.py"
    code.write_text("def size(answer, target, row):\n    return float(len(answer)) * 10\n")
    said = {"deepseek-chat": ["ab"] * 20, "gpt-4o": ["abc"] * 19 + ["a"]}
    scorers = [{"python": f"{code}:size"}]
    (listed,) = tables(comparisons_section(appraised(flow, ["x"] * 20, said, scorers=scorers)))
    assert texts_of(listed)[0][2] == "+9 better" and "points" not in listed.caption


def test_one_variant_is_compared_with_nothing(flow):
    assert comparisons_section(appraised(flow, TARGETS, {"gpt-4o": GOOD})) is None


def test_the_gate_says_what_was_needed_and_what_was_found(flow):
    gate = {"accuracy": 0.9}
    (table,) = gate_section(appraised(flow, TARGETS, SAID, gate=gate)).blocks
    assert texts_of(table) == [
        ["deepseek-chat", "✗ missed", "mean of equals", "≥ 0.9", "0.2500"],
        ["gpt-4o", "✓ passed", "mean of equals", "≥ 0.9", "1.0000"],
        ["qwen-turbo", "✓ passed", "mean of equals", "≥ 0.9", "0.9750"],
    ]
    assert gate_section(appraised(flow, TARGETS, SAID)) is None


def test_changes_lead_to_rows_the_broken_ones_first(flow, tmp_path):
    appraised(flow, TARGETS, SAID)
    before = flow.output.rename(tmp_path / "before")
    found = appraised(flow, TARGETS, SAID | {"deepseek-chat": GOOD, "gpt-4o": BAD}, against=before)
    (table,) = changes_section(found).blocks
    assert [row[:4] for row in texts_of(table)] == [
        ["deepseek-chat", "+30", "0", "10"],
        ["gpt-4o", "0", "−30", "10"],
        ["qwen-turbo", "0", "0", "40"],
    ]
    assert [row[4].rows for row in table.rows] == [(10, 11, 12, 13, 14), (10, 11, 12, 13, 14), ()]
    assert changes_section(appraised(flow, TARGETS, SAID)) is None


def test_more_changes_than_are_kept_are_said_to_be_more(flow, tmp_path, monkeypatch):
    monkeypatch.setattr("journeybatch.evaluation.changes._SHOWN", 20)
    appraised(flow, TARGETS, SAID)
    before = flow.output.rename(tmp_path / "before")
    found = appraised(flow, TARGETS, SAID | {"deepseek-chat": GOOD}, against=before)
    table, few = changes_section(found).blocks
    assert texts_of(table)[0][1] == "+30"
    assert few.text == "The rows of this page that count as fixed or broken are the first 20 of each."


def test_an_earlier_evaluation_of_other_variants_is_said_to_be_one(flow, tmp_path):
    appraised(flow, TARGETS, {"qwen-turbo": GOOD, "gpt-4o": GOOD})
    before = flow.output.rename(tmp_path / "before")
    section = changes_section(appraised(flow, TARGETS, {"deepseek-chat": GOOD}, against=before))
    (told,) = section.blocks
    assert told.warning and "no variant of a name" in told.text
