"""The variants of an evaluation in figures."""

from __future__ import annotations

from appraised import appraised, texts_of

from journeybatch.emulator import Faults
from journeybatch.report import variants
from journeybatch.report.blocks import Chart, Sentence, Table
from journeybatch.report.variants import repeats_section, thrift_section, variants_section

TARGETS = [str(n) for n in range(20)]
SAID = {"deepseek-chat": [*TARGETS[:8], *["x"] * 12], "gpt-4o": [*TARGETS[:15], *["x"] * 5]}


def labels(chart):
    texts = [layer["data"]["values"][0] for layer in chart.spec["layer"][3:]]
    return [(text["label"], text["x"], text["y"]) for text in texts]


def test_the_best_variant_stands_first_with_its_interval_and_its_price(flow):
    table, chart = variants_section(appraised(flow, TARGETS, SAID)).blocks
    assert isinstance(table, Table) and isinstance(chart, Chart)
    titles = [column.title for column in table.columns]
    assert titles[:4] == ["No.", "Variant", "equals", "95 % interval"] and "Failed" not in titles
    first, second = texts_of(table)
    assert first[:5] == ["1", "gpt-4o", "75.0 %", "53.1 to 88.8", "80"]
    assert second[:3] == ["2", "deepseek-chat", "40.0 %"]
    assert texts_of(chart.table)[0] == ["1 gpt-4o", "75", "53.13", "88.81"]


def test_failed_replies_and_missing_scores_are_counted(flow):
    found = appraised(flow, TARGETS, SAID, faults=Faults(statuses={400: 0.3}, seed=4))
    table = variants_section(found).blocks[0]
    assert table.columns[-1].title == "Failed"
    for row, variant in zip(texts_of(table), found.best, strict=True):
        assert row[-1] == str(variant.failed) and row[-2] == f"{20 - variant.failed} of 20"


def test_where_nothing_is_right_a_price_has_no_end(flow):
    table = variants_section(appraised(flow, TARGETS, {"gpt-4o": ["x"] * 20})).blocks[0]
    assert texts_of(table)[0] == ["gpt-4o", "0.0 %", "0.0 to 16.1", "80", "–", *texts_of(table)[0][5:]]


def test_a_variant_that_is_left_out_is_named(flow):
    twins = {"one": {"model": "gpt-4o"}, "twin": {"model": "gpt-4o"}}
    found = appraised(flow, TARGETS, {"gpt-4o": TARGETS}, variants=twins)
    told = [block.text for block in variants_section(found).blocks if isinstance(block, Sentence)]
    assert told == ["twin is left out: it asks just what another variant asks."]


def test_the_front_joins_variants_that_nobody_should_prefer_another_to(flow):
    said = SAID | {"qwen-turbo": ["x"] * 20}
    (chart,) = thrift_section(appraised(flow, TARGETS, said)).blocks
    assert [row[-1] for row in texts_of(chart.table)] == ["yes", "yes", "no"]
    assert "(1 gpt-4o, 2 deepseek-chat)" in chart.says
    assert labels(chart) == [("1 gpt-4o", 80, 75), ("2 deepseek-chat", 20, 40), ("3 qwen-turbo", 20, 0)]


def test_variants_in_the_same_place_share_a_label_of_numbers(flow, monkeypatch):
    monkeypatch.setattr(variants, "NAMED", 1)
    said = {"deepseek-chat": TARGETS, "qwen-turbo": TARGETS}
    (chart,) = thrift_section(appraised(flow, TARGETS, said)).blocks
    assert labels(chart) == [("1, 2", 20, 100)]


def test_of_many_variants_points_have_numbers_only(flow, monkeypatch):
    monkeypatch.setattr(variants, "NAMED", 1)
    (chart,) = thrift_section(appraised(flow, TARGETS, SAID)).blocks
    assert [label for label, *_ in labels(chart)] == ["1", "2"]


def test_one_variant_leaves_nothing_to_choose(flow):
    assert thrift_section(appraised(flow, TARGETS, {"gpt-4o": TARGETS})) is None


def test_several_samples_say_whether_more_would_help(flow):
    found = appraised(flow, TARGETS, SAID, job={"samples": 2})
    table = repeats_section(found).blocks[1]
    assert [row[0] for row in texts_of(table)] == ["gpt-4o", "deepseek-chat"]
    assert texts_of(table)[0][2] == "0"  # the key says the same each time


def test_one_sample_says_nothing_about_more(flow):
    assert repeats_section(appraised(flow, TARGETS, SAID)) is None
