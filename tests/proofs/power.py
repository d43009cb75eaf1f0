"""Power loss: a run's writes are recorded, and every moment of it is cut off in many ways a disk may have cut it.

What was synced stands. Of what was not, each write is there, lost, torn at a sector, zeroed, garbage, or the stale
bytes that stood in those blocks before; each change of a directory that was not synced has happened or has not. From
every such state the real code recovers, and some are carried on to the end and judged.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from journeybatch import api, archive, frames, journal
from journeybatch.emulator import Emulator, Faults
from journeybatch.emulator.answer_key import AnswerKey
from journeybatch.emulator.transport import EmulatorTransport
from journeybatch.errors import JourneybatchError, OutputError
from proofs.checker import Broken
from proofs.cuts import State, Tape, cut, frames_of
from proofs.recorder import Event, Recorder
from proofs.world import KEY, World

VIEWS = ("results.parquet", "requests.parquet", "summary.json", "job.yaml")
MEMORY = Path("/dev/shm")


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary directory, in memory where there is such a place."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


@contextmanager
def in_process() -> Iterator[None]:
    """The key, and no ballast: it is no part of what is proven here."""
    with patch.dict("os.environ", {"JOURNEYAPI_KEY": KEY}), patch.object(journal, "BALLAST_BYTES", 0):
        yield


class Noted(EmulatorTransport):
    """The emulator, with a note on the tape for each request that arrives."""

    def __init__(self, emulator: Emulator, events: list[Event]) -> None:
        super().__init__(emulator)
        self.events = events

    async def handle_async_request(self, request: Any) -> Any:
        if request.method == "POST":
            self.events.append(Event("sent", "", len(self.emulator.attempts) + 1))
        return await super().handle_async_request(request)


def knowing(world: World, **more: Any) -> Emulator:
    return Emulator(answers=AnswerKey(world.told(world.texts)), **more)


def record(
    path: Path, before: bytes = b"", written: frozenset[bytes] = frozenset(), emulator: Emulator | None = None
) -> Tape:
    """Run a job of 24 rows from nothing, or from a journal that stood there ``before``, and record it."""
    world = World(path, 24, twins=2, concurrency=5, limits={"failures": "100%"})
    faults = Faults(seed=3, statuses={500: 0.1}, truncate=0.05, reset=0.05)
    emulator = emulator or knowing(world, faults=faults, latency_s=0.001)
    if before:
        world.output.mkdir(mode=0o700)
        (world.output / "journal").write_bytes(before)
    recorder, seen = Recorder(path), len(emulator.attempts)
    with recorder.recording():
        report = api.run(world.job(), transport=Noted(emulator, recorder.events), seed=1, yes=True)
    assert report.exit_code == 0, report.message
    return Tape(world, before, written, seen, recorder.events, emulator)


def recover(tape: Tape, moment: int, state: State, place: Path) -> bool:
    """Have the real code recover a state, and hold it against the tape. Raises Broken. False: what stands there is no
    journal, which it may say where nothing was ever synced or sent, and only garbage is there."""
    output = place / "out"
    _lay(tape, state, output)
    for name in VIEWS:
        file = output / name
        if file.exists() and file.read_bytes() not in {e.data for e in tape.events if e.to.endswith("/" + name)}:
            raise Broken(f"{name} is neither the old nor the new one")
    sent = tape.sent(moment)
    with patch.object(journal, "sync_directory"), patch.object(journal.os, "fsync"):
        try:
            opened = journal.open_journal(output)
        except OutputError:
            if sent or state.safe or frames_of(state.files[str(tape.world.output / "journal")]):
                raise
            return False
    history = opened.history
    try:
        data = (output / "journal").read_bytes()
        found = [
            data[f.offset : f.offset + frames.OVERHEAD + len(f.payload)]
            for f in frames.scan(memoryview(data), history.frames_id)
            if isinstance(f, frames.Frame)
        ]
    finally:
        opened.close()
    if not tape.frames().issuperset(found):
        raise Broken("recovery took a frame that nobody wrote")
    if not set(frames_of(state.safe)) <= set(found):
        raise Broken("what was synced is lost")
    if len(data) != history.end:
        raise Broken("the torn tail is still there")
    if len(history.attempts) + history.lost < sent:
        raise Broken(f"the server saw {sent} requests, the journal knows of {len(history.attempts)}")
    billed = sum(record.credits for record in tape.emulator.attempts[:sent])
    most = sum(run.spent + run.unknown for run in history.runs) + history.lost
    if billed > most:
        raise Broken(f"the bill is {billed}, and the journal knows of {most} at most")
    return True


def _lay(tape: Tape, state: State, output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(mode=0o700, parents=True)
    for path, data in state.files.items():
        to = output / Path(path).relative_to(tape.world.output)
        to.parent.mkdir(exist_ok=True)
        to.write_bytes(data)


def carry_on(tape: Tape, moment: int, state: State, place: Path) -> None:
    """Run the job to its end from a state, and have the checker look. Raises Broken."""
    world = tape.world
    _lay(tape, state, world.output)
    sent = tape.sent(moment)
    emulator = knowing(world)
    emulator._bill.attempts[:] = tape.emulator.attempts[:sent]
    emulator._bill.credits = sum(record.credits for record in emulator.attempts)
    with archive.mapped(world.output / "journal") if (world.output / "journal").exists() else _nothing() as buffer:
        damaged = any(isinstance(each, frames.Gap) and each.lost for each in frames.scan(buffer, _id_of(buffer)))
    report = api.run(world.job(), transport=emulator.transport(), seed=1, yes=True)
    if report.exit_code != 0:
        raise Broken(f"carrying on ends with {report.exit_code}: {report.message}")
    if not damaged:  # where entries were lost, the doubt is said in credits that no single attempt can be given
        world.judge([record.as_json() for record in emulator.attempts])


@contextmanager
def _nothing() -> Iterator[memoryview]:
    yield memoryview(b"")


def _id_of(buffer: memoryview) -> bytes:
    return frames.identify(buffer) or b"none yet"


def prove(states: int, seed: int, carried: float = 0.02) -> tuple[int, str]:
    """Recover so many states. Returns their number and a sentence. Raises Broken with the seed of the first that
    fails."""
    ends = unknown = 0
    with folder() as place, in_process():
        tapes = [record(_made(place / "first"))]
        tapes.append(_second(tapes[0], _made(place / "second"), seed))
        for number in range(states):
            rng = random.Random(f"{seed}:{number}")
            tape = rng.choice(tapes)
            moment = rng.randint(0, len(tape.events))
            state = cut(tape, moment, rng)
            try:
                known = recover(tape, moment, state, place / "recovered")
                unknown += not known
                if known and rng.random() < carried:
                    carry_on(tape, moment, state, place)
                    ends += 1
            except (Broken, JourneybatchError) as broken:
                raise Broken(f"power loss {seed}:{number}, after {moment} events: {broken}") from None
    said = f"{sum(len(tape.events) for tape in tapes)} events on two tapes; {ends} states carried on to the end"
    return states, f"{said}; {unknown} of nothing but garbage refused as foreign"


def _second(first: Tape, path: Path, seed: int) -> Tape:
    """A tape that begins where a cut in the middle of another one left the journal: recovery is on it, too."""
    own = str(first.world.output / "journal")
    rng, state, moment = random.Random(seed), State({}, b""), 0
    while len(state.files.get(own, b"")) <= len(state.safe):  # one with something torn at its end
        moment = rng.randrange(len(first.events) // 4, len(first.events) * 3 // 4)
        state = cut(first, moment, rng)
    sent = first.sent(moment)
    emulator = knowing(first.world, latency_s=0.001)
    emulator._bill.attempts[:] = first.emulator.attempts[:sent]
    emulator._bill.credits = sum(record.credits for record in emulator.attempts)
    return record(path, state.files[own], first.frames(), emulator)


def _made(path: Path) -> Path:
    path.mkdir()
    return path
