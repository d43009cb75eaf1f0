"""How the sending of a run ended, and what it found out on the way."""

from __future__ import annotations

from typing import Any

import msgspec

from journeybatch.delivery import Delivery
from journeybatch.entries import Decided
from journeybatch.errors import RunStopped
from journeybatch.reconciliation import Credits, Reconciliation
from journeybatch.transcript import Transcript


class Ending(msgspec.Struct):
    """Stopped for a reason, by a signal number, or neither; the account's balances, and what they say of the ledger;
    what came of the sinks; what each worker elsewhere did; what was ``found`` of the endpoint; the ``rows``
    as the sending counted them; what replies said, as far as it was kept."""

    stop: RunStopped | None = None
    signal: int | None = None
    balance_before: Credits | None = None
    balance_after: Credits | None = None
    reconciliation: Reconciliation | None = None
    deliveries: list[Delivery] = []
    workers: list[dict[str, Any]] = []
    found: Decided | None = None
    rows: dict[str, int] = {}
    transcript: Transcript | None = None

    def forget(self) -> None:
        """Give back the room of the transcript, which nobody needs any more."""
        if self.transcript is not None:
            self.transcript.close()
