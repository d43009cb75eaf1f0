"""The tally: every credit is somebody's, to the last millionth."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.entries import Began, Intent, Received, Settled
from journeybatch.history import History
from journeybatch.tally import MICRO, tally, total

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
CHARGE = {"answered": "settled", "refused": "settled", "malformed": "unknown", "lost": "unknown"}
NAMES = [bytes([letter]) * 16 for letter in b"abcdef"]


def history(*attempts):
    """A history of attempts given as (keys, how it ended, certain, at most)."""
    told = History()
    told.fold(Began(1, "job", "{}", False, False, 1.0), 0)
    for number, (keys, end, certain, most) in enumerate(attempts):
        told.fold(Intent(number, 1, b"".join(keys), "m", certain, most, 2.0), 0)
        if end in ("answered", "refused", "malformed", "unjudged"):
            told.fold(Received(number, 1, b"".join(keys), 200, {}, b"", 0.5, 3.0), 100 + number)
        charge = CHARGE.get(end, "free")
        error = None if end == "answered" else end
        if end not in ("unjudged", "in doubt"):
            costs = {"settled": (certain, most), "free": (0, 0), "unknown": (0, most)}[charge]
            told.fold(Settled(number, 1, charge, *costs, error, None, None, 0.5), 0)
    return told


SHOWN = ("key", "attempts", "credits", "unknown", "answer", "last", "doubt")


def one(told, key):
    return tally(told).select(SHOWN).row(by_predicate=pl.col("key") == key, named=True)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**6), st.integers(1, 50))
def test_a_packs_charge_is_shared_fairly_and_nothing_of_it_is_lost(credits, parts):
    pack = [bytes([place]) * 16 for place in range(parts)]
    shares = tally(history((pack, "answered", credits, credits)))["credits"].to_list()
    assert sum(shares) == credits * MICRO
    assert len(shares) == parts
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


def test_credits_add_up_beyond_what_64_bits_hold_in_millionths():
    told = history(*([[bytes([number % 256, number // 256]) * 8], "answered", 10**9, 10**9] for number in range(9_300)))
    assert told.spent == 9_300 * 10**9
    assert total(tally(told)["credits"]) == told.spent * MICRO


def test_nothing_asked_is_an_empty_table_of_the_same_shape():
    assert tally(History()).schema == tally(history(([A], "answered", 1, 1))).schema
    assert tally(History()).height == 0


def test_a_key_s_attempts_credits_and_doubts_are_summed():
    told = history(([A], "lost", 1, 5), ([A], "rejected", 1, 5), ([A], "answered", 1, 5), ([B], "in doubt", 2, 2))
    assert one(told, A) == {
        "key": A,
        "attempts": 3,
        "credits": 1 * MICRO,
        "unknown": 9 * MICRO,
        "answer": 2,
        "last": 2,
        "doubt": True,
    }
    assert one(told, B) == {
        "key": B,
        "attempts": 1,
        "credits": 0,
        "unknown": 2 * MICRO,
        "answer": None,
        "last": 3,
        "doubt": True,
    }


def test_the_first_attempt_that_answered_is_the_answer():
    told = history(([A], "malformed", 1, 1), ([A], "refused", 1, 1), ([A], "answered", 1, 1), ([A], "answered", 1, 1))
    assert (one(told, A)["answer"], one(told, A)["last"], one(told, A)["credits"]) == (2, 3, 3 * MICRO)


def test_a_refusal_a_doubt_or_a_reply_that_is_lost_or_unread_is_no_answer():
    for end in ("refused", "malformed", "lost", "unjudged", "in doubt", "rejected"):
        assert one(history(([A], end, 1, 1)), A)["answer"] is None
    told = history(([A], "answered", 1, 1))
    told.attempts.offset[0] = -1  # the reply's frame was damaged: paid for, and yet there is nothing to show
    assert (one(told, A)["answer"], one(told, A)["credits"]) == (None, MICRO)


def test_a_doubt_stays_even_where_a_later_attempt_answered():
    assert one(history(([A], "lost", 1, 1), ([A], "answered", 1, 1)), A)["doubt"]
    assert not one(history(([A], "rejected", 1, 1), ([A], "answered", 1, 1)), A)["doubt"]


def test_an_attempt_that_was_never_sent_is_none():
    told = history(([A], "unsent", 1, 1), ([B], "unsent", 1, 1), ([B], "answered", 1, 1))
    assert tally(told)["key"].to_list() == [B]
    assert one(told, B)["attempts"] == 1


def test_a_settlement_whose_keys_are_lost_belongs_to_no_key():
    told = history(([A], "answered", 1, 1))
    told.fold(Settled(9, 1, "settled", 4, 4, None, None, 200, 0.5), 0)
    assert tally(told)["key"].to_list() == [A]
    assert told.spent == 5


def test_a_pack_s_charge_is_split_in_order_with_the_larger_parts_first():
    tallied = tally(history(([A, B, C], "answered", 1, 2)))
    assert tallied.select("key", "credits", "unknown").rows() == [
        (A, 333_334, 333_334),
        (B, 333_333, 333_333),
        (C, 333_333, 333_333),
    ]


attempts = st.lists(
    st.tuples(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=7),  # packs, now and then with a key twice
        st.sampled_from(["answered", "refused", "malformed", "lost", "rejected", "unsent", "unjudged", "in doubt"]),
        st.integers(0, 5),
        st.integers(0, 5),
    ).map(lambda drawn: (drawn[0], drawn[1], min(drawn[2:]), max(drawn[2:]))),
    max_size=12,
)


@settings(deadline=None, max_examples=100)
@given(attempts)
def test_the_tally_says_of_each_key_what_its_attempts_say(attempts):
    told = history(*attempts)
    sent = [(index, asked, end) for index, (asked, end, _, _) in enumerate(attempts) if end != "unsent"]
    expected = {}
    for index, asked, end in sent:
        for key in asked:
            entry = expected.setdefault(key, {"attempts": 0, "answer": None, "last": None, "doubt": False})
            entry["attempts"] += 1
            entry["last"] = index
            entry["doubt"] |= end in ("malformed", "lost", "unjudged", "in doubt")
            if end == "answered" and entry["answer"] is None:
                entry["answer"] = index
    told_of = {key: fields for key, *fields in tally(told).select("key", "attempts", "answer", "last", "doubt").rows()}
    assert told_of == {key: list(entry.values()) for key, entry in expected.items()}
