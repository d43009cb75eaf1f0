"""Replies go to their waiters a few in each turn of the loop."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from journeybatch.turnstile import AT_A_TIME, SHARE, Turnstile


async def admitted(groups: list[int], cancelled: set[int]) -> tuple[list[int], list[int]]:
    """Admit groups of futures, one group in each turn. Returns their numbers as they had their results, and how many
    had them in each turn."""
    loop, turnstile = asyncio.get_running_loop(), Turnstile[int]()
    order: list[int] = []
    turns: list[int] = []
    number = 0
    pending = list(groups)
    while pending or sum(turns) + len(cancelled & set(range(number))) < number:
        for _ in range(pending.pop(0) if pending else 0):
            waiting: asyncio.Future[int] = loop.create_future()
            waiting.add_done_callback(lambda done: None if done.cancelled() else order.append(done.result()))
            turnstile.admit(waiting, number)
            if number in cancelled:
                waiting.cancel()
            number += 1
        before = len(order)
        await asyncio.sleep(0)
        turns.append(len(order) - before)
    return order, turns


@given(st.lists(st.integers(0, 40), max_size=6), st.sets(st.integers(0, 100)))
def test_everybody_has_its_own_result_once_in_order_and_few_in_a_turn(groups, cancelled):
    order, turns = asyncio.run(asyncio.wait_for(admitted(groups, cancelled), 20))
    assert order == [number for number in range(sum(groups)) if number not in cancelled]
    assert max(turns, default=0) <= max(AT_A_TIME, sum(groups) // SHARE)


def test_what_a_turn_leaves_comes_in_the_next():
    order, turns = asyncio.run(admitted([2 * AT_A_TIME + 1], set()))
    assert len(order) == 2 * AT_A_TIME + 1
    assert [turn for turn in turns if turn] == [AT_A_TIME, AT_A_TIME, 1]


def test_a_third_of_a_long_line_goes_in_one_turn():
    _, turns = asyncio.run(admitted([9 * AT_A_TIME], set()))
    assert [turn for turn in turns if turn][:2] == [3 * AT_A_TIME, 2 * AT_A_TIME]
