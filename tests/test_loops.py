"""A bell wakes all who wait for it, and the clock is the loop's, whichever loop it is."""

from __future__ import annotations

import anyio
import pytest

from journeybatch.loops import bell, clock


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.anyio
async def test_a_bell_wakes_all_who_wait_but_those_who_gave_up() -> None:
    ours, woken = bell(), list[int]()
    given_up = anyio.CancelScope()

    async def wait(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            await ours.wait()
            woken.append(number)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(wait, number, given_up if number == 2 else anyio.CancelScope())
            await anyio.wait_all_tasks_blocked()
            given_up.cancel()
            await anyio.wait_all_tasks_blocked()
            assert woken == []
            ours.set()
    assert sorted(woken) == [0, 1, 3, 4]


@pytest.mark.anyio
async def test_nobody_waits_for_a_bell_that_was_set() -> None:
    ours = bell()
    ours.set()
    with anyio.fail_after(10):
        await ours.wait()


@pytest.mark.anyio
async def test_the_clock_is_the_running_loops() -> None:
    now = clock()
    before = anyio.current_time()
    await anyio.sleep(0.01)
    assert before + 0.005 < now() <= anyio.current_time()


def test_where_no_loop_runs_yet_the_clock_is_that_of_the_one_that_will() -> None:
    now = clock()

    async def read() -> tuple[float, float]:
        return now(), anyio.current_time()

    for backend in ("asyncio", "trio"):
        seen, told = anyio.run(read, backend=backend)
        assert abs(told - seen) < 1
