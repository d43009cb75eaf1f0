"""The output directory of a job: whose it is, what it holds, who may write it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from journeybatch.archive import mapped, read_began, read_history, received
from journeybatch.daybook import DAYBOOK
from journeybatch.disk import NO_ROOM, sync_directory
from journeybatch.entries import Began, Settled
from journeybatch.errors import ApiFailure, Charge, DiskFull, OutputError
from journeybatch.history import History
from journeybatch.journal import BALLAST, NAME, Journal, open_journal
from journeybatch.ledger import charged
from journeybatch.reading import PLAIN, codes_of
from journeybatch.records import Completion, Price
from journeybatch.verdict import UNREAD, error_of
from journeybatch.wire import judge

EVALUATION = "evaluation.json"
"""What an evaluation came to, where the job compares variants."""

_OR_BY_HAND = (
    "where it is a mount point, as a volume of a container is, give the job an `output` below it; or move all but the "
    "ledger of the day (credits-per-day*) into a folder inside it by hand, and run without --fresh"
)


def read_directory(directory: Path, job: str) -> History:
    """The history in ``directory``, changing nothing; empty where there is none.

    Raises:
        OutputError: it is another job's, or its journal is a foreign file.
    """
    journal = directory / NAME
    history = read_history(journal) if journal.exists() else History()
    _check_owner(directory, job, history.began)
    return history


def open_directory(directory: Path, job: str, *, fresh: bool = False, daybooks: Iterable[Path] = ()) -> Journal:
    """Lock ``directory`` for a run of ``job``, recover its journal, and settle what a killed run left unsettled.

    With ``fresh`` what is in it is moved into a directory beside it first. ``daybooks``, and those of the usual name,
    stay: a day is a day.

    Raises:
        OutputError, RunLocked, DiskFull: see ``open_journal``; or there is no room beside it, as at a mount point.
    """
    if fresh and (directory / NAME).exists():
        try:
            _move_aside(directory, job, [*directory.glob(f"{DAYBOOK}*"), *daybooks])
        except OSError as error:
            why = f"{directory}: its files cannot be moved into a directory beside it: {error.strerror}"
            if error.errno in NO_ROOM:
                raise DiskFull(f"{why}; nothing was sent: make room (or mend the disk), and run again") from None
            raise OutputError(f"{why}; {_OR_BY_HAND}") from None
    _check_owner(directory, job, _began(directory))
    journal = open_journal(directory)
    try:
        _check_owner(directory, job, journal.history.began)  # before there was a lock, it was anybody's
        _settle_left_over(journal)
    except BaseException:
        journal.close()
        raise
    return journal


def discard_if_unused(journal: Journal) -> None:
    """Close a journal; take it away again if nothing was ever written, so that a job that could not begin leaves
    nothing behind. It goes while its lock is held: a moment later it may be another run's."""
    if journal.sequence == 0:
        with suppress(OSError):  # something else lives there
            journal.close(before=journal.path.unlink)
            journal.path.parent.rmdir()
    journal.close()


def _began(directory: Path) -> Began | None:
    journal = directory / NAME
    return read_began(journal) if journal.exists() else None


def _check_owner(directory: Path, job: str, began: Began | None) -> None:
    if began is not None and began.job != job:
        raise OutputError(
            f"{directory}: belongs to the job {began.job!r}, not to {job!r}; give this job an `output` of its own"
        )
    if began is None and (directory / "results.parquet").exists():
        raise OutputError(f"{directory}: has a results.parquet but no journal of ours; choose another `output`")


def _move_aside(directory: Path, job: str, daybooks: list[Path]) -> None:
    """Move what is in ``directory`` into a new one beside it, while its lock is held, so that no run is moved from
    under its process.

    The directory itself stays, and so do ``daybooks``: at no instant could another process, or the next one after a
    kill, find a day without its file. The journal goes last and at once: until then the old run is the one that
    ``run`` carries on, for nothing.
    """
    _check_owner(directory, job, _began(directory))
    with closing(open_journal(directory)) as journal:
        here, moved = directory.resolve(), list[tuple[Path, Path]]()
        beside = _make_beside(here)
        try:
            for each in _movable(here, _and_above([journal.path, here / BALLAST, *daybooks])):
                to = beside / each.relative_to(here)
                moved.append((each, to))
                to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                each.rename(to)
            for folder in (beside, beside.parent, here):
                sync_directory(folder)
            journal.close(before=lambda: journal.path.rename(beside / NAME))
        except BaseException:
            for each, to in moved if journal.fd >= 0 else ():
                with suppress(OSError):
                    to.rename(each)
            with suppress(OSError):
                beside.rmdir()
            raise


def _make_beside(here: Path) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for end in ("", *(f".{n}" for n in range(2, 99))):
        with suppress(FileExistsError):
            beside = here.with_name(f"{here.name}.{stamp}{end}")
            beside.mkdir(mode=0o700)
            return beside
    raise OutputError(f"{here}: too many directories were moved aside within this second; try again")


def _movable(folder: Path, staying: set[tuple[int, int]]) -> list[Path]:
    """All in ``folder``; of a directory in it that holds something that stays, what is in that."""
    found: list[Path] = []
    for each in sorted(folder.iterdir()):
        if _identity(each) not in staying:
            found.append(each)
        elif each.is_dir() and not each.is_symlink():
            found += _movable(each, staying)
    return found


def _and_above(files: list[Path]) -> set[tuple[int, int]]:
    """The identities of those ``files`` that are there, and of all they lie in: whatever names and links lead there."""
    return {_identity(each) for file in files for each in (file, *file.parents) if os.path.lexists(each)}


def _identity(path: Path) -> tuple[int, int]:
    told = path.stat() if path.exists() else path.lstat()
    return told.st_dev, told.st_ino


def _settle_left_over(journal: Journal) -> None:
    """Settle attempts whose raw reply was saved before their process died: the reply says what they cost. Only where
    any text is an answer does that say how it is to be read; other replies stay unread."""
    history = journal.history
    a = history.attempts
    left = history.unjudged
    if not left:
        return
    bills_errors = history.began.bills_errors if history.began else False
    with mapped(journal.path) as buffer:
        entries = [(index, received(buffer, history, index)) for index in left]
    for index, entry in entries:
        price = Price(a.least[index], a.credits_max[index])
        completion = Completion(entry.status, entry.headers, entry.body, entry.latency_s)
        charge: Charge = "settled"
        error: str | None = None
        message: str | None = None
        codes = b""
        try:
            reply = judge(completion, bills_errors=bills_errors)
        except ApiFailure as failure:
            charge, error, message = failure.charge, failure.kind, str(failure)
        else:
            if history.reading or a.prompts(index) != 1:
                codes = bytes([UNREAD] * a.prompts(index))
            else:
                codes, _ = codes_of(PLAIN.read(reply, history.id, entry.request, a.keys_of(index)))
                error = error_of(codes)
        certain, most = charged(price, charge)
        journal.append(
            Settled(
                entry.request,
                entry.attempt,
                charge,
                certain,
                most,
                error,
                message,
                entry.status,
                entry.latency_s,
                codes,
            )
        )
