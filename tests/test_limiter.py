"""The limiter alone, in virtual time: who is admitted, what a failure is made into, and that nothing is lost."""

import asyncio
import random
from collections import Counter

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from journeybatch.concurrency import InFlight
from journeybatch.errors import (
    ApiFailure,
    BudgetReached,
    Outage,
    OutOfCredits,
    RunStopped,
    TooManyFailures,
    Unauthorized,
    WorkerLost,
    WrongEndpoint,
)
from journeybatch.limiter import Limiter, limited
from journeybatch.records import Completion, Price, Request
from journeybatch.turns import Drained

DONE = Completion(200, {}, b"{}", 0.05)


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


def request(number=0, attempt=1):
    return Request(number, "m", (), b"", Price(1, 1), attempt)


def failure(kind="server_error", charge="unknown", then="retry", status=500, **more):
    return ApiFailure(kind, f"HTTP {status}", charge=charge, then=then, status=status, **more)


def throttled(retry_after_s=None):
    return failure("rate_limited", "free", "pause", 429, retry_after_s=retry_after_s)


def rejected(status=400):
    return failure("rejected", "free", "reject", status)


def refused():
    return failure("unreachable", "free", "retry", None)


class Upstream:
    """Answers after ``takes`` seconds; ``ends`` maps a request's id to what it fails with."""

    def __init__(self, takes=1.0, ends=None):
        self.takes, self.ends, self.starts = takes, ends or {}, []

    async def __call__(self, request):
        self.starts.append((anyio.current_time(), request.id))
        await anyio.sleep(self.takes)
        end = self.ends.get(request.id)
        if end is not None:
            raise end
        return DONE

    @property
    def order(self):
        return [number for _, number in self.starts]


def limiter_of(concurrency=4, **more):
    return Limiter(InFlight(concurrency), rng=random.Random(0), **more)


async def landed(concurrency=4, **more):
    """A limiter whose canary has come back."""
    limiter = limiter_of(concurrency, **more)
    await limited(Upstream(0.0), limiter)(request(-1))
    return limiter


async def outcome(send, asked):
    try:
        return await send(asked)
    except (ApiFailure, RunStopped, Drained) as error:
        return error


async def together(send, asked):
    """What becomes of requests that come at once, in their order."""
    results = {}

    async def one(number, asked):
        results[number] = await outcome(send, asked)

    async with anyio.create_task_group() as group:
        for number, this in enumerate(asked):
            group.start_soon(one, number, this)
            await anyio.sleep(0.001)  # so that the order of arrival is one
    return [results[number] for number in range(len(results))]


# -- admission


async def test_no_more_than_the_concurrency_are_in_flight_and_nobody_is_forgotten():
    limiter, most = limiter_of(3), 0

    async def send(request):
        nonlocal most
        most = max(most, limiter.in_flight)
        await anyio.sleep(1)
        return DONE

    assert await together(limited(send, limiter), [request(n) for n in range(20)]) == [DONE] * 20
    assert most == 3
    assert limiter.in_flight == 0


async def test_with_room_a_request_is_admitted_without_a_turn_of_the_loop():
    limiter = await landed()

    async def send(request):
        return DONE

    with pytest.raises(StopIteration) as ended:
        limited(send, limiter)(request()).send(None)  # one step of the coroutine does it all
    assert ended.value.value is DONE


async def test_the_most_tried_go_first_and_then_those_who_came_first():
    limiter, upstream = await landed(1), Upstream()
    await together(
        limited(upstream, limiter),
        [request(0), request(1), request(2, 2), request(3), request(4, 3), request(5, 2)],
    )
    assert upstream.order == [0, 4, 2, 5, 1, 3]


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_starts_are_spaced_as_requests_per_minute_ask(concurrency):
    limiter, upstream = limiter_of(concurrency, requests_per_minute=60), Upstream(0.1)
    await together(limited(upstream, limiter), [request(n) for n in range(10)])
    gaps = [b - a for (a, _), (b, _) in zip(upstream.starts, upstream.starts[1:], strict=False)]
    assert all(0.95 < gap < 1.06 for gap in gaps)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    concurrency=st.integers(1, 6),
    per_minute=st.none() | st.integers(1, 30),
    faults=st.sampled_from([0, 0.2, 0.6]),
)
def test_the_window_the_pace_and_the_pauses_hold_for_any_arrivals(seed, concurrency, per_minute, faults):
    rng = random.Random(seed)
    limiter = Limiter(InFlight(concurrency), requests_per_minute=per_minute, rng=rng)
    starts, until = [], 0.0

    async def send(asked):
        nonlocal until
        now = anyio.current_time()
        starts.append(now)
        assert now >= until, "started in a pause"
        assert 1 <= limiter.window <= concurrency
        assert limiter.in_flight <= concurrency
        await anyio.sleep(rng.expovariate(1))
        if asked.id and rng.random() < faults:
            if rng.random() < 0.5:
                raise rejected(400 + len(starts))
            wish = rng.choice([None, 3.0])
            until = max(until, anyio.current_time() + (wish or 0))
            raise throttled(wish)
        return DONE

    async def arrive(number):
        await anyio.sleep(rng.uniform(0, 20))
        await outcome(limited(send, limiter), request(number, rng.randint(1, 3)))

    async def main():
        with anyio.fail_after(100_000):  # a lost wake-up would let virtual time run up to here
            async with anyio.create_task_group() as group:
                for number in range(40):
                    group.start_soon(arrive, number)
        assert limiter.in_flight == 0

    trio._core._run._r.seed(seed)
    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    if per_minute:
        assert all(b - a > 60 for a, b in zip(starts, starts[per_minute:], strict=False))


# -- the canary


async def test_the_first_goes_alone_until_it_is_back():
    limiter, upstream = limiter_of(8), Upstream(5.0)
    await together(limited(upstream, limiter), [request(n) for n in range(8)])
    assert [time for time, _ in upstream.starts] == [0.0] + [pytest.approx(5.0)] * 7


@pytest.mark.parametrize("end", [rejected(), failure(), failure(status=None), throttled()])
async def test_any_end_of_the_canary_lets_the_others_follow(end):
    limiter, upstream = limiter_of(), Upstream(1.0, {0: end})
    results = await together(limited(upstream, limiter), [request(n) for n in range(4)])
    assert results[1:] == [DONE] * 3
    assert results[0] is end


@pytest.mark.parametrize(
    ("status", "reason", "stop"),
    [
        (401, "auth", Unauthorized),
        (403, "auth", Unauthorized),
        (402, "credits", OutOfCredits),
        (404, "endpoint", WrongEndpoint),
    ],
)
async def test_what_the_whole_run_does_wrong_costs_one_request(status, reason, stop):
    limiter = limiter_of(64)
    upstream = Upstream(1.0, {0: failure(reason, "free", "stop", status, stopped_by=reason)})
    results = await together(limited(upstream, limiter), [request(n) for n in range(64)])
    assert {type(result) for result in results} == {stop}
    assert len(upstream.starts) == 1


async def test_nothing_sent_at_the_canary_is_an_outage_that_says_so():
    limiter = limiter_of()
    with pytest.raises(Outage, match="nothing was sent"):
        await limited(Upstream(0.0, {0: refused()}), limiter)(request(0))


async def test_a_cancelled_canary_is_followed_by_another_alone():
    limiter, upstream = limiter_of(), Upstream(10.0)
    send = limited(upstream, limiter)

    async def impatient():
        with anyio.move_on_after(3):
            await send(request(0))

    async with anyio.create_task_group() as group:
        group.start_soon(impatient)
        await anyio.sleep(1)
        for number in (1, 2, 3):
            group.start_soon(send, request(number))
    assert [round(time) for time, _ in upstream.starts] == [0, 3, 13, 13]


# -- what a failure is made into


async def test_a_403_fails_the_row_once_others_have_succeeded():
    limiter = await landed()
    end = failure("auth", "free", "stop", 403, stopped_by="auth")
    with pytest.raises(ApiFailure) as caught:
        await limited(Upstream(0.0, {1: end}), limiter)(request(1))
    assert caught.value is end
    assert end.then == "reject"


async def test_a_401_stops_the_run_even_then():
    limiter = await landed()
    end = failure("auth", "free", "stop", 401, stopped_by="auth")
    with pytest.raises(Unauthorized, match="HTTP 401"):
        await limited(Upstream(0.0, {1: end}), limiter)(request(1))


async def test_twenty_rows_rejected_alike_stop_the_run_and_a_success_between_does_not():
    limiter = await landed(1)
    send = limited(Upstream(0.0, {n: rejected() for n in range(100) if n != 19}), limiter)
    results = await together(send, [request(n) for n in range(41)])
    assert [type(result) for result in results[18:21]] == [ApiFailure, Completion, ApiFailure]
    assert isinstance(results[39], TooManyFailures)
    assert "HTTP 400" in str(results[39])


async def test_a_stop_from_further_in_passes_untouched_and_lets_nobody_else_in():
    limiter, stop = await landed(1), BudgetReached("the cap is reached")
    upstream = Upstream(1.0, {0: stop})
    results = await together(limited(upstream, limiter), [request(n) for n in range(5)])
    assert results[0] is stop
    assert {type(result) for result in results} == {BudgetReached}
    assert upstream.order == [0]
    assert isinstance(await outcome(limited(upstream, limiter), request(9)), BudgetReached)
    assert limiter.in_flight == 0


async def test_an_error_of_our_own_gives_its_place_back():
    limiter = await landed(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await limited(Upstream(0.0, {0: ZeroDivisionError()}), limiter)(request(0))
    assert limiter.in_flight == 0


@pytest.mark.parametrize(("end", "counts"), [(failure(), True), (throttled(), True), (refused(), False)])
async def test_a_lonely_failure_counts_unless_nothing_was_sent(end, counts):
    limiter = await landed()
    await outcome(limited(Upstream(0.0, {1: end}), limiter), request(1))
    assert end.counted is counts


async def test_failures_of_many_different_requests_in_a_row_do_not_count():
    limiter, ends = await landed(8), {n: failure() for n in range(40)}
    send = limited(Upstream(0.0, ends), limiter)
    for number in range(19):
        await outcome(send, request(number))
    assert [ends[n].counted for n in range(19)] == [True] * 7 + [False] * 12


# -- pauses


async def test_after_a_429_nobody_starts_before_the_servers_time():
    limiter, upstream = await landed(4), Upstream(0.5, {0: throttled(20.0)})
    await together(limited(upstream, limiter), [request(n) for n in range(12)])
    times = [time for time, _ in upstream.starts]
    assert not [time for time in times if 0.51 < time < 20.5]
    assert sum(time >= 20.5 for time in times) == 8


async def test_what_is_in_flight_goes_on_during_a_pause():
    limiter, done = await landed(2), []

    async def send(asked):
        if asked.id == 0:
            raise throttled(100.0)
        await anyio.sleep(3)
        done.append(anyio.current_time())
        return DONE

    await together(limited(send, limiter), [request(1), request(0)])
    assert done == [pytest.approx(3)]


async def test_a_shorter_wish_does_not_shorten_a_pause_and_a_longer_one_extends_it():
    limiter = await landed(8)
    upstream = Upstream(0.5, {0: throttled(30.0), 1: throttled(2.0), 2: throttled(60.0)})
    await together(limited(upstream, limiter), [request(n) for n in range(9)])
    assert 60 <= upstream.starts[8][0] < 61.5
    assert limiter.paused_until is None


async def test_an_absurd_wish_is_cut_to_a_quarter_of_an_hour():
    limiter = await landed(1)
    upstream = Upstream(0.0, {0: throttled(1e12)})
    await together(limited(upstream, limiter), [request(0), request(1)])
    assert upstream.starts[1][0] == pytest.approx(900, abs=1)


async def test_throttling_shrinks_the_window_once_per_pause():
    limiter = await landed(100)
    await together(
        limited(Upstream(1.0, {n: throttled() for n in range(50)}), limiter), [request(n) for n in range(50)]
    )
    assert limiter.window == 70


async def test_it_still_makes_way_and_grows_under_throttling_without_end():
    limiter, answered = await landed(16), 0

    async def send(asked):
        nonlocal answered
        await anyio.sleep(0.05)
        if asked.id % 3:
            raise throttled()
        answered += 1
        return DONE

    await together(limited(send, limiter), [request(n) for n in range(300)])
    assert answered == 100
    await together(limited(Upstream(0.05), limiter), [request(n) for n in range(1000)])
    assert limiter.window == 16


# -- the breaker


async def broken_down(limiter):
    ends = {n: failure() for n in range(20)}
    for number in range(20):
        await outcome(limited(Upstream(0.0, ends), limiter), request(number))
    assert limiter.open


async def test_while_it_is_open_one_request_a_minute_goes_and_the_others_sleep():
    limiter = await landed(64)
    await broken_down(limiter)
    opened, upstream = anyio.current_time(), Upstream(0.05, {n: failure() for n in range(100, 140)})
    with anyio.move_on_after(10 * 60 + 30):
        await together(limited(upstream, limiter), [request(n) for n in range(100, 140)])
    minutes = [round((time - opened) / 60) for time, _ in upstream.starts]
    assert minutes == list(range(1, 11))
    assert all(not end.counted for number, end in upstream.ends.items() if number in upstream.order)


async def test_a_probe_that_hangs_does_not_keep_the_next_from_trying():
    limiter = await landed(64)
    await broken_down(limiter)
    upstream = Upstream(600.0)
    with anyio.move_on_after(200):
        await together(limited(upstream, limiter), [request(n) for n in range(10)])
    assert len(upstream.starts) == 3


async def test_a_probe_that_succeeds_lets_the_others_in_on_a_ramp():
    limiter = await landed(64)
    await broken_down(limiter)
    upstream = Upstream(1.0)
    await together(limited(upstream, limiter), [request(n) for n in range(64)])
    per_second = Counter(round(time - upstream.starts[0][0]) for time, _ in upstream.starts)
    assert [per_second[second] for second in range(6)] == [1, 4, 8, 16, 32, 3]
    assert not limiter.open


async def test_a_rejected_probe_shows_too_that_the_endpoint_is_back():
    limiter = await landed(8)
    await broken_down(limiter)
    await outcome(limited(Upstream(0.0, {1: rejected()}), limiter), request(1))
    assert not limiter.open


async def test_failures_from_before_a_recovery_say_nothing_about_now():
    limiter, late = await landed(64), failure()

    async def send(asked):
        await anyio.sleep(100.0 if asked.id == 99 else 0.0)
        raise late if asked.id == 99 else failure()

    async with anyio.create_task_group() as group:
        group.start_soon(outcome, limited(send, limiter), request(99))
        await anyio.sleep(1)
        await broken_down(limiter)
        assert await outcome(limited(Upstream(0.0), limiter), request(1)) is DONE
    assert not late.counted
    assert not limiter.open


async def test_nothing_that_ever_succeeded_when_it_opens_is_an_outage():
    limiter = limiter_of(4)
    send = limited(Upstream(0.0, {n: failure() for n in range(20)}), limiter)
    results = [await outcome(send, request(n)) for n in range(20)]
    assert [type(result) for result in results] == [ApiFailure] * 19 + [Outage]


# -- winding up


async def test_drain_turns_the_waiting_away_and_lets_the_others_finish():
    limiter, upstream = await landed(2), Upstream(5.0)

    async def later():
        await anyio.sleep(1)
        limiter.drain()

    async with anyio.create_task_group() as group:
        group.start_soon(later)
        results = await together(limited(upstream, limiter), [request(n) for n in range(6)])
    assert [type(result) for result in results] == [Completion] * 2 + [Drained] * 4
    assert isinstance(await outcome(limited(upstream, limiter), request(9)), Drained)
    assert upstream.order == [0, 1]


async def test_drain_wakes_those_who_wait_for_the_clock_within_a_tick():
    limiter = await landed(2)
    await outcome(limited(Upstream(0.0, {0: throttled(800.0)}), limiter), request(0))
    async with anyio.create_task_group() as group:
        for number in range(1, 5):
            group.start_soon(outcome, limited(Upstream(), limiter), request(number))
        await anyio.sleep(1)
        limiter.drain()
        with anyio.fail_after(0.1):
            await anyio.wait_all_tasks_blocked()
    assert anyio.current_time() == pytest.approx(1, abs=0.1)


# -- no busy waiting


@pytest.mark.parametrize("per_minute", [None, 1])
async def test_waiting_takes_no_work(per_minute):
    limiter = await landed(2, requests_per_minute=per_minute)
    await outcome(limited(Upstream(0.0, {0: throttled(600.0)}), limiter), request(0))
    asked, due = 0, limiter.due

    def counting(now):
        nonlocal asked
        asked += 1
        return due(now)

    limiter.due = counting
    with anyio.move_on_after(500):
        await together(limited(Upstream(), limiter), [request(n) for n in range(1, 51)])
    assert asked < 50 * 12  # coming, going, and nothing in the 500 s between


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it_works_on_asyncio_in_real_time_too():
    limiter = limiter_of(4, requests_per_minute=6000)
    upstream = Upstream(0.005, {3: throttled()})
    results = await together(limited(upstream, limiter), [request(n) for n in range(30)])
    assert results.count(DONE) == 29
    assert limiter.in_flight == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_who_is_cancelled_in_the_tick_of_its_admission_gives_the_place_to_the_next(anyio_backend):
    limiter, upstream = await landed(1), Upstream(0.01)
    stamp, scopes = limiter.enter(), {}

    async def waiting(number):
        with anyio.CancelScope() as scopes[number]:
            await limited(upstream, limiter)(request(number))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for number in (1, 2):
                group.start_soon(waiting, number)
                await anyio.wait_all_tasks_blocked()
            limiter.succeeded(stamp, request())
            scopes[1].cancel()
    assert 2 in upstream.order
    assert limiter.in_flight == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_so_does_who_is_cancelled_by_asyncio_itself():
    limiter, upstream = await landed(1), Upstream(0.01)
    stamp = limiter.enter()
    tasks = [asyncio.create_task(limited(upstream, limiter)(request(number))) for number in (1, 2)]
    await anyio.wait_all_tasks_blocked()
    limiter.succeeded(stamp, request())
    tasks[0].cancel()
    done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert isinstance(done[0], asyncio.CancelledError)
    assert done[1] is DONE
    assert upstream.order == [2]
    assert limiter.in_flight == 0


async def test_a_lost_worker_is_no_news_of_the_endpoint():
    limiter = Limiter(InFlight(64), rng=random.Random(1))
    upstream = Upstream(ends={number: WorkerLost("its worker is gone") for number in range(1, 61)})
    send = limited(upstream, limiter)
    ends = []

    async def one(number):
        try:
            ends.append(await send(request(number)))
        except WorkerLost as lost:
            ends.append(lost)

    await one(0)
    async with anyio.create_task_group() as group:
        for number in range(1, 61):
            group.start_soon(one, number)
    assert [lost.counted for lost in ends[1:]] == [True] * 60, "each has used up one of its own attempts"
    assert (limiter.open, limiter.window, limiter.in_flight) == (False, 64, 0)
    began = anyio.current_time()
    assert await send(request(99)) == DONE
    assert anyio.current_time() - began == 1.0, "nobody waits"


async def test_a_canary_that_is_lost_with_its_worker_makes_room_for_another():
    upstream = Upstream(ends={0: WorkerLost("its worker is gone")})
    send = limited(upstream, Limiter(InFlight(8), rng=random.Random(1)))
    with pytest.raises(WorkerLost):
        await send(request(0))
    assert await send(request(1)) == DONE
