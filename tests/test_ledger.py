"""The ledger: the cap holds, whatever happens and in whatever order."""

import contextlib
import os
import random
import tempfile
from collections import Counter
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from trio.testing import MockClock

from journeybatch.daybook import DAY_S, open_daybook, taken_today
from journeybatch.errors import BudgetReached
from journeybatch.ledger import Ledger, charged
from journeybatch.records import Price

CHARGES = ["settled", "free", "unknown"]
ONE = Price(1, 1)
prices = st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda ends: Price(min(ends), max(ends)))


@pytest.fixture
def anyio_backend():
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def reserve_now(ledger, price):
    """Reserve without waiting: it must not come to that."""
    try:
        ledger.reserve(price).send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the ledger waits")


def virtually(work):
    anyio.run(work, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


class Books(RuleBasedStateMachine):
    """Reservations and their ends in any order, and a crash now and then, against a dict of integers."""

    def __init__(self):
        super().__init__()
        self.cap = 25
        self.ledger = Ledger(self.cap)
        self.allowed = self.cap  # a cap that was lowered takes nothing back
        self.certain = self.doubtful = self.number = 0
        self.bill = 0  # the worst a server could have charged
        self.open = {}

    @rule(price=prices)
    def reserve(self, price):
        committed = self.certain + self.doubtful + sum(open_.most for open_ in self.open.values())
        assert self.ledger.fits(price) == (committed + price.most <= self.cap)
        if self.ledger.fits(price):
            reserve_now(self.ledger, price)
            self.number += 1
            self.open[self.number] = price
        elif not any(open_.most for open_ in self.open.values()):
            with pytest.raises(BudgetReached):
                reserve_now(self.ledger, price)

    @precondition(lambda self: self.open)
    @rule(charge=st.sampled_from(CHARGES), pick=st.integers(0, 100))
    def settle(self, charge, pick):
        price = self.open.pop(sorted(self.open)[pick % len(self.open)])
        certain, most = self.ledger.settle(price, charge)
        expected = {"settled": (price.least, price.most), "free": (0, 0), "unknown": (0, price.most)}[charge]
        assert (certain, most) == expected
        self.certain += certain
        self.doubtful += most - certain
        self.bill += most

    @rule(cap=st.integers(0, 60))
    def crash(self, cap):
        """What was in flight stays in doubt, and the next process begins where this one ended, with another cap."""
        lost = sum(price.most for price in self.open.values())
        self.doubtful += lost
        self.bill += lost
        self.open.clear()
        self.cap, self.allowed = cap, max(cap, self.bill)
        self.ledger = Ledger(self.cap, spent=self.certain, unknown=self.doubtful)

    @invariant()
    def the_sums_are_those_of_the_model(self):
        assert self.ledger.spent == self.certain
        assert self.ledger.unknown == self.doubtful
        assert self.ledger.reserved == sum(price.most for price in self.open.values())

    @invariant()
    def the_cap_holds(self):
        assert self.ledger.spent + self.ledger.unknown + self.ledger.reserved <= self.allowed
        assert self.bill <= self.allowed


Books.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestBooks = Books.TestCase


class Nights(RuleBasedStateMachine):
    """A run through many processes, each with caps of its own for the run and for the day, killed or ended, over many
    days: what is admitted stays within both caps in force, at the worst that a server could charge."""

    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "day"
        self.now = float(20_000 * DAY_S)
        self.bill, self.days, self.open = 0, Counter(), []
        self.ledger = None
        self.start(25, 60)

    def teardown(self):
        self.ledger.day.close()
        self.directory.cleanup()

    def start(self, cap, day_cap):
        spent, unknown = (self.ledger.spent, self.ledger.unknown) if self.ledger else (0, 0)
        day = open_daybook(self.path, day_cap, lambda: self.now)
        self.ledger = Ledger(cap, spent=spent, unknown=unknown + sum(price.most for price, _ in self.open), day=day)
        self.open.clear()

    @rule(price=prices)
    def reserve(self, price):
        ledger, most = self.ledger, price.most
        has_room = ledger.fits(price) and taken_today(self.path, self.now) + most <= ledger.day.cap
        admitted = None
        with contextlib.suppress(BudgetReached, RuntimeError):  # without a loop nobody can wait
            admitted = reserve_now(ledger, price)
        assert admitted is not None or not has_room
        if admitted is not None:
            assert self.bill + most <= ledger.cap
            assert not most or self.days[admitted] + most <= ledger.day.cap
            assert admitted == self.now // DAY_S
            self.bill += most
            self.days[admitted] += most
            self.open.append((price, admitted))

    @precondition(lambda self: self.open)
    @rule(charge=st.sampled_from(CHARGES), pick=st.integers(0, 100))
    def settle(self, charge, pick):
        price, day = self.open.pop(pick % len(self.open))
        certain, most = self.ledger.settle(price, charge, day)
        assert certain <= most
        self.bill -= price.most - most
        self.days[day] -= price.most - most

    @rule(kill=st.booleans(), cap=st.integers(0, 60), day_cap=st.integers(0, 150))
    def end_and_resume(self, kill, cap, day_cap):
        if kill:  # what was in flight stays in doubt, and nothing is given back
            os.close(self.ledger.day.fd)
        else:
            for price, day in self.open:
                self.ledger.settle(price, "unknown", day)
            self.open.clear()
            self.ledger.day.close()
        self.start(cap, day_cap)

    @rule(seconds=st.sampled_from([DAY_S / 3, float(DAY_S)]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def the_books_cover_the_bill(self):
        assert self.bill == self.ledger.spent + self.ledger.unknown + self.ledger.reserved
        assert self.days[int(self.now // DAY_S)] <= taken_today(self.path, self.now)


Nights.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestNights = Nights.TestCase


@pytest.mark.anyio
async def test_at_midnight_utc_the_day_begins_anew_and_yesterdays_rest_is_no_room(tmp_path):
    began = anyio.current_time()
    day = open_daybook(tmp_path / "day", 4, lambda: 20_000 * DAY_S - 10 + anyio.current_time() - began)
    ledger = Ledger(None, day=day)
    early = [await ledger.reserve(Price(1, 2)) for _ in range(2)]
    waited = []

    async def wait():
        waited.append(await ledger.reserve(ONE))
        waited.append(anyio.current_time() - began)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(11)
        assert waited == [], "nothing has ended yet"
        ledger.settle(Price(1, 2), "free", early[0])
    assert waited == [20_000, 11]
    ledger.settle(Price(1, 2), "free", early[1])
    for _ in range(3):
        await ledger.reserve(ONE)
    with anyio.move_on_after(1) as scope:
        await ledger.reserve(ONE)
    assert scope.cancelled_caught, "the free end was yesterday's"
    day.close()


def test_reaching_the_cap_of_the_day_says_where_it_is_counted_and_how_to_go_on(tmp_path):
    ledger = Ledger(10, day=open_daybook(tmp_path / "day", 3))
    for _ in range(3):
        ledger.settle(ONE, "settled", reserve_now(ledger, ONE))
    with pytest.raises(BudgetReached) as reached:
        reserve_now(ledger, ONE)
    for fact in (
        "the cap of 3 credits for ",
        "limits.credits_per_day",
        str(tmp_path / "day"),
        "may cost 1",
        "that day",
    ):
        assert fact in str(reached.value)
    ledger.day.close()


def test_where_a_clock_was_ahead_once_the_day_that_is_closed_is_named(tmp_path):
    ahead = open_daybook(tmp_path / "day", 3, now=lambda: 20_400.0 * DAY_S)
    ahead.reserve(3)
    ahead.close()
    ledger = Ledger(None, day=open_daybook(tmp_path / "day", 3, now=lambda: 20_000.0 * DAY_S))
    with pytest.raises(BudgetReached, match=r"for 2025-11-08 \(UTC\) .* run again after that day"):
        reserve_now(ledger, ONE)
    ledger.day.close()


def test_where_both_caps_are_reached_the_one_that_stands_in_the_way_is_named(tmp_path):
    day = open_daybook(tmp_path / "day", 3)
    ledger = Ledger(2, day=day)
    for _ in range(2):
        ledger.settle(ONE, "settled", reserve_now(ledger, ONE))
    with pytest.raises(BudgetReached, match="the cap of 2 credits is reached: 2 spent"):
        reserve_now(ledger, ONE)
    day.close()


@pytest.mark.parametrize(("charge", "taken"), [("free", 0), ("settled", 2), ("unknown", 2)])
def test_what_ends_free_is_room_for_others_of_the_day(tmp_path, charge, taken):
    ledger = Ledger(None, day=open_daybook(tmp_path / "day", 3, lambda: 1e9))
    ledger.settle(Price(1, 2), charge, reserve_now(ledger, Price(1, 2)))
    ledger.day.close()
    assert taken_today(tmp_path / "day", 1e9) == taken


@pytest.mark.parametrize(
    ("charge", "exact", "interval"),
    [("settled", (2, 2), (1, 5)), ("free", (0, 0), (0, 0)), ("unknown", (0, 2), (0, 5))],
)
def test_an_end_costs_an_interval(charge, exact, interval):
    assert charged(Price(2, 2), charge) == exact
    assert charged(Price(1, 5), charge) == interval


def test_a_price_known_only_as_an_interval_keeps_its_upper_end_committed():
    ledger = Ledger(9)
    reserve_now(ledger, Price(1, 5))
    assert ledger.settle(Price(1, 5), "settled") == (1, 5)
    assert (ledger.spent, ledger.unknown, ledger.reserved) == (1, 4, 0)
    assert not ledger.fits(Price(1, 5))
    assert ledger.fits(Price(1, 4))


def test_without_a_cap_everything_fits():
    ledger = Ledger(None, spent=10**9)
    assert ledger.fits(Price(1, 10**12))
    reserve_now(ledger, Price(1, 10**12))
    assert ledger.reserved == 10**12


def test_a_cap_of_nothing_lets_only_what_is_free_pass():
    ledger = Ledger(0)
    reserve_now(ledger, Price(0, 0))
    with pytest.raises(BudgetReached):
        reserve_now(ledger, ONE)


def test_reaching_the_cap_says_what_was_spent_and_how_to_go_on():
    ledger = Ledger(10, spent=6, unknown=3)
    with pytest.raises(BudgetReached) as reached:
        reserve_now(ledger, Price(1, 2))
    for fact in ("cap of 10", "6 spent", "3 more in doubt", "may cost 2", "limits.credits", "--max-credits"):
        assert fact in str(reached.value)
    assert (reached.value.exit_code, reached.value.reason) == (3, "budget")
    assert ledger.reserved == 0
    reserve_now(ledger, ONE)  # a cheaper one still fits


# -- waiting --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_free_end_wakes_who_waits_at_once():
    ledger = Ledger(5)
    times = []

    async def attempt(price, seconds, charge):
        await ledger.reserve(price)
        times.append(anyio.current_time())
        await anyio.sleep(seconds)
        ledger.settle(price, charge)

    now = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(attempt, Price(5, 5), 3.0, "free")
        await anyio.sleep(1)
        group.start_soon(attempt, Price(1, 5), 1.0, "free")
        await anyio.sleep(2.5)
        group.start_soon(attempt, Price(5, 5), 1.0, "settled")
    assert [at - now for at in times] == [0, 3, 4]
    assert (ledger.spent, ledger.unknown, ledger.reserved) == (5, 0, 0)


@pytest.mark.anyio
@pytest.mark.parametrize("charge", ["settled", "unknown"])
async def test_who_waits_hears_that_the_cap_is_reached_once_nothing_in_flight_can_help(charge):
    ledger = Ledger(5)
    await ledger.reserve(Price(5, 5))
    ends = []

    async def late():
        with pytest.raises(BudgetReached):
            await ledger.reserve(ONE)
        ends.append(anyio.current_time())

    now = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(late)
        await anyio.sleep(7)
        assert ends == []  # the attempt in flight may still end free
        ledger.settle(Price(5, 5), charge)
    assert [at - now for at in ends] == [7] * 10


@pytest.mark.anyio
async def test_one_free_end_lets_as_many_pass_as_now_fit():
    ledger = Ledger(4)
    await ledger.reserve(Price(1, 4))
    passed = []

    async def wait(n):
        await ledger.reserve(Price(1, 2))
        passed.append(n)

    async with anyio.create_task_group() as group:
        for n in range(5):
            group.start_soon(wait, n)
        await anyio.sleep(1)
        ledger.settle(Price(1, 4), "free")
        await anyio.sleep(1)
        assert len(passed) == 2
        assert ledger.reserved == 4
        group.cancel_scope.cancel()
    assert ledger.reserved == 4


@pytest.mark.anyio
async def test_a_reservation_that_is_cancelled_while_it_waits_leaves_no_trace():
    ledger = Ledger(2)
    await ledger.reserve(Price(2, 2))
    with anyio.move_on_after(1) as scope:
        await ledger.reserve(Price(1, 1))
    assert scope.cancelled_caught
    assert (ledger.spent, ledger.unknown, ledger.reserved) == (0, 0, 2)
    ledger.settle(Price(2, 2), "free")
    with anyio.fail_after(1):
        await ledger.reserve(Price(2, 2))


@pytest.mark.anyio
async def test_who_waits_for_room_when_the_ledger_is_closed_gets_none_though_there_be_some():
    ledger, ends = Ledger(2), []
    await ledger.reserve(Price(2, 2))

    async def wait():
        try:
            await ledger.reserve(ONE)
        except LookupError as end:
            ends.append(end)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait)
        await anyio.sleep(1)
        ledger.close(LookupError)
        await anyio.sleep(1)
        assert len(ends) == 3  # at once, and not when what is in flight ends
        ledger.settle(Price(2, 2), "free")
    assert (ledger.spent, ledger.unknown, ledger.reserved) == (0, 0, 0)


@pytest.mark.anyio
async def test_a_cancellation_that_meets_the_wake_up_leaves_no_trace():
    ledger = Ledger(1)
    await ledger.reserve(ONE)
    admitted = []

    async def wait(n):
        await ledger.reserve(ONE)
        admitted.append(n)

    async with anyio.create_task_group() as outer:
        async with anyio.create_task_group() as inner:
            for n in range(3):
                inner.start_soon(wait, n)
            await anyio.sleep(1)
            ledger.settle(ONE, "free")
            inner.cancel_scope.cancel()
        outer.start_soon(wait, 9)
        await anyio.sleep(1)
        assert ledger.reserved == len(admitted) == 1
        outer.cancel_scope.cancel()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40), st.integers(1, 12), st.integers(1, 60), st.integers(0, 2**32), st.booleans())
def test_concurrent_attempts_never_pass_the_cap_nor_sleep_for_ever(cap, lanes, rows, seed, cancels):
    rng = random.Random(seed)
    ledger = Ledger(cap)
    bill = 0
    refused = []
    requests = iter(range(rows))

    def check():
        assert ledger.spent + ledger.unknown + ledger.reserved <= cap
        assert min(ledger.spent, ledger.unknown, ledger.reserved) >= 0

    async def attempt():
        nonlocal bill
        least = rng.randint(0, 3)
        price = Price(least, least + rng.randint(0, 3))
        await ledger.reserve(price)
        check()
        charge = "unknown"
        try:
            await anyio.sleep(rng.random())
            charge = rng.choice(CHARGES)
        finally:
            ledger.settle(price, charge)
            bill += {"settled": price.most, "free": 0, "unknown": rng.randint(0, price.most)}[charge]
            check()

    async def lane():
        for _ in requests:
            with anyio.move_on_after(rng.random() if cancels else 1e9):
                try:
                    await attempt()
                except BudgetReached:
                    refused.append(ledger.reserved)

    async def run():
        with anyio.fail_after(1e6):  # virtual seconds: a lost wake-up would end here
            async with anyio.create_task_group() as group:
                for _ in range(lanes):
                    group.start_soon(lane)

    virtually(run)
    assert ledger.reserved == 0
    assert all(reserved == 0 for reserved in refused)
    assert bill <= cap


@pytest.mark.anyio
async def test_a_new_cap_lets_in_who_waits_and_one_below_what_is_spent_lets_nobody_in():
    ledger, admitted = Ledger(1), []
    await ledger.reserve(ONE)

    async def wait():
        await ledger.reserve(ONE)
        admitted.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        began = anyio.current_time()
        tasks.start_soon(wait)
        await anyio.sleep(5)
        ledger.recap(2)
    assert admitted == [began + 5]
    ledger.settle(ONE, "settled")
    ledger.settle(ONE, "settled")
    ledger.recap(1)
    with pytest.raises(BudgetReached, match="the cap of 1 credits is reached: 2 spent"):
        await ledger.reserve(ONE)
    ledger.recap(None)
    await ledger.reserve(ONE)
