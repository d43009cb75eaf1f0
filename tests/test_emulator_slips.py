import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import items
from journeybatch.answers import Invalid, fields_contract
from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.faults import KINDS, SLIPS
from journeybatch.emulator.shapes import Call
from journeybatch.records import Message

CONTRACT = fields_contract({"sentiment": ["positive", "negative", "neutral"], "reason": "string"})
TOKENS = [f"t{number:05}" for number in range(10)]
TASKS = [(name, f"Say something about thing {name[1:]}, which is great.") for name in TOKENS]
PACKED = items.compose((), TASKS, "")


def ask(emulator, messages=PACKED):
    said = [{"role": message.role, "content": message.content} for message in messages]
    body = json.dumps({"model": "deepseek-chat", "messages": said}).encode()
    reply = emulator.answer(Call("POST", "/api/v1/chat/completions", {"authorization": "k"}, body), 0)
    assert reply.status == 200
    choice = json.loads(reply.body)["choices"][0]
    assert choice["finish_reason"] == "stop"
    return choice["message"]["content"]


def entries(text):
    return [(entry["id"], entry["answer"]) for entry in json.loads(text)["answers"]]


def befallen(kind, messages=PACKED, seed=1):
    emulator = Emulator(faults=Faults(seed=seed, **{kind: 1.0}))
    text = ask(emulator, messages)
    assert (emulator.billed, emulator.attempts[0].fault) == (1, kind)
    return text


TRUTH = entries(ask(Emulator()))


@pytest.mark.parametrize("seed", range(5))
def test_an_item_is_left_out(seed):
    left = entries(befallen("pack_drop", seed=seed))
    assert len(left) == 9
    assert [entry for entry in TRUTH if entry in left] == left


@pytest.mark.parametrize("seed", range(5))
def test_an_item_stands_twice_with_differing_answers(seed):
    twice = entries(befallen("pack_double", seed=seed))
    name = Counter(name for name, _ in twice).most_common(1)[0][0]
    said = [answer for known, answer in twice if known == name]
    assert (len(twice), len(said), len(set(said))) == (11, 2, 2)
    assert (name, said[0]) in TRUTH


@pytest.mark.parametrize("seed", range(5))
def test_items_are_invented_that_nobody_asked_for(seed):
    more = entries(befallen("pack_invent", seed=seed))
    assert [entry for entry in more if entry[0] in TOKENS] == TRUTH
    assert len(more) in (11, 12)


@pytest.mark.parametrize("seed", range(5))
def test_an_id_is_misspelt_and_is_nobody_elses(seed):
    swapped = entries(befallen("pack_swap_id", seed=seed))
    assert [answer for _, answer in swapped] == [answer for _, answer in TRUTH]
    (wrong,) = {name for name, _ in swapped} - set(TOKENS)
    assert len(set(TOKENS) & {name for name, _ in swapped}) == 9
    assert sorted(wrong) == sorted(next(name for name in TOKENS if name not in dict(swapped)))


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_another(seed):
    reordered = entries(befallen("pack_reorder", seed=seed))
    assert reordered != TRUTH
    assert sorted(reordered) == sorted(TRUTH)


@pytest.mark.parametrize("seed", range(5))
def test_one_item_is_not_json_and_so_the_whole_is_not(seed):
    text = befallen("pack_garble", seed=seed)
    with pytest.raises(ValueError, match="delimiter"):
        json.loads(text)
    read = [answer for answer in items.answers(text, TOKENS) if not isinstance(answer, items.Missed)]
    assert len(read) == 9


@pytest.mark.parametrize("messages", [PACKED, items.alone((Message("user", "Great?"),), CONTRACT.instructions)])
def test_json_comes_in_prose_and_a_code_fence(messages):
    text = befallen("prose", messages)
    fenced = text.split("```")[1].removeprefix("json\n")
    assert fenced.strip() == ask(Emulator(), messages)
    assert text.startswith("Of course!")


def test_json_has_a_comma_too_many_or_lacks_its_end():
    texts = {befallen("bad_json", seed=seed) for seed in range(12)}
    whole = ask(Emulator())
    assert f"{whole[:-1]},}}" in texts
    cuts = texts - {f"{whole[:-1]},}}"}
    assert len(cuts) > 1
    assert all(whole.startswith(cut) and len(cut) >= len(whole) // 2 for cut in cuts)


def test_a_field_takes_a_value_that_it_cannot_take():
    with pytest.raises(Invalid, match="sentiment"):
        CONTRACT.read(befallen("invalid_field", items.alone((Message("user", "Great?"),), CONTRACT.instructions)))
    answers = items.answers(befallen("invalid_field", items.compose((), TASKS, CONTRACT.instructions)), TOKENS)
    right = {answer["sentiment"] for answer in answers}
    assert right == {"positive", "something in between"}


@pytest.mark.parametrize("messages", [(Message("user", "Name a river."),), PACKED])
def test_what_cannot_befall_a_reply_does_not(messages):
    faults = Faults(invalid_field=1.0) if messages is PACKED else Faults(**dict.fromkeys(SLIPS, 1.0))
    emulator = Emulator(faults=faults)
    assert ask(emulator, messages) == ask(Emulator(), messages)
    assert emulator.attempts[0].fault is None


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10**6), st.integers(2, 10), st.booleans())
def test_whoever_takes_only_what_is_whole_takes_nothing_wrong_whatever_befalls_a_reply(seed, rows, structured):
    tasks, told = TASKS[:rows], CONTRACT.instructions if structured else ""
    messages = items.compose((), tasks, told)
    truth = items.answers(ask(Emulator(), messages), TOKENS[:rows])
    kinds = set(SLIPS) - {"invalid_field"}  # that one is for the reader of fields to find
    emulator = Emulator(faults=Faults(seed=seed, **dict.fromkeys(kinds, 0.5)))
    read = items.answers(ask(emulator, messages), TOKENS[:rows])
    assert all(isinstance(answer, items.Missed) or answer == true for answer, true in zip(read, truth, strict=True))
    assert emulator.billed == 1


def test_each_befalls_its_share_of_replies_beside_the_faults_of_attempts():
    faults = Faults(seed=2, slow_body=0.5, pack_drop=0.2, prose=0.5)
    emulator = Emulator(faults=faults)
    for _ in range(600):
        ask(emulator)
    told = [set((attempt.fault or "").split("+")) for attempt in emulator.attempts]
    shares = {kind: sum(kind in kinds for kinds in told) / 600 for kind in ("slow_body", "pack_drop", "prose")}
    assert shares == pytest.approx({"slow_body": 0.5, "pack_drop": 0.2, "prose": 0.5}, abs=0.06)
    assert emulator.billed == 600
    assert not set(KINDS) & set(SLIPS)


def test_the_same_seed_makes_the_same_mistakes():
    runs = []
    for seed in (4, 4, 5):
        emulator = Emulator(faults=Faults(seed=seed, **dict.fromkeys(SLIPS, 0.3)))
        runs.append([ask(emulator) for _ in range(20)])
    assert runs[0] == runs[1] != runs[2]
