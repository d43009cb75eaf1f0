"""Whole runs that pay less: packs, cascades, samples, borrowed and re-read answers; hurt, killed and carried on."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import httpx
import polars as pl
import pytest
from conftest import Flow
from parrot import Items, Parrot, completion, tasks

from journeybatch import api, compaction
from journeybatch.audit import audit
from journeybatch.emulator import Emulator, Faults
from journeybatch.errors import OutputError, Unanswered

Call = Callable[..., SimpleNamespace]
LOOSE = {"failures": "100%"}
CHEAP, STRONG = "deepseek-chat", "gpt-4o"
PRICES = {CHEAP: 1, STRONG: 3}
CASCADE: dict[str, Any] = {"model": [CHEAP, STRONG], "credits": PRICES, "limits": LOOSE}
MOOD = {"fields": {"mood": ["good", "bad"], "sure": "number?"}}


def run(flow: Flow, parrot: Parrot, options: dict[str, Any] | None = None, **keys: Any) -> Any:
    return flow.run({"transport": parrot} | (options or {}), **keys)


def heard(texts: list[str]) -> list[str]:
    return [f"heard Say something about {text}" for text in texts]


def checked(flow: Flow, parrot: Parrot) -> pl.DataFrame:
    """The results, once every book is found to agree with every other, and with the server's."""
    results, ledger, credits = flow.results(), flow.ledger(), flow.summary()["credits"]
    departed = Decimal(str(credits["departed"]))
    assert audit(flow.output) == []
    assert results["jb_credits"].sum() + departed == credits["spent_total"] == ledger["credits"].sum()
    settled = set(ledger.filter(outcome="settled")["upstream_id"])
    assert sum(cost for name, _, cost, _ in parrot.bill if name in settled) == credits["spent_total"]
    assert 0 <= parrot.billed - credits["spent_total"] <= (ledger["credits_max"] - ledger["credits"]).sum()
    return results


def twisted(items: Items, rng: random.Random) -> Items:
    """One reply in ten drops, shuffles, doubles or invents items."""
    if rng.random() >= 0.1:
        return items
    at = rng.randrange(len(items))
    match rng.choice(["drop", "reorder", "double", "invent"]):
        case "drop":
            return items[:at] + items[at + 1 :]
        case "reorder":
            return rng.sample(items, len(items))
        case "double":
            return [*items, {"id": items[at]["id"], "answer": "another"}]
    return [*items, {"id": "zzzzzz", "answer": "nobody's"}]


def rejecting(rows: int, status: int = 413) -> Callable[[Parrot, httpx.Request], httpx.Response | None]:
    """No request of more than so many rows."""

    def act(_: Parrot, request: httpx.Request) -> httpx.Response | None:
        packed = tasks(json.loads(request.content)["messages"][-1]["content"])
        return httpx.Response(status, json={"error": {"message": "too large"}}) if len(packed) > rows else None

    return act


def model_of(request: httpx.Request) -> str:
    return str(json.loads(request.content)["model"])


# -- packs ---------------------------------------------------------------------------------------------------------


def test_two_thousand_rows_cost_a_twelfth_and_each_has_its_own_answer(flow: Flow) -> None:
    rng = random.Random(3)
    own = [f"thing {n} {'x' * rng.randint(0, 60)}" for n in range(1400)]
    texts = rng.sample(own + rng.choices(own, k=600), k=2000)
    flow.write(texts)
    parrot = Parrot(spoil=twisted)
    planned = api.plan(flow.job(pack=20))
    assert run(flow, parrot, pack=20).exit_code == 0
    results = checked(flow, parrot)
    assert results["response"].to_list() == heard(texts)
    assert planned.requests == 70 <= parrot.billed <= 2000 / 12
    assert results["jb_reused"].sum() == 600


@pytest.mark.parametrize("pack", [1, 7, 20, {"rows": 20, "characters": 1500}])
def test_the_plan_is_the_bill_when_nothing_fails(flow: Flow, pack: Any) -> None:
    rng = random.Random(1)
    flow.write([f"thing {n} {'x' * rng.randint(0, 300)}" for n in range(150)])
    parrot = Parrot()
    planned = api.plan(flow.job(pack=pack, credits={CHEAP: [2, 2]}))
    parrot.prices = {CHEAP: 2}
    run(flow, parrot, pack=pack, credits={CHEAP: [2, 2]})
    assert (planned.requests, planned.credits_min, planned.credits_max) == (
        len(parrot.bill),
        parrot.billed,
        parrot.billed,
    )
    checked(flow, parrot)


class Killed(BaseException):
    """The process is gone."""


def kill(flow: Flow, parrot: Parrot, rng: random.Random, after: int, **keys: Any) -> None:
    """A run that is killed at its request number ``after``, as by SIGKILL: of the journal stays what was given to
    the file until then. The request may have arrived."""
    journal, left, count = flow.output / "journal", b"", iter(range(1, after + 1))

    def act(parrot: Parrot, request: httpx.Request) -> None:
        nonlocal left
        if next(count) == after:
            left = journal.read_bytes()
            if rng.random() < 0.5:
                parrot.reply(request)
            raise Killed

    parrot.act = act
    with pytest.raises((Killed, BaseExceptionGroup)):
        run(flow, parrot, **keys)
    journal.write_bytes(left)
    parrot.act = None


@pytest.mark.parametrize("spoil", [None, twisted])
@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_and_resumed_with_any_pack_nothing_answered_is_bought_again(
    flow: Flow, seed: int, spoil: Any
) -> None:
    rng, parrot = random.Random(seed), Parrot(spoil=spoil, seed=seed)
    texts = [f"thing {n % 150}" for n in range(200)]
    flow.write(texts)
    for pack in rng.sample([1, 2, 4, 8], 4):
        kill(flow, parrot, rng, rng.randint(1, 7), pack=pack, concurrency=3)
    assert run(flow, parrot, pack=20, concurrency=3).exit_code == 0
    assert checked(flow, parrot)["response"].to_list() == heard(texts)
    settled = set(flow.ledger().filter(outcome="settled")["upstream_id"])
    paid = Counter(task for name, _, _, asked in parrot.bill if name in settled for task in asked)
    assert len(paid) == 150
    assert max(paid.values()) == 1 or spoil, "only what a reply left out is asked again"
    assert len(parrot.bill) - len(settled) <= 4 * 3, "what was in flight at each kill"


def test_a_row_that_every_pack_misses_is_asked_alone_in_the_end(flow: Flow) -> None:
    parrot = Parrot(spoil=lambda items, _: [item for item in items if not item["answer"].endswith(" 7")])
    assert run(flow, parrot, pack=12).exit_code == 0
    assert checked(flow, parrot)["response"].to_list() == heard([f"thing {n}" for n in range(12)])
    assert parrot.sizes == [12, 1]


def test_a_server_that_answers_no_item_ends_in_singles(flow: Flow) -> None:
    parrot = Parrot(spoil=lambda items, _: "I would rather talk about the weather.")
    assert run(flow, parrot, pack=12).exit_code == 0
    assert sorted(parrot.sizes, reverse=True) == [12, 3, 3, 3, 3, *[1] * 12]


def test_what_a_pack_cannot_say_as_asked_costs_little_before_it_stops_the_run(flow: Flow) -> None:
    flow.write([f"thing {n}" for n in range(200)])
    parrot = Parrot(lambda *_: {"mood": "so-so"})
    report = run(flow, parrot, pack=20, answer=MOOD)
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "failures")
    assert parrot.billed <= 10 + 20 + 4


def test_a_row_that_cannot_be_read_even_alone_fails_and_the_others_do_not(flow: Flow) -> None:
    def says(task: str, _: str) -> Any:
        return {"mood": "so-so" if "thing 7" in task else "good"}

    parrot = Parrot(says)
    assert run(flow, parrot, pack=12, answer=MOOD).exit_code == 1
    results = checked(flow, parrot)
    assert results.filter(jb_status="failed").select("text", "jb_error").rows() == [("thing 7", "invalid")]
    assert results["mood"].to_list() == [None if n == 7 else "good" for n in range(12)]
    assert run(flow, parrot, pack=12, answer=MOOD).exit_code == 1
    assert parrot.sizes == [12, 1], "and it is not asked again by itself"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_packs_that_are_rejected_are_split_however_many(flow: Flow, status: int) -> None:
    texts = [f"thing {n}" for n in range(600)]
    flow.write(texts)
    parrot = Parrot(act=rejecting(5, status))
    report = run(flow, parrot, pack=20)
    assert report.exit_code == 0
    assert checked(flow, parrot)["response"].to_list() == heard(texts)
    assert parrot.billed == 120
    assert report.summary["requests"]["sent"] <= 120 + 2 * 20 + 8, "twenty alike tell enough about a size"


def test_a_job_that_is_wrong_in_every_request_stops_after_a_few(flow: Flow) -> None:
    flow.write([f"thing {n}" for n in range(5000)])
    report = run(flow, Parrot(act=rejecting(-1)), pack=20)
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "failures")
    assert report.summary["requests"]["sent"] <= 5 * 24


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_whole_items_before_a_cut_count(flow: Flow, finish: str) -> None:
    parrot = Parrot(act=lambda self, request: self.reply(request, finish, cut=330) if not self.bill else None)
    assert run(flow, parrot, pack=12).exit_code == 0
    assert checked(flow, parrot)["response"].to_list() == heard([f"thing {n}" for n in range(12)])
    assert max(parrot.bought.values()) == 2
    assert min(parrot.bought.values()) == 1


@pytest.mark.parametrize("policy", ["hold", "fail"])
def test_a_pack_in_doubt_holds_or_fails_its_rows_and_no_others(flow: Flow, policy: str) -> None:
    def act(parrot: Parrot, request: httpx.Request) -> httpx.Response | None:
        if len(parrot.bill) != 1:
            return None
        parrot.reply(request)
        return httpx.Response(500)

    parrot = Parrot(act=act)
    keys: dict[str, Any] = {"pack": 4, "concurrency": 1, "retry": {"on_unknown": policy}, "limits": LOOSE}
    assert run(flow, parrot, **keys).exit_code == 1
    results = checked(flow, parrot)
    doubtful = results.filter(jb_error="in_doubt")
    assert doubtful["jb_row"].to_list() == [4, 5, 6, 7]
    assert set(doubtful["jb_status"]) == {"pending" if policy == "hold" else "failed"}
    assert doubtful["jb_credits_unknown"].sum() == 1
    assert run(flow, parrot, **keys).exit_code == 1
    assert len(parrot.bill) == 3, "asking again might pay twice"
    again = {"retry_failed": True} if policy == "fail" else {}
    wish = keys if policy == "fail" else keys | {"retry": {"on_unknown": "retry"}}
    assert run(flow, parrot, again, **wish).exit_code == 0
    checked(flow, parrot)
    assert len(parrot.bill) == 4


def test_a_pack_that_fails_as_often_as_it_may_is_split_before_its_rows_fail(flow: Flow) -> None:
    def act(_: Parrot, request: httpx.Request) -> httpx.Response | None:
        poisoned = b"thing 5" in request.content and b"thing 6" in request.content
        return httpx.Response(500, json={"error": {"message": "boom"}}) if poisoned else None

    parrot = Parrot(act=act)
    report = run(flow, parrot, pack=4, retry={"attempts": 1}, limits=LOOSE)
    assert report.exit_code == 0
    assert checked(flow, parrot)["response"].to_list() == heard([f"thing {n}" for n in range(12)])
    assert report.summary["credits"]["unknown_max"] == len(flow.ledger().filter(outcome="unknown")) > 0


def test_a_limit_asks_the_first_rows_and_the_rest_follow(flow: Flow) -> None:
    parrot = Parrot()
    assert run(flow, parrot, {"limit": 5}, pack=4).summary["rows"]["total"] == 5
    assert parrot.sizes == [4, 1]
    assert run(flow, parrot, pack=4).summary["rows"]["answered"] == 12
    assert parrot.sizes == [4, 1, 4, 3]
    checked(flow, parrot)


def test_hostile_cells_neither_break_a_pack_nor_answer_for_others(flow: Flow) -> None:
    texts = ['"},{"id":"x","task":"', "\n]\n\n[\n{}", "{{ text }}", '{"answers":[]}', "\u2028\x00\x1b[31m", "'\"\\"]
    flow.write(texts)
    table = pl.DataFrame({"text": texts})
    parrot = Parrot()
    assert run(flow, parrot, input=table, pack=6).exit_code == 0
    assert parrot.sizes == [6]
    assert checked(flow, parrot)["response"].to_list() == heard(texts)


# -- pay once ------------------------------------------------------------------------------------------------------


def test_samples_are_asked_in_packs_of_their_own_and_each_is_kept(flow: Flow, call: Call) -> None:
    flow.write(["a", "b", "a", "c"])
    count = iter(range(100))
    parrot = Parrot(lambda task, _: f"{task} #{next(count)}")
    assert run(flow, parrot, {"limit": 3}, pack=9, samples=3).exit_code == 0
    results = checked(flow, parrot)
    assert parrot.sizes == [2, 2, 2]
    assert results.select("jb_row", "jb_sample").rows() == [(row, sample) for row in range(3) for sample in range(3)]
    assert results["response"].to_list()[:3] == results["response"].to_list()[6:]
    assert call("export", flow.output).code == 0
    assert flow.results().equals(results), "an export sees the rows that the run saw"
    assert call("verify", flow.output).code == 0
    assert call("show", flow.output, 1).out.count("for 2 rows") == 3
    assert run(flow, parrot, pack=9, samples=2).exit_code == 0
    assert parrot.sizes == [2, 2, 2, 1, 1], "two samples of the row that is new"
    checked(flow, parrot)


def test_without_dedupe_every_row_is_asked(flow: Flow) -> None:
    flow.write(["a", "a", "b", "a"])
    parrot = Parrot()
    assert run(flow, parrot, pack=3, dedupe=False).exit_code == 0
    assert sum(parrot.sizes) == 4
    assert not checked(flow, parrot)["jb_reused"].any()
    flow.write(["b", "a", "a", "a", "a"])
    run(flow, parrot, pack=3, dedupe=False)
    assert sum(parrot.sizes) == 5, "a fourth of its kind is new"


def test_answers_older_than_max_age_are_asked_again_once(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    parrot, now, day = Parrot(), time.time, 86_400
    run(flow, parrot, pack=6, max_age="2d")
    monkeypatch.setattr(time, "time", lambda: now() + day)
    run(flow, parrot, pack=6, max_age="2d")
    assert parrot.billed == 2
    monkeypatch.setattr(time, "time", lambda: now() + 3 * day)
    assert api.plan(flow.job(pack=6, max_age="2d")).requests == 2
    run(flow, parrot, pack=6, max_age="2d")
    run(flow, parrot, pack=6, max_age="2d")
    assert parrot.billed == 4
    assert checked(flow, parrot)["jb_credits"].sum() == 4
    monkeypatch.setattr(time, "time", lambda: now() + 9 * day)
    run(flow, parrot, {"limit": 1}, pack=6, max_age="2d", limits={"credits": 0})
    assert audit(flow.output) == [], "an old answer of a pending row is no damage"


def test_a_clock_that_was_set_back_leaves_the_answers_that_are_young_by_it(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan and the results say the same, and nothing is bought or forgotten."""
    import time

    now, job = time.time, {"max_age": "2d", "limits": {"failures": "100%"}}
    flow.write(["a", "b", "c"])
    assert flow.run(**job).exit_code == 0
    monkeypatch.setattr(time, "time", lambda: now() + 5 * 86_400)
    flow.emulator = Emulator(faults=Faults(statuses={400: 1.0}))
    assert flow.run(**job).exit_code == 1
    monkeypatch.setattr(time, "time", now)
    monkeypatch.setattr(compaction, "WORTH", 0)
    for _ in range(2):
        report = flow.run({"retry_failed": True}, **job)
        assert (report.exit_code, report.summary["rows"]["answered"]) == (0, 3)
        assert flow.results()["jb_status"].to_list() == ["answered"] * 3
        assert audit(flow.output) == []
    assert len(flow.emulator.attempts) == 3


def test_answers_of_another_directory_are_taken_over_and_outlive_it(flow: Flow, call: Call) -> None:
    parrot = Parrot(spoil=lambda items, _: items[1:])
    run(flow, parrot, pack=5)
    bought, other = parrot.billed, flow.output
    flow.output = flow.path / "own"
    assert api.plan(flow.job(reuse=[str(other)])).requests == 0
    report = run(flow, parrot, reuse=[str(other)], pack=3)
    assert (report.exit_code, parrot.billed) == (0, bought)
    assert report.summary["rows"]["reused"] == 12
    shutil.rmtree(other)
    assert run(flow, parrot, reuse=[str(other)]).exit_code == 0, "what was taken over is ours"
    results = checked_own(flow)
    assert results["response"].to_list() == heard([f"thing {n}" for n in range(12)])
    assert results["jb_reused"].all()
    assert results["jb_request"].null_count() == 12, "no request of this directory brought them"
    assert call("verify", flow.output).code == call("export", flow.output).code == 0
    assert call("show", flow.output, 1).code == 0
    flow.write(["something new"])
    with pytest.raises(OutputError, match="no journal here"):
        run(flow, parrot, reuse=[str(other)])
    assert parrot.billed == bought


def checked_own(flow: Flow) -> pl.DataFrame:
    results = flow.results()
    assert audit(flow.output) == []
    assert results["jb_credits"].sum() == 0 == flow.summary()["credits"]["spent_total"]
    return results


def test_what_was_borrowed_is_not_borrowed_by_a_third_for_nothing(flow: Flow) -> None:
    parrot, first = Parrot(), flow.output
    run(flow, parrot, pack=5)
    for name in ("second", "third"):
        before, flow.output = flow.output, flow.path / name
        assert run(flow, parrot, reuse=[str(before)]).exit_code == 0
        if name == "third":
            shutil.rmtree(first)
        assert checked_own(flow)["response"].to_list() == heard([f"thing {n}" for n in range(12)])
    assert parrot.billed == 3


def test_a_changed_answer_is_read_anew_for_nothing(flow: Flow) -> None:
    parrot = Parrot(lambda task, _: {"mood": "good", "sure": 0.5, "more": task[-2:].strip()})
    mood: dict[str, Any] = {"fields": {"mood": ["good", "bad"]}}
    changes: list[tuple[dict[str, Any], str, Any]] = [
        (mood, "mood", "good"),
        ({"fields": mood["fields"] | {"more": "string"}}, "more", "0"),
        ({"column": "said"}, "said", '{"mood":"good","sure":0.5,"more":"0"}'),
        ({"fields": mood["fields"] | {"sure": "number"}}, "sure", 0.5),
        ({"schema": {"type": "object", "properties": {"sure": {"type": "number"}}}}, "sure", 0.5),
        (mood, "mood", "good"),
    ]
    for answer, column, value in changes:
        assert run(flow, parrot, pack=5, answer=answer).exit_code == 0
        assert checked(flow, parrot)[column][0] == value
    assert parrot.billed == 3


def test_an_answer_that_old_replies_cannot_give_is_asked_for_once_that_is_confirmed(flow: Flow) -> None:
    wants: dict[str, Any] = {"fields": {"mood": ["good", "bad"]}}
    parrot = Parrot()
    run(flow, parrot, pack=6)
    parrot.says = lambda task, _: {"mood": "good"}
    assert api.plan(flow.job(pack=6, answer=wants)).credits_max == 2
    with pytest.raises(Unanswered, match=r"12 of 12 prompts .* costs 2 credits"):
        run(flow, parrot, pack=6, answer=wants)
    assert run(flow, parrot, {"yes": True}, pack=6, answer=wants).exit_code == 0
    assert checked(flow, parrot)["mood"].to_list() == ["good"] * 12
    assert parrot.sizes == [6] * 4
    assert run(flow, parrot, pack=6).exit_code == 0
    assert checked(flow, parrot)["response"].to_list() == heard([f"thing {n}" for n in range(12)]), "the first reply"
    assert parrot.billed == 4


def test_invalid_replies_are_bought_again_as_often_as_the_job_allows(flow: Flow) -> None:
    count = Counter[str]()

    def says(task: str, _: str) -> Any:
        count[task] += 1
        return {"mood": "good"} if "thing 1" in task and count[task] > 1 else {"mood": "so-so"}

    parrot = Parrot(says)
    again = MOOD | {"on_invalid": "ask_again"}
    assert run(flow, parrot, answer=again, limits=LOOSE).exit_code == 1
    results = checked(flow, parrot)
    assert results.filter(jb_status="answered")["text"].to_list() == ["thing 1", "thing 10", "thing 11"]
    assert results["jb_attempts"].to_list() == [2 if n in (1, 10, 11) else 3 for n in range(12)]
    run(flow, parrot, answer=again, limits=LOOSE)
    assert parrot.billed == 3 * 2 + 9 * 3


# -- structure -----------------------------------------------------------------------------------------------------


def test_odd_names_and_nested_objects_become_typed_columns(flow: Flow, call: Call) -> None:
    frame = pl.DataFrame({"text": ["a", None], "n": [1, 2], "many": [[1.5], None], "my_jb_key": ["x", "y"]})
    frame.write_parquet(flow.path / "typed.parquet")
    schema = {
        "type": "object",
        "properties": {
            "a name/with.signs": {"type": "number"},
            "ünï": {"type": "object"},
            "list": {"type": "array", "items": {"type": "string"}},
            "n": {"type": ["integer", "null"]},
        },
    }
    value = {"a name/with.signs": 1, "ünï": {"k": [1, None]}, "list": ["x"], "n": None}
    keys: dict[str, Any] = {"answer": {"schema": schema}, "output_prefix": "o_", "pack": 2}
    keys |= {"input": str(flow.path / "typed.parquet"), "prompt": "{{ n }} {{ text or '' }} {{ many or '' }}"}
    parrot = Parrot(lambda *_: value)
    assert run(flow, parrot, **keys).exit_code == 0
    results = flow.results()
    assert results.select(frame.columns).equals(frame)
    assert results.select(pl.selectors.starts_with("o_").exclude("^o_jb_.*$")).schema == {
        "o_a name/with.signs": pl.Float64,
        "o_ünï": pl.String,
        "o_list": pl.List(pl.String),
        "o_n": pl.Int64,
    }
    assert results.row(1, named=True)["o_ünï"] == '{"k":[1,null]}'
    assert json.loads(results["o_jb_text"][0]) == value
    assert results["o_jb_prompt_tokens"].null_count() == 2
    assert call("verify", flow.output).code == call("show", flow.output, 1).code == 0
    assert call("export", flow.output, "--to", flow.path / "out.csv").code == 0
    assert flow.results().equals(results)


# -- cascades ------------------------------------------------------------------------------------------------------


def odd(task: str) -> bool:
    number = re.search(r"thing (\d+)", task)
    return number is not None and int(number[1]) % 2 == 1


def weaker(rule: Any) -> Parrot:
    """A server whose cheap model leaves every odd row to the rule."""
    turns = Counter[str]()

    def says(task: str, model: str) -> Any:
        turns[task] += 1
        if model == STRONG or not odd(task):
            return {"mood": "bad", "sure": 0.9}
        if rule == "invalid":
            return {"mood": "so-so"}
        if rule == "refusal":
            return "I'm sorry, but I can't help with that."
        if rule == {"disagree": 3}:
            return {"mood": "good" if turns[task] == 2 else "bad", "sure": 0.9}
        return {"mood": "good", "sure": 0.2}

    def act(parrot: Parrot, request: httpx.Request) -> httpx.Response | None:
        last = json.loads(request.content)["messages"][-1]["content"]
        concerned = model_of(request) == CHEAP and any(odd(task) for _, task in tasks(last) or [("", last)])
        if rule == "length" and concerned:
            return parrot.reply(request, "length", cut=20)
        return httpx.Response(400, json={"error": {}}) if rule == "error" and concerned else None

    return Parrot(says, act=act, prices=PRICES)


RULES: list[Any] = ["invalid", "refusal", "length", "error", {"field": "sure", "below": 0.7}, {"disagree": 3}]


@pytest.mark.parametrize("pack", [1, 5])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_cascade_sends_up_what_its_rule_says(flow: Flow, call: Call, rule: Any, pack: int) -> None:
    parrot = weaker(rule)
    escalate = ["invalid", rule] if rule == "length" else [rule]  # what is cut off cannot be read either
    keys: dict[str, Any] = CASCADE | {"escalate": escalate, "answer": MOOD, "pack": pack}
    assert run(flow, parrot, **keys).exit_code == 0
    results = checked(flow, parrot)
    assert results["jb_model"].to_list() == [STRONG if n % 2 else CHEAP for n in range(12)]
    assert set(results["mood"]) == {"bad"}
    assert sum(number for (model, _), number in parrot.bought.items() if model == STRONG) == 6
    bought = parrot.billed
    for again in ({}, {"retry_failed": True}):
        assert run(flow, parrot, again, **keys | {"pack": 3}).exit_code == 0
    assert parrot.billed == bought, "an answer is an answer, however its row came to it"
    assert (
        call("verify", flow.output).code == call("show", flow.output, 1).code == call("export", flow.output).code == 0
    )
    assert flow.results().equals(results)


def test_what_a_cheap_pack_could_not_say_as_asked_goes_up_in_packs(flow: Flow) -> None:
    parrot = weaker("invalid")
    assert run(flow, parrot, answer=MOOD, pack=6, **CASCADE).exit_code == 0
    assert checked(flow, parrot)["jb_model"].to_list() == [STRONG if n % 2 else CHEAP for n in range(12)]
    assert parrot.sizes == [6, 6, 6], "asking the cheap model for each row alone would cost more"


@pytest.mark.parametrize("seed", range(3))
def test_a_cascade_killed_in_the_middle_carries_on(flow: Flow, seed: int) -> None:
    rng, parrot = random.Random(seed), weaker("invalid")
    keys = CASCADE | {"answer": MOOD, "concurrency": 2}
    for after in rng.sample([1, 2, 3], 3):
        kill(flow, parrot, rng, after, pack=rng.choice([1, 2, 3]), **keys)
    assert run(flow, parrot, pack=2, **keys).exit_code == 0
    assert checked(flow, parrot)["jb_model"].to_list() == [STRONG if n % 2 else CHEAP for n in range(12)]
    settled = set(flow.ledger().filter(outcome="settled")["upstream_id"])
    paid = Counter((model, task) for name, model, _, asked in parrot.bill if name in settled for task in asked)
    assert max(paid.values()) == 1


def test_a_cheap_answer_stays_where_the_strong_model_has_none(flow: Flow) -> None:
    parrot = Parrot(lambda *_: {"mood": "good", "sure": 0.2}, prices=PRICES)
    parrot.act = lambda _, request: httpx.Response(400) if model_of(request) == STRONG else None
    keys = CASCADE | {"answer": MOOD, "escalate": [{"field": "sure", "below": 0.7}]}
    assert run(flow, parrot, **keys).exit_code == 0
    results = checked(flow, parrot)
    assert set(results["jb_model"]) == {CHEAP}
    assert set(results["jb_attempts"]) == {2}
    assert run(flow, parrot, **keys).exit_code == 0
    assert parrot.billed == 12
    parrot.act = None
    assert run(flow, parrot, {"retry_failed": True}, **keys).exit_code == 0, "until the strong one is asked again"
    assert set(checked(flow, parrot)["jb_model"]) == {STRONG}
    assert parrot.billed == 12 + 36


def test_a_row_that_no_model_can_answer_has_failed(flow: Flow) -> None:
    parrot = Parrot(lambda *_: {"mood": "so-so"}, prices=PRICES)
    parrot.act = lambda _, request: httpx.Response(400) if model_of(request) == STRONG else None
    assert run(flow, parrot, answer=MOOD, **CASCADE).exit_code == 1
    assert set(checked(flow, parrot)["jb_error"]) == {"rejected"}


def test_a_model_put_before_an_answered_one_is_not_asked(flow: Flow) -> None:
    parrot = Parrot(lambda *_: {"mood": "good"}, prices=PRICES)
    run(flow, parrot, answer=MOOD, model=STRONG, credits=PRICES)
    assert api.plan(flow.job(answer=MOOD, **CASCADE)).requests == 0
    assert run(flow, parrot, answer=MOOD, **CASCADE).exit_code == 0
    assert set(checked(flow, parrot)["jb_model"]) == {STRONG}
    assert len(parrot.bill) == 12


def test_a_cascade_s_kept_spec_loads_and_is_the_same_job(flow: Flow) -> None:
    parrot = weaker("invalid")
    run(flow, parrot, answer=MOOD, escalate=["invalid", {"disagree": 2}], pack=4, **CASCADE)
    report = api.run(flow.output / "job.yaml", transport=parrot)
    assert report.exit_code == 0
    checked(flow, parrot)


def test_a_cascade_borrows_answers_at_every_step(flow: Flow) -> None:
    parrot = weaker("invalid")
    run(flow, parrot, answer=MOOD, pack=4, **CASCADE)
    bought, other = parrot.billed, flow.output
    flow.output = flow.path / "own"
    report = run(flow, parrot, answer=MOOD, reuse=[str(other)], **CASCADE)
    assert (report.exit_code, parrot.billed) == (0, bought)
    assert checked_own(flow)["jb_model"].to_list() == [STRONG if n % 2 else CHEAP for n in range(12)]


def test_a_refused_pack_is_asked_in_smaller_ones(flow: Flow) -> None:
    def act(parrot: Parrot, request: httpx.Request) -> httpx.Response | None:
        if b"thing 7" not in request.content:
            return None
        parrot.reply(request)
        name, model, _, _ = parrot.bill[-1]
        return completion(None, name, model, "stop", request, refusal="not that one")

    parrot = Parrot(act=act)
    assert run(flow, parrot, pack=12).exit_code == 1
    assert checked(flow, parrot).filter(jb_status="failed").select("text", "jb_error").rows() == [
        ("thing 7", "refusal")
    ]


def test_an_edited_prompt_is_confirmed_with_what_packs_cost(flow: Flow) -> None:
    parrot = Parrot()
    run(flow, parrot, pack=6)
    with pytest.raises(Unanswered, match=r"12 of 12 prompts .* costs 2 credits"):
        run(flow, parrot, pack=6, prompt="Something else about {{ text }}")
    assert parrot.billed == 2


@pytest.mark.parametrize("keys", [CASCADE, {"limits": LOOSE}], ids=["cascade", "one model"])
def test_verify_sees_results_that_the_journal_does_not_bear_out(flow: Flow, keys: dict[str, Any]) -> None:
    run(flow, weaker("invalid"), answer=MOOD, pack=4, **keys)
    path, results = flow.output / "results.parquet", flow.results()
    assert audit(flow.output) == []
    answered = pl.lit("answered").alias("jb_status")
    for change, said in (
        ([answered, pl.lit("q99").alias("jb_request"), pl.lit("00" * 16).alias("jb_key")], "has no answer for them"),
        ([pl.col("jb_credits") * 2], "credits"),
        ([pl.col("jb_row") + 1], "does not count from 0"),
    ):
        results.with_columns(change).cast({"jb_credits": pl.Decimal(18, 6)}).write_parquet(path)
        assert said in "\n".join(audit(flow.output))
