"""The register: what a first pass found, kept beside the journal, so that the next one need not render the same again.

It is a shortcut and nobody's truth. A block of rows (see ``survey``) is looked up by a fingerprint of its cells (see
``stamp``), in a file that was made with the same ask by the same programs; what is not found there, or not whole, is
rendered. So the file may be missing, old, torn or foreign, and nothing comes of it but work. Where the table's files
are byte for byte what they were (see ``table``), not even their rows are read. Two more looks keep a mistake from being
believed: the first block that is found is rendered all the same, and so is each prompt before it is sent.

The file, all numbers little-endian: a magic line; the blocks one after another (the keys of each step, 16 bytes each,
zeros for a key that is none; then, where prompts are packed, the extents); an index (for each block its fingerprint,
rows and checksum); what it is bound to, the number of blocks, the digest of the table's contents (zeros where there is
none), and a checksum over all of this that is not blocks.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

import msgspec

from journeybatch import __version__
from journeybatch.asking import Ask
from journeybatch.identity import KEY_BYTES, split
from journeybatch.rendering import BLOCK, Block, extents_of
from journeybatch.replacement import replacement

if TYPE_CHECKING:
    import polars as pl

NAME = "register.bin"
_MAGIC = b"journeybatch register 3\n"
_NO_KEY = bytes(KEY_BYTES)
_EXTENT = Struct("<IQI?")  # characters, head, characters of the head, whether there is a head
_ENTRY = Struct("<16sI16s")
_END = Struct("<32sQ32s16s")
_NO_CONTENTS = bytes(32)
_LONGEST = 64 * 1024 * 1024
"""Bytes of an index, for eighteen billion rows. What claims to be longer is none of ours."""


class Terms(msgspec.Struct, frozen=True):
    """What a register is good for: ``bound`` is a digest of all that decides keys besides the rows. A row has ``keys``
    of them at each of ``steps``, and so many ``extents``."""

    bound: bytes
    steps: int
    keys: int
    extents: int

    @classmethod
    def of(cls, ask: Ask, columns: Mapping[str, pl.DataType], *, packs: bool) -> Terms:
        """The terms of what ``ask`` makes of a table with these ``columns``, by this version of everything."""
        import polars as pl

        programs = (__version__, version("minijinja"), pl.__version__, sys.version)
        told = repr((_MAGIC, programs, ask.text, [(name, repr(dtype)) for name, dtype in columns.items()], packs))
        bound = blake2b(told.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        return cls(bound, len(ask.steps), ask.width, len(ask.subjects) if packs else 0)

    def size(self, rows: int) -> int:
        """Bytes of a block of ``rows``."""
        return rows * (self.steps * self.keys * KEY_BYTES + self.extents * _EXTENT.size)


class Register:
    """The register at ``path``, where it is good for ``terms``; an empty one where it is not. ``contents``: the digest
    of the table that it is about; None where that is not known. ``refuted``: it has said what is not so."""

    def __init__(self, path: Path, terms: Terms) -> None:
        self.path, self.terms = path, terms
        self.contents: bytes | None = None
        self._proved = self.refuted = False
        self._fd = -1
        self._index: dict[bytes, tuple[int, int, bytes]] = {}
        self._names: list[bytes] = []

    def open(self) -> None:
        """Read the index, if there is one."""
        with suppress(OSError):
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            self._read_index()

    def close(self) -> None:
        """Nothing is found any more."""
        self._index, self._names = {}, []
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def look_up(self, name: bytes, rows: int, made: Callable[[], Block]) -> tuple[Block, bool]:
        """What the block of that fingerprint comes to, and whether that is the register's word; otherwise it is
        ``made``. The first one found is made all the same: if it comes to something else now, all is forgotten."""
        known = self._find(name, rows)
        if known is not None and self._proved:
            return known, True
        block = made()
        if known is not None:
            self._proved = known.same(block)
            if not self._proved:
                self.close()
        return block, False

    def entire(self, name: bytes, first: Block) -> list[tuple[bytes, int, Block]]:
        """All blocks in order, each with its fingerprint and rows, for a table that is known by its ``contents``. None
        where one of them is not whole, or the first one has not that name, or comes to something else now."""
        found: list[tuple[bytes, int, Block]] = []
        for each in self._names:
            rows = self._index[each][1]
            known = self._find(each, rows)
            if known is None or (not found and not (each == name and known.same(first))):
                return []
            found.append((each, rows, known))
        self._proved = True
        return found

    def refute(self) -> None:
        """It said what is not so: nothing more is believed of it, by nobody."""
        self.refuted = True
        self.forget()

    def forget(self) -> None:
        """Take it away: it may be what is wrong."""
        self.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _find(self, name: bytes, rows: int) -> Block | None:
        offset, height, checksum = self._index.get(name, (0, -1, b""))
        if height != rows:
            return None
        try:
            data = os.pread(self._fd, self.terms.size(rows), offset)
        except OSError:
            return None
        return _unpack(data, rows, self.terms) if _digest(data) == checksum else None

    def _read_index(self) -> None:
        found = os.fstat(self._fd)
        most = found.st_size - len(_MAGIC) - _END.size
        if most < 0 or not stat.S_ISREG(found.st_mode):
            return
        end = os.pread(self._fd, _END.size, found.st_size - _END.size)
        if len(end) != _END.size:
            return
        bound, number, contents, checksum = _END.unpack(end)
        length = number * _ENTRY.size
        if bound != self.terms.bound or length > min(most, _LONGEST):
            return
        start = found.st_size - _END.size - length
        index = os.pread(self._fd, length, start)
        if os.pread(self._fd, len(_MAGIC), 0) != _MAGIC or _checksum(bound, contents, index) != checksum:
            return
        blocks, names, offset = {}, [], len(_MAGIC)
        for name, rows, digest in _ENTRY.iter_unpack(index):
            if not 0 < rows <= BLOCK:
                return
            blocks[name] = offset, rows, digest
            names.append(name)
            offset += self.terms.size(rows)
        if offset == start:
            self._index, self._names = blocks, names
            self.contents = contents if contents != _NO_CONTENTS else None


@contextmanager
def opened(path: Path, terms: Terms) -> Iterator[Register]:
    """The register at ``path``, to look blocks up in as long as the context lasts. Raises nothing."""
    found = Register(path, terms)
    try:
        found.open()
        yield found
    finally:
        found.close()


def write(path: Path, terms: Terms, blocks: Iterable[tuple[bytes, int, Block]], contents: bytes | None = None) -> None:
    """Keep ``blocks``, each with its fingerprint and rows, in the place of what was kept before; they are all there are
    of a table with such ``contents``. Raises OSError."""
    index = bytearray()
    with replacement(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC)
        for name, rows, block in blocks:
            data = _pack(block)
            file.write(data)
            index += _ENTRY.pack(name, rows, _digest(data))
        file.write(index)
        told = contents or _NO_CONTENTS
        file.write(_END.pack(terms.bound, len(index) // _ENTRY.size, told, _checksum(terms.bound, told, bytes(index))))


def _pack(block: Block) -> bytes:
    keys = b"".join(b"".join(step.fill_null(_NO_KEY).to_list()) for step in block.steps)
    if block.extents is None:
        return keys
    rows = block.extents.iter_rows()
    return keys + b"".join(_EXTENT.pack(a, head or 0, b, head is not None) for a, head, b in rows)


def _unpack(data: bytes, rows: int, terms: Terms) -> Block:
    import polars as pl

    size = rows * terms.keys * KEY_BYTES
    steps = []
    for at in range(0, size * terms.steps, size):
        keys: list[bytes | None] = [*split(data[at : at + size])]
        if _NO_KEY in data:
            keys = [None if key == _NO_KEY else key for key in keys]
        steps.append(pl.Series("jb_key", keys, dtype=pl.Binary))
    if not terms.extents:
        return Block(steps)
    found = _EXTENT.iter_unpack(data[size * terms.steps :])
    return Block(steps, extents_of([(a, head if has else None, b) for a, head, b, has in found]))


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _checksum(bound: bytes, contents: bytes, index: bytes) -> bytes:
    return _digest(bound + contents + index)
