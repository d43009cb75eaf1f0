"""What the disk is asked for beside reading and writing."""

from __future__ import annotations

import errno
import os

import pytest

from journeybatch.disk import sync_directory


def test_a_directory_is_synced_and_its_descriptor_given_back(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((fd, os.fstat(fd).st_ino)))
    sync_directory(tmp_path)
    ((fd, inode),) = synced
    assert inode == tmp_path.stat().st_ino
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_directory_that_may_only_be_entered_is_let_be(tmp_path, monkeypatch):
    def refuse(path, flags):
        raise PermissionError(errno.EACCES, "refused", str(path))

    monkeypatch.setattr(os, "open", refuse)
    sync_directory(tmp_path)


def test_a_failing_disk_is_no_secret(tmp_path, monkeypatch):
    def fail(fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        sync_directory(tmp_path)
