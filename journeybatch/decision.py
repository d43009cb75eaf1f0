"""What a job leaves to measurement, and on what each such decision rests.

A decision stands in the journal under a digest of all that it rests on. While that stays the same it holds, also for
later runs and for rows that come later; whatever changes it makes the old decision one about something else.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from journeybatch.entries import Decided
from journeybatch.history import History
from journeybatch.spec import JobSpec

SIZE, BOUND = "pack", "below"
"""How many rows go into a request; below which score a row goes up."""


def size_basis(spec: JobSpec, ask: str, reading: bytes) -> bytes:
    """What `pack: auto` rests on: what is asked, how it is read, and the terms of the pilot."""
    pack = spec.pack
    return _digest(SIZE, ask, reading.hex(), pack.agreement, pack.most, pack.pilot, pack.characters, pack.compare)


def bound_basis(spec: JobSpec, ask: str, reading: bytes, labels: bytes) -> bytes:
    """What a guarantee's bound rests on: what is asked, how it is read, the labels, and what is guaranteed."""
    given = spec.guarantee
    terms = (given.agreement, given.confidence, given.field) if given else None
    return _digest(BOUND, ask, reading.hex(), labels.hex(), spec.target, terms)


def decided(history: History, what: str, basis: bytes) -> Decided | None:
    """The decision on ``what``, if it was made on this ``basis``."""
    return history.decided.get((what, basis))


def _digest(*parts: Any) -> bytes:
    return blake2b(json.dumps(parts).encode(), digest_size=16).digest()
