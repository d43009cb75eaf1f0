"""n at a time, pulled, never queued."""

import anyio
import pytest
from trio.testing import MockClock

from journeybatch.errors import BudgetReached, InputChanged, OutOfCredits
from journeybatch.lanes import Lanes, run_lanes
from journeybatch.records import Price, Request
from journeybatch.turns import Drained


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request):
    if request.param == "trio":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "asyncio", {}


pytestmark = pytest.mark.anyio


def requests(count, pulled=None):
    for number in range(count):
        if pulled is not None:
            pulled.append(number)
        yield Request(number, "m", (), b"", Price(1, 1))


@pytest.mark.parametrize(("count", "lanes"), [(0, 4), (1, 4), (3, 8), (50, 1), (200, 7)])
async def test_every_request_is_done_once_and_no_more_than_so_many_at_a_time(count, lanes):
    done, busy, most = [], 0, 0

    async def work(request):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await anyio.sleep(0.001 * (request.id % 3))
        busy -= 1
        done.append(request.id)

    await run_lanes(requests(count), work, lanes=lanes)
    assert sorted(done) == list(range(count))
    assert most == min(count, lanes)


async def test_nothing_is_pulled_before_a_lane_is_free_for_it():
    pulled, finished = [], 0

    async def work(request):
        nonlocal finished
        assert len(pulled) <= finished + 5
        await anyio.sleep(0.001)
        finished += 1

    await run_lanes(requests(60, pulled), work, lanes=5)
    assert len(pulled) == 60


async def test_one_slow_request_does_not_hold_up_the_others():
    done = []

    async def work(request):
        await anyio.sleep(0.3 if request.id == 0 else 0.001)
        done.append(request.id)

    await run_lanes(requests(100), work, lanes=2)
    assert done[-1] == 0


async def test_a_stop_waits_for_what_is_in_flight_and_pulls_nothing_more():
    ended = []

    async def work(request):
        if request.id == 3:
            await anyio.sleep(0.01)
            raise BudgetReached("cap")
        await anyio.sleep(0.05)
        ended.append(request.id)

    left = requests(100)
    with pytest.raises(BudgetReached, match="cap"):
        await run_lanes(left, work, lanes=4)
    assert sorted(ended) == [0, 1, 2]
    assert len(list(left)) == 96


async def test_a_bug_cancels_the_other_lanes():
    async def work(request):
        if request.id == 3:
            raise KeyError("bug")
        await anyio.sleep(1000)

    with anyio.fail_after(5), pytest.raises(KeyError, match="bug"):
        await run_lanes(requests(100), work, lanes=4)


async def test_of_several_stops_at_once_one_is_raised():
    async def work(request):
        raise BudgetReached("cap") if request.id else OutOfCredits("empty")

    with pytest.raises((BudgetReached, OutOfCredits)):
        await run_lanes(requests(10), work, lanes=5)


async def test_an_error_of_the_input_comes_out_as_it_is():
    def changing():
        yield from requests(5)
        raise InputChanged("it changed")

    async def work(request):
        await anyio.sleep(0.001)

    with pytest.raises(InputChanged):
        await run_lanes(changing(), work, lanes=3)


async def test_different_errors_at_once_are_all_told():
    async def work(request):
        raise KeyError("bug") if request.id else BudgetReached("cap")

    with pytest.raises((ExceptionGroup, KeyError, BudgetReached)) as caught:
        await run_lanes(requests(2), work, lanes=2)
    if isinstance(caught.value, ExceptionGroup):
        assert {type(error) for error in caught.value.exceptions} == {KeyError, BudgetReached}


async def test_after_stop_nothing_more_is_pulled_and_what_is_in_flight_finishes():
    pulled, done, stopping = [], [], False

    async def work(request):
        nonlocal stopping
        await anyio.sleep(0.01)
        stopping = request.id >= 9
        done.append(request.id)

    await run_lanes(requests(1000, pulled), work, lanes=4, stop=lambda: stopping)
    assert sorted(done) == pulled
    assert len(pulled) < 20


async def test_a_stop_before_the_beginning_pulls_nothing():
    pulled = []

    async def work(request):
        raise AssertionError

    await run_lanes(requests(10, pulled), work, lanes=4, stop=lambda: True)
    assert pulled == []


async def test_work_that_was_drained_ends_its_lane_in_peace():
    done = []

    async def work(request):
        await anyio.sleep(0.001)
        if request.id >= 6:
            raise Drained("winding up")
        done.append(request.id)

    await run_lanes(requests(100), work, lanes=3)
    assert sorted(done) == list(range(6))


async def test_cancelling_from_outside_leaves_nothing_running():
    started = []

    async def work(request):
        started.append(request.id)
        await anyio.sleep(1000)

    with anyio.move_on_after(0.05) as scope:
        await run_lanes(requests(100), work, lanes=10)
    assert scope.cancelled_caught
    assert len(started) == 10


async def test_lanes_can_be_added_while_others_are_at_work_and_not_after_them():
    lanes, busy, most = Lanes(2), 0, 0

    async def work(request):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await anyio.sleep(0.01)
        busy -= 1
        if request.id == 10:
            lanes.widen(6)

    await run_lanes(requests(60), work, lanes=lanes)
    assert (most, lanes.number) == (6, 6)
    lanes.widen(4)
    assert lanes.number == 6
    lanes.widen(9)
    most = 0
    await run_lanes(requests(60), work, lanes=lanes)
    assert most == 9
