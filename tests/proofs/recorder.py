"""A disk that remembers: every write, truncation, sync, rename and removal below a directory, in order.

It stands between the process and the real file system, in this process only: what Python's ``os`` is asked to do is
done, and noted. Files that others write (polars) are looked at when they are synced and renamed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from journeybatch import journal


class Event(NamedTuple):
    """One thing that was asked of the disk. ``kind``: create, mkdir, write, truncate, sync, rename, unlink, sent.

    ``at`` is the offset of a write, the size of a truncation; for a sync the number of events before it began, since
    it speaks for those only. ``data`` are the bytes of a write, or of the whole file at a sync or a rename.
    """

    kind: str
    path: str
    at: int = 0
    data: bytes = b""
    to: str = ""


class Recorder:
    """The ``events`` below ``root``. ``before`` is called ahead of each call to the disk, and may raise."""

    def __init__(self, root: Path, before: Callable[[str, str], None] = lambda kind, path: None) -> None:
        self.root, self.before = str(root), before
        self.events: list[Event] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what this process does to files below the root, for as long as the block lasts."""
        with ExitStack() as stack:
            for name in ("open", "write", "pwrite", "ftruncate", "fsync", "replace", "rename", "unlink", "mkdir"):
                stack.enter_context(patch.object(os, name, self._wrapped(name, getattr(os, name))))
            stack.enter_context(patch.object(journal, "fdatasync", self._wrapped("fsync", os.fdatasync)))
            yield

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        note = getattr(self, f"_{name}")

        def call(first: Any, *rest: Any, **named: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else os.path.abspath(first)
            if not path.startswith(self.root) or named.get("dir_fd") is not None:
                return real(first, *rest, **named)
            self.before(name, path)
            return note(path, lambda: real(first, *rest, **named), first, *rest)

        return call

    def _open(self, path: str, real: Callable[[], Any], _: Any, flags: int, *__: Any) -> Any:
        new = flags & os.O_CREAT and not os.path.exists(path)
        fd = real()
        if new:
            self.events.append(Event("create", path))
        return fd

    def _write(self, path: str, real: Callable[[], Any], fd: int, data: Any) -> Any:
        at = os.fstat(fd).st_size
        done = real()
        self.events.append(Event("write", path, at, bytes(data[:done])))
        return done

    def _pwrite(self, path: str, real: Callable[[], Any], fd: int, data: Any, at: int) -> Any:
        done = real()
        self.events.append(Event("write", path, at, bytes(data[:done])))
        return done

    def _ftruncate(self, path: str, real: Callable[[], Any], _: int, size: int) -> Any:
        real()
        self.events.append(Event("truncate", path, size))

    def _fsync(self, path: str, real: Callable[[], Any], fd: int) -> Any:
        began = len(self.events)
        data = b"" if stat.S_ISDIR(os.fstat(fd).st_mode) or path.endswith("journal") else Path(path).read_bytes()
        real()
        self.events.append(Event("sync", path, began, data))

    def _replace(self, path: str, real: Callable[[], Any], _: Any, to: Any) -> Any:
        data = Path(path).read_bytes() if os.path.isfile(path) else b""
        real()
        self.events.append(Event("rename", path, 0, data, os.path.abspath(to)))

    _rename = _replace

    def _unlink(self, path: str, real: Callable[[], Any], *_: Any) -> Any:
        real()
        self.events.append(Event("unlink", path))

    def _mkdir(self, path: str, real: Callable[[], Any], *_: Any) -> Any:
        real()
        self.events.append(Event("mkdir", path))
