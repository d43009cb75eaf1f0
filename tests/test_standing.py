"""Where rows stand: what they still want, what they cost, and whose answer they show."""

from __future__ import annotations

from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import standing as standings
from journeybatch.asking import Step
from journeybatch.entries import Began, Borrowed, GivenUp, Intent, Received, Reopened, Settled, Split
from journeybatch.escalation import rules_of
from journeybatch.history import History
from journeybatch.standing import Standing, stand
from journeybatch.states import Policy
from journeybatch.survey import Survey
from journeybatch.tally import MICRO
from journeybatch.verdict import ANSWERED, DECLINED, INVALID, MISSED, REFUSED, UNFIT, WEAK, error_of

UP = Policy(rules_of(["invalid", "refusal"]))


@pytest.fixture(autouse=True, params=[standings.ROWS, 2], ids=["all rows at a time", "two"], scope="module")
def rows_at_a_time(request):
    """It must not matter how many rows are looked at together."""
    with patch.object(standings, "ROWS", request.param):
        yield


class Story:
    """A history told attempt by attempt."""

    def __init__(self) -> None:
        self.history = History()
        self.history.fold(Began(1, "job", "{}", False, False, 1.0), 0)
        self.number = 0

    def replied(
        self, keys: list[bytes], codes: list[int], price: int = 1, senses: bytes = b"", at: float = 2.0
    ) -> None:
        number = self._sent(keys, price, at)
        self.history.fold(Received(number, 1, b"".join(keys), 200, {}, b"", 0.5, at), 100 + number)
        error = error_of(bytes(codes))
        self.history.fold(Settled(number, 1, "settled", price, price, error, None, 200, 0.5, bytes(codes), senses), 0)

    def lost(self, keys: list[bytes], price: int = 1) -> None:
        self.history.fold(Settled(self._sent(keys, price, 2.0), 1, "unknown", 0, price, "reset", None, None, 0.5), 0)

    def _sent(self, keys: list[bytes], price: int, at: float) -> int:
        self.number += 1
        self.history.fold(Intent(self.number, 1, b"".join(keys), "m", price, price, at), 0)
        return self.number

    def gave_up(self, *keys: bytes, error: str = "rejected") -> None:
        self.history.fold(GivenUp(b"".join(keys), error, "why", 3.0), 0)


def key(row: int, step: int = 0) -> bytes:
    return bytes([row, step]) * 8


def standing(story: Story, rows: list[int], steps: list[Step], policy: Policy = UP) -> Standing:
    keys = [pl.Series([key(row, number) for row in rows], dtype=pl.Binary) for number in range(len(steps))]
    return stand(story.history, Survey(keys, [], [], []), steps, policy)


def wanted(found: Standing) -> list[list[int]]:
    return [list(rows.arg_true()) for rows in found.wanted]


ONE = [Step(0)]
TWO = [Step(0), Step(1)]
THREE = [Step(0), Step(1), Step(2)]
TWICE = [Step(0), Step(0, 1), Step(1)]


# -- one model -----------------------------------------------------------------------------------------------------


def test_what_was_never_asked_is_pending_and_wanted_once_per_key():
    found = standing(Story(), [1, 2, 1], ONE)
    assert found.facts["status"].to_list() == ["pending"] * 3
    assert wanted(found) == [[0, 1]]


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (ANSWERED, "answered", None),
        (DECLINED, "answered", None),
        (MISSED, "pending", None),
        (INVALID, "failed", "invalid"),
        (REFUSED, "failed", "refusal"),
    ],
)
def test_a_verdict_decides_where_a_row_stands(code, status, error):
    story = Story()
    story.replied([key(1)], [code])
    found = standing(story, [1, 1], ONE, Policy())
    assert found.facts.select("status", "error").rows() == [(status, error)] * 2
    assert wanted(found) == [[0] if status == "pending" else []]
    assert found.lost == ([(key(1), error)] if error else [])


def test_the_first_reply_that_can_be_read_is_the_answer():
    story = Story()
    for code in (INVALID, MISSED, ANSWERED, ANSWERED):
        story.replied([key(1)], [code])
    assert standing(story, [1], ONE).facts.select("answer", "last", "attempts").rows() == [(2, 3, 4)]


def test_what_cannot_be_read_is_asked_as_often_as_the_job_allows():
    story = Story()
    for left in (True, True, False):
        story.replied([key(1)], [INVALID])
        assert wanted(standing(story, [1], ONE, Policy(tries=3))) == [[0] if left else []]


@pytest.mark.parametrize("on_unknown", ["retry", "hold", "fail"])
def test_a_doubt_is_held_unless_it_may_be_retried(on_unknown):
    story = Story()
    story.lost([key(1)])
    found = standing(story, [1], ONE, Policy(on_unknown=on_unknown))
    assert found.facts.select("status", "doubt").rows() == [("pending", True)]
    assert wanted(found) == [[0] if on_unknown == "retry" else []]
    assert found.held == ([] if on_unknown == "retry" else [key(1)])
    story.history.fold(Reopened(4.0), 0)
    again = standing(story, [1], ONE, Policy(on_unknown=on_unknown))
    assert wanted(again) == [[] if on_unknown == "hold" else [0]], "failures are forgotten; what is held has not failed"


def test_an_answer_that_is_too_old_is_asked_again_and_still_paid_for():
    story = Story()
    story.replied([key(1)], [ANSWERED], at=10.0)
    assert wanted(standing(story, [1], ONE, Policy(since=10.0))) == [[]]
    found = standing(story, [1], ONE, Policy(since=11.0))
    assert wanted(found) == [[0]]
    assert found.facts["credits"].to_list() == [MICRO]


def test_a_key_that_was_given_up_is_asked_again_once_failures_are_forgotten():
    story = Story()
    story.gave_up(key(1))
    story.replied([key(2)], [INVALID])
    assert standing(story, [1, 2], ONE, Policy()).facts["error"].to_list() == ["rejected", "invalid"]
    story.history.fold(Reopened(4.0), 0)
    assert wanted(standing(story, [1, 2], ONE, Policy())) == [[0, 1]]


def test_an_answer_taken_over_is_reused_and_free():
    story = Story()
    story.history.take_over(Borrowed(b"o" * 8, 5, 1, key(1), "m", 200, {}, b"", 0.5, 1.5), b"", bytes([ANSWERED]), b"")
    facts = standing(story, [1], ONE).facts
    assert facts.select("status", "again", "credits", "attempts").rows() == [("answered", True, 0, 0)]


# -- a cascade -----------------------------------------------------------------------------------------------------


def test_only_what_the_cheap_model_could_not_do_goes_up():
    story = Story()
    story.replied([key(n) for n in range(5)], [ANSWERED, WEAK, DECLINED, REFUSED, MISSED])
    story.replied([key(5)], [INVALID])
    found = standing(story, list(range(6)), TWO)
    assert wanted(found) == [[4], [1, 2, 3, 5]]
    assert found.facts["status"].to_list() == ["answered", *["pending"] * 5]
    assert found.climbed == [(4, 5)]
    assert found.lost == []


def test_the_answer_is_the_highest_model_s_that_gave_one():
    story = Story()
    for row, above in ((1, ANSWERED), (2, REFUSED), (3, INVALID)):
        story.replied([key(row)], [WEAK])
        story.replied([key(row, 1)], [above], price=3)
    story.replied([key(4)], [INVALID])
    story.replied([key(4, 1)], [INVALID], price=3)
    found = standing(story, [1, 2, 3, 4], TWO)
    columns = found.facts.select("status", "step", "answer_key", "error", "credits").rows()
    assert columns == [
        ("answered", 1, key(1, 1), None, 4 * MICRO),
        ("answered", 0, key(2), None, 4 * MICRO),
        ("answered", 0, key(3), None, 4 * MICRO),
        ("failed", None, None, "invalid", 4 * MICRO),
    ]


def test_an_item_that_cannot_be_read_goes_up_at_once_and_at_the_top_is_asked_alone():
    story = Story()
    story.replied([key(1), key(2)], [UNFIT, ANSWERED])
    assert wanted(standing(story, [1, 2], TWO)) == [[], [0]]
    assert wanted(standing(story, [1, 2], TWO, Policy(rules_of(["refusal"])))) == [[0], []]
    assert wanted(standing(story, [1, 2], ONE)) == [[0]]
    story.replied([key(1, 1), key(3, 1)], [UNFIT, ANSWERED], price=3)
    found = standing(story, [1, 2], TWO)
    assert wanted(found) == [[], [0]]
    assert found.lost == []
    assert story.history.rooms == {key(1): 1, key(1, 1): 1}


def test_an_error_goes_up_where_a_rule_says_so_only():
    story = Story()
    story.gave_up(key(1))
    assert wanted(standing(story, [1], TWO)) == [[], []]
    assert wanted(standing(story, [1], TWO, Policy(rules_of(["error"])))) == [[], [0]]


def test_a_stronger_answer_that_is_there_makes_asking_below_needless():
    story = Story()
    story.replied([key(1)], [INVALID])
    story.replied([key(1, 1)], [ANSWERED], price=3)
    story.replied([key(2)], [INVALID])
    story.replied([key(2, 1)], [INVALID], price=3)
    story.history.fold(Reopened(4.0), 0)
    found = standing(story, [1, 2], TWO)
    assert found.facts["status"].to_list() == ["answered", "pending"]
    assert wanted(found) == [[1], []]
    middle = standing(story, [1, 2], THREE)
    assert middle.facts["status"].to_list() == ["answered", "pending"], "nor need it be the strongest model's"
    assert wanted(middle) == [[1], [], []]


def test_a_middle_answer_that_goes_up_does_not_spare_the_cheap_one():
    story = Story()
    story.replied([key(1, 1)], [WEAK], price=3)
    assert wanted(standing(story, [1], THREE)) == [[0], [], []]


def senses(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


def test_samples_that_agree_stay_and_samples_that_do_not_go_up():
    story = Story()
    story.replied([key(1), key(2), key(3)], [ANSWERED] * 3, senses=senses(7, 7, 7))
    assert wanted(standing(story, [1, 2, 3], TWICE)) == [[], [0, 1, 2], []]
    story.replied([key(1, 1), key(2, 1), key(3, 1)], [ANSWERED, ANSWERED, INVALID], senses=senses(7, 8, 0))
    found = standing(story, [1, 2, 3], TWICE)
    assert wanted(found) == [[], [], [1, 2]]
    assert found.facts["status"].to_list() == ["answered", "pending", "pending"]
    assert found.facts["step"].to_list()[0] == 0


# -- laws ----------------------------------------------------------------------------------------------------------

CODES = st.sampled_from([ANSWERED, WEAK, DECLINED, MISSED, INVALID, REFUSED, UNFIT])
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["replied", "lost", "gave up", "split", "reopened"]),
        st.lists(st.tuples(st.integers(0, 6), CODES), min_size=1, max_size=4, unique_by=lambda pair: pair[0]),
        st.integers(0, 2),
        st.integers(0, 5),
    ),
    max_size=25,
)
POLICIES = st.builds(
    Policy,
    rules=st.sampled_from([rules_of(["invalid", "refusal"]), rules_of(["error"]), rules_of([{"disagree": 2}])]),
    tries=st.integers(1, 3),
    on_unknown=st.sampled_from(["retry", "hold", "fail"]),
    since=st.sampled_from([None, 2.0, 5.0]),
)


def told(events) -> Story:
    story = Story()
    for kind, pairs, step, price in events:
        keys = [key(row, step) for row, _ in pairs]
        if kind == "replied":
            story.replied(keys, [code for _, code in pairs], price, senses(*(code % 2 for _, code in pairs)))
        elif kind == "lost":
            story.lost(keys, price)
        elif kind == "gave up":
            story.gave_up(*keys)
        elif kind == "split":
            story.history.fold(Split(b"".join(keys), len(keys)), 0)
        else:
            story.history.fold(Reopened(4.0), 0)
    return story


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.lists(st.integers(0, 8), max_size=12), st.sampled_from([ONE, TWO, THREE, TWICE]), POLICIES)
def test_credits_are_shared_exactly_and_nothing_that_is_done_is_wanted(events, rows, steps, policy):
    story = told(events)
    found = standing(story, rows, steps, policy)
    facts = found.facts
    present = {key(row, number) for row in rows for number in range(len(steps))}
    a = story.history.attempts
    gone = 0
    for index in range(len(a)):
        keys = a.keys_of(index)
        share, more = divmod(a.credits[index] * MICRO, len(keys))
        gone += sum(share + (place < more) for place, name in enumerate(keys) if name not in present)
    assert int(facts["credits"].sum()) + gone == story.history.spent * MICRO
    assert facts.height == len(rows)
    for number, marks in enumerate(found.wanted):
        asked = [key(rows[place], number) for place in marks.arg_true()]
        assert len(asked) == len(set(asked))
        assert set(facts["status"].gather(marks.arg_true())) <= {"pending"}
    for status, answer, error in facts.select("status", "answer", "error").rows():
        assert (status == "failed") == (error is not None)
        assert status != "answered" or answer is not None
    alike = facts.with_columns(row=pl.Series(rows, dtype=pl.Int64)).group_by("row").agg(pl.col("status").n_unique())
    assert set(alike["status"]) <= {1}, "rows that ask the same stand alike"
    asking = {key(rows[place], number) for number, marks in enumerate(found.wanted) for place in marks.arg_true()}
    stuck = {key(row, 0) for row, status in zip(rows, facts["status"], strict=True) if status == "pending"}
    if policy.on_unknown == "retry":
        reachable = {name[:1] for name in asking}
        assert {name[:1] for name in stuck} == reachable, "what is pending is asked, and nothing else"
