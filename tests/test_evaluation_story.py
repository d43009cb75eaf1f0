"""Whole evaluations in this process: asked, judged, scored, compared, written down."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from conftest import Flow
from parrot import Parrot
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from journeybatch import api
from journeybatch.errors import JobError, SpecError
from journeybatch.evaluation.outcome import Evaluation

ACCURACY = {"one": 0.55, "two": 0.60, "three": 0.60}
Call = Callable[..., SimpleNamespace]


def right(variant: str, number: int) -> bool:
    """Whether a variant gets a row right: seeded, and alike between variants more often than by chance."""
    shared = random.Random(f"shared {number}").random()
    own = random.Random(f"{variant} {number}").random()
    return (shared if random.Random(f"which {variant} {number}").random() < 0.5 else own) < ACCURACY[variant]


def solver(task: str, model: str) -> str:
    variant, number = task.split(maxsplit=1)[0].lower(), int(task.split("#")[1].split(maxsplit=1)[0])
    return f"The answer is {number if right(variant, number) else number + 1}."


def sums(flow: Flow, rows: int = 300, **keys: Any) -> dict[str, Any]:
    flow.write([f"#{n} please" for n in range(rows)], wanted=[str(n) for n in range(rows)])
    section = {
        "variants": {name: {"prompt": f"{name.title()} {{{{ text }}}}"} for name in ACCURACY},
        "target": "wanted",
        "scorers": ["number", {"icontains": "answer", "name": "polite"}],
    }
    return flow.job(eval=section | keys.pop("eval", {}), **keys)


def judged(flow: Flow, job: dict[str, Any], parrot: Parrot | None = None, **options: Any) -> Evaluation:
    ended = api.evaluate(job, transport=parrot or Parrot(solver), seed=1, **options)
    assert ended.evaluation is not None
    return ended.evaluation


def test_figures_are_those_that_others_compute(flow: Flow) -> None:
    found = judged(flow, sums(flow, eval={"baseline": "one"}))
    table = {name: [right(name, n) for n in range(300)] for name in ACCURACY}
    for variant in found.variants:
        mean, truth = variant.scores["number"], table[variant.name]
        low, high = proportion_confint(sum(truth), 300, method="wilson")
        assert mean.value == pytest.approx(sum(truth) / 300)
        assert mean.interval is not None
        assert (mean.interval.low, mean.interval.high) == pytest.approx((low, high))
        assert variant.scores["polite"].value == 1.0
        assert (variant.answered, variant.credits) == (300, 300.0)
        assert variant.price is not None
        assert variant.price.value == pytest.approx(300 / sum(truth))
    raw = []
    for name in ("two", "three"):
        pairs = list(zip(table["one"], table[name], strict=True))
        counts = [[pairs.count((a, b)) for b in (True, False)] for a in (True, False)]
        raw.append(mcnemar(counts, exact=True).pvalue)
    corrected = multipletests(raw, method="holm")[1]
    assert [each.variant for each in found.comparisons["number"]] == ["two", "three"]
    assert [each.p_corrected for each in found.comparisons["number"]] == pytest.approx(list(corrected))
    assert stats.binomtest(1, 2).pvalue == 1.0


def test_what_is_left_behind_says_it_all(flow: Flow) -> None:
    found = judged(flow, sums(flow))
    scores = pl.read_parquet(flow.output / "scores.parquet")
    assert scores.columns == ["row", "variant", "sample", "scorer", "value", "answer", "explanation"]
    assert scores.height == 300 * 3 * 2
    results = flow.results()
    assert results.columns.index("jb_variant") == results.columns.index("jb_row") + 1
    assert results["jb_variant"].to_list()[:4] == ["one", "two", "three", "one"]
    told = json.loads((flow.output / "evaluation.json").read_text())
    assert told["verdict"] == found.verdict
    assert {each["verdict"] for each in told["comparisons"]["number"]} <= {"better", "worse", "undecided"}
    assert flow.balanced()


def test_it_is_planned_priced_and_asked_like_any_job(flow: Flow, tmp_path: Any) -> None:
    job, parrot = sums(flow, pack=20), Parrot(solver)
    planned = api.plan(job)
    assert (planned.rows, planned.requests) == (900, 45)
    judged(flow, job, parrot)
    assert parrot.billed == planned.credits_min == 45
    before = (flow.output / "evaluation.json").read_bytes()
    judged(flow, job, parrot)
    assert parrot.billed == 45, "a finished evaluation sends nothing"
    assert (flow.output / "evaluation.json").read_bytes() == before


def test_stopping_and_carrying_on_changes_nothing(flow: Flow) -> None:
    job, parrot = sums(flow), Parrot(solver)
    for cap in (100, 400, 700):
        ended = api.evaluate(job, transport=parrot, max_credits=cap)
        assert (ended.exit_code, ended.evaluation) == (3, None)
    stopped = judged(flow, job, parrot)
    assert parrot.billed == 900
    whole = judged(flow, job, Parrot(solver), fresh=True)
    assert [v.scores for v in stopped.variants] == [v.scores for v in whole.variants]
    assert stopped.comparisons == whole.comparisons


def test_two_variants_that_ask_the_same_are_asked_once_and_one_is_left_out(flow: Flow) -> None:
    variants = {
        "prompts": {"p": "One {{ text }}"},
        "models": ["gpt-4o", "o3"],
        "parameters": [{"temperature": t} for t in (0, 1)],
    }
    job = sums(flow, 20, eval={"variants": variants}, credits={"gpt-4o": 1, "o3": 1})
    found = judged(flow, job)
    assert [each.name for each in found.variants] == [
        "p/gpt-4o/temperature=0",
        "p/gpt-4o/temperature=1",
        "p/o3/temperature=0",
    ]
    assert found.left_out == ("p/o3/temperature=1",)
    warnings = api.plan(job).warnings
    assert any("o3 refuses temperature" in each for each in warnings)


def test_a_cascade_as_a_variant_pays_only_for_what_it_used(flow: Flow) -> None:
    def says(task: str, model: str) -> str:
        number = int(task.split("#")[1].split(maxsplit=1)[0])
        return "I'm sorry, I can't help with that." if model == "deepseek-chat" and number % 4 == 0 else str(number)

    models = {"cheap": "deepseek-chat", "strong": "gpt-4o", "both": ["deepseek-chat", "gpt-4o"]}
    job = sums(
        flow,
        40,
        prompt="One {{ text }}",
        credits={"gpt-4o": 4},
        escalate=["refusal"],
        eval={"variants": {name: {"model": model} for name, model in models.items()}},
    )
    parrot = Parrot(says, prices={"gpt-4o": 4})
    found = judged(flow, job, parrot)
    assert parrot.billed == 40 + 160, "what the cascade asks, the others have asked"
    assert {each.name: each.credits for each in found.variants} == {"cheap": 40, "strong": 160, "both": 80}
    assert {each.name: each.scores["number"].value for each in found.variants} == {
        "cheap": 0.75,
        "strong": 1,
        "both": 1,
    }
    assert found.pareto == ("cheap", "both")
    assert flow.balanced()


def test_samples_are_told_apart_from_rows(flow: Flow) -> None:
    dice = random.Random(3)

    def says(task: str, model: str) -> str:
        return task.split("#")[1].split(maxsplit=1)[0] if dice.random() < 0.7 else "0"

    found = judged(flow, sums(flow, 100, samples=3), Parrot(says))
    (variant, *_) = found.variants
    assert (found.rows, found.samples, variant.answered) == (100, 3, 300)
    assert variant.scores["number"].rows == 100
    assert variant.repeats is not None
    assert variant.repeats.within > variant.repeats.between
    assert set(pl.read_parquet(flow.output / "scores.parquet")["sample"]) == {0, 1, 2}


def test_rows_that_belong_together_count_as_one_observation(flow: Flow) -> None:
    job = sums(flow, 60)
    texts = [f"#{n} please" for n in range(60)]
    flow.write(texts, wanted=[str(n) for n in range(60)], document=[str(n // 10) for n in range(60)])
    job["eval"]["group"] = "document"
    found = judged(flow, job)
    assert {each.scores["number"].clusters for each in found.variants} == {6}
    assert all(each.clusters == 6 for each in found.comparisons["number"])


def test_labels_have_a_confusion_matrix_and_numbers_their_errors(flow: Flow) -> None:
    found = judged(flow, sums(flow, 50))
    assert found.variants[0].numbers is not None
    assert found.variants[0].numbers.mae == pytest.approx(1 - (found.variants[0].scores["number"].value or 0))
    moods = ["good" if n % 3 else "bad" for n in range(60)]
    flow.write([f"#{n} please" for n in range(60)], wanted=moods)
    job = sums(flow, 60, eval={"scorers": ["iequals"]}, output=str(flow.path / "moods"))
    flow.write([f"#{n} please" for n in range(60)], wanted=moods)
    found = judged(flow, job, Parrot(lambda task, model: "Good"))
    labels = found.variants[0].labels
    assert labels is not None
    assert labels.labels == ("bad", "good")
    assert labels.accuracy == pytest.approx(moods.count("good") / 60)


# -- judges ---------------------------------------------------------------------------------------------------


class Judge(Parrot):
    """Answers tasks, and judges them when it is asked to."""

    def __init__(self) -> None:
        super().__init__(self._say)
        self.judged = 0

    def _say(self, task: str, model: str) -> Any:
        if "<answer>" not in task:
            return solver(task, model)
        self.judged += 1
        answer = task.split("<answer>\n")[1].split("\n</answer>", maxsplit=1)[0]
        wanted = task.split("<expert>\n")[1].split("\n</expert>", maxsplit=1)[0] if "<expert>" in task else ""
        return {"reason": "so it is", "verdict": "correct" if f" {wanted}." in answer else "incorrect"}


def with_judge(flow: Flow, **options: Any) -> dict[str, Any]:
    return sums(
        flow, 40, eval={"scorers": [{"model-graded": {"rubric": "Is it right?", "model": "qwen-turbo"} | options}]}
    )


def test_a_judge_is_asked_once_for_each_answer_and_never_again(flow: Flow) -> None:
    judge, job = Judge(), with_judge(flow)
    found = judged(flow, job, judge)
    assert judge.judged == 120 == found.judging
    assert judge.billed == 240 == found.spent
    by_number = judged(flow, sums(flow, 40, output=str(flow.path / "other")))
    assert [v.scores["model-graded"].value for v in found.variants] == [
        v.scores["number"].value for v in by_number.variants
    ]
    judged(flow, with_judge(flow), judge)
    assert judge.billed == 240


def test_the_cap_holds_for_variants_and_judges_together(flow: Flow) -> None:
    judge = Judge()
    ended = api.evaluate(with_judge(flow), transport=judge, max_credits=200)
    assert (ended.exit_code, ended.evaluation, judge.billed) == (3, None, 200)
    assert ended.report.summary["stopped_by"] == "budget"
    assert judged(flow, with_judge(flow), judge, max_credits=240).spent == 240


def test_a_judge_is_held_against_labels(flow: Flow) -> None:
    job = with_judge(flow, labels="human")
    flow.write(
        [f"#{n} please" for n in range(40)],
        wanted=[str(n) for n in range(40)],
        human=["correct" if n < 20 else "incorrect" for n in range(40)],
    )
    agreed = judged(flow, job, Judge()).judges["model-graded"]
    assert agreed.rows == 120
    assert agreed.kappa is not None


def test_the_plan_says_what_judges_cost_and_what_the_rows_can_show(flow: Flow, call: Call, tmp_path: Any) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(with_judge(flow)))
    said = call("plan", path)
    assert "model-graded: up to 120 requests to qwen-turbo besides, 120 credits" in said.out
    assert "with 40 rows, a difference of" in said.out
    data = json.loads(call("plan", path, "--json").out)["evaluation"]
    assert data["family"] == 3
    assert data["rows"] == 40


# -- gates, comparisons, files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "code"),
    [
        ({"accuracy": 0.3}, 0),
        ({"accuracy": 0.99}, 1),
        ({"accuracy_lower": 0.57, "variant": "two"}, 1),
        ({"scores": {"polite": 1.0}}, 0),
        ({"not_worse_than": "one", "variant": "two"}, 0),
        ({"credits_per_correct": 1.1}, 1),
    ],
)
def test_a_gate_decides_the_exit_code(flow: Flow, gate: dict[str, Any], code: int) -> None:
    ended = api.evaluate(sums(flow, eval={"gate": gate}), transport=Parrot(solver))
    assert ended.exit_code == code
    assert ended.evaluation is not None
    assert ended.evaluation.passed == (code == 0)


def test_a_variant_that_is_worse_than_the_baseline_misses_the_gate(flow: Flow) -> None:
    def says(task: str, model: str) -> str:
        return "0" if task.startswith("Three") else task.split("#")[1].split(maxsplit=1)[0]

    gate = {"not_worse_than": "baseline"}
    found = judged(flow, sums(flow, 30, eval={"gate": gate, "baseline": "one"}), Parrot(says))
    assert [(check.variant, check.passed) for check in found.gate or ()] == [("two", True), ("three", False)]


def test_against_an_earlier_evaluation_rows_are_fixed_broken_or_the_same(flow: Flow) -> None:
    judged(flow, sums(flow))

    def says(task: str, model: str) -> str:
        number = int(task.split("#")[1].split(maxsplit=1)[0])
        return str(number) if number == 7 else str(number + 1) if number == 8 else solver(task, model)

    again = sums(flow, output=str(flow.path / "again"))
    found = judged(flow, again, Parrot(says), against=flow.output)
    for each in found.changes or ():
        was = [right(each.variant, n) for n in (7, 8)]
        assert (each.fixed, each.broken) == (int(not was[0]), int(was[1]))
        assert each.fixed + each.broken + each.same == 300
    assert len(found.changes or ()) == 3


def test_the_command_tells_it_and_writes_what_a_ci_server_reads(flow: Flow, call: Call, tmp_path: Any) -> None:
    path, junit, markdown = tmp_path / "job.yaml", tmp_path / "junit.xml", tmp_path / "summary.md"
    job = sums(flow, 24, api="emulator", eval={"gate": {"scores": {"polite": 0.9}}})
    path.write_text(json.dumps(job))
    said = call("eval", path, "--quiet", "--junit", junit, "--markdown", markdown)
    assert said.code == 1
    assert "gate MISSED: one, mean of polite ≥ 0.9" in said.out
    assert "24 rows × 3 variants, 72 credits, all by the emulator" in said.out
    assert 'failures="3"' in junit.read_text()
    assert markdown.read_text().startswith("## flow\n\n**")
    assert call("run", path).code == 2
    assert "journeybatch eval" in call("run", path).err
    assert json.loads(call("eval", path, "--json").out)["passed"] is False
    assert call("verify", flow.output).code == 0


# -- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "wantd"}, "eval.target: no column is called 'wantd'"),
        ({"group": "doc"}, "eval.group: no column is called 'doc'"),
        ({"scorers": ["equal"]}, "there is no scorer 'equal' (did you mean 'equals'?)"),
        ({"scorers": [{"number": {"tolerence": 1}}]}, "unknown option 'tolerence' (did you mean 'tolerance'?)"),
        ({"scorers": ["exact-set"], "target": None}, "it needs a target"),
        ({"variants": {"one": {"prompt": "x"}}, "baseline": "one"}, "there is one variant only: nothing to compare"),
        ({"gate": {"scores": {"f1": 0.5}}}, "eval.gate.scores: no scorer is called 'f1'; there are number, polite"),
        ({"scorers": [{"number": {}, "field": "total"}]}, "the answer has no field 'total'"),
        ({"scorers": [{"python": "nowhere.py:grade"}]}, "nowhere.py"),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_a_credit_is_spent(
    flow: Flow, change: dict[str, Any], said: str
) -> None:
    parrot, job = Parrot(solver), sums(flow, 10)
    job["eval"] = {key: value for key, value in (job["eval"] | change).items() if value is not None}
    with pytest.raises(JobError) as caught:
        api.evaluate(job, transport=parrot)
    assert said in str(caught.value)
    assert parrot.bill == []
    assert not flow.output.exists()


def test_a_target_that_is_empty_everywhere_is_an_error(flow: Flow) -> None:
    job = sums(flow, 10)
    flow.write([f"#{n} please" for n in range(10)], wanted=[""] * 10)
    parrot = Parrot(solver)
    with pytest.raises(JobError, match="every cell of the column 'wanted' is empty"):
        api.evaluate(job, transport=parrot)
    assert parrot.bill == []


def test_a_job_without_variants_is_no_evaluation_and_the_other_way_round(flow: Flow) -> None:
    with pytest.raises(SpecError, match="no 'eval' section"):
        api.evaluate(flow.job(), transport=Parrot(solver))
    with pytest.raises(SpecError, match="call evaluate instead of run"):
        api.run(sums(flow, 5), transport=Parrot(solver))


def test_an_earlier_evaluation_that_is_none_is_an_error_before_a_credit_is_spent(flow: Flow, tmp_path: Any) -> None:
    parrot = Parrot(solver)
    with pytest.raises(JobError, match=r"there is no scores\.parquet here"):
        api.evaluate(sums(flow, 5), transport=parrot, against=tmp_path)
    assert parrot.bill == []
