"""Frames: bytes become records again, whatever happened to the file."""

import random
import tempfile
import time
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import frames as module
from journeybatch.frames import LONGEST, MAGIC, OVERHEAD, Frame, Gap, Stored, identify, pack, scan, unpack

ID = b"journal1"
OTHER = b"journal2"
payloads = st.lists(st.binary(max_size=200) | st.just(MAGIC * 5) | st.just(pack(3, OTHER, b"forged")), max_size=12)


def journal(payloads, journal_id=ID, first=0):
    return b"".join(pack(first + n, journal_id, payload) for n, payload in enumerate(payloads))


def starts(payloads):
    """Where each frame of ``journal(payloads)`` begins, and where the last one ends."""
    at = [0]
    for payload in payloads:
        at.append(at[-1] + OVERHEAD + len(payload))
    return at


def read(data, journal_id=ID):
    """What a map of the file gives, and reading it piece by piece, too."""
    found = list(scan(memoryview(data), journal_id))
    with tempfile.TemporaryFile() as file, patch.object(module, "_AHEAD", 50):
        file.write(data)
        file.flush()
        pieces = Stored(file.fileno(), len(data))
        assert list(scan(pieces, journal_id)) == found
        assert identify(pieces) == identify(memoryview(data))
    return found


def frames(data, journal_id=ID):
    return [found for found in read(data, journal_id) if isinstance(found, Frame)]


def gaps(data, journal_id=ID):
    return [found for found in read(data, journal_id) if isinstance(found, Gap)]


@settings(deadline=None, max_examples=100)
@given(payloads)
def test_what_was_packed_is_read_back_in_order_with_its_place(payloads):
    data = journal(payloads)
    frames = [
        Frame(at, n, payload) for n, (at, payload) in enumerate(zip(starts(payloads)[:-1], payloads, strict=True))
    ]
    assert read(data) == frames
    for frame in frames:
        assert unpack(memoryview(data), frame.offset) == (frame.sequence, ID, frame.payload)


def test_a_journal_cut_at_every_byte_yields_a_prefix_of_its_entries():
    said = [b"", b"first", MAGIC, pack(9, ID, b"inner")[:-1], b"x" * 300, pack(2, OTHER, b"forged"), b"last"]
    data, at = journal(said), starts(said)
    for cut in range(len(data) + 1):
        whole = sum(end <= cut for end in at[1:])
        assert [frame.payload for frame in read(data[:cut])] == said[:whole], f"cut at {cut}"


def test_a_cut_journal_with_zeros_or_noise_behind_it_yields_the_same_prefix():
    said = [b"first", b"second", b"third"]
    data, at = journal(said), starts(said)
    noise = random.Random(1).randbytes(500)
    for cut in range(len(data)):
        whole = sum(end <= cut for end in at[1:])
        for tail in (bytes(500), noise, journal([b"stale", b"frames"], OTHER)):
            assert [frame.payload for frame in read(data[:cut] + tail)] == said[:whole], f"cut at {cut}"


def test_what_is_cut_off_while_it_is_read_is_missing_and_what_is_whole_is_there():
    said = [b"first", b"x" * 9000, b"last"]
    for cut in (*starts(said), *range(0, 9200, 997)):
        with tempfile.TemporaryFile() as file, patch.object(module, "_AHEAD", 50):
            file.write(journal(said) + bytes(9000))
            file.flush()
            found = scan(Stored(file.fileno(), file.tell()), ID)
            payloads = [next(found).payload]
            file.truncate(cut)
            payloads += [frame.payload for frame in found]
        whole = max(1, sum(end <= cut for end in starts(said)[1:]))
        assert payloads == said[:whole], f"cut at {cut}"


def spoil(kind, data, start, end, rng):
    """``data`` with the bytes from ``start`` to ``end`` damaged, none of them in vain."""
    old = data[start:end]
    if kind == "zeroed":
        new = bytes(len(old))
    elif kind == "flipped":
        new = bytes(byte ^ (1 << rng.randrange(8)) for byte in old)
    else:
        other = journal([rng.randbytes(rng.randrange(60)) for _ in range(200)], OTHER)
        at = rng.randrange(len(other) - len(old))
        new = other[at : at + len(old)]
    return data[:start] + new + data[end:]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.binary(max_size=120), min_size=2, max_size=12),
    st.sampled_from(["zeroed", "flipped", "another journal's"]),
    st.data(),
    st.randoms(use_true_random=False),
)
def test_damage_in_the_middle_costs_only_what_it_touches_and_is_reported(said, kind, draw, rng):
    data, at = journal(said), starts(said)
    start = draw.draw(st.integers(0, at[-2] - 1))
    end = draw.draw(st.integers(start + 1, at[-2]))  # the last frame is whole: that makes it the middle
    spoiled = spoil(kind, data, start, end, rng)
    changed = [n for n in range(len(data)) if data[n] != spoiled[n]]
    touched = {n for n in range(len(said)) if any(at[n] <= place < at[n + 1] for place in changed)}

    found = read(spoiled)
    assert [(f.sequence, f.payload) for f in found if isinstance(f, Frame)] == [
        (n, payload) for n, payload in enumerate(said) if n not in touched
    ]
    lost = [gap for gap in found if isinstance(gap, Gap)]
    assert sum(gap.lost for gap in lost) == len(touched)
    for n in touched:
        assert any(gap.start <= at[n] and at[n + 1] <= gap.end for gap in lost)
    for n in set(range(len(said))) - touched:
        assert not any(gap.start < at[n + 1] and at[n] < gap.end for gap in lost)


def test_every_single_flipped_bit_costs_one_record_and_is_seen():
    said = [b"one", b"two", b"three"]
    data, at = journal(said), starts(said)
    for bit in range(at[2] * 8):
        spoiled = bytearray(data)
        spoiled[bit // 8] ^= 1 << bit % 8
        gone = 0 if bit // 8 < at[1] else 1
        kept = [frame.payload for frame in frames(spoiled)]
        assert kept == [payload for n, payload in enumerate(said) if n != gone], f"bit {bit}"
        assert gaps(spoiled) == [Gap(at[gone], at[gone + 1], 1)], f"bit {bit}"


def test_bytes_that_were_put_in_between_are_a_gap_that_lost_nothing():
    one, two = pack(0, ID, b"one"), pack(1, ID, b"two")
    assert read(one + b"noise" + two) == [Frame(0, 0, b"one"), Gap(len(one), len(one) + 5, 0), Frame(36, 1, b"two")]


def test_records_that_are_gone_without_a_trace_are_counted():
    one, five = pack(0, ID, b"one"), pack(4, ID, b"five")
    assert read(one + five) == [Frame(0, 0, b"one"), Gap(31, 31, 3), Frame(31, 4, b"five")]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.integers(0, 5), st.binary(max_size=8))
def test_stale_frames_are_never_taken(said, stale, noise):
    data = journal(said)
    again = journal([b"older"] * min(stale + 1, len(said)))
    foreign = journal([b"foreign"] * (stale + 1), OTHER, first=len(said))
    kept = [frame.payload for frame in frames(data + noise + again + foreign)]
    assert kept == said  # a lower sequence, another id
    assert [frame.payload for frame in frames(data + foreign + pack(len(said), ID, b"later"))] == [*said, b"later"]


def test_a_frame_of_a_lower_sequence_in_the_middle_is_skipped():
    said = [b"zero", b"one", b"two"]
    data = journal(said)
    stale = pack(0, ID, b"old")
    mixed = data[: starts(said)[2]] + stale + data[starts(said)[2] :]
    assert [frame.payload for frame in frames(mixed)] == said
    assert gaps(mixed) == [Gap(starts(said)[2], starts(said)[2] + len(stale), 0)]


def test_a_payload_that_holds_a_whole_forged_frame_is_data():
    forged = pack(1, ID, b"forged")
    said = [b"before", forged * 3, b"after"]
    assert [frame.payload for frame in frames(journal(said))] == said


def test_a_forged_frame_stays_data_where_the_frame_around_it_is_damaged():
    # A server cannot know the id: it is random and goes nowhere.
    said = [b"before", pack(1, OTHER, b"forged"), b"after"]
    data = bytearray(journal(said))
    data[starts(said)[1]] ^= 1
    assert [frame.payload for frame in frames(data)] == [b"before", b"after"]


def test_records_are_found_behind_several_mebibytes_of_damage():
    rng = random.Random(3)
    big = [rng.randbytes(3 * 2**20), MAGIC * 2**19, rng.randbytes(2**20)]
    data = bytearray(journal([b"first", *big, b"last"]))
    assert [frame.payload for frame in frames(data)] == [b"first", *big, b"last"]
    at = starts([b"first", *big, b"last"])
    for n in (1, 2, 3):
        data[at[n] + 4] ^= 0xFF
    assert read(data) == [Frame(0, 0, b"first"), Gap(at[1], at[4], 3), Frame(at[4], 4, b"last")]


@pytest.mark.parametrize("shift", range(-OVERHEAD - 1, 3))
def test_a_frame_that_lies_across_the_edge_of_a_search_window_is_found(shift):
    said = [b"first", bytes(2**16 + shift), b"last"]
    data = bytearray(journal(said))
    data[starts(said)[1]] ^= 1
    assert [frame.payload for frame in frames(data)] == [b"first", b"last"]


def test_a_torn_reply_full_of_sham_frames_does_not_make_reading_slow():
    sham = pack(7, OTHER, b"")[:4] + (2**21).to_bytes(4, "little") + bytes(4)
    torn = pack(1, ID, sham * 350_000)[:-1]
    began = time.process_time()
    assert [frame.payload for frame in frames(pack(0, ID, b"first") + torn)] == [b"first"]
    assert time.process_time() - began < 2  # checking each sham frame's sum would take an hour


def test_a_payload_too_long_to_be_read_back_is_refused():
    with pytest.raises(ValueError, match="too long"):
        pack(0, ID, bytes(LONGEST + 1))
    assert unpack(memoryview(pack(0, ID, b"")), 0) == (0, ID, b"")


def test_a_header_that_promises_more_than_there_is_is_no_frame():
    frame = pack(0, ID, b"payload")
    assert unpack(memoryview(frame), 1) is None
    assert unpack(memoryview(frame[:-1]), 0) is None
    assert unpack(memoryview(frame[: OVERHEAD - 1]), 0) is None
    lied = MAGIC + (LONGEST + 1).to_bytes(4, "little") + frame[8:]
    assert unpack(memoryview(lied), 0) is None


def test_a_journal_is_known_by_its_first_frame_or_else_by_most_of_them():
    data = journal([b"one", b"two", b"three"])
    assert identify(memoryview(data)) == ID
    for byte in range(OVERHEAD + 3):
        spoiled = bytearray(data)
        spoiled[byte] ^= 0xFF
        assert identify(memoryview(spoiled)) == ID, f"byte {byte}"
    assert identify(memoryview(bytes(40) + data[40:])) == ID
    piece = journal([b"a piece of another journal"], OTHER, first=7)
    assert identify(memoryview(piece[:10] + data[10:])) == ID
    long = pack(7, OTHER, b"x" * 600)
    assert identify(memoryview(long[:40] + data[40:])) == ID
    assert identify(memoryview(piece + data)) == ID
    assert identify(memoryview(piece + b"torn" + data[31:])) == ID


def test_a_journal_without_a_whole_first_frame_was_never_born():
    data = pack(0, ID, b"x" * 600)
    for cut in range(len(data)):
        assert identify(memoryview(data[:cut])) == b""
    assert identify(memoryview(bytes(4096))) == b""
    stale = journal([b"stale"] * 9, OTHER, first=3)
    assert identify(memoryview(data[:512] + stale)) == b""


@pytest.mark.parametrize("data", [b"a diary", b"\xab", b"{}\n", b"PAR1" + bytes(100), bytes(100) + b"1"])
def test_a_foreign_file_is_no_journal(data):
    assert identify(memoryview(data)) == (b"" if data == MAGIC[:1] else None)
