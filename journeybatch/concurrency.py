"""How many requests may be in flight, as a job says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator

LARGEST = 10_000
AUTO = 256


@dataclass(frozen=True, slots=True)
class InFlight:
    """At ``most`` so many requests; ``auto``: only as many of these as the endpoint has a use for."""

    most: int
    auto: bool = False


def _in_flight(value: Any) -> InFlight:
    if isinstance(value, InFlight):
        return value
    if value == "auto":
        return InFlight(AUTO, auto=True)
    auto = isinstance(value, Mapping) and set(value) == {"auto"}
    most = value["auto"] if auto else value
    if type(most) is not int:
        raise ValueError("expected a whole number, or `auto`")
    if not 1 <= most <= LARGEST:
        raise ValueError(f"expected a number from 1 to {LARGEST}")
    return InFlight(most, auto)


def _plain(in_flight: InFlight) -> int | dict[str, int]:
    return {"auto": in_flight.most} if in_flight.auto else in_flight.most


_Number = Annotated[int, Field(ge=1, le=LARGEST)]
Concurrency = Annotated[
    InFlight,
    PlainValidator(_in_flight, json_schema_input_type=_Number | Literal["auto"] | dict[Literal["auto"], _Number]),
    PlainSerializer(_plain),
]
