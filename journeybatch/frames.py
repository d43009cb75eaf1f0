"""Framed records in one append-only file: how bytes become records again, whatever happened to them.

A frame is ``MAGIC · length · crc32 · sequence · journal id · payload`` (little-endian; the checksum covers
all that follows it, and the length). A torn, zeroed or stale tail ends the journal; damage in the middle is
skipped to the next frame that proves itself, and reported (promise 5).
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

import msgspec

MAGIC = b"\xabJBj"
_HEAD = struct.Struct("<4sII")
_BODY = struct.Struct("<Q8s")
_ALL = struct.Struct("<4sIIQ8s")
OVERHEAD = _HEAD.size + _BODY.size
LONGEST = 64 * 2**20
"""No payload is longer: replies are capped far below it."""
_ID_AT = OVERHEAD - 8
_WINDOW = 2**16
_AHEAD = 2**20


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One record: the ``offset`` of its frame in bytes, its ``sequence`` number and its ``payload``."""

    offset: int
    sequence: int
    payload: bytes


class Gap(NamedTuple):
    """Bytes ``start``–``end`` that are no frame, though frames follow; ``lost`` counts records known to be gone."""

    start: int
    end: int
    lost: int


class Stored:
    """The ``size`` bytes of an open file, sliced like a buffer and read as they are asked for. What is cut off
    meanwhile is missing then; in a map the kernel would end the process that touches it."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> memoryview:
        start, stop, _ = part.indices(self._size)
        return memoryview(os.pread(self._fd, max(0, stop - start), start))


def pack(sequence: int, journal_id: bytes, payload: bytes) -> bytes:
    """The frame of one payload. Raises ValueError for one that could not be read back."""
    length = len(payload)
    if length > LONGEST:
        raise ValueError(f"an entry of {length} bytes is too long")
    body = _BODY.pack(sequence, journal_id) + payload
    return _HEAD.pack(MAGIC, length, crc32(body, length)) + body


def unpack(buffer: memoryview | Stored, offset: int) -> tuple[int, bytes, bytes] | None:
    """The (sequence, journal id, payload) of the frame at ``offset``, or None where none stands. All is copied: a
    view that outlived the map of its file could not be closed."""
    head = buffer[offset : offset + OVERHEAD]
    if len(head) < OVERHEAD:
        return None
    magic, length, checksum, sequence, journal_id = _ALL.unpack(head)
    start, end = offset + _HEAD.size, offset + OVERHEAD + length
    if magic != MAGIC or length > LONGEST or end > len(buffer) or crc32(buffer[start:end], length) != checksum:
        return None
    return sequence, journal_id, bytes(buffer[offset + OVERHEAD : end])


def length_at(buffer: memoryview, offset: int) -> int:
    """How many bytes the frame takes that stands at ``offset``."""
    length: int = _HEAD.unpack_from(buffer, offset)[1]
    return OVERHEAD + length


def scan(buffer: memoryview | Stored, journal_id: bytes, offset: int = 0, expected: int = 0) -> Iterator[Frame | Gap]:
    """All frames of a journal in order from ``offset`` on, where the one with the number ``expected`` should stand, and
    the gaps between them. What follows the last frame is no gap: it is the torn tail, which begins where the last frame
    ends."""
    ahead, at = memoryview(b""), offset  # bytes that are at hand, and where they stand
    while True:
        if offset + OVERHEAD - at > len(ahead):
            ahead, at = _ahead(buffer, offset, OVERHEAD), offset
        if offset + OVERHEAD - at <= len(ahead):  # the same as ``unpack``, without the call: a night has millions
            magic, length, checksum, sequence, own = _ALL.unpack_from(ahead, offset - at)
            end = offset + OVERHEAD + length
            if sequence == expected and own == journal_id and magic == MAGIC and length <= LONGEST:
                if end - at > len(ahead):
                    ahead, at = _ahead(buffer, offset, OVERHEAD + length), offset
                body = ahead[offset - at + _HEAD.size : end - at]
                if len(body) == _BODY.size + length and crc32(body, length) == checksum:  # nearly always
                    yield Frame(offset, expected, bytes(body[_BODY.size :]))
                    offset, expected = end, expected + 1
                    continue
        found = _next(buffer, offset, expected, journal_id)
        if found is None:
            return
        start, sequence, payload = found
        yield Gap(offset, start, sequence - expected)
        yield Frame(start, sequence, payload)
        offset, expected = start + OVERHEAD + len(payload), sequence + 1


def _ahead(buffer: memoryview | Stored, offset: int, least: int) -> memoryview:
    """The bytes from ``offset`` on, as far as they are there: the ``least`` that are wanted, and more."""
    return buffer[offset : offset + max(_AHEAD, least)]


def identify(buffer: memoryview | Stored) -> bytes | None:
    """The id of the journal in ``buffer``: the first frame's, or where that is damaged, the one most frames carry.
    Empty for a journal that was never born (nothing, zeros or a torn first frame); None for a foreign file."""
    first = unpack(buffer, 0)
    if first is not None and first[0] == 0:
        return first[1]
    found = list(_whole(buffer))
    torn = bytes(buffer[: len(MAGIC)]) == MAGIC[: len(buffer)]
    if not found:
        return b"" if torn or _is_blank(buffer) else None
    if torn:
        _, length, _, sequence, own = _ALL.unpack(buffer[:OVERHEAD])
        ids = [journal_id for _, journal_id in found]
        if sequence == 0 and own not in ids and OVERHEAD + length > found[0][0]:
            return b""  # a first frame that ends in another journal's: those are stale
    return Counter(journal_id for _, journal_id in found).most_common(1)[0][0]


def _is_blank(buffer: memoryview | Stored) -> bool:
    return not any(bytes(buffer[at : at + _WINDOW]).strip(b"\0") for at in range(0, len(buffer), _WINDOW))


def _whole(buffer: memoryview | Stored) -> Iterator[tuple[int, bytes]]:
    """Offset and journal id of all that looks like a frame, whosever it is."""
    offset = 0
    while (offset := _find(buffer, MAGIC, offset)) >= 0:
        frame = unpack(buffer, offset)
        if frame is not None:
            yield offset, frame[1]
        offset += 1 if frame is None else OVERHEAD + len(frame[2])


def _next(buffer: memoryview | Stored, offset: int, expected: int, journal_id: bytes) -> tuple[int, int, bytes] | None:
    """The first frame at or after ``offset`` that belongs here and is not stale. It looks for the id, which no reply
    can contain, so that a reply full of sham frames cannot make it slow."""
    while True:
        frame = unpack(buffer, offset)
        if frame is not None and frame[1] == journal_id and frame[0] >= expected:
            return offset, frame[0], frame[2]
        at = _find(buffer, journal_id, offset + 1 + _ID_AT)
        if at < 0:
            return None
        offset = at - _ID_AT


def _find(buffer: memoryview | Stored, wanted: bytes, offset: int) -> int:
    """Where ``wanted`` stands next, or −1; a window at a time, so that a large journal is not copied."""
    while offset < len(buffer):
        at = bytes(buffer[offset : offset + _WINDOW]).find(wanted)
        if at >= 0:
            return offset + at
        offset += _WINDOW - len(wanted) + 1
    return -1
