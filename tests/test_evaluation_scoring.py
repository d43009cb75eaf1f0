"""Scorers at work: columns in, one score a row out."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.answers import fields_contract, text_contract
from journeybatch.errors import SpecError
from journeybatch.evaluation import numbers
from journeybatch.evaluation.scorers import KINDS, parse
from journeybatch.evaluation.scoring import ready, score

TEXT = text_contract("response")
SCHEMA = {"type": "object"}
ARGUMENTS = {"json-schema": SCHEMA, "model-graded": None}
COMPUTED = [name for name in KINDS if name not in ("model-graded", "python")]


def bound(item, contract=TEXT, columns=("gold",), target="gold", **more):
    return ready(parse([item])[0], contract, columns, target, more.pop("folder", None), **more)


def results(replies, targets=None, **more):
    status = ["answered" if reply is not None else "failed" for reply in replies]
    targets = targets if targets is not None else ["x"] * len(replies)
    errors = [None if reply is not None else "refusal" for reply in replies]
    frame = {"gold": targets, "response": replies, "jb_status": status, "jb_error": errors}
    return pl.DataFrame(frame | more, strict=False)


def values(item, replies, targets=None, **more):
    return score(bound(item, **more), results(replies, targets))["value"].to_list()


def test_there_is_one_score_a_row_in_order_with_answer_and_explanation():
    frame = score(bound("number"), results(["It is 18.", "It is 19", "?"], [18, 18, 18]))
    assert frame.schema == {"value": pl.Float64, "answer": pl.String, "explanation": pl.String}
    assert frame.rows() == [(1.0, "18", ""), (0.0, "19", "expected '18'"), (0.0, None, "no number")]


def test_rows_without_a_reply_or_a_target_are_unscored_and_never_zero():
    frame = score(bound("equals"), results([None, "a", "a", "a"], ["a", None, " ", "a"]))
    assert frame["value"].to_list() == [None, None, None, 1]
    assert frame["explanation"].to_list() == ["the row has no reply (refusal)", *["the row has no target"] * 2, ""]


def test_a_row_that_is_pending_is_unscored():
    frame = results(["x"]).with_columns(jb_status=pl.lit("pending"))
    assert score(bound("equals"), frame)["explanation"].to_list() == ["the row has no reply (pending)"]


def test_not_turns_a_score_around_and_leaves_unscored_rows_alone():
    assert values("not-equals", ["x", "y", None]) == [0, 1, None]


def test_a_threshold_makes_a_grade_right_or_wrong():
    assert values({"f1": None, "threshold": 0.5}, ["x and y", "x"], ["x", "x"]) == [1, 1]
    assert values({"f1": None, "threshold": 0.6}, ["x and y", "x"], ["x", "x"]) == [0, 1]
    assert values({"not-f1": None, "threshold": 0.6}, ["x and y", "x"], ["x", "x"]) == [1, 0]


def test_a_target_may_stand_in_the_job_or_in_another_column():
    assert values({"contains": "y"}, ["xyz"], [None], target="") == [1]
    other = bound({"equals": None, "target": "other"}, columns=("gold", "other"))
    assert score(other, results(["a"], other=["a"]))["value"].to_list() == [1]


def test_reasoning_before_an_answer_does_not_count():
    assert values("equals", ["<think>y?</think>\nx", "<think>x"]) == [1, 0]
    assert values("not-contains", ["<think>x</think>y"]) == [1]


def test_fields_are_looked_at_as_they_are_typed():
    contract = fields_contract({"total": "number?", "tags": "strings", "ok": "boolean"})
    frame = pl.DataFrame(
        {
            "gold": ["4", "4"],
            "wanted": [["a", "b"], ["a"]],
            "truth": ["True", "no"],
            "total": [4.0, None],
            "tags": [["b", "a"], ["b"]],
            "ok": [True, True],
            "jb_text": ['{"total": 4}', "no JSON"],
            "jb_status": ["answered", "answered"],
        }
    )
    columns = ("gold", "wanted", "truth")

    def found(item):
        return score(bound(item, contract, columns), frame)["value"].to_list()

    assert found({"number": None, "field": "total"}) == [1, 0]
    assert found({"equals": None, "field": "total"}) == [1, 0]
    assert found({"not-equals": None, "field": "total"}) == [0, 1]
    assert found({"exact-set": None, "field": "tags", "target": "wanted"}) == [1, 0]
    assert found({"equals": None, "field": "ok", "target": "truth"}) == [1, 0]
    assert found("is-json") == [1, 0]
    assert found({"json-schema": {"required": ["total"]}}) == [1, 0]


def test_a_field_that_is_null_is_wrong_and_is_not_the_word_none():
    contract = fields_contract({"city": "string?"})
    frame = pl.DataFrame(
        {"gold": ["None"], "city": [None], "jb_status": ["answered"]}, schema_overrides={"city": pl.String}
    )
    assert score(bound("equals", contract), frame).rows() == [(0, None, "the field is null")]
    assert score(bound("not-contains", contract), frame)["value"].to_list() == [1]


def test_a_users_function_sees_the_whole_row(tmp_path):
    (tmp_path / "g.py").write_text("def g(answer, target, row): return row['gold'] == answer and target == answer")
    assert values({"python": "g.py:g"}, ["x", None, "y"], folder=tmp_path) == [1, None, 0]


def test_columns_of_options_are_read_from_the_same_row():
    item = {"choice": {"columns": ["one", "two"]}}
    frame = results(
        [None, "It is Rome", "It is Rome"], ["A", "B", "A"], one=["-", "Oslo", "Rome"], two=["-", "Rome", "Oslo"]
    )
    assert score(bound(item, columns=("gold", "one", "two")), frame)["value"].to_list() == [None, 1, 1]


def test_a_prefix_before_jb_is_minded():
    contract = fields_contract({"total": "number", "why": "string"})
    frame = pl.DataFrame({"my_jb_text": ["{}"], "my_jb_status": ["answered"]})
    assert score(bound("is-json", contract, prefix="my_"), frame)["value"].to_list() == [1]


def test_a_prefix_stands_before_the_answers_too():
    plain = pl.DataFrame({"gold": ["a"], "response": ["x"], "my_response": ["a"], "my_jb_status": ["answered"]})
    assert score(bound("equals", prefix="my_"), plain)["value"].to_list() == [1]


@pytest.mark.parametrize(
    ("item", "target", "why"),
    [
        ("equals", "", r"equals: it needs a target: give eval.target, or a value: \{equals: …\}"),
        ("equals", "nope", r"equals: no column is called 'nope' \(columns: gold\)"),
        ({"equals": None, "field": "x"}, "gold", "equals: the answer has no field 'x'"),
        ({"choice": {"columns": ["A"]}}, "gold", "choice: no column is called 'A'"),
        ({"model-graded": {"question": "q"}}, "gold", "model-graded: no column is called 'q'"),
    ],
)
def test_a_scorer_that_does_not_fit_the_job_is_an_error_before_spending(item, target, why):
    with pytest.raises(SpecError, match=why):
        bound(item, target=target)


def test_a_judge_is_asked_and_not_computed():
    with pytest.raises(ValueError, match="model-graded is asked of a model"):
        score(bound("model-graded"), results(["x"]))


replies = st.lists(
    st.none() | st.text(max_size=30) | st.text(st.sampled_from('ABx1. ,"[]{}:\n-/%#*()'), max_size=30), max_size=4
)


@settings(deadline=None, max_examples=20)
@pytest.mark.parametrize("name", COMPUTED)
@given(said=replies, wanted=st.text(max_size=6) | st.sampled_from(["A", "1", "x", "[", "(", '["x"]', "x, 1"]))
def test_any_text_gives_a_score_and_not_is_what_is_left_to_one(name, said, wanted):
    frame = results(said, [wanted] * len(said), response=pl.Series(said, dtype=pl.String))
    argument = ARGUMENTS.get(name)
    plain = score(bound({name: argument}), frame)["value"].to_list()
    turned = score(bound({f"not-{name}": argument}), frame)["value"].to_list()
    assert len(plain) == len(said)
    for reply, one, other in zip(said, plain, turned, strict=True):
        assert one is None or 0 <= one <= 1
        assert other == (None if one is None else 1 - one)
        assert reply is not None or one is None


def test_a_pattern_goes_through_the_engine_once_for_all_rows(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "journeybatch.evaluation.text._flagged", lambda options, pattern: calls.append(pattern) or pattern
    )
    assert values({"regex": "a"}, ["a", "b"] * 500) == [1, 0] * 500
    assert len(calls) == 2  # the check, and one pass


def test_only_the_number_that_counts_is_computed(monkeypatch):
    computed = []
    face = numbers._face
    monkeypatch.setattr(numbers, "_face", lambda match: computed.append(match[0]) or face(match))
    assert values("number", ["1 2 3 4 5 6 7 8 9"], ["9"]) == [1]
    assert computed == ["9", "9"]
