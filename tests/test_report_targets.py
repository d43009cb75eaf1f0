"""Answers against targets, and judges against people."""

from __future__ import annotations

from appraised import appraised, texts_of

from journeybatch.evaluation.classification import classify
from journeybatch.report import targets
from journeybatch.report.blocks import Beside, Tint
from journeybatch.report.targets import judges_section, labels_section, numbers_section

WANTED = ["yes"] * 6 + ["no"] * 4
SAID = {"deepseek-chat": ["yes"] * 5 + ["no"] * 4 + ["perhaps"], "gpt-4o": WANTED}


def test_each_variant_has_its_confusion_and_its_classes(flow):
    figures, first, second = labels_section(appraised(flow, WANTED, SAID)).blocks
    assert texts_of(figures) == [
        ["gpt-4o", "100.0 %", "100.0 %", "1.00", "10"],
        ["deepseek-chat", "80.0 %", *texts_of(figures)[1][2:]],
    ]
    assert (first.title, second.title) == ("gpt-4o", "deepseek-chat")
    assert isinstance(second, Beside)
    confusion, classes = second.tables
    assert [column.title for column in confusion.columns] == ["target ↓ reply →", "no", "perhaps", "yes", "rows"]
    assert texts_of(confusion) == [["no", "3", "1", "0", "4"], ["yes", "1", "0", "5", "6"]]
    assert texts_of(classes)[2] == ["yes", "100.0 %", "83.3 %", "90.9 %", "6", "5"]


def test_the_ground_of_a_count_tells_right_from_wrong_and_many_from_few(flow):
    confusion = labels_section(appraised(flow, WANTED, SAID)).blocks[2].tables[0]
    no, yes = confusion.rows
    assert no[1:4] == (Tint("3", 4), Tint("1", 2, bad=True), Tint("0", 0, bad=True))
    assert yes[1:4] == (Tint("1", 1, bad=True), Tint("0", 0, bad=True), Tint("5", 4))


def test_of_many_labels_the_rare_ones_are_taken_together_and_none_is_lost(monkeypatch):
    monkeypatch.setattr(targets, "LABELS", 3)
    wanted = ["a"] * 5 + ["b"] * 4 + ["c", "d"]
    one = classify(wanted, [*wanted[:-1], "junk"])
    confusion = targets._matrix(one)
    assert texts_of(confusion) == [
        ["a", "5", "0", "0", "5"],
        ["b", "0", "4", "0", "4"],
        ["3 others", "0", "0", "2", "2"],
    ]


def test_what_is_no_label_has_no_section(flow):
    assert labels_section(appraised(flow, WANTED, SAID, scorers=["contains"])) is None


def test_numbers_say_how_far_off_they_are(flow):
    said = {"gpt-4o": ["the sum is 1", "it is 2", "it makes 5", "no idea"]}
    figures, note = numbers_section(appraised(flow, ["1", "2", "3", "4"], said, scorers=["number"])).blocks
    assert texts_of(figures)[0][:3] == ["gpt-4o", "0.6667", "1.155"] and texts_of(figures)[0][-1] == "3"
    assert note.text == "Up to 1 row without a number are left out."


def test_texts_are_no_numbers(flow):
    assert numbers_section(appraised(flow, WANTED, SAID)) is None


def test_a_judge_is_measured_by_people(flow):
    people = ["correct"] * 8 + ["incorrect"] * 2
    scorers = [{"model-graded": {"labels": "human", "model": "gpt-4o"}}]
    found = appraised(flow, WANTED, {"gpt-4o": WANTED}, columns={"human": people}, scorers=scorers)
    _, figures, matrix = judges_section(found).blocks
    agreed = found.found.judges["model-graded"]
    assert texts_of(figures)[0][0] == "model-graded" and texts_of(figures)[0][-1] == str(agreed.rows) == "10"
    assert sum(int(row[-1]) for row in texts_of(matrix.tables[0])) == 10
    assert judges_section(appraised(flow, WANTED, SAID)) is None


def test_a_kappa_of_almost_nothing_has_no_sign():
    one = classify(["a", "a", "b", "b"], ["a", "b", "a", "b"])
    assert targets._kappa(one).startswith("0.00 (−")
