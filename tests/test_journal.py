"""The journal: what reached it is there after a kill, what is called durable is there after a power cut."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import anyio
import pytest
from conftest import held
from hypothesis import given, settings
from hypothesis import strategies as st
from test_history import BEGAN, intent, reply, settled, told
from trio.testing import MockClock

from journeybatch import journal as module
from journeybatch.archive import mapped, read_history, received
from journeybatch.entries import Began, Finished, GivenUp, Intent, Received, Settled
from journeybatch.errors import DiskFull, OutputError, RunLocked
from journeybatch.frames import MAGIC, pack
from journeybatch.history import History
from journeybatch.journal import BALLAST, BALLAST_BYTES, SYNC_EVERY, SYNC_WITHIN_S, Journal, open_journal
from journeybatch.lock import locked


@pytest.fixture
def anyio_backend():
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Disk:
    """A disk that takes ``seconds`` for a sync and notes how much of the file each one made safe."""

    def __init__(self, seconds=0.0, fails_from=None):
        self.seconds = seconds
        self.fails_from = fails_from
        self.began, self.ended, self.sizes = [], [], []
        self.at_once = self.most = 0

    async def __call__(self, fd):
        size = os.fstat(fd).st_size
        self.began.append(anyio.current_time())
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            if self.seconds:
                await anyio.sleep(self.seconds)
            if self.fails_from is not None and len(self.began) > self.fails_from:
                raise OSError(errno.EIO, "Input/output error")
        finally:
            self.at_once -= 1
        self.ended.append(anyio.current_time())
        self.sizes.append(size)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def inodes(*paths):
    return [path.stat().st_ino for path in paths]


def requests(directory):
    """The requests of all replies in the journal's file, as another process would read them."""
    path = directory / "journal"
    history = read_history(path)
    with mapped(path) as buffer:
        return [received(buffer, history, i).request for i, at in enumerate(history.attempts.offset) if at >= 0]


def offsets_hold(journal):
    """Whether every reply stands in the file where the live history says."""
    a = journal.history.attempts
    with mapped(journal.path) as buffer:
        return all(
            received(buffer, journal.history, i).request == a.request[i] for i in range(len(a)) if a.offset[i] >= 0
        )


def python(code, *args, **options):
    """A child process of Python; ``sys.argv`` holds ``args``."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)], stdout=subprocess.PIPE, text=True, **options
    )


# -- opening --------------------------------------------------------------------------------------------------


def test_a_new_directory_and_its_journal_are_private(tmp_path):
    old = os.umask(0)
    try:
        open_journal(tmp_path / "deep" / "out").close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "deep" / "out").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "out" / "journal").stat().st_mode) == 0o600


def test_the_ballast_is_private_and_there_only_while_the_journal_is_open(tmp_path):
    journal = open_journal(tmp_path)
    assert (tmp_path / BALLAST).stat().st_size == BALLAST_BYTES == 4 * 2**20
    assert (tmp_path / BALLAST).stat().st_blocks * 512 >= BALLAST_BYTES  # room that is really taken
    assert stat.S_IMODE((tmp_path / BALLAST).stat().st_mode) == 0o600
    journal.close()
    assert names(tmp_path) == ["journal"]


def test_a_relative_directory_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_journal(Path("a/b")).close()
    assert (tmp_path / "a" / "b" / "journal").exists()


def test_a_torn_tail_is_cut_and_the_journal_goes_on(tmp_path):
    journal = open_journal(tmp_path)
    for entry in (BEGAN, intent(1), reply(1)):
        journal.write(entry)
    journal.close()
    whole = (tmp_path / "journal").read_bytes()
    for cut in range(1, len(whole)):
        (tmp_path / "journal").write_bytes(whole[:cut])
        journal = open_journal(tmp_path)
        assert (tmp_path / "journal").stat().st_size == journal.end <= cut
        before = journal.sequence
        journal.write(reply(9))
        journal.close()
        history = read_history(tmp_path / "journal")
        assert (history.sequence, history.size, history.gaps) == (before + 1, history.end, []), f"cut at {cut}"
        assert requests(tmp_path)[-1] == 9


@pytest.mark.parametrize("start", [b"", MAGIC[:2], pack(0, b"12345678", b"x" * 600)[:-1], bytes(4096)])
def test_a_journal_that_was_never_born_starts_anew(tmp_path, start):
    (tmp_path / "journal").write_bytes(start)
    journal = open_journal(tmp_path)
    journal.write(BEGAN)
    journal.close()
    history = read_history(tmp_path / "journal")
    assert (history.began, history.sequence, history.gaps) == (BEGAN, 1, [])


def test_two_journals_have_different_ids(tmp_path):
    for name in ("one", "two"):
        journal = open_journal(tmp_path / name)
        journal.write(BEGAN)
        journal.close()
    one, two = (read_history(tmp_path / name / "journal").id for name in ("one", "two"))
    assert len(one) == len(two) == 8
    assert one != two


def test_damage_in_the_middle_stays_and_the_journal_goes_on_behind_it(tmp_path):
    journal = open_journal(tmp_path)
    places = [journal.write(entry) for entry in (BEGAN, intent(1), reply(1), settled(1), intent(2))]
    journal.close()
    data = bytearray((tmp_path / "journal").read_bytes())
    data[places[1] : places[3]] = bytes(places[3] - places[1])
    (tmp_path / "journal").write_bytes(data)
    journal = open_journal(tmp_path)
    journal.write(reply(2))
    assert offsets_hold(journal)
    journal.close()
    assert (tmp_path / "journal").read_bytes().startswith(data)
    history = read_history(tmp_path / "journal")
    assert [(gap.start, gap.end, gap.lost) for gap in history.gaps] == [(places[1], places[3], 2)]
    assert history.spent == 3


def test_a_foreign_file_called_journal_stays_untouched_and_is_exit_2(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"Dear diary, \0 today")
    before = path.stat()
    with pytest.raises(OutputError, match="not a journal of journeybatch") as refusal:
        open_journal(tmp_path)
    assert refusal.value.exit_code == 2
    after = path.stat()
    assert path.read_bytes() == b"Dear diary, \0 today"
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)
    assert names(tmp_path) == ["journal"]
    assert not locked(path)


def in_the_way_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file"


def below_a_file(tmp_path):
    return in_the_way_file(tmp_path) / "out"


def with_a_directory_called_journal(tmp_path):
    (tmp_path / "journal").mkdir()
    return tmp_path


def with_a_pipe_called_journal(tmp_path):
    os.mkfifo(tmp_path / "journal")
    return tmp_path


def with_a_dangling_link(tmp_path):
    (tmp_path / "journal").symlink_to(tmp_path / "nowhere" / "journal")
    return tmp_path


def with_a_directory_called_ballast(tmp_path):
    (tmp_path / BALLAST).mkdir()
    return tmp_path


def where_nothing_can_be_made(_):
    return Path("/proc/journeybatch")


def with_too_long_a_name(tmp_path):
    return tmp_path / ("x" * 300)


@pytest.mark.parametrize(
    "place",
    [
        in_the_way_file,
        below_a_file,
        with_a_directory_called_journal,
        with_a_pipe_called_journal,
        with_a_dangling_link,
        with_a_directory_called_ballast,
        pytest.param(
            where_nothing_can_be_made, marks=pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc")
        ),
        with_too_long_a_name,
    ],
)
def test_a_directory_that_cannot_be_used_is_one_clear_error(tmp_path, place):
    directory = place(tmp_path)
    before = held(tmp_path)
    with pytest.raises(OutputError) as refusal:
        open_journal(directory)
    assert str(directory) in str(refusal.value)
    assert "choose another" in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert held(tmp_path) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE])
@pytest.mark.parametrize("call", ["open", "fsync", "ftruncate", "fchmod"])
def test_no_room_at_the_start_is_a_full_disk_and_goes_away_with_its_cause(tmp_path, monkeypatch, call, number):
    (tmp_path / "journal").write_bytes(pack(0, b"12345678", b"x" * 600)[:-1])

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, pytest.raises(DiskFull) as full:
        patch.setattr(module.os, call, refuse)
        open_journal(tmp_path)
    assert os.strerror(number) in str(full.value)
    assert (full.value.exit_code, full.value.reason) == (3, "disk")
    assert held(tmp_path) == 0
    assert not (tmp_path / BALLAST).exists() or call in ("fsync",)
    open_journal(tmp_path).close()


def test_a_read_only_disk_at_the_start_asks_for_another_place(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(module.os, "open", refuse)
    with pytest.raises(OutputError, match="Read-only file system; choose another"):
        open_journal(tmp_path)


def test_a_directory_that_may_not_be_listed_is_still_used(tmp_path, monkeypatch):
    opened = os.open

    def refuse(path, flags, *rest, **named):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, *rest, **named)

    monkeypatch.setattr(module.os, "open", refuse)
    open_journal(tmp_path).close()


def test_what_a_killed_run_had_only_written_is_synced_before_it_is_built_on(tmp_path, monkeypatch):
    journal = open_journal(tmp_path / "new" / "out")
    journal.write(BEGAN)
    journal.close()
    synced = []
    monkeypatch.setattr(module.os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    open_journal(tmp_path / "new" / "out").close()
    assert synced == inodes(tmp_path / "new" / "out" / "journal", tmp_path / "new" / "out")
    synced.clear()
    other = tmp_path / "other"
    open_journal(other / "out").close()  # a directory made now must itself survive a power cut
    assert synced == inodes(other / "out" / "journal", other / "out", other, tmp_path)


# -- the lock -------------------------------------------------------------------------------------------------

OPEN = """
    import sys
    from pathlib import Path
    from journeybatch.errors import RunLocked
    from journeybatch.journal import open_journal
    try:
        journal = open_journal(Path(sys.argv[1]))
    except RunLocked as error:
        sys.exit(error.exit_code)
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_gets_locked_at_once_also_in_the_same_process(tmp_path):
    journal = open_journal(tmp_path)
    began, before = time.monotonic(), held(tmp_path)
    with pytest.raises(RunLocked, match="another run") as refusal:
        open_journal(tmp_path)
    assert time.monotonic() - began < 5
    assert held(tmp_path) == before
    assert refusal.value.exit_code == 4
    assert (tmp_path / BALLAST).exists()  # the loser takes nothing from the winner
    journal.close()
    open_journal(tmp_path).close()


def test_a_look_at_the_lock_that_lasts_a_moment_turns_no_run_away(tmp_path):
    open_journal(tmp_path).close()
    fd = os.open(tmp_path / "journal", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)  # as ``locked`` does
    threading.Timer(0.03, os.close, [fd]).start()
    open_journal(tmp_path).close()


def test_the_lock_holds_across_processes_and_links(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    journal = open_journal(tmp_path / "out")
    for directory in (tmp_path / "out", tmp_path / "link", tmp_path / "out" / ".." / "link"):
        child = python(OPEN, directory, stdin=subprocess.DEVNULL)
        assert (child.wait(20), child.stdout.read()) == (4, "")
        child.stdout.close()
    journal.close()
    child = python(OPEN, tmp_path / "link", stdin=subprocess.DEVNULL)
    assert (child.wait(20), child.stdout.read()) == (0, "open\n")
    child.stdout.close()


def test_the_lock_vanishes_with_a_killed_process(tmp_path):
    with python(OPEN, tmp_path, stdin=subprocess.PIPE) as child:
        assert child.stdout.readline() == "open\n"
        assert locked(tmp_path / "journal")
        with pytest.raises(RunLocked):
            open_journal(tmp_path)
        child.send_signal(signal.SIGKILL)
        child.wait(20)
        assert not locked(tmp_path / "journal")
        open_journal(tmp_path).close()
        assert names(tmp_path) == ["journal"]


def test_a_child_process_does_not_inherit_the_lock(tmp_path):
    journal = open_journal(tmp_path)
    with python("print('up', flush=True); input()", stdin=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout.readline() == "up\n"  # exec is over: only then are descriptors closed for sure
        journal.close()
        assert not locked(tmp_path / "journal")
        child.communicate("\n")


def test_looking_at_the_lock_takes_nothing_and_disturbs_nobody(tmp_path):
    path = tmp_path / "journal"
    assert not locked(path)  # no such file
    assert not path.exists()
    journal = open_journal(tmp_path)
    assert all(locked(path) for _ in range(100))
    journal.close()
    look = """
        import sys, time
        from pathlib import Path
        from journeybatch.lock import locked
        end = time.monotonic() + 30
        print("looking", flush=True)
        while time.monotonic() < end:
            locked(Path(sys.argv[1]))
    """
    with python(look, path) as child:
        try:
            child.stdout.readline()
            for _ in range(100):
                open_journal(tmp_path).close()  # never RunLocked
        finally:
            child.kill()


def test_a_directory_moved_aside_while_its_lock_is_taken_is_made_anew(tmp_path, monkeypatch):
    directory = tmp_path / "out"
    open_journal(directory).close()
    lock, moved = fcntl.flock, []

    def move_once(fd, how):
        if not moved:
            moved.append(directory.rename(tmp_path / "aside"))
        return lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", move_once)
    journal = open_journal(directory)
    assert os.path.samestat(os.fstat(journal.fd), (directory / "journal").stat())
    assert not locked(tmp_path / "aside" / "journal"), "whoever has it now may use it"
    journal.close()


def test_a_file_system_without_locks_is_one_clear_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OutputError, match="No locks available"):
        open_journal(tmp_path)


# -- writing --------------------------------------------------------------------------------------------------

number, attempt, price = st.integers(0, 5), st.integers(1, 3), st.integers(1, 5)
word, keys = st.text(max_size=3), st.sampled_from([b"k" * 16, b"ab" * 16])
emulator = st.dictionaries(st.just("x-journeybatch-emulator"), word)
charge, error = st.sampled_from(["settled", "free", "unknown"]), st.none() | st.just("unsent") | word
time_ = st.just(1.0)
entries = st.lists(
    st.one_of(
        st.builds(Began, attempt, st.just("job"), st.sampled_from("xyz"), st.booleans(), st.booleans(), time_),
        st.builds(Intent, number, attempt, keys, st.sampled_from("mn"), st.just(1), price, time_),
        st.builds(Received, number, attempt, keys, price, emulator, st.binary(), time_, time_, st.just(1), price),
        st.builds(Settled, number, attempt, charge, price, price, error, error, st.none() | price, time_),
        st.builds(GivenUp, keys, word, word, time_),
        st.builds(Finished, attempt, time_),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(entries=entries, reopen=st.integers(0, 25), at_once=st.booleans())
def test_the_live_history_is_what_the_file_tells(tmp_path_factory, entries, reopen, at_once):
    directory = tmp_path_factory.mktemp("law")
    journal = open_journal(directory)
    for n, entry in enumerate(entries):
        if n == reopen:
            journal.close()
            journal = open_journal(directory)
        (journal.write if at_once else journal.append)(entry)
    journal.close()
    history = read_history(directory / "journal")
    assert told(history) == told(journal.history)
    assert (history.end, history.sequence) == (journal.end, journal.sequence)
    assert offsets_hold(journal)


def test_a_written_entry_is_in_the_file_with_all_before_it(tmp_path):
    journal = open_journal(tmp_path)
    journal.append(BEGAN)
    journal.append(intent(1))
    assert (tmp_path / "journal").stat().st_size == 0
    journal.write(reply(1))
    assert (tmp_path / "journal").stat().st_size == journal.end
    assert requests(tmp_path) == [1]
    journal.close()


def test_text_that_utf_8_cannot_spell_does_not_stop_the_run(tmp_path):
    journal = open_journal(tmp_path)
    journal.write(BEGAN)
    journal.write(GivenUp(b"k" * 16, "invalid", "half a pair: \ud800", 1.0))
    journal.close()
    assert read_history(tmp_path / "journal").given_up == {b"k" * 16: ("invalid", "half a pair: ?")}
    assert journal.history.given_up == {b"k" * 16: ("invalid", "half a pair: ?")}


def test_killing_the_process_loses_no_reply_it_had_written(tmp_path):
    write = """
        import sys
        from pathlib import Path
        from journeybatch.journal import open_journal
        from test_history import reply
        journal = open_journal(Path(sys.argv[1]))
        for request in range(10**9):
            journal.write(reply(request))
            print(request, flush=True)
    """
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    told_of = -1
    with python(write, tmp_path, env=environment) as child:
        for line in child.stdout:
            told_of = int(line)
            if told_of == 300:
                child.kill()
    assert child.returncode == -signal.SIGKILL
    assert told_of >= 300
    found = requests(tmp_path)
    assert found[: told_of + 1] == list(range(told_of + 1))
    assert len(found) <= told_of + 2
    journal = open_journal(tmp_path)
    journal.write(reply(0))
    journal.close()


# -- syncing --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_many_who_wait_share_few_syncs_one_at_a_time(tmp_path):
    disk = Disk(seconds=0.01)
    journal = open_journal(tmp_path, disk)

    async def attempt(n):
        await anyio.sleep(n / 10_000)
        journal.append(intent(n))
        size, now = journal.end, anyio.current_time()
        await journal.durable()
        assert max(disk.sizes) >= size
        assert anyio.current_time() - now <= 0.02 + 1e-9  # at most what is left of one sync, and one more

    async with anyio.create_task_group() as group:
        for n in range(1000):
            group.start_soon(attempt, n)
    journal.close()
    assert disk.most == 1
    assert 10 <= len(disk.began) <= 12  # 100 ms of arrivals at 10 ms a sync


@pytest.mark.anyio
async def test_a_sync_starts_as_soon_as_one_is_wanted_and_none_runs(tmp_path):
    disk = Disk(seconds=0.01)
    journal = open_journal(tmp_path, disk)
    now = anyio.current_time()
    journal.append(intent(1))
    await journal.durable()
    await journal.durable()  # nothing new: no sync
    assert disk.began == [now]
    journal.close()


@pytest.mark.anyio
async def test_what_is_added_during_a_sync_is_not_called_durable_by_it(tmp_path):
    disk = Disk(seconds=0.01)
    journal = open_journal(tmp_path, disk)
    ends = {}

    async def attempt(n, after):
        await anyio.sleep(after)
        journal.write(reply(n))  # in the file while the sync runs, and yet not known to be safe
        await journal.durable()
        ends[n] = len(disk.ended)

    async with anyio.create_task_group() as group:
        group.start_soon(attempt, 1, 0.0)
        group.start_soon(attempt, 2, 0.005)
    assert ends == {1: 1, 2: 2}
    assert disk.sizes[0] < disk.sizes[1] == journal.end
    journal.close()


@pytest.mark.anyio
async def test_a_waiter_that_is_cancelled_leaves_the_others_served(tmp_path):
    disk = Disk(seconds=0.01)
    journal = open_journal(tmp_path, disk)
    served = []

    async def attempt(n):
        await journal.durable()
        served.append(n)

    journal.append(intent(1))
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.005):
            async with anyio.create_task_group() as impatient:
                impatient.start_soon(journal.durable)  # begins the sync, and is cancelled in the midst of it
                await anyio.sleep(0.001)
                group.start_soon(attempt, 1)
                group.start_soon(attempt, 2)
    assert sorted(served) == [1, 2]
    assert len(disk.began) == 2
    assert disk.sizes == [journal.end]
    journal.close()


@pytest.mark.anyio
@pytest.mark.parametrize("takes", [0.0, 0.03])
async def test_replies_that_nobody_waits_for_are_synced_within_50_ms(tmp_path, takes):
    disk = Disk(seconds=takes)
    journal = open_journal(tmp_path, disk)
    wanted = []
    async with anyio.create_task_group() as group:
        group.start_soon(journal.keep_synced)
        for n in range(200):
            await anyio.sleep(0.007 if n % 40 else 0.3)
            journal.write(reply(n))
            wanted.append((anyio.current_time(), journal.end))
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    journal.close()
    syncs = list(zip(disk.began, disk.sizes, strict=True))
    for at, end in wanted:
        began = min(began for began, size in syncs if size >= end)
        assert began - at <= SYNC_WITHIN_S + 1e-9
    assert len(syncs) <= (200 * 0.007 + 5 * 0.3 + 1) / SYNC_WITHIN_S
    assert disk.most == 1


@pytest.mark.anyio
async def test_many_replies_are_synced_before_50_ms_are_over(tmp_path):
    disk = Disk()
    journal = open_journal(tmp_path, disk)
    async with anyio.create_task_group() as group:
        group.start_soon(journal.keep_synced)
        journal.write(reply(0))
        await anyio.sleep(0.001)
        now, before = anyio.current_time(), len(disk.began)
        for n in range(SYNC_EVERY - 1):
            journal.write(reply(n))
        await anyio.sleep(0.001)
        assert len(disk.began) == before
        journal.write(reply(999))
        end = journal.end
        await anyio.sleep(0.001)
        assert disk.sizes[-1] == end
        assert disk.began[-1] - now <= 0.002
        await anyio.sleep(1)
        assert len(disk.began) == before + 1  # and all is quiet then
        group.cancel_scope.cancel()
    journal.close()


@pytest.mark.anyio
async def test_nobody_wakes_up_for_nothing_while_there_is_nothing_to_sync(tmp_path, monkeypatch):
    journal = open_journal(tmp_path, Disk())
    woken, durable = [], journal.durable
    monkeypatch.setattr(journal, "durable", lambda: (woken.append(anyio.current_time()), durable())[1])
    async with anyio.create_task_group() as group:
        group.start_soon(journal.keep_synced)
        await anyio.sleep(60)
        journal.write(reply(1))
        await anyio.sleep(60)
        group.cancel_scope.cancel()
    journal.close()
    assert len(woken) == 1


@pytest.mark.anyio
async def test_a_reply_that_comes_during_a_long_sync_of_others_is_not_forgotten(tmp_path):
    disk = Disk(seconds=0.2)
    journal = open_journal(tmp_path, disk)
    async with anyio.create_task_group() as group:
        group.start_soon(journal.keep_synced)
        journal.append(intent(1))
        group.start_soon(journal.durable)
        await anyio.sleep(0.1)
        journal.write(reply(1))
        await anyio.sleep(0.31)
        assert disk.sizes[-1] == journal.end
        group.cancel_scope.cancel()
    journal.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_real_disk_makes_entries_durable(tmp_path, anyio_backend):
    journal = open_journal(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(journal.keep_synced)
        for n in range(50):
            journal.append(intent(n))
            group.start_soon(journal.durable)
        await journal.durable()
        assert (tmp_path / "journal").stat().st_size == journal.end
        group.cancel_scope.cancel()
    journal.close()


# -- a disk that fails ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_first_failed_sync_ends_all_durability_but_no_writing(tmp_path):
    disk = Disk(seconds=0.01, fails_from=1)
    journal = open_journal(tmp_path, disk)
    journal.append(intent(0))
    await journal.durable()
    stops = []

    async def attempt(n):
        journal.append(intent(n))
        with pytest.raises(DiskFull, match="Input/output error") as full:
            await journal.durable()
        stops.append(full.value)

    async with anyio.create_task_group() as group:
        group.start_soon(journal.keep_synced)  # ends by itself
        for n in range(1, 6):
            group.start_soon(attempt, n)
    assert len(stops) == 5
    assert (stops[0].exit_code, stops[0].reason) == (3, "disk")
    assert journal.broken.errno == errno.EIO
    assert not (tmp_path / BALLAST).exists()
    with pytest.raises(DiskFull, match="/journal: Input/output error; all replies so far are safe"):
        journal.check()

    journal.write(reply(0))
    assert requests(tmp_path) == [0]
    disk.fails_from = None  # a later sync may succeed falsely: the kernel has forgotten what it lost
    syncs = len(disk.began)
    with pytest.raises(DiskFull):
        await journal.durable()
    assert len(disk.began) == syncs
    journal.close()
    open_journal(tmp_path).close()


@pytest.mark.anyio
async def test_what_was_durable_before_the_disk_failed_still_is(tmp_path):
    journal = open_journal(tmp_path, Disk(fails_from=1))
    journal.append(intent(0))
    await journal.durable()
    journal.write(reply(0))
    with pytest.raises(DiskFull):
        await journal.durable()
    journal.close()
    assert requests(tmp_path) == [0]


class Full:
    """A disk with ``room`` bytes left for the journal, and ``more`` once the ballast is gone."""

    def __init__(self, journal, room, more, number=errno.ENOSPC):
        self.journal, self.more, self.number = journal, more, number
        self.limit = journal.end + room
        self.write = os.write

    def __call__(self, fd, data):
        if fd != self.journal.fd:
            return self.write(fd, data)
        if not (self.journal.path.parent / BALLAST).exists():
            self.limit, self.more = self.limit + self.more, 0
        room = self.limit - os.fstat(fd).st_size
        if room <= 0:
            raise OSError(self.number, os.strerror(self.number))
        return self.write(fd, bytes(data[:room]))  # short, as write(2) is on a full disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO])
def test_a_full_disk_gives_the_ballast_s_room_to_replies_in_flight(tmp_path, monkeypatch, number):
    journal = open_journal(tmp_path)
    journal.write(BEGAN)
    size = len(pack(0, bytes(8), module.entries.encode(reply(1))))
    monkeypatch.setattr(module.os, "write", Full(journal, size + 10, 10 * size, number))
    for request in range(1, 6):
        journal.write(reply(request))
        assert requests(tmp_path) == list(range(1, request + 1))
        assert (tmp_path / "journal").stat().st_size == journal.end
        assert (journal.broken is None) == (request == 1)
    assert journal.broken.errno == number
    assert not (tmp_path / BALLAST).exists()
    assert offsets_hold(journal)
    journal.close()
    assert read_history(tmp_path / "journal").gaps == []


def test_where_even_the_ballast_is_too_small_no_torn_frame_stays_and_later_room_is_used(tmp_path, monkeypatch):
    journal = open_journal(tmp_path)
    journal.write(BEGAN)
    size = len(pack(0, bytes(8), module.entries.encode(reply(1))))
    disk = Full(journal, 10, size)  # which leaves 10 bytes for the second reply: it must not stay there torn
    monkeypatch.setattr(module.os, "write", disk)
    for request in (1, 2, 3):
        journal.write(reply(request))
        history = read_history(tmp_path / "journal")
        assert (history.end, history.gaps) == (history.size, [])  # never torn
        assert requests(tmp_path) == [1]
        assert sorted(journal.history.unjudged) == list(range(request))  # the others wait in memory
    disk.limit = 10**6
    journal.write(reply(4))
    assert requests(tmp_path) == [1, 2, 3, 4]
    disk.limit, disk.number = 0, errno.EROFS
    journal.write(reply(5))
    assert journal.broken.errno == errno.ENOSPC  # the first error is the one to tell
    disk.limit = 10**6
    journal.write(Finished(1, 1.0))
    assert offsets_hold(journal)
    journal.close()


@pytest.mark.parametrize("room", range(0, 300, 7))
def test_of_several_entries_as_many_as_fit_stay(tmp_path, monkeypatch, room):
    journal = open_journal(tmp_path)
    journal.write(BEGAN)
    start = journal.end
    monkeypatch.setattr(module.os, "write", Full(journal, room, 0))
    places = [journal.append(intent(request)) for request in range(4)]
    places.append(journal.write(Finished(1, 1.0)))
    fitting = max(place for place in [*places, journal.end] if place <= start + room)
    if start + room >= journal.end:
        assert journal.broken is None
    history = read_history(tmp_path / "journal")
    assert (history.end, history.size, history.gaps) == (fitting, fitting, [])
    journal.close()
    assert read_history(tmp_path / "journal").end == fitting


def test_a_torn_frame_that_cannot_be_taken_back_at_once_is_taken_back_later(tmp_path, monkeypatch):
    journal = open_journal(tmp_path)
    journal.write(BEGAN)
    disk, cut = Full(journal, 10, 0), os.ftruncate
    monkeypatch.setattr(module.os, "write", disk)
    monkeypatch.setattr(module.os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
    journal.write(reply(1))
    assert (tmp_path / "journal").stat().st_size > journal._written  # torn, and left so
    monkeypatch.setattr(module.os, "ftruncate", cut)
    disk.limit = 10**6
    journal.write(reply(2))
    assert requests(tmp_path) == [1, 2]
    assert read_history(tmp_path / "journal").gaps == []
    assert offsets_hold(journal)
    journal.close()


@pytest.mark.anyio
async def test_an_intent_that_finds_no_room_is_not_durable(tmp_path, monkeypatch):
    journal = open_journal(tmp_path, Disk())
    journal.write(BEGAN)
    monkeypatch.setattr(module.os, "write", Full(journal, 10, 10**6))
    journal.append(intent(1))
    with pytest.raises(DiskFull, match="No space left"):
        await journal.durable()
    journal.close()


def test_closing_on_a_failing_disk_gives_the_lock_back_and_says_so(tmp_path, monkeypatch):
    journal = open_journal(tmp_path)
    journal.append(BEGAN)

    def refuse(fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "fdatasync", refuse)
    journal.close()
    assert journal.broken.errno == errno.EIO
    assert not locked(tmp_path / "journal")
    assert read_history(tmp_path / "journal").began == BEGAN


def test_a_disk_that_turned_read_only_breaks_neither_writing_nor_closing(tmp_path, monkeypatch):
    journal = open_journal(tmp_path)
    journal.write(BEGAN)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    for call in ("write", "ftruncate"):
        monkeypatch.setattr(module.os, call, refuse)
    monkeypatch.setattr(module.Path, "unlink", refuse)
    journal.write(reply(1))
    with pytest.raises(DiskFull, match="Read-only"):
        journal.check()
    journal.close()
    assert not locked(tmp_path / "journal")


def test_flushing_writes_and_syncs_what_is_left_once(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(module, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    journal = open_journal(tmp_path)
    journal.append(BEGAN)
    journal.flush()
    journal.flush()
    journal.close()
    assert synced == [journal.end]


def test_flushing_says_that_the_disk_is_full_and_the_journal_can_still_be_closed(tmp_path, monkeypatch):
    journal = open_journal(tmp_path)
    monkeypatch.setattr(module.os, "write", Full(journal, 10, 0))
    journal.append(BEGAN)
    with pytest.raises(DiskFull, match="No space left"):
        journal.flush()
    journal.close()
    assert (tmp_path / "journal").read_bytes() == b""
    assert not locked(tmp_path / "journal")


def test_closing_writes_what_is_left(tmp_path):
    journal = open_journal(tmp_path)
    journal.append(BEGAN)
    journal.close()
    assert read_history(tmp_path / "journal").began == BEGAN


def test_a_journal_can_be_made_around_any_descriptor(tmp_path):
    fd = os.open(tmp_path / "journal", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    journal = Journal(tmp_path / "journal", fd, History())
    journal.write(BEGAN)
    journal.close()
    assert read_history(tmp_path / "journal").sequence == 1


@pytest.mark.parametrize("cause", [MemoryError(), DiskFull("a page cannot be read")])
def test_a_reply_that_cannot_be_taken_in_is_in_the_file_all_the_same(tmp_path, monkeypatch, cause):
    journal = open_journal(tmp_path)
    for entry in (BEGAN, intent(0), intent(1)):
        journal.append(entry)

    def refuse(*_):
        raise cause

    with monkeypatch.context() as patch, pytest.raises(type(cause)):
        patch.setattr(History, "_receive", refuse)
        journal.write(reply(0))
    assert requests(tmp_path) == [0]
    assert journal.astray
    assert not journal.history.as_told
    journal.write(reply(1))  # is written, and not taken in by a history that lacks the other
    assert requests(tmp_path) == [0, 1]
    assert list(journal.history.attempts.offset) == [-1, -1]
    journal.close()
    assert list(open_journal(tmp_path).history.attempts.offset) != [-1, -1]


def test_what_a_killed_run_had_not_finished_of_a_bookmark_is_gone(tmp_path):
    open_journal(tmp_path).close()
    (tmp_path / ".bookmark.bin.tmp").write_bytes(b"half of")
    open_journal(tmp_path).close()
    assert {path.name for path in tmp_path.iterdir()} == {"journal"}


def test_it_may_be_closed_twice_and_lets_go_once(tmp_path):
    journal = open_journal(tmp_path)
    fd = journal.fd
    journal.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    try:
        assert other == fd, "the number is somebody else's now"
        journal.close()
        os.fstat(other)
    finally:
        os.close(other)
