"""What a run cost, and what the same answers would have cost otherwise."""

from __future__ import annotations

from journeybatch.archive import read_history
from journeybatch.loading import load_job
from journeybatch.report.blocks import Sentence, Table
from journeybatch.report.evidence import Evidence
from journeybatch.report.money import credits_section, savings


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


def section(flow, summary):
    spec = load_job(flow.output / "job.yaml", {}, environ={})
    history = read_history(flow.output / "journal")
    return credits_section(Evidence(flow.output, spec, history, summary, flow.output / "results.parquet"))


def test_what_an_older_summary_does_not_say_is_left_out(flow):
    flow.run()
    for summary in ({}, {"costs": None}, {"costs": {"spent": cost(1, 1)}}, {"credits": {"reconciliation": None}}):
        (table,) = section(flow, summary).blocks
        assert table.rows == (("Spent, certainly", "12"),)


def test_an_account_that_lost_more_than_the_ledger_says_is_a_warning(flow):
    flow.run(limits={"credits": 20})
    found = {"verdict": "more", "message": "the account lost 14 credits, 2 more than the ledger's 12 credits"}
    *tables, said = section(flow, flow.summary() | {"costs": COSTS, "credits": {"reconciliation": found}}).blocks
    assert said == Sentence("The account lost 14 credits, 2 more than the ledger's 12 credits.", warning=True)
    assert all(isinstance(table, Table) for table in tables) and len(tables) == 2
    assert ("Cap", "20") in tables[1].rows
    agreed = found | {"verdict": "agrees"}
    assert not section(flow, {"credits": {"reconciliation": agreed}}).blocks[-1].warning
