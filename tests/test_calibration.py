"""Decisions by measurement, in whole runs: how many rows go into a request, and below which score a row goes up."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import polars as pl
import pytest
from conftest import Flow
from parrot import Parrot

from journeybatch import api
from journeybatch.emulator import Emulator, Faults
from journeybatch.errors import JobError, SpecError, TableError

ASKED = "Is this positive, negative or neutral? {{ text }}"


def pilot(flow: Flow, rows: int = 1_000, **keys: Any) -> dict[str, Any]:
    flow.write([f"thing {n} is {'good' if n % 2 else 'bad'}" for n in range(rows)])
    return {"prompt": ASKED, "pack": {"rows": "auto", "most": 16, "pilot": 96}} | keys


def sizes(flow: Flow) -> Counter[int]:
    return Counter(flow.ledger()["rows"])


def decision(flow: Flow) -> dict[str, Any]:
    (only,) = flow.summary()["decisions"]
    return dict(only)


# -- pack: auto -----------------------------------------------------------------------------------------------


def test_packs_that_agree_are_taken_as_large_as_they_were_tried(flow: Flow) -> None:
    job = pilot(flow)
    planned = api.plan(flow.job(**job))
    assert flow.run(**job).exit_code == 0
    assert decision(flow)["value"] == 16
    assert sizes(flow) == {1: 96, 4: 24, 8: 12 + 1, 16: 6 + 56}, "the pilot, then the rest in packs"
    assert planned.credits_min == planned.costs.best.requests == flow.emulator.billed, "the best case is the bill"
    assert set(flow.results()["jb_status"]) == {"answered"}
    assert flow.balanced()
    costs = flow.summary()["costs"]
    assert costs["pilot"]["requests"] == 24 + 12 + 6
    assert flow.summary()["credits"]["departed"] == 0, "a pilot's charges are those of the rows it asked"


def test_the_first_size_that_does_not_agree_ends_the_pilot(flow: Flow) -> None:
    flow.emulator = Emulator(faults=Faults(pack_drift=0.005, seed=3))
    flow.run(**pilot(flow, 2_000, pack={"rows": "auto", "most": 16, "pilot": 192}))
    assert decision(flow)["value"] == 4
    assert "8 do not show 95 %" in decision(flow)["why"]
    assert 16 not in sizes(flow)
    assert flow.balanced()


def test_where_no_size_agrees_every_row_goes_alone_and_that_is_the_worst_case_of_the_plan(flow: Flow) -> None:
    flow.emulator = Emulator(faults=Faults(pack_drift=0.3))
    job = pilot(flow)
    planned = api.plan(flow.job(**job))
    flow.run(**job)
    assert decision(flow)["value"] == 1
    assert sizes(flow) == {1: 1_000, 4: 24}
    assert planned.credits_max == planned.costs.worst.requests == flow.emulator.billed == 1_024


def test_what_was_found_holds_for_the_next_night(flow: Flow) -> None:
    job = pilot(flow)
    flow.run(**job)
    before = flow.emulator.billed
    flow.write([f"thing {n} is {'good' if n % 2 else 'bad'}" for n in range(1_160)])
    planned = api.plan(flow.job(**job))
    assert (planned.requests, planned.credits_min, planned.credits_max) == (10, 10, 10)
    flow.run(**job)
    assert flow.emulator.billed - before == 10, "160 new rows in packs of 16, no second pilot"
    assert flow.balanced()


@pytest.mark.parametrize("change", [{"prompt": "Good or bad? {{ text }}"}, {"pack": {"rows": "auto", "most": 8}}])
def test_it_is_measured_anew_when_what_it_rests_on_changes(flow: Flow, change: dict[str, Any]) -> None:
    job = pilot(flow)
    flow.run(**job)
    flow.write([f"other thing {n} is {'good' if n % 2 else 'bad'}" for n in range(1_000)])
    flow.run({"yes": True}, **{**job, **change})
    found = flow.summary()["decisions"][0]["value"]
    assert found == change.get("pack", {}).get("most", 16)
    assert flow.ledger().filter(pl.col("rows") == 4).height == 48 if "prompt" in change else True


def test_few_rows_are_asked_alone_since_a_pilot_would_cost_what_it_saves(flow: Flow) -> None:
    flow.run(**pilot(flow, rows=130))
    assert sizes(flow) == {1: 130}
    assert flow.summary()["decisions"] == []


@pytest.mark.parametrize("cap", [50, 100, 110, 125, 135, 140, 150])
def test_a_pilot_that_was_stopped_anywhere_goes_on_where_it_was(flow: Flow, cap: int) -> None:
    job = pilot(flow)
    report = flow.run(**job, limits={"credits": cap})
    assert (report.exit_code, flow.emulator.billed) == (3, cap)
    planned = api.plan(flow.job(**job))
    assert planned.credits_min + cap == 195
    flow.run(**job)
    assert flow.emulator.billed == 195, "as much as without the stop"
    assert decision(flow)["value"] == 16
    assert flow.balanced()


def test_a_pilot_survives_faults_without_losing_or_double_counting_a_credit(flow: Flow) -> None:
    statuses = {500: 0.05, 429: 0.05}
    flow.emulator = Emulator(
        faults=Faults(seed=5, statuses=statuses, retry_after_s=0.0, pack_drop=0.1, pack_reorder=0.3)
    )
    job = pilot(flow, retry={"attempts": 5})
    assert flow.run(**job).exit_code == 0
    assert set(flow.results()["jb_status"]) == {"answered"}
    assert flow.balanced()
    assert flow.summary()["credits"]["spent_total"] == flow.emulator.billed


def test_only_the_compared_fields_have_to_agree(flow: Flow) -> None:
    rng = random.Random(1)

    def says(task: str, model: str) -> dict[str, Any]:
        return {"mood": "good" if "is good" in task else "bad", "score": rng.random()}

    fields = {"mood": ["good", "bad"], "score": "number"}
    job = pilot(flow, answer={"fields": fields})
    flow.run({"transport": Parrot(says)}, **job)
    assert decision(flow)["value"] == 1, "two scores are never the same"
    compared = {**job["pack"], "compare": ["mood"]}
    flow.run({"transport": Parrot(says), "fresh": True}, **{**job, "pack": compared})
    assert decision(flow)["value"] == 16
    with pytest.raises(SpecError, match="expected fields of the answer, found 'moods'"):
        flow.run(**{**job, "pack": {**compared, "compare": ["moods"]}})


def test_in_a_cascade_the_first_model_is_measured_and_the_stronger_is_asked_row_by_row(flow: Flow) -> None:
    job = pilot(flow, model=["deepseek-chat", "gpt-4o"], escalate=["refusal"], credits={"gpt-4o": 4})

    def says(task: str, model: str) -> str:
        return "I'm sorry, I can't help with that." if model == "deepseek-chat" and "7" in task else "positive"

    parrot = Parrot(says, prices={"gpt-4o": 4})
    flow.run({"transport": parrot}, **job)
    assert flow.ledger().filter(pl.col("model") == "gpt-4o")["rows"].unique().to_list() == [1]
    assert flow.ledger()["credits"].sum() == parrot.billed
    assert flow.balanced()


# -- a guarantee ----------------------------------------------------------------------------------------------

TRUTH = ("good", "bad", "mixed")


class Models(Parrot):
    """A strong model that knows, and a cheap one that is right where it is sure, but only as often as ``skill``."""

    def __init__(self, skill: float = 0.999) -> None:
        super().__init__(self._answer, prices={"gpt-4o": 4})
        self.skill = skill

    def _answer(self, task: str, model: str) -> dict[str, Any]:
        number = int(task.split("#")[1].split(maxsplit=1)[0])
        rng = random.Random(number)
        sure = rng.random()
        right = model == "gpt-4o" or rng.random() < (self.skill if sure > 0.4 else self.skill / 2)
        return {"mood": TRUTH[(number + (not right)) % 3], "confidence": round(sure, 3)}


def guaranteed(flow: Flow, rows: int = 900, every: int = 3, **keys: Any) -> dict[str, Any]:
    labels = [TRUTH[n % 3] if n * 7919 % every == 0 else "" for n in range(rows)]
    flow.write([f"#{n} of all" for n in range(rows)], label=labels)
    return {
        "prompt": "How is {{ text }}",
        "model": ["deepseek-chat", "gpt-4o"],
        "credits": {"gpt-4o": 4},
        "answer": {"fields": {"mood": list(TRUTH), "confidence": "number"}},
        "escalate": ["invalid", {"field": "confidence"}],
        "guarantee": 0.95,
        "target": "label",
    } | keys


def test_a_bound_is_found_by_answers_that_another_directory_lends(flow: Flow) -> None:
    models, job = Models(), guaranteed(flow)
    own = ("escalate", "guarantee", "target", "credits")
    cheap = {key: value for key, value in job.items() if key not in own} | {"model": "deepseek-chat"}
    flow.output = flow.path / "cheap"
    assert flow.run({"transport": models}, **cheap).exit_code == 0
    flow.output = flow.path / "out"
    lent = job | {"reuse": [str(flow.path / "cheap")]}
    planned = api.plan(flow.job(**lent))
    before = models.billed
    assert flow.run({"transport": models}, **lent).exit_code == 0
    went_up = flow.results().filter(pl.col("jb_model") == "gpt-4o").height
    assert planned.requests == went_up == (models.billed - before) / 4 > 0
    flow.output = flow.path / "alone"
    assert flow.run({"transport": Models()}, **job).exit_code == 0
    assert flow.results().filter(pl.col("jb_model") == "gpt-4o").height == went_up
    assert flow.balanced()


def test_the_bound_keeps_the_guarantee_and_rows_below_it_go_up(flow: Flow) -> None:
    models = Models()
    assert flow.run({"transport": models}, **guaranteed(flow)).exit_code == 0
    results, bound = flow.results(), decision(flow)["value"]
    assert 0.1 < bound < 0.5
    went_up = results.filter(pl.col("jb_model") == "gpt-4o")
    assert set(results.filter(pl.col("jb_model") != "gpt-4o")["confidence"] >= bound) == {True}
    assert models.billed == 900 + 4 * went_up.height == flow.summary()["credits"]["spent"]
    truth = pl.Series([TRUTH[n % 3] for n in range(900)])
    assert (results["mood"] == truth).mean() >= 0.95
    assert "Of 300 labelled rows" in decision(flow)["why"]
    assert flow.balanced()


def test_where_no_bound_keeps_it_every_row_goes_up(flow: Flow) -> None:
    flow.run({"transport": Models(skill=0.0)}, **guaranteed(flow, rows=300))
    assert decision(flow)["value"] is None
    assert set(flow.results()["jb_model"]) == {"gpt-4o"}


def test_too_few_labels_prove_nothing(flow: Flow) -> None:
    flow.run({"transport": Models()}, **guaranteed(flow, rows=300, every=10))
    assert "it takes 59 or more" in decision(flow)["why"]
    assert set(flow.results()["jb_model"]) == {"gpt-4o"}


def test_a_run_that_was_killed_before_it_chose_chooses_when_it_goes_on(flow: Flow) -> None:
    models, job = Models(), guaranteed(flow)
    flow.run({"transport": models}, **job, limits={"credits": 500})
    assert flow.summary()["decisions"] == []
    flow.run({"transport": models}, **job, limits={"credits": 901})
    assert decision(flow)["value"] > 0
    flow.run({"transport": models}, **job)
    fresh = Models()
    flow.run({"transport": fresh, "fresh": True}, **job)
    assert models.billed == fresh.billed, "nothing was bought twice"


def test_the_bound_holds_for_new_rows_and_changes_with_the_labels(flow: Flow) -> None:
    models = Models()
    flow.run({"transport": models}, **guaranteed(flow))
    first, billed = decision(flow), models.billed
    job = guaranteed(flow, rows=900)
    flow.write(
        [f"#{n} of all" for n in range(1_000)],
        label=[TRUTH[n % 3] if n < 900 and n * 7919 % 3 == 0 else "" for n in range(1_000)],
    )
    flow.run({"transport": models}, **job)
    assert decision(flow) == first
    assert billed < models.billed <= billed + 500
    flow.run({"transport": models}, **guaranteed(flow, every=2))
    assert decision(flow) != first


def test_labels_doubled_by_identical_rows_count_once(flow: Flow) -> None:
    job = guaranteed(flow, rows=200, every=1)
    flow.write([f"#{n % 20} of all" for n in range(200)], label=[TRUTH[n % 20 % 3] for n in range(200)])
    flow.run({"transport": Models()}, **job)
    assert "on 20 labelled rows" in decision(flow)["why"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": None}, "guarantee: a guarantee needs labels: name the column that holds them with 'target'"),
        ({"guarantee": None}, "escalate: expected {field: confidence, below: NUMBER}; without 'below' it takes a"),
        ({"model": ["deepseek-chat", "gpt-4o", "grok-3"]}, "guarantee: a guarantee is about two models"),
        ({"escalate": ["invalid"]}, "guarantee: a guarantee needs a score to go by"),
        ({"target": "labels"}, "no column is called 'labels'"),
        ({"guarantee": {"agreement": 0.95, "field": "tone"}}, "which field of the answer does the target label?"),
    ],
)
def test_what_a_guarantee_lacks_is_said_before_a_credit_is_spent(flow: Flow, change: dict[str, Any], said: str) -> None:
    models = Models()
    job = {key: value for key, value in (guaranteed(flow) | change).items() if value is not None}
    with pytest.raises(JobError) as caught:
        flow.run({"transport": models}, **job)
    assert said in str(caught.value)
    assert models.bill == []


def test_a_target_without_any_label_is_an_error(flow: Flow) -> None:
    job = guaranteed(flow)
    flow.write([f"#{n} of all" for n in range(30)], label=[""] * 30)
    models = Models()
    with pytest.raises(TableError, match="the target has no labels: every cell of the column 'label' is empty"):
        flow.run({"transport": models}, **job)
    assert models.bill == []


def test_a_stranger_reads_in_the_plan_what_was_decided(flow: Flow) -> None:
    flow.run(**pilot(flow))
    notes = json.dumps(api.plan(flow.job(**pilot(flow))).notes)
    assert "16 rows a request: 96 of 96 answers agree" in notes
