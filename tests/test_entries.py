"""Entries: a journal written today stays readable, and whatever text a server sends can be written."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.entries import Began, Finished, GivenUp, Intent, Received, Settled, decode, encode, spelled

text = st.text()  # without surrogates
number, seconds = st.integers(0, 2**62), st.floats(0, 1e10)
keys = st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32)
entry = st.one_of(
    st.builds(Began, number, text, text, st.booleans(), st.booleans(), seconds),
    st.builds(Intent, number, number, keys, text, number, number, seconds),
    st.builds(
        Received,
        number,
        number,
        keys,
        number,
        st.dictionaries(text, text),
        st.binary(),
        seconds,
        seconds,
        number,
        number,
    ),
    st.builds(
        Settled,
        number,
        number,
        st.sampled_from(["settled", "free", "unknown"]),
        number,
        number,
        st.none() | text,
        st.none() | text,
        st.none() | number,
        seconds,
    ),
    st.builds(GivenUp, keys, text, text, seconds),
    st.builds(Finished, number, seconds),
)


@settings(deadline=None, max_examples=200)
@given(entry)
def test_every_entry_comes_back_as_it_was(entry):
    assert decode(encode(entry)) == entry


def test_the_bytes_of_an_entry_do_not_change_between_versions():
    key = bytes(range(16))
    began = "0101" + "a36a6f62" + "a27b7d" + "c3c2" + "cb4000000000000000"
    assert encode(Began(1, "job", "{}", True, False, 2.0)).hex() == "98" + began + "c400"
    assert decode(bytes.fromhex("97" + began)) == Began(1, "job", "{}", True, False, 2.0), "written by 0.1.0"
    assert encode(Intent(5, 1, key, "m", 1, 5, 0.0)).hex() == f"98020501c410{key.hex()}a16d0105cb0000000000000000"
    assert encode(Finished(1, 0.0)).hex() == "930601cb0000000000000000"
    assert [encode(GivenUp(b"", "", "", 0.0))[1], encode(Settled(0, 0, "free", 0, 0, None, None, None, 0.0))[1]] == [
        5,
        4,
    ]
    assert encode(Received(0, 0, b"", 0, {}, b"", 0.0, 0.0))[1] == 3


def test_an_older_journal_lacks_new_fields_and_a_newer_one_has_more():
    older = msgspec.msgpack.encode([3, 1, 1, b"k" * 16, 200, {}, b"body", 0.5, 1.5])
    assert decode(older) == Received(1, 1, b"k" * 16, 200, {}, b"body", 0.5, 1.5)
    newer = msgspec.msgpack.encode([6, 1, 2.0, "a new field"])
    assert decode(newer) == Finished(1, 2.0)


def test_an_entry_of_a_kind_that_came_later_is_an_error():
    with pytest.raises(msgspec.MsgspecError):
        decode(msgspec.msgpack.encode([99, 1]))


@pytest.mark.parametrize(
    "said",
    [
        GivenUp(b"k" * 16, "invalid", "half a pair: \ud800", 1.0),
        Received(1, 1, b"k" * 16, 200, {"x-\udfff": "\ud83d"}, b"\xed\xa0\x80", 0.5, 1.0),
        Settled(1, 1, "unknown", 0, 1, "\udc00", None, 500, 0.5),
    ],
)
def test_half_a_surrogate_pair_is_spelled_so_that_it_can_be_written(said):
    with pytest.raises(UnicodeEncodeError):
        encode(said)
    written = spelled(said)
    assert type(written) is type(said)
    assert decode(encode(written)) == written
    assert "?" in str(written)


@settings(deadline=None, max_examples=50)
@given(entry)
def test_spelling_leaves_all_other_entries_alone(entry):
    assert spelled(entry) == entry
