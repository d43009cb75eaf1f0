"""`pack: auto`: which rows are asked both alone and in packs, how those packs are formed, and what they came to."""

from __future__ import annotations

from itertools import chain

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.asking import Ask, Subject
from journeybatch.entries import Began, Intent, Received, Settled, Split, Tried
from journeybatch.history import History
from journeybatch.packing import Limit, Sizing
from journeybatch.pilot import Pilot, draw, find, form
from journeybatch.survey import Survey, survey
from journeybatch.verdict import ANSWERED, MISSED

NONE = pl.Series([], dtype=pl.Binary)
ASK = Ask([Subject("here", (("m", {}),), (("user", "Say {{ t }}"),))], ("t",))
TWO_HEADS = Ask([Subject("here", (("m", {}),), (("system", "{{ t[:1] }}"), ("user", "Say {{ t }}")))], ("t",))


def surveyed(texts: list[str], ask: Ask = ASK) -> Survey:
    return survey([pl.DataFrame({"t": texts}, schema={"t": pl.String})], ask, packs=True)


def texts(number: int) -> list[str]:
    return [f"thing {n}" for n in range(number)]


def pilot(rows: int = 16, sizes: tuple[int, ...] = (4, 8), characters: int = 100_000) -> Pilot:
    table = surveyed(texts(100))
    return form(table, draw(table, NONE, rows), sizes, Sizing(Limit(1, characters)))


@settings(max_examples=25, deadline=None)
@given(st.permutations(texts(30)), st.integers(0, 30))
def test_the_sample_is_the_same_whatever_the_order_of_the_rows(shuffled, rows):
    assert set(draw(surveyed(shuffled), NONE, rows)) == set(draw(surveyed(texts(30)), NONE, rows))


def test_the_sample_has_each_prompt_once_and_says_where_it_stands():
    table = surveyed(texts(10) * 3)
    places = draw(table, NONE, 100)
    assert len(places) == 10
    assert {table.keys[place] for place in places.values()} == set(places)


def test_what_was_answered_in_a_pack_says_nothing_about_being_asked_alone():
    table = surveyed(texts(10))
    known = table.keys.head(4)
    assert set(draw(table, known, 100)) == set(table.keys.tail(6))


def test_rows_that_cannot_be_packed_or_rendered_are_not_drawn():
    ends = Ask([Subject("here", (("m", {}),), (("user", "{{ t }}"), ("assistant", "so")))], ("t",))
    assert draw(surveyed(texts(10), ends), NONE, 100) == {}
    assert len(draw(surveyed([*texts(10), None]), NONE, 100)) == 10


def test_each_row_is_asked_once_in_every_size_in_full_packs_only():
    made = pilot(rows=18)
    assert {size: [len(pack) for pack in packs] for size, packs in made.packs.items()} == {4: [4] * 4, 8: [8] * 2}
    for packs in made.packs.values():
        asked = list(chain.from_iterable(packs))
        assert len(set(asked)) == len(asked)
        assert set(asked) <= set(made.places)


def test_the_rows_stand_in_another_order_in_every_size():
    made = pilot()
    assert list(chain.from_iterable(made.packs[4])) != list(chain.from_iterable(made.packs[8]))


def test_a_size_that_the_characters_do_not_allow_has_no_packs():
    assert pilot(characters=300).packs[8] == []


def test_rows_with_different_heads_do_not_meet_in_a_pack():
    table = surveyed(["a" + text for text in texts(9)] + ["b" + text for text in texts(9)], TWO_HEADS)
    made = form(table, draw(table, NONE, 100), (4,), Sizing(Limit(1)))
    heads = {key: table.extents["head"][place] for key, place in made.places.items()}  # type: ignore[index]
    assert len(made.packs[4]) == 4
    assert all(len({heads[key] for key in pack}) == 1 for pack in made.packs[4])


def test_the_keys_of_trials_are_nobodys_content_keys():
    made = pilot()
    trials = {made.trial(size, key) for size in made.packs for key in made.places}
    assert len(trials) == 2 * len(made.places)
    assert not trials & set(made.places)


# -- what a history tells -------------------------------------------------------------------------------------


class Told:
    """A history in which packs of a pilot were asked and answered."""

    def __init__(self, made: Pilot) -> None:
        self.pilot, self.history, self.said = made, History(), {}
        self.history.fold(Began(1, "job", "{}", False, False, 0.0), 0)
        self.alone = {key: n for n, key in enumerate(made.places)}
        for key in made.places:
            self._reply(key, key, "yes", ANSWERED)

    def _reply(self, keys: bytes, key: bytes, said: str | None, code: int, codes: bytes = b"") -> None:
        number = len(self.history.attempts)
        offset = 1000 * (number + 1)
        self.history.fold(Intent(number, 1, keys, "m", 1, 1, 0.0), 0)
        self.history.fold(Received(number, 1, keys, 200, {}, b"", 0.1, 0.0, 1, 1), offset)
        self.history.fold(Settled(number, 1, "settled", 1, 1, None, None, 200, 0.1, codes or bytes([code])), 0)
        self.said[number, key] = {"response": said}

    def answer(self, size: int, wrong: int = 0, missed: int = 0, packs: int | None = None) -> None:
        """Answer the packs of a size: the first ``wrong`` rows otherwise than alone, the next ``missed`` not."""
        left = [wrong, missed]
        for pack in self.pilot.packs[size][:packs]:
            trials = [self.pilot.trial(size, key) for key in pack]
            self.history.fold(Tried(b"".join(pack), b"".join(trials), size), 0)
            said, codes = {}, bytearray()
            for key in trials:
                other, gone = left[0] > 0, left[0] <= 0 < left[1]
                left = [left[0] - other, left[1] - gone]
                said[key] = "no" if other else "yes"
                codes.append(MISSED if gone else ANSWERED)
            number = len(self.history.attempts)
            self._reply(b"".join(trials), trials[0], "", ANSWERED, bytes(codes))
            self.said |= {(number, key): {"response": text} for key, text in said.items()}

    def findings(self, agreement: float = 0.7):
        return find(self.pilot, self.history, agreement, lambda i, key: self.said[i, key], self.alone)


def test_the_smallest_size_is_asked_first_and_the_next_once_it_agrees():
    told = Told(pilot())
    assert (told.findings().size, len(told.findings().packs)) == (4, 4)
    told.answer(4)
    assert (told.findings().size, len(told.findings().packs)) == (8, 2)
    told.answer(8)
    assert told.findings().packs == []
    assert told.findings().choice(0.7).size == 8


def test_the_first_size_that_does_not_agree_ends_it():
    told = Told(pilot())
    told.answer(4, wrong=6)
    assert told.findings().packs == []
    assert told.findings().choice(0.7).size == 1


def test_a_pilot_goes_on_with_the_packs_that_nobody_answered():
    told = Told(pilot())
    told.answer(4, packs=3)
    assert told.findings().packs == told.pilot.packs[4][3:]


def test_a_row_that_its_pack_left_out_does_not_agree():
    told = Told(pilot())
    told.answer(4, missed=2)
    assert [(trial.agreed, trial.of) for trial in told.findings().trials] == [(14, 16)]


def test_a_pack_that_came_to_nothing_agrees_in_nothing_and_is_not_asked_again():
    told = Told(pilot())
    told.answer(4, packs=3)
    trials = b"".join(told.pilot.trial(4, key) for key in told.pilot.packs[4][3])
    told.history.fold(Tried(b"".join(told.pilot.packs[4][3]), trials, 4), 0)
    told.history.fold(Split(trials, 4), 0)
    assert [(trial.agreed, trial.of) for trial in told.findings(0.3).trials] == [(12, 16)]


def test_a_row_that_has_no_answer_alone_is_compared_with_nothing():
    told = Told(pilot())
    told.answer(4)
    del told.alone[next(iter(told.alone))]
    assert told.findings().trials[0].of == 15


@pytest.mark.parametrize("size", [4, 8])
def test_answers_of_trials_are_no_answers_to_rows_but_their_attempts_and_credits_are(size):
    from journeybatch.tally import tally

    told = Told(pilot())
    for each in (4, 8):
        told.answer(each)
    tallied = tally(told.history)
    assert set(tallied["key"]) == set(told.pilot.places)
    assert tallied["credits"].sum() == (16 + 4 + 2) * 1_000_000
    assert set(tallied["attempts"]) == {3}
    assert sorted(tallied["answer"]) == list(range(16)) == sorted(tallied["last"])
