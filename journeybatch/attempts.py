"""All attempts of a journal as columns, and the runs they belong to.

Columns are arrays, not objects: ten million attempts are an ordinary night, so an attempt costs about a hundred
bytes here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from journeybatch.entries import Intent
from journeybatch.identity import KEY_BYTES

if TYPE_CHECKING:
    import polars as pl

SETTLED, FREE, UNKNOWN = 0, 1, 2
CHARGES = ("settled", "free", "unknown")
UNSENT = "unsent"
"""The error of an attempt that stopped between its intent and its first byte: it counts nowhere as sent."""
BORROWED = "borrowed"
"""The error of a reply that was taken over from another journal: it was not sent and cost nothing here."""


_SMALL = ("run", "attempt", "status", "asked")
_LARGE = ("request", "offset", "credits", "credits_max")


class Run(msgspec.Struct):
    """One run: its number, when it began and finished (Unix seconds; None while it has not), and its sums.

    ``sent`` attempts, ``retried`` of them, ``in_doubt`` of them; credits ``spent`` certainly and ``unknown``
    possibly besides.
    """

    number: int
    began_at: float
    finished_at: float | None = None
    sent: int = 0
    retried: int = 0
    in_doubt: int = 0
    spent: int = 0
    unknown: int = 0


class Attempts:
    """All attempts ever, in the order they were begun, as columns. Index i is one attempt.

    ``keys`` holds 16 bytes per prompt; attempt i owns prompts ``first[i]`` to ``first[i + 1]``. ``offset`` is where
    the reply's frame stands in the journal, −1 without one. ``least`` is the lower end of its price; what it cost is
    ``credits`` certainly and ``credits_max`` at most. An attempt starts as unknown: in doubt.

    ``code`` is the verdict on each prompt's part of the reply, ``asked`` and ``read`` number the ways of reading that
    were in force when it was asked, and when it was last read. ``sense`` holds eight bytes a prompt, once anything
    was compared.
    """

    def __init__(self) -> None:
        self.run, self.attempt, self.status = array("i"), array("i"), array("i")
        self.request, self.offset = array("q"), array("q")
        self.least, self.credits, self.credits_max = array("q"), array("q"), array("q")
        self.at, self.latency_s = array("d"), array("d")
        self.charge = bytearray()
        self.asked, self.read = array("i"), array("i")
        self.first = array("q", [0])
        self.code = bytearray()
        self.sense = array("Q")
        self.keys = bytearray()
        self.model: list[str] = []
        self.error: list[str | None] = []
        self.message: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.run)

    def add(self, run: int, intent: Intent, reading: int) -> int:
        """Add an attempt that may or may not have ended, asked under a way of ``reading``. Returns its index."""
        self.run.append(run)
        self.request.append(intent.request)
        self.attempt.append(intent.attempt)
        self.status.append(0)
        self.least.append(intent.least)
        self.credits.append(0)
        self.credits_max.append(intent.most)
        self.offset.append(-1)
        self.at.append(intent.at)
        self.latency_s.append(0.0)
        self.charge.append(UNKNOWN)
        self.asked.append(reading)
        self.read.append(reading)
        self.keys += intent.keys
        self.first.append(len(self.keys) // KEY_BYTES)
        self.code += bytes(len(intent.keys) // KEY_BYTES)
        self.model.append(intent.model)
        self.error.append("in_doubt")
        return len(self) - 1

    def keys_of(self, index: int) -> list[bytes]:
        """The keys that attempt ``index`` asked."""
        span = range(self.first[index] * KEY_BYTES, self.first[index + 1] * KEY_BYTES, KEY_BYTES)
        return [bytes(self.keys[at : at + KEY_BYTES]) for at in span]

    def lines(self, start: int = 0, stop: int | None = None) -> pl.DataFrame:
        """One line per prompt of the attempts from ``start`` to ``stop`` (None: all), in order: its ``key`` (Binary),
        the ``attempt`` that carried it (Int64), as number ``place`` of ``among`` prompts (Int64), the verdict's
        ``code`` (UInt8) and its ``sense`` (UInt64)."""
        import polars as pl

        stop = len(self) if stop is None else min(stop, len(self))
        first, last = self.first[start], self.first[stop]
        bounds = pl.Series(self.first[start : stop + 1], dtype=pl.Int64)
        among = bounds.diff().slice(1)
        index = pl.select(pl.int_range(stop - start, dtype=pl.Int64).repeat_by(among)).to_series()
        attempt = index.explode().drop_nulls()
        sense = pl.Series(self.sense[first:last], dtype=pl.UInt64)
        return pl.DataFrame(
            {
                "key": binary(self.keys[first * KEY_BYTES : last * KEY_BYTES]),
                "attempt": attempt + start,
                "place": pl.int_range(first, last, dtype=pl.Int64, eager=True) - bounds.gather(attempt),
                "among": among.gather(attempt),
                "code": pl.Series(bytes(self.code[first:last]), dtype=pl.UInt8),
                "sense": sense.extend_constant(0, last - first - len(sense)),
            }
        )

    def table(self, start: int = 0, stop: int | None = None) -> pl.DataFrame:
        """The attempts from ``start`` to ``stop`` (None: all): their ``index`` (Int64), and the columns that have one
        value for each of them."""
        import polars as pl

        part = slice(start, stop)
        columns = {
            "index": pl.int_range(start, start + len(self.run[part]), dtype=pl.Int64, eager=True),
            **{name: pl.Series(getattr(self, name)[part], dtype=pl.Int32) for name in _SMALL},
            **{name: pl.Series(getattr(self, name)[part], dtype=pl.Int64) for name in _LARGE},
            **{name: pl.Series(getattr(self, name)[part], dtype=pl.Float64) for name in ("at", "latency_s")},
            "charge": pl.Series(bytes(self.charge[part]), dtype=pl.UInt8),
            **{name: pl.Series(getattr(self, name)[part], dtype=pl.String) for name in ("model", "error")},
        }
        return pl.DataFrame(columns)

    def tables(self, rows: int = 100_000) -> Iterator[pl.DataFrame]:
        """``table`` in parts of so many ``rows``."""
        return (self.table(at, at + rows) for at in range(0, len(self), rows))

    def prompts(self, index: int) -> int:
        """How many prompts attempt ``index`` carried."""
        return self.first[index + 1] - self.first[index]

    def codes(self, index: int) -> bytes:
        """The verdicts on the prompts of attempt ``index``, in their order."""
        return bytes(self.code[self.first[index] : self.first[index + 1]])

    def judge(self, index: int, codes: bytes, senses: bytes) -> None:
        """Keep the verdicts on attempt ``index``, and what its answers are compared by."""
        first = self.first[index]
        self.code[first : first + len(codes)] = codes
        if senses:
            self.sense.extend([0] * (len(self.code) - len(self.sense)))
            for place in range(len(codes)):
                self.sense[first + place] = int.from_bytes(senses[8 * place : 8 * place + 8], "big")

    def senses(self, index: int) -> list[int]:
        """What the answers of attempt ``index`` are compared by; zeros where nothing ever was."""
        first, last = self.first[index], self.first[index + 1]
        known = list(self.sense[first:last])
        return known + [0] * (last - first - len(known))

    def verdicts(self, index: int) -> tuple[bytes, bytes]:
        """The codes and senses of attempt ``index``, as an entry holds them."""
        senses = self.senses(index)
        return self.codes(index), b"".join(sense.to_bytes(8, "big") for sense in senses) if any(senses) else b""


def binary(keys: bytes | bytearray) -> pl.Series:
    """Keys that stand in one row of bytes, as Binary; no key becomes an object on the way."""
    import polars as pl

    flat = pl.Series("key", bytes(keys), dtype=pl.UInt8)
    return flat.reshape((len(keys) // KEY_BYTES, KEY_BYTES)).arr.to_list().cast(pl.Binary)


def request_name(number: int | str) -> str:
    """How a request is called in tables."""
    return f"q{number}"
