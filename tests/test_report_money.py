"""What a run cost, and what the same answers would have cost otherwise."""

from __future__ import annotations

from journeybatch.report.money import savings


def cost(requests, least, most=None):
    return {"requests": requests, "credits_min": least, "credits_max": least if most is None else most}


COSTS = {
    "naive": cost(100, 300),
    "after_reuse": cost(90, 270),
    "after_packing": cost(9, 27),
    "after_cascade": cost(9, 27),
    "asked_again": cost(1, 3, 5),
    "departed": cost(0, 0),
    "spent": cost(10, 30, 32),
    "in_doubt": cost(0, 0),
}


def test_stages_lead_from_one_request_a_row_to_what_was_spent():
    rows = {row[0]: row[1:] for row in savings(COSTS).rows}
    assert rows["One request for each row"] == ("100", "300")
    assert rows["Several rows in a request"] == ("\u221281", "\u2212243")
    assert rows["Asked again"] == ("1", "3 to 5")
    assert rows["Spent"] == ("10", "30 to 32")


def test_a_stage_that_changed_nothing_is_left_out():
    names = [row[0] for row in savings(COSTS).rows]
    assert "Cheaper models first" not in names
    assert "For rows that are gone" not in names
    assert names[-1] == "Spent" and savings(COSTS).total
