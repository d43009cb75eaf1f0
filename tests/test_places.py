"""Where replies stand, against a dict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from journeybatch.attempts import Attempts
from journeybatch.entries import Intent
from journeybatch.places import Places

PLACES = st.lists(st.integers(0, 60) | st.just(-1), max_size=20)
LATER = st.lists(st.tuples(st.integers(1, 80), st.integers(0, 40)), max_size=20)


@given(PLACES.filter(lambda them: len([at for at in them if at >= 0]) == len({at for at in them if at >= 0})), LATER)
def test_a_reply_is_found_where_it_was_placed_last_and_nowhere_else(first, later):
    attempts = Attempts()
    for number, offset in enumerate(first):
        attempts.add(1, Intent(number, 1, bytes(16), "m", 1, 1, 0.0), 0)
        attempts.offset[number] = offset
    places, expected = Places(attempts), {at: number for number, at in enumerate(first) if at >= 0}
    places.attempt_at(0)
    for offset, index in later:
        places.place(offset, index)
        expected[offset] = index
    assert {at: found for at in range(-1, 90) if (found := places.attempt_at(at)) is not None} == expected


def test_what_is_yet_to_be_written_takes_no_place_of_the_first_reply_of_all():
    """Answers of the Batch API may be the first that a journal is told."""
    attempts = Attempts()
    for number, offset in enumerate((0, 70, 0, 0)):
        attempts.add(1, Intent(number, 1, bytes(16), "m", 1, 1, 0.0), 0)
        attempts.offset[number] = offset
    assert Places(attempts).attempt_at(0) == 0
