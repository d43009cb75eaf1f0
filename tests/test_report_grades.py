"""How replies were graded, and which rows one may want to see alone."""

from __future__ import annotations

from appraised import appraised

from journeybatch.report.browser import Mark, Score
from journeybatch.report.grades import CHANGED, DISAGREE, Grades

TARGETS = ["a", "b", "c", ""]
SAID = {"deepseek-chat": ["a", "x", "x", "x"], "gpt-4o": ["a", "b", "x", "x"]}


def rows(grades):
    return {mark: rows.to_list() for mark, rows in grades.marks.items()}


def test_rows_are_marked_where_variants_disagree_are_wrong_or_lack_a_score(flow):
    grades = Grades(appraised(flow, TARGETS, SAID))
    assert rows(grades) == {
        DISAGREE: [1],
        Mark("Variants", "all are right"): [0],
        Mark("Variants", "all are wrong"): [2],
        Mark("Wrong", "deepseek-chat"): [1, 2],
        Mark("Wrong", "gpt-4o"): [2],
        Mark("Score", "unscored"): [3],
    }
    assert grades.striking.to_list() == [1]


def test_rows_that_changed_since_an_earlier_evaluation_are_marked(flow, tmp_path):
    appraised(flow, TARGETS, SAID)
    before = flow.output.rename(tmp_path / "before")
    now = SAID | {"gpt-4o": ["x", "b", "c", "x"]}
    grades = Grades(appraised(flow, TARGETS, now, against=before))
    changed = {mark.name: found for mark, found in rows(grades).items() if mark.group == CHANGED}
    assert changed == {"gpt-4o: fixed": [2], "gpt-4o: broken": [0]}
    assert sorted(grades.striking) == [0, 1, 2]


def test_one_variant_cannot_disagree(flow):
    grades = Grades(appraised(flow, ["a", "b"], {"gpt-4o": ["a", "x"]}))
    assert rows(grades) == {Mark("Wrong", "gpt-4o"): [1]}


def test_a_score_says_whether_it_is_right_and_what_was_read(flow):
    scorers = ["number", {"similar": {}}]
    said = {"gpt-4o": ["it is 41", "it is 43"]}
    grades = Grades(appraised(flow, ["41", "42"], said, scorers=scorers))
    found = grades.scores_of([1])
    assert set(found) == {(1, "gpt-4o", 0)}
    number, similar = found[1, "gpt-4o", 0]
    assert number == Score("number", "0", False, "expected '42'", "43")
    assert similar.scorer == "similar" and similar.good is None


def test_a_score_that_is_correct_enough_counts_as_right(flow):
    given = {"scorers": [{"similar": {}}], "correct": 0.5}
    grades = Grades(appraised(flow, ["abcd", "abcd"], {"gpt-4o": ["abcx", "axxx"]}, **given))
    scores = grades.scores_of([0, 1])
    assert [scores[row, "gpt-4o", 0][0].good for row in (0, 1)] == [True, False]
    assert rows(grades) == {Mark("Wrong", "gpt-4o"): [1]}
