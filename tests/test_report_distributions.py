"""How the values of each answer column are distributed."""

from __future__ import annotations

import math

import polars as pl

from journeybatch.report import distributions
from journeybatch.report.blocks import Chart, Sentence, Table, Text


def distribution(values, name, **more):
    return distributions.distribution(values.to_frame().lazy(), name, **more)


def words(table):
    return [(row[0].text, row[2]) for row in table.rows]


def test_choices_are_bars_the_most_frequent_first():
    table = distribution(pl.Series("mood", ["good"] * 3 + ["bad"] * 5 + [None]), "a")
    assert isinstance(table, Table) and table.caption == "mood"
    assert words(table) == [("bad", "5"), ("good", "3"), ("(null)", "1")]
    assert table.rows[0][1].share == 1 and table.rows[1][1].share == 0.6


def test_few_numbers_stand_in_their_order():
    assert words(distribution(pl.Series("stars", [5, 1, 5, 3]), "a")) == [("1", "1"), ("3", "1"), ("5", "2")]


def test_truth_is_said_as_in_json():
    assert words(distribution(pl.Series("urgent", [True, False, True]), "a")) == [("true", "2"), ("false", "1")]


def test_many_numbers_are_a_histogram_that_leaves_out_what_is_none():
    numbers = [n / 7 for n in range(50)]
    chart = distribution(pl.Series("score", [*numbers, math.nan, math.inf, None]), "answer-1")
    assert isinstance(chart, Chart) and chart.name == "answer-1"
    assert chart.says == "From 0 to 7, half below 3.57. 3 answers without."
    assert sum(int(row[2]) for row in chart.table.rows) == 50


def test_numbers_that_are_none_of_them_finite_are_said_to_be():
    assert isinstance(distribution(pl.Series("x", [math.nan] * 20 + [math.inf]), "a"), Table)
    many = pl.Series("x", [None] * 3, dtype=pl.Float64)
    assert isinstance(distribution(many, "a"), Table)


def test_free_text_is_a_sentence_or_nothing_where_it_is_all_there_is():
    texts = pl.Series("why", [f"text {n}" for n in range(30)])
    assert distribution(texts, "a") == Sentence("why: texts of 6 to 7 characters, half of them under 7.")
    assert distribution(texts, "a", alone=True) is None
    assert distribution(texts.head(4), "a", alone=True) is None
    assert distribution(texts.clear(), "a") is None


def test_choices_that_turn_out_to_be_many_are_text(monkeypatch):
    monkeypatch.setattr(distributions, "LOOKED_AT", 5)
    assert isinstance(distribution(pl.Series("x", ["a"] * 5 + [f"b{n}" for n in range(30)]), "a"), Sentence)


def test_lists_are_counted_by_what_is_in_them():
    assert words(distribution(pl.Series("tags", [["a", "b"], ["a"], None]), "x"))[0] == ("a", "2")


def test_an_empty_text_has_a_name():
    assert Text("(empty)") in [row[0] for row in distribution(pl.Series("x", ["", "", "a"]), "a").rows]
