"""The price book: what was measured, by provider and model, in a file beside the user's config.

A price holds for the provider it was measured at and for no other: an emulator's says nothing about JourneyAPI's.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec

from journeybatch import catalog
from journeybatch.catalog import Credits
from journeybatch.errors import JobError, SpecError
from journeybatch.records import Price
from journeybatch.replacement import replacement

NAME = "prices.json"


class Measurement(msgspec.Struct, frozen=True):
    """One price: ``credits`` a request (1 to 5), the UTC date, the host, and what each request took off the balance."""

    credits: Annotated[int, msgspec.Meta(ge=1, le=5)]
    measured_at: date
    source: str
    deltas: tuple[int | float, ...] = ()


Book = dict[str, dict[str, Measurement]]
"""Provider (``Endpoint.provider``), then model."""


def read_book(path: Path | None) -> Book:
    """The whole book; empty if there is no file. Raises SpecError for a file that is none or cannot be read."""
    if path is None:
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=Book)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise SpecError(f"{path}: expected measured prices: {error}; mend or remove it, and measure again") from None


def measured_prices(path: Path | None, provider: str) -> dict[str, Price]:
    """Prices by model as they were measured at ``provider``. Raises SpecError (see ``read_book``)."""
    measured = read_book(path).get(provider, {})
    return {model: Price(m.credits, m.credits, _source(m)) for model, m in measured.items()}


def choose_price(
    model: str, credits: Mapping[str, Credits], known: Mapping[str, Credits], measured: Mapping[str, Price]
) -> Price:
    """What one request costs: by the job's ``credits``, else the user's ``known``, else ``measured``, else the list.

    Raises UnknownModel for a model that none of the four prices.
    """
    if model in measured and model not in credits and model not in known:
        return measured[model]
    return catalog.price(model, credits, known)


def remember(path: Path, provider: str, model: str, measurement: Measurement) -> None:
    """Put one price into the book, which keeps all others; the file is replaced as a whole, mode 0600.

    Raises:
        SpecError: the file there is no price book.
        JobError: it cannot be written.
    """
    try:
        path = path.resolve()  # a link stays a link
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(path.parent):
            book = read_book(path)
            book[provider] = book.get(provider, {}) | {model: measurement}
            with replacement(path) as temporary:
                temporary.write_bytes(msgspec.json.format(msgspec.json.encode(book, order="sorted"), indent=2) + b"\n")
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
        raise JobError(f"{path}: the price cannot be remembered: {error}") from None


def _source(measurement: Measurement) -> str:
    return f"measured on {measurement.measured_at.isoformat()} at {measurement.source}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer at a time: two that measure at once would each forget what the other learned."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
