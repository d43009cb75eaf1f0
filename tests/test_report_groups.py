"""Scores by group."""

from __future__ import annotations

import pytest
from appraised import appraised, texts_of

from journeybatch.report import groups
from journeybatch.report.blocks import Tint
from journeybatch.report.groups import groups_section

WANTED = ["a"] * 12
SAID = {"deepseek-chat": ["a"] * 9 + ["x"] * 3, "gpt-4o": ["a"] * 12}
GROUPS = {"kind": ["easy"] * 4 + ["fair"] * 4 + ["hard"] * 4}


def test_the_group_that_is_hardest_stands_first(flow):
    table, note = groups_section(appraised(flow, WANTED, SAID, columns=GROUPS, group="kind")).blocks
    assert [column.title for column in table.columns] == ["kind", "gpt-4o", "deepseek-chat", "Rows"]
    assert texts_of(table) == [
        ["hard", "100.0 %", "25.0 %", "4"],
        ["easy", "100.0 %", "100.0 %", "4"],
        ["fair", "100.0 %", "100.0 %", "4"],
    ]
    assert table.rows[0][1:3] == (Tint("100.0 %", 4), Tint("25.0 %", 1))
    assert note.text.endswith("in every interval here: 3 groups.")


def test_of_many_groups_the_hardest_are_shown(flow, monkeypatch):
    monkeypatch.setattr(groups, "SHOWN", 1)
    table, note = groups_section(appraised(flow, WANTED, SAID, columns=GROUPS, group="kind")).blocks
    assert [row[0] for row in texts_of(table)] == ["hard"]
    assert note.text.endswith("3 groups. The 1 with the lowest scores.")


@pytest.mark.parametrize(("group", "scorer"), [(None, "equals"), ("kind", "number")])
def test_without_groups_or_scores_there_is_no_section(flow, group, scorer):
    found = appraised(flow, WANTED, SAID, columns=GROUPS, group=group, scorers=[scorer])
    assert (found.found.variants[0].scores[scorer].value is None) == (scorer == "number")
    assert groups_section(found) is None
