"""What is laid away is what comes back; the disk is left its room, and the room goes with the owner."""

import gc
from pathlib import Path

import pytest
from conftest import held

from journeybatch import scratch
from journeybatch.errors import DiskFull
from journeybatch.scratch import Scratch


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)
    return Scratch(tmp_path)


def test_what_was_put_comes_back(room):
    one, two = room.put(b"one"), room.put(b"another")
    assert (room.get(one), room.get(two)) == (b"one", b"another")


def test_nothing_takes_the_place_of_what_was_there(room):
    places = [room.put(data) for data in (b"one", b"another", b"x")]
    assert [room.get(place) for place in places] == [b"one", b"another", b"x"]


def test_no_name_stands_in_the_directory(room, tmp_path):
    room.put(b"something")
    assert list(tmp_path.iterdir()) == []


def test_a_nearly_full_disk_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "SPARE_BYTES", 2**62)
    with pytest.raises(OSError, match="No space left"):
        Scratch(tmp_path).put(b"something")


def test_what_is_closed_gives_nothing_back(room):
    place = room.put(b"something")
    room.close()
    with pytest.raises(DiskFull, match="all replies are safe in the journal"):
        room.get(place)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors cannot be counted here")
def test_no_descriptor_is_left_when_its_owner_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)
    for close in (True, False):
        room = Scratch(tmp_path)
        room.put(b"something")
        assert held(tmp_path) == 1
        if close:
            room.close()
        del room
        gc.collect()
        assert held(tmp_path) == 0
