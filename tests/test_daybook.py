"""The daybook: whatever processes do, and however they die, no UTC day is charged more than the cap."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from journeybatch import daybook as module
from journeybatch.daybook import BLOCKS, DAY_S, LARGEST_BLOCK, LINE, open_daybook, read_daybook, taken_today
from journeybatch.errors import DiskFull, JobError, OutputError

TODAY = 20_000  # days since 1970-01-01: 2024-10-04
MIDNIGHT = float(TODAY * DAY_S)


class Clock:
    def __init__(self, seconds=MIDNIGHT):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


def opened(path, cap=100, seconds=MIDNIGHT):
    return open_daybook(path, cap, Clock(seconds))


def kill(book):
    """What is left of a process after kill -9: its descriptors are closed, nothing else happens."""
    os.close(book.fd)
    book.fd = os.open(os.devnull, os.O_RDONLY)  # whatever still runs in this process must not reach the file


def spend(book, price=1):
    """Reserve and settle at the full price until there is no room; what it came to in credits."""
    spent = 0
    while (day := book.reserve(price)) is not None:
        book.settle(price, price, day)
        spent += price
    return spent


def today(path, seconds=MIDNIGHT):
    return taken_today(path, seconds)


def written(path):
    told = read_daybook(path.read_bytes())
    assert told is not None
    return told


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "daybook"


def test_one_process_can_use_the_whole_cap_and_no_more(path):
    for cap in (0, 1, 7, 49, 50, 1000):
        book = opened(path.with_name(f"daybook-{cap}"), cap)
        assert spend(book) == cap
        assert today(book.path) == cap
        assert not book.reserve(1)
        book.close()


def test_several_processes_can_use_the_last_credits_together(path):
    books = [opened(path, 500) for _ in range(3)]
    spent, refused = 0, 0
    while refused < len(books):
        refused = 0
        for book in books:
            if book.reserve(1):
                spent += 1
            else:
                refused += 1
    assert spent == 500


def test_a_rest_below_one_price_is_left_to_a_cheaper_process(path):
    dear, cheap = opened(path, 7), opened(path, 7)
    assert dear.reserve(5)
    assert not dear.reserve(5)
    assert spend(cheap) == 2


def test_what_ends_below_its_price_makes_room_again(path):
    book = opened(path, 10)
    assert book.reserve(5)
    assert book.reserve(5)
    assert not book.reserve(5)
    book.settle(5, 0, TODAY)
    assert book.reserve(5)
    book.settle(5, 5, TODAY)
    book.settle(5, 3, TODAY)
    book.close()
    assert today(path) == 8


def test_many_free_ends_make_room_for_other_processes(path):
    one, other = opened(path, 1000), opened(path, 1000)
    for _ in range(200):
        assert one.reserve(5)
    for _ in range(200):
        one.settle(5, 0, TODAY)
    assert spend(other) >= 1000 - 2 * (1000 // BLOCKS)


def test_a_clean_end_gives_back_what_was_not_needed(path):
    book = opened(path, 1000)
    assert book.reserve(3)
    assert book.reserve(4)
    book.settle(3, 2, TODAY)
    assert written(path)[1] > 6
    book.close()
    assert written(path) == (TODAY, 6)  # 2 charged, 4 still in flight: a doubt
    book.close()
    assert written(path) == (TODAY, 6)


def test_a_kill_loses_no_more_than_what_was_in_flight_and_two_blocks(path):
    cap = 10_000
    block = cap // BLOCKS
    for killed in range(1, 6):
        book = opened(path, cap)
        for _ in range(90):
            assert book.reserve(5)
            book.settle(5, 0, TODAY)
        assert book.reserve(5)
        kill(book)
        assert killed * 5 <= today(path) <= killed * (5 + 2 * block)


def test_a_block_is_synced_before_it_is_handed_out(path, monkeypatch):
    book = opened(path, 1000)

    def refuse(fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "fdatasync", refuse)
    with pytest.raises(DiskFull, match="Input/output error"):
        book.reserve(1)
    monkeypatch.undo()
    kill(book)
    assert today(path) == 1000 // BLOCKS  # nobody can tell whether it was used


def test_thousands_of_attempts_take_few_syncs(path, monkeypatch):
    syncs, sync = [], module.fdatasync
    monkeypatch.setattr(module, "fdatasync", lambda fd: (syncs.append(fd), sync(fd)))
    book = opened(path, 100 * LARGEST_BLOCK)
    for _ in range(2 * LARGEST_BLOCK):
        assert book.reserve(1)
        book.settle(1, 1, TODAY)
    assert len(syncs) == 2


@pytest.mark.parametrize("cap", [100, 2000, 100_000])
def test_a_whole_day_takes_few_syncs_whatever_the_cap(path, monkeypatch, cap):
    syncs = []
    monkeypatch.setattr(module, "fdatasync", syncs.append)
    spend(opened(path, cap))
    assert len(syncs) <= 120


def test_what_a_process_holds_nobody_else_can_have(path):
    assert today(path) == 0
    assert opened(path, 1000).reserve(7)
    assert today(path) == 1000 // BLOCKS


def test_two_caps_hold_against_the_common_sum(path):
    low, high = opened(path, 10), opened(path, 100)
    assert spend(low) == 10
    assert spend(high) == 90
    assert not low.reserve(1)
    high.close()
    assert spend(opened(path, 120)) == 20


def test_a_new_day_begins_at_midnight_utc_with_the_whole_cap(path):
    clock = Clock(MIDNIGHT - 0.001)
    book = open_daybook(path, 10, clock)
    assert spend(book) == 10
    clock.seconds = MIDNIGHT
    assert today(path, clock.seconds) == 0
    assert spend(book) == 10
    assert written(path) == (TODAY, 10)


def test_the_rest_of_yesterdays_block_is_no_room_today(path):
    clock = Clock(MIDNIGHT - 1)
    book, other = open_daybook(path, 1000, clock), opened(path, 1000)
    assert book.reserve(1)
    clock.seconds = MIDNIGHT
    assert spend(other) == 1000
    assert not book.reserve(1)


def test_what_was_reserved_yesterday_makes_no_room_today(path):
    clock = Clock(MIDNIGHT - 1)
    book = open_daybook(path, 10, clock)
    assert book.reserve(5)
    clock.seconds = MIDNIGHT
    assert book.reserve(5) == book.reserve(5) == TODAY
    book.settle(5, 0, TODAY - 1)
    assert book.reserve(1) is None
    book.settle(5, 0, TODAY)
    assert book.reserve(1) == TODAY


def test_a_clock_that_jumps_back_opens_no_room(path):
    clock = Clock()
    book = open_daybook(path, 10, clock)
    assert spend(book) == 10
    clock.seconds -= 3 * DAY_S
    assert not book.reserve(1)
    late = opened(path, 10, MIDNIGHT - DAY_S)
    assert today(path, MIDNIGHT - DAY_S) == 10
    assert not late.reserve(1)
    assert not opened(path, 10, -5.0).reserve(1)


def test_a_clock_behind_counts_for_the_day_of_the_file(path):
    behind, ahead = opened(path, 10, MIDNIGHT - 1), opened(path, 10)
    assert ahead.reserve(8)
    assert behind.reserve(2) == TODAY
    assert not behind.reserve(1)


def test_file_and_directory_are_for_the_user_only(path):
    opened(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("cut", [LINE - 1, LINE, LINE + 1, 2 * LINE - 1])
def test_a_line_torn_at_the_end_costs_nothing(path, cut):
    spend(opened(path, 10))
    os.truncate(path, cut)
    if cut < LINE:
        with pytest.raises(OutputError):
            opened(path, 10)
    else:
        assert today(path) == 10
        assert spend(opened(path, 12)) == 2
        assert path.stat().st_size == 2 * LINE


def test_a_line_spoilt_in_either_place_costs_nothing(path):
    for at in (0, 30, LINE - 1, LINE, LINE + 40, 2 * LINE - 1):
        spend(opened(path, 10))
        data = bytearray(path.read_bytes())
        data[at] ^= 0x11
        path.write_bytes(data)
        assert today(path) == 10
        opened(path, 10)


def test_a_line_of_a_day_that_there_is_not_is_spoilt(path):
    text = b"journeybatch daybook 2026-13-45 7".ljust(LINE - 9)
    line = text + b"%08x\n" % crc32(text)
    opened(path).close()
    path.write_bytes(2 * line)
    for read in (today, lambda path: opened(path, 10)):
        with pytest.raises(OutputError, match="damaged"):
            read(path)
    path.unlink()
    spend(opened(path, 10))
    path.write_bytes(line + path.read_bytes()[LINE:])
    assert today(path) == 10


@pytest.mark.parametrize("data", [b"", bytes(LINE), bytes(2 * LINE), "torn"])
def test_a_file_that_was_never_born_is_begun(path, data):
    if data == "torn":
        opened(path)
        data = path.read_bytes()[: LINE // 2]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    assert spend(opened(path, 10)) == 10


@pytest.mark.parametrize("data", [b"x", b"dear diary\n", bytes(2 * LINE + 1), b"journeybatch daybook 2024-10-04 3\n"])
def test_a_foreign_or_damaged_file_is_an_error_and_stays_as_it_is(path, data):
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(OutputError, match="rename") as caught:
        opened(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, JobError)
    with pytest.raises(OutputError, match="rename"):
        today(path)
    assert path.read_bytes() == data


def test_a_number_changed_by_hand_is_seen(path):
    spend(opened(path, 10))
    path.write_bytes(path.read_bytes().replace(b" 10 ", b" 01 "))
    with pytest.raises(OutputError):
        opened(path)


def test_damage_while_in_use_stops_the_run(path):
    book = opened(path)
    for data in (b"", bytes(2 * LINE), b"x" * 2 * LINE):
        path.write_bytes(data)
        with pytest.raises(DiskFull, match="damaged"):
            book.reserve(1)
    book.close()


def test_a_file_that_is_moved_or_deleted_while_in_use_stops_the_run(path):
    for move in (lambda: path.rename(path.with_name("old")), path.unlink):
        book = opened(path)
        move()
        with pytest.raises(DiskFull, match="moved"):
            book.reserve(1)
        assert spend(opened(path, 5)) == 5
        with pytest.raises(DiskFull, match="moved"):
            book.reserve(1)
        book.close()
        path.unlink()


def test_a_place_that_cannot_be_written_is_an_error_with_its_path(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file/daybook"):
        opened(tmp_path / "file" / "daybook")
    with pytest.raises(OutputError, match="cannot be written"):
        opened(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe"):
        opened(tmp_path / "pipe")


def test_a_full_disk_stops_the_run_and_close_never_raises(path, monkeypatch):
    book = opened(path)
    assert book.reserve(1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "pwrite", full)
    with pytest.raises(DiskFull, match="No space left"):
        spend(book)
    book.settle(1, 0, TODAY)
    book.close()
    with pytest.raises(DiskFull, match="nothing was sent"):
        opened(path.with_name("other"))


def test_a_holder_that_does_not_let_go_stops_the_run_in_time(path, monkeypatch):
    monkeypatch.setattr(module, "LOCK_WITHIN_S", 0.05)
    book, other = opened(path), opened(path)
    module.fcntl.flock(other.fd, module.fcntl.LOCK_EX)
    with pytest.raises(DiskFull, match="let go"):
        book.reserve(1)
    with pytest.raises(DiskFull, match="let go"):
        opened(path)
    book.close()
    kill(other)
    assert opened(path).reserve(1)


class Killed(BaseException):
    pass


def dies(name, call, count, whole):
    """``os.name`` that is killed at its ``count``-th call, with ``whole`` of the bytes written."""
    real, left = getattr(os, name), [count]

    def run(fd, data, offset):
        left[0] -= 1
        if left[0]:
            return real(fd, data, offset)
        real(fd, data[:whole], offset)
        call()
        raise Killed

    return run


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("whole", [0, 30, 36, LINE - 1, LINE, LINE + 36, 2 * LINE])
def test_a_kill_in_the_middle_of_a_write_opens_no_room(path, monkeypatch, count, whole):
    opened(path).close()
    book, sent = opened(path, 100), []
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module.os, "pwrite", dies("pwrite", lambda: kill(book), count, whole))
        for _ in range(5):
            assert book.reserve(2)
            sent.append(2)
        for _ in range(5):
            sent.pop()  # its end is free, and then the room is given back
            book.settle(2, 0, TODAY)
    rest = spend(opened(path, 100))
    assert 100 - 2 * 2 - 12 <= sum(sent) + rest <= 100


class Processes(RuleBasedStateMachine):
    """Several daybooks on one file, kills and days. ``bill`` is the worst that each day can be charged."""

    @initialize(cap=st.integers(0, 400))
    def begin(self, cap):
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "daybook"
        self.clock, self.cap = Clock(), cap
        self.books, self.in_flight, self.bill = [], {}, Counter()

    def teardown(self):
        for book in getattr(self, "books", []):
            book.close()
        if hasattr(self, "directory"):
            self.directory.cleanup()

    @rule()
    @precondition(lambda self: len(self.books) < 4)
    def start(self):
        self.books.append(open_daybook(self.path, self.cap, self.clock))
        self.in_flight[self.books[-1]] = []

    @rule(data=st.data(), most=st.integers(0, 9), times=st.integers(1, 40))
    @precondition(lambda self: self.books)
    def reserve(self, data, most, times):
        book = data.draw(st.sampled_from(self.books))
        day = int(self.clock() // DAY_S)
        for _ in range(times):
            if (counted := book.reserve(most)) is not None:
                assert counted == day
                self.in_flight[book].append((most, day))
                self.bill[day] += most

    @rule(data=st.data(), times=st.integers(1, 40))
    @precondition(lambda self: any(self.in_flight.values()))
    def settle(self, data, times):
        book = data.draw(st.sampled_from([book for book in self.books if self.in_flight[book]]))
        for _ in range(min(times, len(self.in_flight[book]))):
            at = data.draw(st.integers(0, len(self.in_flight[book]) - 1))
            most, day = self.in_flight[book].pop(at)
            charged = data.draw(st.sampled_from([0, most // 2, most]))
            self.bill[day] -= most - charged
            book.settle(most, charged, day)

    @rule(data=st.data(), clean=st.booleans())
    @precondition(lambda self: self.books)
    def end(self, data, clean):
        """What it had in flight may have been charged all the same, and stays in the bill."""
        book = self.books.pop(data.draw(st.integers(0, len(self.books) - 1)))
        (book.close if clean else lambda: kill(book))()
        del self.in_flight[book]

    @rule(seconds=st.sampled_from([1.0, DAY_S / 3, float(DAY_S)]))
    def wait(self, seconds):
        self.clock.seconds += seconds

    @invariant()
    def no_day_is_charged_more_than_the_cap(self):
        assert all(charged <= self.cap for charged in getattr(self, "bill", {}).values())

    @invariant()
    def the_sum_covers_the_bill(self):
        if hasattr(self, "clock"):
            assert self.bill[int(self.clock() // DAY_S)] <= taken_today(self.path, self.clock()) <= self.cap


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(steps=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.floats(0, 1)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_without_a_kill_the_sum_is_exact_once_all_are_closed(steps):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "daybook"
        books = [opened(path, 120) for _ in range(3)]
        charged = 0
        for which, most, share in steps:
            if books[which].reserve(most):
                books[which].settle(most, round(most * share), TODAY)
                charged += round(most * share)
        for book in books:
            book.close()
        assert charged <= 120
        assert today(path) == charged


WORKER = textwrap.dedent(
    """
    import os, random, sys, time
    from pathlib import Path
    from journeybatch.daybook import open_daybook

    path, cap, bill = Path(sys.argv[1]), int(sys.argv[2]), os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND)
    chance, in_flight = random.Random(int(sys.argv[4])), []
    book = open_daybook(path, cap)
    print("ready", flush=True)
    while True:
        price = chance.choice([1, 1, 1, 5])
        if (day := book.reserve(price)) is not None:
            os.write(bill, b"%d\\n" % price)  # sent
            in_flight.append((price, day))
        elif not in_flight:
            time.sleep(0.001)
        if len(in_flight) > 8 or (in_flight and chance.random() < 0.3):
            price, day = in_flight.pop(chance.randrange(len(in_flight)))
            charged = chance.choice([0, price])
            os.write(bill, b"-%d\\n" % (price - charged))  # what it was not charged, before anyone gets the room
            book.settle(price, charged, day)
    """
)


def test_four_processes_that_are_killed_at_random_never_pass_the_cap(path):
    cap, kills, chance = 3_000, 24, random.Random(5)
    bill = path.with_name("bill")
    opened(path, cap, time.time()).close()
    bill.touch()

    def start(seed):
        command = [sys.executable, "-c", WORKER, str(path), str(cap), str(bill), str(seed)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
        assert worker.stdout.readline() == b"ready\n"
        return worker

    def end(worker):
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()

    workers = [start(seed) for seed in range(4)]
    try:
        for seed in range(4, kills):
            time.sleep(chance.uniform(0, 0.01))
            end(workers.pop(chance.randrange(4)))
            workers.append(start(seed))
            charged = sum(map(int, bill.read_bytes().split()))
            assert charged <= cap
        time.sleep(0.1)
    finally:
        for worker in workers:
            end(worker)
    charged = sum(map(int, bill.read_bytes().split()))
    assert charged <= taken_today(path, time.time()) <= cap
    last = opened(path, cap, time.time())
    assert charged + spend(last) >= cap - kills * 2 * (cap // BLOCKS) - kills * 9 * 5
    assert charged > cap // 4
