"""Everything that can go wrong, drawn as a tree.

::

    JourneybatchError
    ├─ JobError           the user can fix it: exit 2; names file, line or key, and the next step
    │   ├─ SpecError          the job file
    │   ├─ TableError         the input table, or a results file
    │   ├─ TemplateError      the prompt, or rows it cannot be rendered for
    │   ├─ UnknownModel       a model nobody priced
    │   ├─ MissingKey         no API key, or none allowed for this host
    │   ├─ OutputError        the output directory: another job's, foreign, or not writable
    │   └─ Unanswered         a question nobody was there to answer
    ├─ RunStopped         the run cannot go on, all is safe: exit 3; says how to resume
    │   ├─ BudgetReached      stopped_by `budget`
    │   ├─ OutOfCredits       stopped_by `credits`
    │   ├─ Unauthorized       stopped_by `auth`
    │   ├─ WrongEndpoint      stopped_by `endpoint`
    │   ├─ Outage             stopped_by `outage`
    │   ├─ DiskFull           stopped_by `disk`
    │   ├─ OutOfMemory        stopped_by `memory`
    │   ├─ TooManyFailures    stopped_by `failures`
    │   ├─ InputChanged       stopped_by `input`
    │   ├─ Undelivered        stopped_by `sink`
    │   └─ DeadlinePassed     stopped_by `deadline`
    ├─ RunLocked          another run holds the output directory: exit 4
    ├─ Damaged            `verify` found damage: exit 5
    └─ ApiFailure         one attempt failed: what it may have cost, and what is to be done then
        └─ WorkerLost       the machine that made it is gone: no news of the endpoint

An ``ApiFailure`` never reaches the user: it becomes a failed row or a ``RunStopped``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Charge = Literal["settled", "free", "unknown"]
Then = Literal["retry", "pause", "stop", "reject"]


class JourneybatchError(Exception):
    """The root. ``exit_code`` is what the command line ends with; ``code`` names the section of ``errors.md`` that says
    more, and is what `journeybatch explain` takes."""

    exit_code: ClassVar[int] = 70
    code: ClassVar[str] = "bug"


class JobError(JourneybatchError):
    """The job or the command must be fixed. Nothing was sent."""

    exit_code = 2
    code = "command"


class SpecError(JobError):
    """The job file cannot be used as it stands."""

    code = "job-file"


class TableError(JobError):
    """A table cannot be read or written."""

    code = "table"


class TemplateError(JobError):
    """The prompt template is wrong, or some rows cannot be rendered."""

    code = "prompt"


class UnknownModel(JobError):
    """A model outside the catalogue that nobody gave a price for."""

    code = "model"


class MissingKey(JobError):
    """No API key, or none that may go to this host."""

    code = "key"


class OutputError(JobError):
    """The output directory cannot be used."""

    code = "output"


class Unanswered(JobError):
    """A question about money was not answered with yes."""

    code = "question"


class RunStopped(JourneybatchError):
    """The run stopped early; everything paid for is safe and ``run`` carries on from here."""

    exit_code = 3
    reason: ClassVar[str] = ""


class BudgetReached(RunStopped):
    """The next attempt would pass the cap."""

    reason = code = "budget"


class OutOfCredits(RunStopped):
    """The account is empty."""

    reason = code = "credits"


class Unauthorized(RunStopped):
    """The endpoint refuses the key."""

    reason = code = "auth"


class WrongEndpoint(RunStopped):
    """The URL or the model is not known there."""

    reason = code = "endpoint"


class Outage(RunStopped):
    """The endpoint does not answer."""

    reason = code = "outage"


class DiskFull(RunStopped):
    """The journal cannot be written."""

    reason = code = "disk"


class OutOfMemory(RunStopped):
    """The process is given no more memory."""

    reason = code = "memory"

    def __init__(self) -> None:
        super().__init__(
            "memory ran out; everything paid for is safe: give the process more, or ask fewer at a time with "
            "--concurrency, and run again"
        )


class TooManyFailures(RunStopped):
    """More rows fail than the job allows."""

    reason = code = "failures"


class InputChanged(RunStopped):
    """The input table changed while it was being read."""

    reason = code = "input"


class Undelivered(RunStopped):
    """Every row is answered or failed, but a sink did not get the results."""

    reason = code = "sink"


class DeadlinePassed(RunStopped):
    """The time has come at which the run was to end."""

    reason = code = "deadline"


class RunLocked(JourneybatchError):
    """Another process is running in this output directory."""

    exit_code = 4
    code = "locked"


class Damaged(JourneybatchError):
    """Journal, ledger and results do not agree."""

    exit_code = 5
    code = "damaged"


class ApiFailure(JourneybatchError):
    """One attempt that brought no answer.

    ``kind`` is a short word for ``jb_error``; ``charge`` says what the attempt may have cost; ``then`` what is
    to be done: ``retry`` it, ``pause`` everyone and retry, ``stop`` the run, or ``reject`` the row.
    ``stopped_by`` names the reason when ``then`` is ``stop``. ``retry_after_s`` is the server's wish in
    seconds, None when it said nothing. ``counted`` is set to False by the limiter when the failure says
    nothing about this request (the breaker is open), so that it does not use up one of its attempts. ``foreign`` is
    True when what came back is nothing that this API says, such as a web page.
    """

    def __init__(  # noqa: PLR0913  a value's fields
        self,
        kind: str,
        message: str,
        *,
        charge: Charge,
        then: Then,
        status: int | None = None,
        stopped_by: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.charge: Charge = charge
        self.then: Then = then
        self.status = status
        self.stopped_by = stopped_by
        self.retry_after_s = retry_after_s
        self.counted = True
        self.foreign = False


class WorkerLost(ApiFailure):
    """The worker that had an attempt in flight is gone: what came of it nobody knows, and it may have been charged.
    That says nothing about the endpoint."""

    def __init__(self, message: str) -> None:
        super().__init__("worker", message, charge="unknown", then="retry")


STOPS: dict[str, type[RunStopped]] = {
    stop.reason: stop
    for stop in (
        BudgetReached,
        OutOfCredits,
        Unauthorized,
        WrongEndpoint,
        Outage,
        DiskFull,
        OutOfMemory,
        TooManyFailures,
        InputChanged,
        Undelivered,
        DeadlinePassed,
    )
}


def starved(error: BaseException) -> bool:
    """Whether an error, or any in a group of them, is that memory ran out."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(starved, error.exceptions))
    return isinstance(error, MemoryError)
