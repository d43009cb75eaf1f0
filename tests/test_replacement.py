"""A file that takes another's place: whole or not at all."""

from __future__ import annotations

import stat

import pytest

from journeybatch.replacement import replacement


def test_the_new_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "t"
    path.write_text("old")
    with replacement(path) as temporary:
        assert (temporary.parent, temporary.name) == (tmp_path, ".t.tmp")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_whatever_is_raised_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "t"
    path.write_text("old")
    with pytest.raises(error), replacement(path) as temporary:
        temporary.write_text("half")
        raise error
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("t", "old")]


def test_what_a_killed_process_left_is_cleared_away_and_never_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".t.tmp").symlink_to(victim)
    with replacement(tmp_path / "t") as temporary:
        temporary.write_text("new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "t").read_text() == "new"
