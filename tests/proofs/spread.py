"""Both cores: a proof of many cases that have nothing to do with each other, shared out over processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from proofs.checker import Broken

ALONE: list[str] = []
"""Why all has to happen in this process, if there is a reason: others would not have what was planted here."""


def spread(prove: Callable[..., Any], cases: range, size: int, *more: Any) -> Iterator[Any]:
    """``prove(some of the cases, *more)``, in pieces of ``size``, each in one of as many processes as there are cores;
    what they return, as it comes. Few cases stay in this process. Raises Broken, the first there is."""
    pieces = [cases[at : at + size] for at in range(0, len(cases), size)]
    if len(pieces) < 2 or ALONE:
        yield from (prove(piece, *more) for piece in pieces)
        return
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(prove, piece, *more) for piece in pieces]
        try:
            for future in as_completed(futures):
                yield future.result()
        except Broken:
            pool.shutdown(cancel_futures=True)
            raise
