import json

import pytest

from journeybatch import items
from journeybatch.answers import fields_contract
from journeybatch.emulator import REFUSAL_MARKER, AnswerKey, Emulator, Faults
from journeybatch.emulator.shapes import Call
from journeybatch.records import Message

FIELDS = {"sentiment": ["positive", "negative", "neutral"], "stars": {"type": "integer", "minimum": 1, "maximum": 5}}
TASKS = [f"Is thing {number} good, bad, or ugly? It is thing {number}." for number in range(400)]


def ask(messages, emulator=None, model="deepseek-chat"):
    said = [{"role": message.role, "content": message.content} for message in messages]
    body = json.dumps({"model": model, "messages": said}).encode()
    call = Call("POST", "/api/v1/chat/completions", {"authorization": "k"}, body)
    return json.loads((emulator or Emulator()).answer(call, 0).body)["choices"][0]["message"]


def ask_packed(tasks, emulator, told=""):
    names = [f"t{number:05}" for number in range(len(tasks))]
    return items.answers(ask(items.compose((), list(zip(names, tasks, strict=True)), told), emulator)["content"], names)


def ask_alone(tasks, told=""):
    said = [ask(items.alone((Message("user", task),), told))["content"] for task in tasks]
    return [json.loads(text) if told else text for text in said]


def differing(drift, size, told="", tasks=TASKS):
    """The places of the tasks that are answered otherwise in packs of ``size``."""
    emulator, alone = Emulator(faults=Faults(pack_drift=drift)), ask_alone(tasks, told)
    found = []
    for start in range(0, len(tasks), size):
        packed = ask_packed(tasks[start : start + size], emulator, told)
        found += [start + at for at, answer in enumerate(packed) if answer != alone[start + at]]
    return found


@pytest.mark.parametrize("told", ["", fields_contract(FIELDS).instructions])
def test_answers_drift_with_the_size_of_a_pack_and_always_the_same_ones(told):
    small, large = differing(0.02, 5, told), differing(0.02, 20, told)
    assert len(small) / len(TASKS) == pytest.approx(0.08, abs=0.04)
    assert len(large) / len(TASKS) == pytest.approx(0.38, abs=0.07)
    assert set(small) < set(large)
    assert differing(0.02, 20, told) == large


def test_every_answer_drifts_at_most_and_none_without_the_fault():
    few = TASKS[:20]
    assert differing(1.0, 20, tasks=few) == list(range(20))
    assert differing(0.0, 20, tasks=few) == []


def test_an_answer_that_drifted_is_still_one_of_those_offered():
    reviews = [f"Classify the sentiment of: {word} soup" for word in ("great", "awful", "pea")]
    assert differing(1.0, 3, tasks=reviews) == [0, 1, 2]
    drifted = ask_packed(reviews, Emulator(faults=Faults(pack_drift=1.0)))
    assert set(drifted) <= {"positive", "negative", "neutral"}
    drifted = ask_packed(TASKS[:20], Emulator(faults=Faults(pack_drift=1.0)))
    assert set(drifted) <= {"good", "bad", "ugly"}
    sentences = [f"Describe thing {number}." for number in range(9)]
    assert differing(1.0, 9, tasks=sentences) == list(range(9))


def test_a_marked_item_makes_the_whole_pack_be_refused():
    messages = items.compose((), [("a", "Hello"), ("b", f"{REFUSAL_MARKER} hello")], "")
    assert ask(messages, model="claude-opus-4")["content"] is None
    assert ask(messages)["content"]


KEY = AnswerKey(
    [
        {"question": "Two and two?", "answer": "4", "gpt-4o": "5"},
        {"question": "The mood?", "answer": '{"sentiment": "furious"}'},
        {"question": "Sure?", "answer": "negative", "confidence": 0.9, "confidence:gpt-4o": 0.2},
        {"question": "How sure?", "confidence": 0.25},
    ]
)


@pytest.mark.parametrize(("model", "answer"), [("deepseek-chat", "4"), ("gpt-4o", "5")])
def test_a_known_question_gets_the_answer_of_the_key_alone_and_in_a_pack(model, answer):
    emulator = Emulator(answers=KEY)
    assert ask([Message("user", "Please: Two and two? Be brief.")], emulator, model)["content"] == answer
    packed = items.compose((), [("aaaaaa", "Two and two?"), ("bbbbbb", "And a river?")], "")
    assert items.answers(ask(packed, emulator, model)["content"], ["aaaaaa"]) == [answer]
    assert ask([Message("user", "And a river?")], emulator) == ask([Message("user", "And a river?")])


def filled(question, fields, model="deepseek-chat"):
    told = fields_contract(fields).instructions
    return json.loads(ask(items.alone((Message("user", question),), told), Emulator(answers=KEY), model)["content"])


def test_a_cell_fills_the_first_field_of_a_form_as_its_kind():
    assert filled("Two and two?", {"confidence": "number", "sum": "integer", "why": "string"})["sum"] == 4
    assert filled("Two and two?", {"sum": "string"}) == {"sum": "4"}
    assert filled("Sure?", {"stars": "integer"}) == {"stars": "negative"}


def test_an_object_in_a_cell_is_the_answer_as_it_stands():
    assert filled("The mood?", FIELDS) == {"sentiment": "furious"}


def test_a_confidence_in_the_key_is_that_of_the_answer():
    fields = {"sentiment": FIELDS["sentiment"], "confidence": "number"}
    assert filled("Sure?", fields) == {"sentiment": "negative", "confidence": 0.9}
    assert filled("Sure?", fields, "gpt-4o") == {"sentiment": "negative", "confidence": 0.2}
    assert filled("How sure?", fields)["confidence"] == 0.25
    assert filled("Sure?", {"sentiment": FIELDS["sentiment"]}) == {"sentiment": "negative"}


PACK_FAULTS = ("pack_drop", "pack_reorder", "pack_double", "pack_invent", "pack_swap_id", "pack_garble", "prose")


@pytest.mark.parametrize("fields", [None, FIELDS])
def test_every_row_gets_its_own_answer_and_its_share_of_the_bill_whatever_befalls_its_pack(flow, fields):
    texts = [f"thing {number % 700}, which is {'great' if number % 3 else 'awful'}" for number in range(1000)]
    flow.write(texts)
    flow.emulator = Emulator(faults=Faults(seed=3, **dict.fromkeys(PACK_FAULTS, 0.1)))
    flow.run(pack=20, **({"answer": {"fields": fields}} if fields else {}))
    told = fields_contract(fields).instructions if fields else ""
    truth = dict(zip(set(texts), ask_alone([f"Say something about {text}" for text in set(texts)], told), strict=True))
    results = flow.results()
    found = results.select([*(fields or ["response"])]).rows()
    assert found == [tuple(truth[text].values()) if fields else (truth[text],) for text in texts]
    assert results["jb_credits"].sum() == flow.emulator.billed < len(texts) / 12
    assert flow.balanced()
    told = {kind for attempt in flow.emulator.attempts for kind in (attempt.fault or "").split("+")}
    assert told >= set(PACK_FAULTS) - {"pack_garble"}


def test_a_cascade_goes_up_where_the_key_says_that_the_cheap_model_is_not_sure(flow):
    texts = [f"case {number:03}" for number in range(30)]
    flow.write(texts)
    rows = [
        {
            "question": text,
            "deepseek-chat": "no",
            "gpt-4o": "yes",
            "confidence:deepseek-chat": 0.3 if number % 3 else 0.9,
            "confidence:gpt-4o": 0.95,
        }
        for number, text in enumerate(texts)
    ]
    flow.emulator = Emulator(answers=AnswerKey(rows))
    flow.run(
        model=["deepseek-chat", "gpt-4o"],
        answer={"fields": {"verdict": ["yes", "no"], "confidence": "number"}},
        escalate=[{"field": "confidence", "below": 0.7}],
    )
    results = flow.results()
    assert results["verdict"].to_list() == ["yes" if number % 3 else "no" for number in range(30)]
    assert flow.emulator.billed == 30 + 20 * 3
