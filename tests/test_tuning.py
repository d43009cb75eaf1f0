"""tune: a run at work takes another concurrency and another cap, and remembers them through crashes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from types import SimpleNamespace

import anyio
import pytest
from conftest import Flow, spawned

from journeybatch import tuning
from journeybatch.archive import read_history
from journeybatch.cli import steering
from journeybatch.concurrency import InFlight
from journeybatch.entries import Began, Tuned
from journeybatch.history import History
from journeybatch.loading import load_job
from journeybatch.tuning import Tuning, heed, in_force

Call = Callable[..., SimpleNamespace]


@pytest.fixture
def job(flow: Flow, served: SimpleNamespace) -> Path:
    """A job of 400 rows, two at a time, that would take ten seconds."""
    flow.write([f"thing {n}" for n in range(400)])
    path = flow.path / "job.yaml"
    told = flow.job(api={"base_url": served.base_url}, concurrency=2, limits={"credits": 300})
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


@contextmanager
def at_work(job: Path, output: Path, *more: object) -> Iterator[Popen[str]]:
    """The job in a process of its own, once it has answers."""
    with spawned("run", job, "--quiet", "--json", *more) as process:
        until = time.monotonic() + 30
        while not answered(output):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield process


def answered(output: Path) -> int:
    path = output / "summary.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return 0 if found.get("exit_code", 0) is not None else found["rows"]["answered"]


def bill(served: SimpleNamespace) -> int:
    return len(served.bill.read_text("utf-8").splitlines())


def test_a_run_at_work_goes_faster_and_further_and_says_so(
    job: Path, flow: Flow, served: SimpleNamespace, call: Call
) -> None:
    with at_work(job, flow.output) as process:
        began = time.monotonic()
        said = call("tune", flow.output, "--concurrency", 40, "--max-credits", 1000)
        took_s = time.monotonic() - began
        shown = call("status", job)
        out, _ = process.communicate(timeout=30)
    assert (said.code, said.out.splitlines()) == (
        0,
        ["in flight at most: 40 (before: 2)", "cap: 1000 credits (before: 300 credits)"],
    )
    assert took_s < 5
    assert "tuned:    40 requests in flight at most, a cap of 1000 credits" in shown.out
    summary = json.loads(out)
    assert (process.returncode, summary["rows"]["answered"]) == (0, 400)
    assert (summary["concurrency"], summary["credits"]["cap"]) == (40, 1000)
    assert summary["seconds"] < 8, "two at a time would have taken ten seconds"
    assert not tuning.wishes(flow.output)
    assert flow.balanced()


def test_a_cap_below_what_is_spent_stops_the_run_gently_and_outlives_it(
    job: Path, flow: Flow, served: SimpleNamespace, call: Call
) -> None:
    with at_work(job, flow.output) as process:
        said = call("tune", job, "--max-credits", 1)
        out, err = process.communicate(timeout=30)
    assert "the run stops once what is in flight has ended" in said.out
    assert (process.returncode, json.loads(out)["stopped_by"]) == (3, "budget")
    assert "the cap of 1 credits is reached" in err
    spent = json.loads(out)["credits"]["spent"]
    assert spent == bill(served)
    assert call("run", job, "--quiet").code == 3
    assert bill(served) == spent, "the job still says 300, but the user has said 1 since"
    assert call("run", job, "--quiet", "--max-credits", spent + 5).code == 3
    assert bill(served) == spent + 5, "which is later still"
    assert call("run", job, "--quiet", "--max-credits", 300, "--concurrency", 60).code == 3
    assert bill(served) == 300, "also where it is what the job says"


def test_after_a_kill_the_run_carries_on_as_it_was_tuned(
    job: Path, flow: Flow, served: SimpleNamespace, call: Call
) -> None:
    with at_work(job, flow.output) as process:
        call("tune", flow.output, "--max-credits", 60, "--concurrency", 3)
        process.kill()
    assert call("status", flow.output, "--json").code == 0
    said = call("run", job)
    assert said.code == 3
    assert "as chosen while this run was at work: 3 requests in flight at most, a cap of 60 credits" in said.err
    assert bill(served) <= 60
    assert flow.summary()["credits"]["cap"] == 60


def test_without_a_run_at_work_or_anything_to_change_nothing_is_left_behind(flow: Flow, call: Call) -> None:
    assert "no such directory" in call("tune", flow.path / "nowhere", "--concurrency", 3).err
    assert "nothing ever ran" in call("tune", flow.path, "--concurrency", 3).err
    flow.run()
    refused = call("tune", flow.output, "--concurrency", 3)
    assert refused.code == 2
    assert "no run is at work here (finished)" in refused.err
    assert call("tune", flow.output).code == 2
    for nonsense in (["--concurrency", 0], ["--concurrency", 5000], ["--max-credits", -1], ["--max-credits", "all"]):
        refused = call("tune", flow.output, *nonsense)
        assert (refused.code, refused.err.count("journeybatch: ")) == (2, 1)
    assert not tuning.wishes(flow.output)


def test_a_run_that_is_ending_takes_no_notice_and_that_is_said(
    job: Path, flow: Flow, served: SimpleNamespace, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "PATIENCE_S", 0.3)
    with at_work(job, flow.output) as process:
        process.send_signal(signal.SIGSTOP)  # it holds its directory, and looks at nothing
        said = call("tune", flow.output, "--concurrency", 30)
        process.send_signal(signal.SIGCONT)
    assert (said.code, "took no notice" in said.err) == (2, True)
    assert not tuning.wishes(flow.output)


def test_what_was_chosen_holds_for_its_run_unless_the_job_says_something_else_since() -> None:
    spec = load_job({"input": "a.csv", "prompt": "p", "model": "deepseek-chat", "concurrency": 8, "name": "n"})
    history = History()
    assert in_force(spec, history, 1) == Tuning(8, None)
    history.fold(Began(1, "n", "{}", True, False, 0.0), 0)
    history.fold(Tuned(1, 32, 900, 8, None, 1.0), 0)
    assert in_force(spec, history, 1) == Tuning(32, 900)
    assert in_force(spec, history, 2) == Tuning(8, None)
    edited = spec.model_copy(update={"concurrency": InFlight(16)})
    assert in_force(edited, history, 1) == Tuning(16, 900)


def test_a_wish_is_taken_away_once_granted_and_old_or_senseless_ones_are_not_granted(tmp_path: Path) -> None:
    granted: list[Tuning] = []

    async def grant(wish: Tuning) -> None:
        assert tuning.wishes(tmp_path), "it is the answer that it is taken away"
        granted.append(wish)

    async def wait() -> None:
        with anyio.fail_after(5):
            while tuning.wishes(tmp_path):
                await anyio.sleep(0.02)

    async def story() -> None:
        tuning.leave(tmp_path, Tuning(1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heed, tmp_path, grant)
            await wait()
            for text in ("{", '{"concurrency": 0}', '{"concurrency": "all"}', '{"credits": -1}', '{"limit": 3}', "[]"):
                (tmp_path / "tuning-0.json").write_text(text, "utf-8")
                await wait()
            tuning.leave(tmp_path, Tuning(credits=7))
            await wait()
            tasks.cancel_scope.cancel()

    anyio.run(story)
    assert granted == [Tuning(None, 7)]


def test_of_wishes_that_are_left_at_once_each_is_granted_and_only_then_taken_away(tmp_path: Path) -> None:
    granted: list[Tuning] = []
    late: list[Path] = []

    async def grant(wish: Tuning) -> None:
        if not granted:
            late.append(tuning.leave(tmp_path, Tuning(credits=8)))
        granted.append(wish)

    async def story() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heed, tmp_path, grant)
            await anyio.sleep(0)
            first, second = (tuning.leave(tmp_path, wish) for wish in (Tuning(5), Tuning(credits=7)))
            assert first != second
            with anyio.fail_after(5):
                while not late or late[0].exists():
                    await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()

    anyio.run(story)
    assert granted == [Tuning(5), Tuning(credits=7), Tuning(credits=8)]


def test_every_choice_stands_in_the_journal(job: Path, flow: Flow, call: Call) -> None:
    with at_work(job, flow.output) as process:
        for concurrency in (3, 5):
            assert call("tune", flow.output, "--concurrency", concurrency).code == 0
        process.kill()
    last = read_history(flow.output / "journal").tuned
    assert last is not None
    assert (last.run, last.concurrency, last.credits, last.job_concurrency, last.job_credits) == (1, 5, 300, 2, 300)
