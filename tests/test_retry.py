"""Which failures deserve another attempt, and when: in virtual time, with tenacity as it is."""

import itertools
import random

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from journeybatch import retry
from journeybatch.errors import ApiFailure, BudgetReached
from journeybatch.records import Completion, Price, Request
from journeybatch.retry import retrying

DONE = Completion(200, {}, b"{}", 0.05)
REQUEST = Request(1, "m", (), b"{}", Price(1, 1))


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


pytestmark = pytest.mark.anyio


def failure(charge="free", then="retry", **more):
    return ApiFailure("kind", "message", charge=charge, then=then, **more)


def uncounted():
    failed = failure()
    failed.counted = False
    return failed


class Script:
    """An upstream that raises or returns what is listed, and remembers what it was sent and when."""

    def __init__(self, *ends):
        self.ends, self.sent = list(ends), []

    async def __call__(self, request):
        self.sent.append((anyio.current_time(), request))
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end

    @property
    def attempts(self):
        return [request.attempt for _, request in self.sent]

    @property
    def gaps(self):
        times = [time for time, _ in self.sent]
        return [after - before for before, after in itertools.pairwise(times)]


def patient(script, attempts=3, on_unknown="retry", seed=0):
    return retrying(script, attempts=attempts, on_unknown=on_unknown, rng=random.Random(seed))


async def test_a_success_never_meets_tenacity(monkeypatch):
    monkeypatch.setattr(retry, "AsyncRetrying", None)
    assert await patient(Script(DONE))(REQUEST) is DONE


async def test_each_attempt_carries_its_number_and_is_otherwise_the_same_request():
    script = Script(failure(), failure("unknown"), DONE)
    assert await patient(script)(REQUEST) is DONE
    assert script.attempts == [1, 2, 3]
    assert {(r.id, r.model, r.body) for _, r in script.sent} == {(1, "m", b"{}")}


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
async def test_after_the_last_attempt_its_own_failure_is_raised(attempts):
    ends = [failure() for _ in range(attempts)]
    script = Script(*ends)
    with pytest.raises(ApiFailure) as caught:
        await patient(script, attempts)(REQUEST)
    assert caught.value is ends[-1]
    assert script.attempts == list(range(1, attempts + 1))


async def test_failures_that_do_not_count_use_up_nothing():
    script = Script(*(uncounted() for _ in range(40)), failure(), failure(), DONE)
    assert await patient(script)(REQUEST) is DONE
    assert script.attempts == list(range(1, 44))


@pytest.mark.parametrize("then", ["stop", "reject"])
async def test_what_is_no_retry_is_raised_at_once(then):
    ends = [failure(then=then)]
    script = Script(*ends)
    with pytest.raises(ApiFailure) as caught:
        await patient(script)(REQUEST)
    assert caught.value is ends[0]


async def test_a_rejection_after_a_retry_is_raised_at_once_too():
    script = Script(failure(), failure(then="reject"), DONE)
    with pytest.raises(ApiFailure, match="message"):
        await patient(script)(REQUEST)
    assert script.attempts == [1, 2]


@pytest.mark.parametrize("on_unknown", ["hold", "fail"])
async def test_what_may_have_cost_something_is_not_bought_again_unless_asked_for(on_unknown):
    script = Script(failure("unknown"), DONE)
    with pytest.raises(ApiFailure):
        await patient(script, on_unknown=on_unknown)(REQUEST)
    script = Script(failure("free"), failure("unknown"), DONE)
    with pytest.raises(ApiFailure):
        await patient(script, on_unknown=on_unknown)(REQUEST)
    assert script.attempts == [1, 2]


async def test_a_stop_passes_through_untouched_at_any_attempt():
    stop = BudgetReached("cap")
    for script in (Script(stop), Script(failure(), stop)):
        with pytest.raises(BudgetReached) as caught:
            await patient(script)(REQUEST)
        assert caught.value is stop


async def test_errors_of_our_own_are_not_retried():
    script = Script(failure(), ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await patient(script)(REQUEST)


async def test_cancellation_ends_the_waiting_at_once():
    script = Script(failure(retry_after_s=500.0), DONE)
    with anyio.move_on_after(7) as scope:
        await patient(script)(REQUEST)
    assert scope.cancelled_caught
    assert anyio.current_time() == pytest.approx(7)
    assert script.attempts == [1]


async def test_the_servers_wish_is_a_floor_and_an_absurd_one_is_not_believed():
    script = Script(failure(retry_after_s=12.0), failure(retry_after_s=1e9), DONE)
    await patient(script)(REQUEST)
    assert script.gaps[0] == pytest.approx(12)
    assert script.gaps[1] == pytest.approx(900)


async def test_a_throttled_request_goes_back_in_line_at_once_since_the_limiter_holds_it():
    script = Script(failure(then="pause", retry_after_s=30.0), DONE)
    await patient(script)(REQUEST)
    assert script.gaps == [0]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), failing=st.integers(1, 9))
def test_back_off_is_jittered_and_at_most_doubles_up_to_half_a_minute(seed, failing):
    script = Script(*(failure() for _ in range(failing)), DONE)
    anyio.run(
        patient(script, 10, seed=seed),
        REQUEST,
        backend="trio",
        backend_options={"clock": MockClock(autojump_threshold=0)},
    )
    assert all(0 <= gap <= min(30, 0.5 * 2**n) + 1e-6 for n, gap in enumerate(script.gaps))


async def test_the_longest_back_off_is_half_a_minute():
    script = Script(*(failure() for _ in range(9)), DONE)
    longest = random.Random()
    longest.random = lambda: 1.0
    await retrying(script, attempts=10, on_unknown="retry", rng=longest)(REQUEST)
    assert script.gaps == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])


async def test_a_thousand_requests_do_not_share_their_attempts():
    seen = []

    async def send(request):
        seen.append((request.id, request.attempt))
        await trio.lowlevel.checkpoint()
        if request.attempt < 3:
            raise failure()
        return DONE

    work = patient(send)
    async with anyio.create_task_group() as group:
        for number in range(1000):
            group.start_soon(work, Request(number, "m", (), b"", Price(1, 1)))
    assert sorted(seen) == [(number, attempt) for number in range(1000) for attempt in (1, 2, 3)]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it_works_on_asyncio_in_real_time_too():
    script = Script(failure(), DONE)
    assert await patient(script, seed=3)(REQUEST) is DONE
    assert script.attempts == [1, 2]
