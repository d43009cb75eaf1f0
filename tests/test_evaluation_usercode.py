"""The user's own scorers."""

import pytest

from journeybatch.errors import SpecError
from journeybatch.evaluation.score import Score
from journeybatch.evaluation.usercode import Source, imported, python

CODE = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Wish:
    length: int

def longer(answer, target, row):
    return len(answer) > Wish(int(row["length"])).length

def echo(answer, target, row):
    return row["result"]

def broken(answer, target, row):
    return 1 / row["length"]

def leaving(answer, target, row):
    raise SystemExit(3)

def narrow(answer):
    return True

async def later(answer, target, row):
    return True

built_in = max
constant = 3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "grade.py").write_text(CODE)
    return tmp_path


def called(folder, name, row, answer="Paris", target="x"):
    return python(imported(Source(call=f"grade.py:{name}"), folder), [answer], [target], [row])[0]


def test_a_function_gets_answer_target_and_row(folder):
    assert called(folder, "longer", {"length": 4}) == Score(1.0, "Paris", "")
    assert called(folder, "longer", {"length": 5}) == Score(0.0, "Paris", "")


@pytest.mark.parametrize(
    ("result", "score"),
    [
        (0.25, Score(0.25, "Paris", "")),
        (None, Score(None, "Paris", "the function gave no value")),
        ({"value": 1, "answer": 7, "explanation": "so"}, Score(1.0, "7", "so")),
        ({"pass": False, "reason": "no"}, Score(0.0, "Paris", "no")),
        ({"value": None, "explanation": "cannot tell"}, Score(None, "Paris", "cannot tell")),
        ("yes", Score(None, "Paris", "expected true, false, a number or None, the function gave 'yes'")),
        (float("nan"), Score(None, "Paris", "expected true, false, a number or None, the function gave nan")),
    ],
)
def test_a_function_gives_a_truth_a_number_nothing_or_a_mapping(folder, result, score):
    assert called(folder, "echo", {"result": result}) == score


def test_a_function_may_be_shown_a_null(folder):
    assert called(folder, "echo", {"result": True}, answer=None, target=None) == Score(1.0, None, "")


def test_a_function_whose_signature_is_unknown_is_tried(folder):
    assert "TypeError" in called(folder, "built_in", {}).explanation


def test_an_error_in_a_function_leaves_its_row_unscored_and_names_the_line(folder):
    score = called(folder, "broken", {"length": 0})
    assert score.value is None
    assert score.explanation.endswith("grade.py, line 16: ZeroDivisionError: division by zero")
    assert called(folder, "leaving", {}).value is None


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("other.py:grade", r"there is no file .*other\.py"),
        ("grade.py:nothing", r"has no function 'nothing' \(it has: Wish, longer, echo, .*\)"),
        ("grade.py:constant", "has no function 'constant'"),
        ("grade.py:narrow", "cannot be called with answer, target and row"),
        ("grade.py:later", "is async"),
    ],
)
def test_a_function_that_is_not_there_or_does_not_fit_is_an_error_before_spending(folder, call, why):
    with pytest.raises(SpecError, match=why):
        imported(Source(call=call), folder)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import nothing_of_this_name", "line 1: ModuleNotFoundError"),
        ("\ndef f(:", "line 2: SyntaxError"),
        ("x = 1\nraise SystemExit", "line 2: SystemExit"),
    ],
)
def test_a_file_that_cannot_be_imported_is_an_error_that_names_the_line(tmp_path, code, why):
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(SpecError, match=rf"bad\.py, {why}"):
        imported(Source(call="bad.py:f"), tmp_path)


@pytest.mark.parametrize("call", ["grade.py", "grade:grade", "grade.py:", "grade.py:a-b", ""])
def test_a_call_names_a_file_and_a_function(call):
    with pytest.raises(ValueError, match=r"expected FILE\.py:FUNCTION"):
        Source(call=call)
