import json
import time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.emulator import AnswerKey, AnswersError, read_answers
from journeybatch.emulator.answer_key import Told

ROWS = [{"question": "Which river?", "answer": "Rhine", "gpt-4o": ""}, {"question": "Which?", "gpt-4o": "That."}]


def key_of(*questions):
    return AnswerKey({"question": question, "answer": question} for question in questions)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.text("ab ", min_size=1, max_size=40).filter(str.strip), min_size=1, max_size=12),
    st.text("ab ", max_size=120),
    st.integers(0, 11),
)
def test_the_longest_question_in_a_text_is_the_one_that_is_answered(questions, text, which):
    text += questions[which % len(questions)]
    known = [question.strip() for question in questions]
    found = key_of(*questions).look_up(text, "gpt-4o")
    assert len(found.answer) == max(len(question) for question in known if question in text)
    assert found.answer in text


def test_a_text_without_a_question_is_not_answered():
    assert key_of("Which river?").look_up("Which lake?", "gpt-4o") is None
    assert key_of("Which river?").look_up("", "gpt-4o") is None


def test_a_model_says_what_its_column_says_or_else_what_everybody_does():
    key = AnswerKey(ROWS)
    assert len(key) == 2
    assert key.look_up("Which river?", "gpt-4o") == Told("Rhine")
    assert key.look_up("Which lake?", "gpt-4o") is None
    assert key.look_up("Which? This?", "gpt-4o") == Told("That.")
    assert key.look_up("Which? This?", "grok-3") == Told()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_of_any_kind_will_do(tmp_path, suffix):
    path = tmp_path / f"key{suffix}"
    rows = [{"question": "Which\nriver?", "answer": "Rhine", "confidence": "0.5"}, {"question": "How?", "answer": "01"}]
    frame = pl.DataFrame(rows)
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".jsonl":
        path.write_text("\n\n".join(map(json.dumps, rows)))
    else:
        frame.write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    key = read_answers(path)
    assert key.look_up("So. Which\nriver?", "gpt-4o") == Told("Rhine", 0.5)
    assert key.look_up("How?", "gpt-4o") == Told("01")


def test_values_of_json_lines_stay_what_they_are(tmp_path):
    path = tmp_path / "key.jsonl"
    path.write_text('{"question": "A?", "answer": {"a": 1}}\n{"question": "B?", "answer": 2}\n')
    key = read_answers(path)
    assert [key.look_up(text, "gpt-4o").answer for text in ("A?", "B?")] == ['{"a": 1}', "2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("key.csv", "question,answer\nA?,1\n,2\n", "row 2: the column `question`"),
        ("key.csv", "ask,answer\nA?,1\n", "row 1: the column `question`"),
        ("key.csv", "question,gpt4o\nA?,1\n", "a column `answer` is expected"),
        ("key.csv", "question,answer\n", "a column `answer` is expected"),
        ("key.csv", "question,answer\nA?,1\nA?,2\n", "row 2: this question stands above with other answers: 'A\\?'"),
        ("key.csv", "question,confidence:gpt4o\nA?,1\n", "there is no model 'gpt4o'; did you mean confidence:gpt-4o"),
        ("key.csv", "question,answer,confidence\nA?,1,high\n", "row 1: the column 'confidence' .* not .high"),
        ("key.csv", "question,answer\nA?,1,2,3\n", "cannot be read as csv"),
        ("key.parquet", "question", "cannot be read as parquet"),
        ("key.jsonl", '{"question": "A?", "answer": 1}\nA?\n', "line 2: a JSON object"),
        ("key.txt", "A?", "that ends in .csv"),
    ],
)
def test_a_bad_key_is_named_with_what_is_wrong(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(AnswersError, match=message) as raised:
        read_answers(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_ten_thousand_questions_that_begin_alike_are_looked_up_in_a_moment():
    questions = [
        f"Given all that was said before, what is the capital of land {n * 7919 % 10_000}?" for n in range(10_000)
    ]
    key = key_of(*questions)
    texts = [f"{'Think well. ' * 40}{question} Answer with one word." for question in questions[:200]]
    began = time.process_time()
    assert [key.look_up(text, "gpt-4o").answer for text in texts] == questions[:200]
    assert time.process_time() - began < 1.0  # 5 ms each; it takes a tenth of that
