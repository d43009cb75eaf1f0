"""Lives of a directory: what a user may do to a job over weeks, in any order, against a model that is a dict.

Runs, kills, ends that are interrupted, a second run at the same time, rows that come, go and change, another prompt,
model or answer's column, a cap raised and lowered, an account that is empty and topped up. The model knows which
questions have an answer; from that follows what each process may send, to the request. After each the independent
checker looks at the directory.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from journeybatch import bookmark, conclusion, scratch
from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.answer_key import AnswerKey
from journeybatch.errors import JourneybatchError
from proofs.checker import Broken, Evidence, judge
from proofs.fate import CAUSES, DEATHS, ENDS, Fate, once
from proofs.power import folder, in_process
from proofs.spread import spread
from proofs.virtual import bury, run_virtually, virtual
from proofs.witness import Question, Watched
from proofs.world import CHEAP, STRONG, World, answer, write_table

PRICES = {CHEAP: 1, STRONG: 5}
WORDINGS = ("Say something about {{ text }}", "What of {{ text }}?")
COLUMNS = ("response", "said")
PIECE = 75
THINGS = 24
"""Different texts that a table may have."""


class Life(RuleBasedStateMachine):
    """One directory, from its making on."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = folder()
        self.world = World(self._stack.__enter__(), THINGS, concurrency=4)
        self._known = AnswerKey(self.world.told(self.world.texts))
        self.wording = self.column = 0
        self.model = CHEAP
        self.cap: int | None = None
        self.credits, self.books = 15, []  # type: int, list[Any]
        self.answered: set[Question] = set()
        self.maybe: set[Question] = set()  # asked, and killed before anybody can know
        self.run_began_at = 0  # the bill when the present run began
        self.run_is_over = True
        # Of the last run that surely began: the place of its first record on the bill, and what intents that never
        # arrived may count. After a kill it may be over, or not.
        self.first = self.strays = 0
        self.surely_over = True
        self.perfect: dict[str, bytes] | None = None  # a finished directory, as long as nothing changes

    def teardown(self) -> None:
        self._stack.__exit__(None, None, None)

    # -- what a user does between runs

    @initialize(rows=st.lists(st.integers(0, THINGS - 1), min_size=1, max_size=12))
    def begin(self, rows: list[int]) -> None:
        self._write(rows)

    @rule(rows=st.lists(st.integers(0, THINGS - 1), min_size=1, max_size=12))
    def another_table(self, rows: list[int]) -> None:
        self._write(rows)

    @rule(rng=st.randoms(use_true_random=False))
    def rows_change_places(self, rng: random.Random) -> None:
        rng.shuffle(self.world.table)
        self._write([int(row["text"][6:10]) for row in self.world.table])

    @rule(row=st.integers(0, 11), thing=st.integers(0, THINGS - 1))
    def a_cell_changes(self, row: int, thing: int) -> None:
        rows = [int(each["text"][6:10]) for each in self.world.table]
        rows[row % len(rows)] = thing
        self._write(rows)

    @rule(wording=st.sampled_from((0, 1)), model=st.sampled_from((CHEAP, STRONG)))
    def the_job_asks_otherwise(self, wording: int, model: str) -> None:
        self.wording, self.model, self.perfect = wording, model, None

    @rule(column=st.sampled_from((0, 1)))
    def the_answer_gets_another_column(self, column: int) -> None:
        self.column, self.perfect = column, None

    @rule(cap=st.one_of(st.none(), st.integers(0, 15)))
    def the_cap_changes(self, cap: int | None) -> None:
        self.cap = cap

    @rule(more=st.integers(1, 20))
    def the_account_is_topped_up(self, more: int) -> None:
        self.credits += more

    def _write(self, rows: list[int]) -> None:
        self.world.table = [{"id": f"{n:05}", "text": f"thing {thing:04}."} for n, thing in enumerate(rows)]
        write_table(self.world.path / "rows.csv", self.world.table)
        self.perfect = None

    # -- runs

    @rule(rival=st.booleans(), chance=st.integers(0, 1 << 20))
    def run(self, rival: bool, chance: int) -> None:
        self._live(Fate(None, None), Faults(), rival, chance)

    @rule(death=st.sampled_from(sorted(DEATHS)), turn=st.integers(1, 60), chance=st.integers(0, 1 << 20))
    def run_and_be_killed(self, death: str, turn: int, chance: int) -> None:
        self._live(Fate((death, 1 + turn % DEATHS[death]), None), Faults(), False, chance)

    @rule(full=st.integers(1, 40), chance=st.integers(0, 1 << 20))
    def run_on_a_disk_that_fills_up(self, full: int, chance: int) -> None:
        self._live(Fate(None, full), Faults(), False, chance)

    @rule(rate=st.sampled_from((0.1, 0.4)), number=st.integers(0, 999), chance=st.integers(0, 1 << 20))
    def run_on_a_bad_day(self, rate: float, number: int, chance: int) -> None:
        self._live(Fate(None, None), Faults.mixed(rate, number), False, chance)

    @rule(at=st.sampled_from(ENDS), cause=st.sampled_from(CAUSES), chance=st.integers(0, 1 << 20))
    def run_and_be_interrupted_at_the_end(self, at: str, cause: type[BaseException], chance: int) -> None:
        with patch.object(conclusion, at, once(cause, getattr(conclusion, at))):
            self._live(Fate(None, None), Faults(), False, chance, interrupted=True)

    @precondition(lambda self: self.perfect is not None)
    @rule(chance=st.integers(0, 1 << 20))
    def run_what_is_finished(self, chance: int) -> None:
        before, perfect = len(self.books), self.perfect
        self._live(Fate(None, None), Faults(), False, chance)
        if len(self.books) != before:
            raise Broken("a finished job sent something")
        if self._bytes() != perfect:
            raise Broken("a finished job's results changed")

    @precondition(lambda self: self.perfect is not None)
    @rule(cap=st.integers(0, 9), chance=st.integers(0, 1 << 20))
    def ask_otherwise_for_few_credits(self, cap: int, chance: int) -> None:
        """The next run of a directory has the whole of its cap."""
        self.wording, self.cap, self.perfect = 1 - self.wording, cap, None
        self._live(Fate(None, None), Faults(), False, chance)

    def _job(self) -> dict[str, Any]:
        limits = {"failures": "100%"} | ({} if self.cap is None else {"credits": self.cap})
        more = {"answer": {"column": COLUMNS[self.column]}, "retry": {"timeout_s": 30}, "limits": limits}
        return self.world.job() | {"prompt": WORDINGS[self.wording], "model": self.model} | more

    def _asks(self) -> set[Question]:
        wording = WORDINGS[self.wording]
        return {(self.model, wording.replace("{{ text }}", row["text"])) for row in self.world.table}

    def _live(self, fate: Fate, faults: Faults, rival: bool, chance: int, interrupted: bool = False) -> None:
        """One process, and what the model says to it."""
        emulator = Emulator(answers=self._known, faults=faults, latency_s=0.01, credits=self.credits)
        emulator._bill.attempts, emulator._bill.credits = self.books, sum(each.credits for each in self.books)
        before, rng = len(self.books), random.Random(chance)
        if self.run_is_over:
            self.run_began_at = emulator.billed
        if self.surely_over:
            self.first, self.strays = before, 0
        most = None if self.cap is None else max(self.run_began_at + self.cap, emulator.billed)
        transport = Watched(emulator, fate, most, self._job() if rival else None)
        options = {"transport": transport, "seed": chance, "yes": True, "retry_failed": True}
        peace = faults == Faults() and fate.death is None and fate.full is None and not interrupted
        report, why = None, None  # type: Any, BaseException | None
        with virtual(self.world, fate, rng):
            try:
                report = run_virtually(self._job(), options, chance)
            except Broken:
                raise
            except BaseException as error:
                why = error
                if not fate.dead and not fate.stumbled and not isinstance(error, JourneybatchError):
                    raise Broken(f"{error!r} got out") from error
            finally:
                bury(self.world)
        if report is None and peace:
            raise Broken(f"nothing was in its way, and it did not run: {why!r}")
        sent, whole = transport.questions, fate.death is None and fate.full is None
        self._expect(sent, report, peace, most, emulator, before)
        self._learn(sent, before, whole)
        self.strays += 0 if whole else self.world.keys["concurrency"] * PRICES[self.model]
        self._close_books(report, whole)
        if report is not None and (self.world.output / "results.parquet").exists():
            self._judge(report, old=interrupted or (fate.full is not None and fate.calls > fate.full))
        finished = report is not None and report.exit_code == 0
        self.perfect = self._bytes() if finished else None

    def _expect(
        self, sent: list[Question], report: Any, peace: bool, most: int | None, emulator: Emulator, before: int
    ) -> None:
        """What may have been sent, by the model."""
        wanted = self._asks() - self.answered
        if strange := set(sent) - wanted:
            raise Broken(f"asked without need: {sorted(strange)[:3]}")
        if not peace:
            return
        twice = [question for question, n in Counter(sent).items() if n > 1]
        if twice:
            raise Broken(f"asked twice on a good day: {twice[:3]}")
        code = report.exit_code
        if code == 0:
            if missing := wanted - set(sent) - self.maybe:
                raise Broken(f"said to be done, and never asked: {sorted(missing)[:3]}")
            return
        stopped, price = report.summary["stopped_by"], PRICES[self.model]
        if stopped == "credits" and emulator.balance < price:
            return
        committed = self.strays + sum(PRICES[each.model] for each in self.books[self.first :])
        reached = self.cap is not None and self.cap - price < committed
        if stopped == "budget" and reached and most is not None and emulator.billed <= most:
            return
        raise Broken(f"nothing was in its way, and it ended with {code}, {stopped}: {report.message}")

    def _learn(self, sent: list[Question], before: int, whole: bool) -> None:
        """What has an answer now, by the bill."""
        for question, record in zip(sent, self.books[before:], strict=False):
            if _clean(record) and record.credits and whole:
                self.answered.add(question)
                self.maybe.discard(question)
            else:
                self.maybe.add(question)

    def _close_books(self, report: Any, whole: bool) -> None:
        """Whether the run goes on with the next process; after a kill nobody knows, and the bound is the looser one."""
        self.surely_over = report is not None and report.summary["finished_at"] is not None
        if report is not None:
            self.run_is_over = report.summary["finished_at"] is not None
        elif not whole:
            self.run_is_over = self.run_is_over or self._asks() <= self.answered | self.maybe

    def _judge(self, report: Any, old: bool) -> None:
        column = COLUMNS[self.column]
        if old or report.summary["stopped_by"] == "disk":
            return  # the views, or the summary, are from before
        judge(
            Evidence(
                table=self.world.table,
                output=self.world.output,
                bill=[record.as_json() for record in self.books],
                right=lambda row, model: {column: answer(row["text"], model)},
                unfinished=report.exit_code == 3,
                failing=True,
                departed=True,
            )
        )

    def _bytes(self) -> dict[str, bytes]:
        names = ("results.parquet", "requests.parquet", "journal")
        return {name: (self.world.output / name).read_bytes() for name in names}


def _clean(record: Any) -> bool:
    """Whether nothing went wrong with a request, by the bill."""
    return record.status == 200 and record.fault is None


def lives(examples: int, steps: int, number: int, shrink: bool) -> Iterator[str]:
    """Live so many lives; yields what is broken, with the steps that lead there: the fewest, if ``shrink``."""
    machine = seed(number)(Life)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, *[Phase.shrink] * shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=chosen)  # type: ignore[no-untyped-call]
    except Broken as broken:
        yield "\n".join([str(broken), *getattr(broken, "__notes__", [])])


def some(numbers: range, seed: int, steps: int, shrink: bool) -> int:
    """Live the lives of these numbers. Raises Broken with the shortest that ends badly."""
    # Also a short journal has a bookmark, wherever it lies.
    with in_process(), patch.object(bookmark, "WORTH", 1), patch.object(scratch, "SPARE_BYTES", 0):
        for broken in lives(len(numbers), steps, seed + numbers[0], shrink):
            raise Broken(f"seed {seed + numbers[0]}: {broken}")
    return len(numbers)


def prove(number: int, seed: int, steps: int = 20, shrink: bool = True) -> tuple[int, str]:
    """Live so many lives of up to ``steps`` steps. Returns their number and a sentence. Raises Broken."""
    lived = sum(spread(some, range(number), PIECE, seed, steps, shrink))
    told = "runs, kills, interrupted ends, full disks, edits, caps, rivals, an empty account"
    return lived, f"each of up to {steps} steps: {told}"
