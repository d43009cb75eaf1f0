"""When a run has to end: a time of day, and the moment it means."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator

GRACE_S = 60.0
"""Seconds after the deadline in which requests in flight may still end: they are paid for."""


def moment(clock: str, now: float) -> float:
    """The first time (Unix seconds) after ``now`` at which clocks here show ``clock``, as HH:MM."""
    hour, minute = map(int, clock.split(":"))
    today = datetime.fromtimestamp(now).replace(hour=hour, minute=minute, second=0, microsecond=0)  # local
    return next(at for days in (0, 1, 2) if (at := (today + timedelta(days=days)).timestamp()) > now)


def _clock(text: str) -> str:
    if not re.fullmatch(r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError("expected a time of day like 05:00")
    return text


Clock = Annotated[str, AfterValidator(_clock)]
