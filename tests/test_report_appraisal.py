"""What an evaluation's report is made of."""

from __future__ import annotations

import json

import pytest
from appraised import appraisal_of, appraised, evaluated

from journeybatch.errors import OutputError
from journeybatch.report.appraisal import evaluation_in, scores_in


def test_an_evaluation_reads_back_as_it_was_found(flow):
    ended = evaluated(flow, ["a", "b", "c"], {"deepseek-chat": ["a", "x", "x"], "gpt-4o": ["a", "b", "x"]})
    found = appraisal_of(flow)
    assert found.found == ended.evaluation
    assert [found.label(variant) for variant in found.best] == ["1 gpt-4o", "2 deepseek-chat"]


def test_a_price_without_an_end_reads_back(flow):
    found = appraised(flow, ["a", "b"], {"gpt-4o": ["x", "x"]})
    told = json.loads((flow.output / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert told["variants"][0]["price"]["interval"]["high"] is None
    assert found.found == evaluation_in(flow.output)


def test_a_row_has_one_mean_per_variant_over_its_samples(flow):
    found = appraised(flow, ["a", ""], {"gpt-4o": ["a", "b"]}, job={"samples": 2})
    assert found.means.rows() == [(0, "gpt-4o", 1.0, True), (1, "gpt-4o", None, False)]
    assert found.shares("equals")


def test_a_file_that_cannot_be_read_is_named_with_what_makes_it_anew(flow):
    evaluated(flow, ["a"], {"gpt-4o": ["a"]})
    path = flow.output / "evaluation.json"
    data = json.loads(path.read_text())
    del data["variants"]
    path.write_text(json.dumps(data))
    with pytest.raises(OutputError, match=r"evaluation\.json: .*`variants`.* `journeybatch eval JOB` writes it anew"):
        evaluation_in(flow.output)
    (flow.output / "scores.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(OutputError, match=r"scores\.parquet: cannot be read.* `journeybatch eval JOB` writes it anew"):
        scores_in(flow.output)
