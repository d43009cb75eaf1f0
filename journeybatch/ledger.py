"""Credits reserved, settled, in doubt; the cap.

All sums are integers. Of every attempt the upper end of its price is reserved before it is sent; a settlement
turns the reservation into a charge, a free end releases it, and a doubt keeps it (promise 13). So what was
committed never exceeds the cap, whatever happens next.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import anyio

from journeybatch.daybook import Daybook
from journeybatch.errors import BudgetReached, Charge
from journeybatch.records import Price


class Ledger:
    """The credits of one run, through all its crashes and resumes.

    ``spent`` is what was certainly charged, ``unknown`` what may have been charged besides, ``reserved`` what
    attempts in flight may still charge. ``cap`` is the most all three may come to; None for no cap. ``day`` keeps the
    cap of the calendar day, which other runs and processes share; None where there is none.
    """

    def __init__(self, cap: int | None, *, spent: int = 0, unknown: int = 0, day: Daybook | None = None) -> None:
        self.cap = cap
        self.day = day
        self.spent = spent
        self.unknown = unknown
        self.reserved = 0
        self._settled: anyio.Event | None = None  # made by who waits for one
        self._closed: Callable[[], Exception] | None = None

    def fits(self, price: Price) -> bool:
        """Whether another attempt at this price stays within the cap."""
        return self.cap is None or self.spent + self.unknown + self.reserved + price.most <= self.cap

    async def reserve(self, price: Price) -> int:
        """Set the upper end of ``price`` aside. Waits while only attempts in flight stand in the way, since
        they may end free or below their upper end. Returns the day it counts for, as ``Daybook.reserve`` does.

        Raises:
            BudgetReached: the cap leaves no room, and nothing in flight can make any.
            DiskFull: the daybook cannot be read or written.
            Whatever ``close`` was given.
        """
        while (day := self._admitted_on(price)) is None:
            if not self.reserved:
                raise BudgetReached(self._reached(price))
            self._settled = self._settled or anyio.Event()
            await self._settled.wait()
            if self._closed is not None:
                raise self._closed()
        self.reserved += price.most
        return day

    def recap(self, cap: int | None) -> None:
        """From now on ``cap`` counts. One below what is spent stops the next reservation; what is reserved stands."""
        self.cap = cap
        self._wake()

    def close(self, reason: Callable[[], Exception]) -> None:
        """Let nobody have what they wait for: they raise a ``reason``. Nothing new is sent, though room be made."""
        self._closed = reason
        self._wake()

    def _admitted_on(self, price: Price) -> int | None:
        if self.cap is not None and not self.fits(price):
            return None
        return 0 if self.day is None else self.day.reserve(price.most)

    def _reached(self, price: Price) -> str:
        if self.day is not None and self.fits(price):
            today = date(1970, 1, 1) + timedelta(self.day.day)  # by the daybook, which a clock may have set ahead once
            return (
                f"the cap of {self.day.cap} credits for {today} (UTC) is reached (limits.credits_per_day, counted in "
                f"{self.day.path}), and the next request may cost {price.most}; raise it, or run again after that day"
            )
        return (
            f"the cap of {self.cap} credits is reached: {self.spent} spent, {self.unknown} more in doubt, "
            f"and the next request may cost {price.most}; raise limits.credits (or --max-credits) and run again"
        )

    def settle(self, price: Price, charge: Charge, day: int = 0) -> tuple[int, int]:
        """End a reservation for ``day``. Returns the charge as (certain, at most) in credits."""
        certain, most = charged(price, charge)
        self.reserved -= price.most
        if self.day is not None:
            self.day.settle(price.most, most, day)
        self.spent += certain
        self.unknown += most - certain
        if self._settled is not None:
            self._wake()
        return certain, most

    def _wake(self) -> None:
        if self._settled is not None:
            self._settled.set()
            self._settled = None


def charged(price: Price, charge: Charge) -> tuple[int, int]:
    """What an attempt's end costs as (certain, at most): settled [least, most], free [0, 0], unknown [0, most]."""
    if charge == "settled":
        return price.least, price.most
    return (0, 0) if charge == "free" else (0, price.most)
