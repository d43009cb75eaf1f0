"""The history: what a journal tells of attempts, money and keys, whole or damaged."""

import os
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.archive import mapped, read_history, received
from journeybatch.attempts import FREE, SETTLED, UNKNOWN, Run
from journeybatch.entries import (
    Began,
    Borrowed,
    Finished,
    GivenUp,
    Intent,
    Received,
    Reread,
    Settled,
    Split,
    encode,
)
from journeybatch.errors import DiskFull, OutputError, RunLocked
from journeybatch.frames import Gap, pack
from journeybatch.history import History
from journeybatch.verdict import ANSWERED, MISSED, UNFIT

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
BEGAN = Began(1, "job", '{"ask": 1}', False, False, 100.0)


def intent(request, attempt=1, keys=A, most=5, model="m"):
    return Intent(request, attempt, keys, model, 1, most, 101.0)


def reply(request, attempt=1, keys=A, most=5, headers=None):
    return Received(request, attempt, keys, 200, headers or {}, b"{}", 0.5, 102.0, 1, most)


def settled(request, attempt=1, charge="settled", credits=3, most=5, error=None, message=None):
    return Settled(request, attempt, charge, credits, most, error, message, 200, 0.5)


def fold(*entries):
    history = History()
    for offset, entry in enumerate(entries):
        history.fold(entry, offset * 100)
    return history


def write(path, entries, journal_id=b"journal1"):
    path.write_bytes(b"".join(pack(n, journal_id, encode(entry)) for n, entry in enumerate(entries)))
    return path


def told(history):
    """All that a history tells, as one comparable value."""
    a = history.attempts
    columns = {**a.table().to_dict(as_series=False), **a.lines().to_dict(as_series=False)}
    names = ("given_up", "began", "asks", "next_request", "emulated", "unjudged", "spent")
    runs = [msgspec.structs.asdict(run) for run in history.runs]
    return columns, runs, {name: getattr(history, name) for name in names}


def sums(run):
    return run.sent, run.retried, run.in_doubt, run.spent, run.unknown


# -- one attempt ----------------------------------------------------------------------------------------------


def test_an_attempt_that_only_began_is_in_doubt_with_its_highest_price():
    history = fold(BEGAN, intent(7))
    assert sums(history.run) == (1, 0, 1, 0, 5)
    assert (history.attempts.charge[0], history.attempts.credits_max[0]) == (UNKNOWN, 5)
    assert list(history.attempts.error) == ["in_doubt"]
    assert history.unjudged == []
    assert history.next_request == 8


def test_a_reply_that_nobody_read_is_unjudged_and_still_in_doubt():
    history = fold(BEGAN, intent(7), reply(7))
    assert history.unjudged == [0]
    assert sums(history.run) == (1, 0, 1, 0, 5)
    a = history.attempts
    assert (a.offset[0], a.status[0], a.latency_s[0], a.least[0]) == (200, 200, 0.5, 1)


def test_a_settled_attempt_costs_what_its_settlement_says():
    history = fold(BEGAN, intent(7), reply(7), settled(7))
    assert sums(history.run) == (1, 0, 0, 3, 2)
    assert history.spent == 3
    assert history.unjudged == []
    a = history.attempts
    assert (a.charge[0], a.credits[0], a.credits_max[0], a.error[0]) == (SETTLED, 3, 5, None)


def test_a_free_end_costs_nothing_and_keeps_what_the_server_said():
    history = fold(BEGAN, intent(7), settled(7, charge="free", credits=0, most=0, error="rejected", message="bad row"))
    assert sums(history.run) == (1, 0, 0, 0, 0)
    assert (history.attempts.charge[0], history.attempts.error[0]) == (FREE, "rejected")
    assert list(history.attempts.message) == ["bad row"]


def test_an_unknown_end_stays_in_doubt():
    history = fold(BEGAN, intent(7), settled(7, charge="unknown", credits=0, error="reset"))
    assert sums(history.run) == (1, 0, 1, 0, 5)


def test_an_attempt_that_was_never_sent_is_counted_nowhere():
    first = settled(7, charge="free", credits=0, most=0, error="unsent")
    again = settled(7, attempt=2, charge="free", credits=0, most=0, error="unsent")
    assert sums(fold(BEGAN, intent(7), first).run) == (0, 0, 0, 0, 0)
    assert sums(fold(BEGAN, intent(7, 2), again).run) == (0, 0, 0, 0, 0)


def test_attempts_of_one_request_are_told_apart_and_the_later_ones_are_retries():
    unknown = settled(7, charge="unknown", credits=0, error="reset")
    history = fold(BEGAN, intent(7), unknown, intent(7, 2), reply(7, 2), settled(7, 2, credits=5))
    assert sums(history.run) == (2, 1, 1, 5, 5)
    assert list(history.attempts.attempt) == [1, 2]
    assert list(history.attempts.offset) == [-1, 400]


def test_keys_are_told_by_attempt():
    history = fold(BEGAN, intent(1, keys=A + B), intent(2, keys=C))
    assert history.attempts.keys_of(0) == [A, B]
    assert history.attempts.keys_of(1) == [C]
    assert len(history.attempts) == 2


def test_a_model_s_name_is_kept_once():
    names = ["".join(["mod", "el"]) for _ in range(2)]
    history = fold(BEGAN, *(intent(n, model=name) for n, name in enumerate(names)))
    assert history.attempts.model[0] is history.attempts.model[1]


# -- runs, asks, rows given up --------------------------------------------------------------------------------


def test_a_run_lasts_through_crashes_and_a_finished_one_is_followed_by_the_next():
    history = fold(
        BEGAN,
        intent(1),
        msgspec.structs.replace(BEGAN, at=200.0),
        intent(2),
        settled(2),
        Finished(1, 300.0),
        msgspec.structs.replace(BEGAN, run=2, at=400.0),
        intent(3),
    )
    assert [(run.number, run.began_at, run.finished_at) for run in history.runs] == [
        (1, 100.0, 300.0),
        (2, 400.0, None),
    ]
    assert [sums(run) for run in history.runs] == [(2, 0, 1, 3, 7), (1, 0, 1, 0, 5)]
    assert list(history.attempts.run) == [1, 1, 2]
    assert history.run is history.runs[1]
    assert history.spent == 3


def test_money_of_an_earlier_run_stays_with_it_when_it_is_settled_later():
    history = fold(BEGAN, intent(1), msgspec.structs.replace(BEGAN, run=2), intent(2), settled(1))
    assert [sums(run) for run in history.runs] == [(1, 0, 0, 3, 2), (1, 0, 1, 0, 5)]


def test_the_end_of_another_run_does_not_finish_this_one():
    assert fold(Finished(1, 5.0)).run is None
    assert fold(BEGAN, Finished(2, 5.0)).run.finished_at is None


def test_each_ask_is_kept_once_in_order():
    other = msgspec.structs.replace(BEGAN, ask="other", emulated=True)
    history = fold(BEGAN, other, BEGAN)
    assert history.asks == [BEGAN.ask, "other"]
    assert history.began == BEGAN


def test_given_up_keys_are_told_one_by_one_and_the_last_word_counts():
    history = fold(BEGAN, GivenUp(A + B, "rejected", "no", 1.0), GivenUp(B, "invalid", "hm", 2.0))
    assert history.given_up == {A: ("rejected", "no"), B: ("invalid", "hm")}


def test_an_emulator_s_reply_is_noticed():
    assert not fold(BEGAN, intent(1), reply(1)).emulated
    history = fold(BEGAN, intent(1), reply(1, headers={"x-journeybatch-emulator": "1"}), intent(2), reply(2))
    assert history.emulated


# -- damage ---------------------------------------------------------------------------------------------------


def test_a_reply_whose_intent_is_damaged_is_of_use_and_holds_its_price():
    history = fold(BEGAN, reply(7))
    assert history.unjudged == [0]
    assert history.attempts.keys_of(0) == [A]
    assert sums(history.run) == (1, 0, 1, 0, 5)
    history.fold(settled(7), 300)
    assert sums(history.run) == (1, 0, 0, 3, 2)
    assert history.next_request == 8


def test_a_settlement_whose_reply_is_damaged_still_counts():
    history = fold(BEGAN, intent(7), settled(7))
    assert sums(history.run) == (1, 0, 0, 3, 2)
    assert history.attempts.offset[0] == -1


def test_a_settlement_alone_still_counts_its_money():
    history = fold(BEGAN, settled(7, attempt=2))
    assert sums(history.run) == (1, 1, 0, 3, 2)
    assert (history.attempts.keys_of(0), history.unjudged, history.next_request) == ([], [], 8)


def test_money_counts_where_the_entry_that_began_the_run_is_damaged():
    history = fold(intent(7), settled(7))
    assert [(run.number, sums(run)) for run in history.runs] == [(1, (1, 0, 0, 3, 2))]
    assert history.began is None


def test_an_attempt_after_a_finished_run_belongs_to_a_run_whose_beginning_is_damaged():
    history = fold(BEGAN, intent(1), settled(1), Finished(1, 300.0), intent(2), msgspec.structs.replace(BEGAN, run=2))
    assert [(run.number, sums(run)) for run in history.runs] == [(1, (1, 0, 0, 3, 2)), (2, (1, 0, 1, 0, 5))]


@pytest.mark.parametrize("damaged", range(5))
def test_whatever_single_entry_is_damaged_no_certain_credit_is_forgotten(tmp_path, damaged):
    entries = [BEGAN, intent(7), reply(7), settled(7), intent(8, keys=B), reply(8, keys=B), settled(8, credits=5)]
    path = write(tmp_path / "journal", entries)
    data = bytearray(path.read_bytes())
    at = sum(len(pack(0, bytes(8), encode(entry))) for entry in entries[:damaged])
    data[at + 30] ^= 0x40
    path.write_bytes(data)
    history = read_history(path)
    assert [gap.lost for gap in history.gaps] == [1]
    certain = 5 if damaged == 3 else 8
    assert history.spent == certain
    assert history.spent + sum(run.unknown for run in history.runs) >= 8  # what is not certain is in doubt
    assert history.sequence == len(entries)
    assert history.end == history.size == len(data)


# -- files ----------------------------------------------------------------------------------------------------


def test_a_journal_is_read_from_its_file_with_the_place_of_each_reply(tmp_path):
    entries = [BEGAN, intent(7), reply(7), settled(7), Finished(1, 200.0)]
    path = write(tmp_path / "journal", entries)
    history = read_history(path)
    assert (history.id, history.size, history.end, history.sequence) == (
        b"journal1",
        path.stat().st_size,
        path.stat().st_size,
        5,
    )
    assert told(history)[1] == [
        msgspec.structs.asdict(Run(1, 100.0, 200.0, sent=1, retried=0, in_doubt=0, spent=3, unknown=2))
    ]
    with mapped(path) as buffer:
        assert received(buffer, history, 0) == reply(7)


def test_a_torn_tail_is_left_alone_and_not_read(tmp_path):
    path = write(tmp_path / "journal", [BEGAN, intent(7)])
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes() + pack(2, b"journal1", encode(reply(7)))[:-1])
    history = read_history(path)
    assert (history.end, history.size > whole, history.gaps, history.unjudged) == (whole, True, [], [])


def test_damage_is_told_as_a_gap_with_its_place(tmp_path):
    path = write(tmp_path / "journal", [BEGAN, intent(7), intent(8)])
    one, two = len(pack(0, bytes(8), encode(BEGAN))), len(pack(0, bytes(8), encode(intent(7))))
    data = bytearray(path.read_bytes())
    data[one : one + two] = bytes(two)
    path.write_bytes(data)
    assert read_history(path).gaps == [Gap(one, one + two, 1)]


@pytest.mark.parametrize("start", [b"", b"\xab", b"\xabJBj", bytes(700)])
def test_a_journal_that_was_never_born_tells_nothing(tmp_path, start):
    path = tmp_path / "journal"
    path.write_bytes(start)
    history = read_history(path)
    assert (history.id, history.end, history.size, len(history.attempts), history.run) == (b"", 0, len(start), 0, None)


def test_a_foreign_file_is_refused_by_name(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"Dear diary")
    with pytest.raises(OutputError, match=r"journal: this file is not a journal of journeybatch"):
        read_history(path)
    assert path.read_bytes() == b"Dear diary"


def test_a_pipe_or_a_directory_called_journal_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OutputError, match="not a file"):
            read_history(path)


def test_a_journal_that_cannot_be_read_is_one_clear_error(tmp_path, monkeypatch):
    path = write(tmp_path / "journal", [BEGAN])

    def refuse(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("journeybatch.frames.os.pread", refuse)
    with pytest.raises(OutputError, match="cannot be read: Input/output error"):
        read_history(path)


CUT = """
import os, sys
from pathlib import Path
from journeybatch import archive
path, end, decode = Path(sys.argv[1]), int(sys.argv[2]), archive.entries.decode
def later(payload):
    os.truncate(path, end)
    return decode(payload)
archive.entries.decode = later
print(len(archive.read_history(path).attempts))
"""


def test_a_torn_tail_that_a_starting_run_cuts_off_ends_nobody_who_reads(tmp_path):
    path = write(tmp_path / "journal", [BEGAN, intent(7), reply(7)])
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(2**22))
    reader = [sys.executable, "-c", CUT, path, str(end)]
    done = subprocess.run(reader, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, path.stat().st_size) == (0, "1\n", end)


def test_an_entry_of_a_newer_version_is_one_clear_error(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(pack(0, b"journal1", encode(BEGAN)) + pack(1, b"journal1", msgspec.msgpack.encode([99, 1])))
    with pytest.raises(OutputError, match="newer version"):
        read_history(path)


def test_only_a_reply_s_place_gives_a_reply(tmp_path):
    path = write(tmp_path / "journal", [BEGAN, intent(7), reply(7)])
    history = read_history(path)
    place = history.attempts.offset[0]
    with mapped(path) as buffer:
        assert received(buffer, history, 0) == reply(7)
    history.attempts.offset[0] = 0
    with pytest.raises(TypeError), mapped(path) as buffer:
        received(buffer, history, 0)
    history.attempts.offset[0] = place + 1
    with (
        pytest.raises(DiskFull, match=f"the journal is damaged at byte {place + 1}: run again"),
        mapped(path) as buffer,
    ):
        received(buffer, history, 0)


@pytest.mark.parametrize("others", [[BEGAN, intent(7), reply(7)], [BEGAN, intent(7), intent(8), reply(8)], [BEGAN]])
def test_a_place_in_a_journal_means_nothing_in_the_one_that_took_its_place(tmp_path, others):
    path = write(tmp_path / "journal", [BEGAN, intent(7), reply(7)])
    history = read_history(path)
    path.write_bytes(b"".join(pack(n, b"journal2", encode(entry)) for n, entry in enumerate(others)))
    with pytest.raises(RunLocked, match="another run has written the journal anew"), mapped(path) as buffer:
        received(buffer, history, 0)


# -- a law ----------------------------------------------------------------------------------------------------

moves = st.lists(
    st.tuples(st.sampled_from(["reply", "free", "unknown", "settled", "lose", "give up", "run"]), st.integers(1, 5)),
    max_size=40,
)


@settings(deadline=None, max_examples=100)
@given(moves)
def test_the_sums_of_the_runs_are_the_sums_of_their_attempts(moves):
    history = fold(BEGAN)
    number = 1
    for request, (move, price) in enumerate(moves):
        if move == "run":
            number += 1
            history.fold(Finished(number - 1, 1.0), 0)
            history.fold(msgspec.structs.replace(BEGAN, run=number), 0)
            continue
        if move == "give up":
            history.fold(GivenUp(A, "rejected", "", 1.0), 0)
            continue
        history.fold(intent(request, 1 + price % 2, most=price), 0)
        if move in ("reply", "settled"):
            history.fold(reply(request, 1 + price % 2, most=price), request)
        if move in ("free", "unknown", "settled"):
            certain, most = {"free": (0, 0), "unknown": (0, price), "settled": (1, price)}[move]
            history.fold(settled(request, 1 + price % 2, move, certain, most), 0)
    a = history.attempts
    for run in history.runs:
        own = [i for i in range(len(a)) if a.run[i] == run.number]
        assert run.sent == len(own)
        assert run.retried == sum(a.attempt[i] > 1 for i in own)
        assert run.in_doubt == sum(a.charge[i] == UNKNOWN for i in own)
        assert run.spent == sum(a.credits[i] for i in own)
        assert run.unknown == sum(a.credits_max[i] - a.credits[i] for i in own)
    assert history.spent == sum(a.credits)


# -- packs ---------------------------------------------------------------------------------------------------------


def packed(told: History, number: int, keys: list[bytes], codes: list[int]) -> None:
    joined = b"".join(keys)
    told.fold(Intent(number, 1, joined, "m", 1, 1, 2.0), 0)
    told.fold(Received(number, 1, joined, 200, {}, b"", 0.5, 3.0), 100 + number)
    told.fold(Settled(number, 1, "settled", 1, 1, None, None, 200, 0.5, bytes(codes)), 0)


def test_a_row_that_its_pack_missed_goes_into_a_smaller_one():
    told = History()
    told.fold(Began(1, "job", "{}", False, False, 1.0, b"one"), 0)
    keys = [bytes([n]) * 16 for n in range(20)]
    packed(told, 1, keys, [ANSWERED] * 18 + [MISSED, UNFIT])
    assert told.rooms == {keys[18]: 5, keys[19]: 1}
    packed(told, 2, keys[14:19], [ANSWERED] * 4 + [MISSED])
    assert told.rooms[keys[18]] == 1
    told.fold(Split(b"".join(keys[:11]), 11), 0)
    assert told.rooms[keys[0]] == 5, "what was rejected was not paid for: halves are tried"


def test_what_another_way_of_reading_misses_may_be_asked_in_as_large_a_pack():
    told = History()
    told.fold(Began(1, "job", "{}", False, False, 1.0, b"one"), 0)
    keys = [A, B]
    packed(told, 1, keys, [ANSWERED, ANSWERED])
    told.fold(Began(1, "job", "{}", False, False, 4.0, b"two"), 0)
    told.fold(Reread(101, b"two", bytes([UNFIT, MISSED])), 0)
    assert told.attempts.codes(0) == bytes([UNFIT, MISSED])
    assert told.rooms == {}


def test_a_reply_taken_over_begins_no_run():
    told = History()
    told.take_over(Borrowed(b"other...", 3, 1, A, "m", 200, {}, b"", 0.5, 1.0), b"", bytes([ANSWERED]), b"")
    assert told.runs == []
    told.fold(Began(1, "job", "{}", False, False, 9.0), 0)
    assert [(run.number, run.began_at, run.sent) for run in told.runs] == [(1, 9.0, 0)]
