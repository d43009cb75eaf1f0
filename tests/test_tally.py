"""The tally: every credit is somebody's, to the last millionth."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.entries import Began, Intent, Received, Settled
from journeybatch.history import History
from journeybatch.tally import MICRO, by_row, sharing, tally, total

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


def joined(keys, tallied):
    """What each of the rows with these keys has come to."""
    return by_row(sharing(pl.Series(keys, dtype=pl.Binary), tallied).part(0, len(keys)), tallied)


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


def test_rows_with_one_key_share_its_credits_and_the_later_ones_are_marked():
    tallied = tally(history(([A], "answered", 1, 2), ([B], "answered", 3, 3)))
    rows = joined([A, B, A, C, A], tallied)
    assert rows.select(*SHOWN, "again").rows(named=True) == [
        row(A, 1, 333_334, 333_334, 0),
        row(B, 1, 3_000_000, 0, 1),
        row(A, 1, 333_333, 333_333, 0, again=True),
        row(C, 0, 0, 0, None),
        row(A, 1, 333_333, 333_333, 0, again=True),
    ]


def row(key, attempts, credits, unknown, answer, again=False):
    return {
        "key": key,
        "attempts": attempts,
        "credits": credits,
        "unknown": unknown,
        "answer": answer,
        "last": answer,
        "doubt": False,
        "again": again,
    }


def test_keys_that_were_never_asked_cost_nothing():
    rows = joined([A, B], tally(History()))
    assert rows.select(*SHOWN, "again").rows(named=True) == [row(A, 0, 0, 0, None), row(B, 0, 0, 0, None)]
    assert rows["attempts"].dtype == pl.Int32


def test_rows_without_a_key_have_nothing_to_do_with_each_other():
    rows = joined([None, A, None], tally(history(([A], "answered", 1, 1))))
    assert rows["again"].to_list() == [False, False, False]
    assert rows["credits"].to_list() == [0, MICRO, 0]


def test_no_rows_make_no_table_rows():
    assert joined([], tally(history(([A], "answered", 1, 1)))).height == 0


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
@given(attempts, st.lists(st.sampled_from(NAMES[:5]), max_size=30))
def test_no_millionth_of_a_credit_is_lost_or_made(attempts, keys):
    told = history(*attempts)
    tallied = tally(told)
    assert tallied["credits"].sum() == told.spent * MICRO
    assert tallied["unknown"].sum() == sum(run.unknown for run in told.runs) * MICRO

    rows = joined(keys, tallied)
    assert rows["key"].to_list() == keys  # in their order
    here = tallied.filter(pl.col("key").is_in(keys))
    for column in ("credits", "unknown"):
        assert rows[column].sum() == here[column].sum()
        spread = rows.group_by("key").agg(pl.col(column).max() - pl.col(column).min())
        assert (spread[column] <= 1).all()
        first = rows.filter(~pl.col("again")).group_by("key").agg(pl.col(column).max())
        assert first.join(rows, on="key").filter(pl.col(column) < pl.col(f"{column}_right")).is_empty()
    assert (~rows["again"]).sum() == len(set(keys))


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


twins = st.sampled_from([bytes(8) + bytes(8), bytes(8) + b"12345678", b"\xff" * 16, b"a" * 16, b"b" * 16])


@settings(deadline=None)
@given(st.lists(st.none() | twins | st.binary(min_size=16, max_size=16)), st.lists(twins, unique=True))
def test_each_row_finds_its_key_also_where_keys_begin_alike(keys, asked):
    tallied = tally(history(*((([key], "answered", 1, 1)) for key in asked)))
    shared = sharing(pl.Series(keys, dtype=pl.Binary), tallied).part(0, len(keys))
    known = tallied["key"].to_list()
    assert shared["at"].to_list() == [known.index(key) if key in known else None for key in keys]
    assert shared["sharers"].to_list() == [1 if key is None else keys.count(key) for key in keys]
    assert shared["rank"].to_list() == [0 if key is None else keys[:at].count(key) for at, key in enumerate(keys)]
