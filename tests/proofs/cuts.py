"""What a power cut leaves of a run that was recorded: one of many states, drawn by chance."""

from __future__ import annotations

import random
import struct
from typing import NamedTuple
from zlib import crc32

from journeybatch.emulator import Emulator
from proofs.recorder import Event
from proofs.world import World


class Tape(NamedTuple):
    """A recorded run: its ``events``, what stood in the journal ``before``, which frames earlier runs had
    ``written`` and how many requests the emulator had ``seen`` by then, and the emulator's books."""

    world: World
    before: bytes
    written: frozenset[bytes]
    seen: int
    events: list[Event]
    emulator: Emulator

    def frames(self) -> frozenset[bytes]:
        """Every frame that anybody ever wrote, torn away since or not."""
        return self.written.union(*(frames_of(each.data) for each in self.events if each.kind == "write"))

    def sent(self, moment: int) -> int:
        """How many requests the emulator had seen after so many events."""
        return max((each.at for each in self.events[:moment] if each.kind == "sent"), default=self.seen)


class State(NamedTuple):
    """Files by path as they stand after the cut, and how long a prefix of the journal was synced."""

    files: dict[str, bytes]
    safe: bytes


def cut(tape: Tape, moment: int, rng: random.Random) -> State:
    """One state that a cut after ``moment`` events may leave."""
    events = tape.events[:moment]
    own = str(tape.world.output / "journal")
    files: dict[str, bytes] = {own: b""} if tape.before else {}
    synced: set[bytes] = {each.data for each in events if each.kind == "sync"}
    mood = rng.choice(("all", "none", "mixed", "mixed"))  # what is not synced: all there, nothing, or who knows
    for place, event in enumerate(events):
        safe = any(later.kind == "sync" and later.at > place and _covers(later, event) for later in events[place:])
        if event.kind in ("write", "truncate", "sync", "sent") or not (safe or _lucky(mood, rng)):
            if event.kind == "mkdir" and event.path == str(tape.world.output):
                return State({}, b"")
            continue
        if event.kind == "create":
            files.setdefault(event.path, b"")
        elif event.kind == "unlink":
            files.pop(event.path, None)
        elif event.kind == "rename":
            files.pop(event.path, None)
            files[event.to] = event.data if event.data in synced else _torn(event.data, rng)
    image, certain = _journal(tape, events, own, rng, mood)
    if own in files:
        files[own] = image
    return State(files, certain)


def _covers(sync: Event, event: Event) -> bool:
    """Whether a sync speaks for an event: of the same file, or of the directory it happened in."""
    if event.kind in ("write", "truncate"):
        return sync.path == event.path
    return sync.path == (event.to or event.path).rpartition("/")[0]


def _lucky(mood: str, rng: random.Random) -> bool:
    return mood == "all" or (mood == "mixed" and rng.random() < 0.5)


def _torn(data: bytes, rng: random.Random) -> bytes:
    """What a file holds whose name was kept and whose content was not."""
    return rng.choice((b"", bytes(len(data)), data[: rng.randint(0, len(data)) // 512 * 512]))


def _journal(tape: Tape, events: list[Event], own: str, rng: random.Random, mood: str) -> tuple[bytes, bytes]:
    """The journal as it may stand, and as it certainly stands."""
    image, certain = bytearray(tape.before), bytearray(tape.before)
    safe_upto = max((each.at for each in events if each.kind == "sync" and each.path == own), default=0)
    for place, event in enumerate(events):
        if event.path != own or event.kind not in ("write", "truncate"):
            continue
        if event.kind == "truncate":
            if place < safe_upto:
                del certain[event.at :]
            if place < safe_upto or _lucky(mood, rng):
                del image[event.at :]
            continue
        if place < safe_upto:
            _put(certain, event.at, event.data)
            _put(image, event.at, event.data)
        elif mood != "none":
            _put(image, event.at, event.data if mood == "all" else _spoilt(event, bytes(image), rng))
    return bytes(image), bytes(certain)


def _put(image: bytearray, at: int, data: bytes) -> None:
    if data:
        image.extend(bytes(max(0, at - len(image))))
        image[at : at + len(data)] = data


def _spoilt(event: Event, image: bytes, rng: random.Random) -> bytes:
    """What is there of a write that nobody synced."""
    data, at = event.data, event.at
    how = rng.choice(("whole", "whole", "lost", "torn 512", "torn 4096", "hole", "zero", "garbage", "stale"))
    if how == "whole":
        return data
    if how == "lost":
        return b""
    if how.startswith("torn"):
        sector = int(how[5:])
        ends = [end - at for end in range((at // sector + 1) * sector, at + len(data), sector)]
        return data[: rng.choice([0, *ends])]
    if how == "hole":  # one sector of it never came
        start = rng.randrange(len(data)) // 512 * 512
        return data[:start] + bytes(len(data[start : start + 512])) + data[start + 512 :]
    if how == "zero":
        return bytes(len(data))
    if how == "garbage":
        return rng.randbytes(len(data))
    start = rng.randrange(len(image)) if image else 0
    return (image[start : start + len(data)] + bytes(len(data)))[: len(data)]


def frames_of(data: bytes) -> list[bytes]:
    """The frames of an undamaged piece of journal, taken apart without the package."""
    found, at = [], 0
    while at + 12 <= len(data):
        _, length, checksum = struct.unpack_from("<4sII", data, at)
        end = at + 28 + length
        if end > len(data) or crc32(data[at + 12 : end], length) != checksum:
            break
        found.append(data[at:end])
        at = end
    return found
