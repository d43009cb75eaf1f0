"""A local JourneyAPI: the endpoint's behaviour and its bill, in process or on loopback, with faults by switch.

``Emulator`` holds the state; ``Emulator.transport()`` answers in this process, ``server.serve`` on a real socket
(imported from there, since only a server needs starlette and uvicorn).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeybatch.emulator.answer_key import AnswerKey, AnswersError, read_answers
from journeybatch.emulator.behaviour import Emulator
from journeybatch.emulator.bill import Billed, read_bill
from journeybatch.emulator.faults import Faults, FaultsError, Lognormal, Outage, Uniform
from journeybatch.emulator.faults_file import read_faults
from journeybatch.emulator.upstream import REFUSAL_MARKER

if TYPE_CHECKING:
    from journeybatch.emulator.transport import EmulatorTransport

__all__ = [
    "REFUSAL_MARKER",
    "AnswerKey",
    "AnswersError",
    "Billed",
    "Emulator",
    "EmulatorTransport",
    "Faults",
    "FaultsError",
    "Lognormal",
    "Outage",
    "Uniform",
    "read_answers",
    "read_bill",
    "read_faults",
    "serve",
]


def serve(emulator: Emulator, *, port: int = 0, until_stdin_closes: bool = False) -> None:
    """See ``journeybatch.emulator.server.serve``."""
    from journeybatch.emulator import server

    server.serve(emulator, port=port, until_stdin_closes=until_stdin_closes)


def __getattr__(name: str) -> Any:
    if name == "EmulatorTransport":  # httpx takes its time to import
        from journeybatch.emulator.transport import EmulatorTransport

        return EmulatorTransport
    raise AttributeError(name)
