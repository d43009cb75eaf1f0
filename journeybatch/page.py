"""Some attempts of a journal that follow each other, as columns."""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any

from journeybatch.errors import DiskFull
from journeybatch.identity import KEY_BYTES

if TYPE_CHECKING:
    import polars as pl

BITS = 14
SIZE = 1 << BITS
"""Attempts in a page: about 1.6 MB, which are stored within ten milliseconds and read back within three."""
_SMALL = ("run", "attempt", "status", "asked", "read", "model", "error", "message")
_LARGE = ("request", "offset", "least", "credits", "credits_max")
_TIMES = ("at", "latency_s")
_FIELDS = (*((name, "i") for name in _SMALL), *((name, "q") for name in _LARGE), *((name, "d") for name in _TIMES))
COLUMNS = (*(name for name, _ in _FIELDS), "charge")
_EMPTY = {name: array(kind, bytes(array(kind).itemsize * SIZE)) for name, kind in _FIELDS}
_EMPTY["offset"] = array("q", [-1]) * SIZE
_ARRAYS = {**dict(_FIELDS), "first": "q", "sense": "Q"}
_COLUMNS = (*(name for name, _ in _FIELDS), "charge", "first", "keys", "code", "sense")
_SIZES = Struct(f"<{len(_COLUMNS)}Q")


def squeeze(columns: Sequence[bytes]) -> bytes:
    """A page as it is stored: it takes a quarter of the room. Keys are as good as random and get no smaller."""
    stored = [zlib.compress(each, name != "keys") for name, each in zip(_COLUMNS, columns, strict=True)]
    return _SIZES.pack(*map(len, stored)) + b"".join(stored)


class Page:
    """Up to ``SIZE`` attempts, numbered from 0: see ``Attempts`` for the columns.

    ``model``, ``error`` and ``message`` are numbers of words. Attempt i owns prompts ``first[i]`` to ``first[i + 1]``,
    whose ``keys``, ``code`` and, once anything was compared, ``sense`` stand in a row. ``changed``: it is not stored as
    it is. Of a page that was stored, a column is unpacked when it is first looked at: most looks are at few of them.
    """

    __slots__ = (*_COLUMNS, "changed", "_stored")
    run: array[int]
    attempt: array[int]
    status: array[int]
    asked: array[int]
    read: array[int]
    model: array[int]
    error: array[int]
    message: array[int]
    request: array[int]
    offset: array[int]
    least: array[int]
    credits: array[int]
    credits_max: array[int]
    at: array[float]
    latency_s: array[float]
    charge: bytearray
    first: array[int]
    keys: bytearray
    code: bytearray
    sense: array[int]

    def __init__(self) -> None:
        for name, empty in _EMPTY.items():
            setattr(self, name, empty[:])
        self.charge = bytearray(SIZE)
        self.first = array("q", [0])
        self.keys, self.code, self.sense = bytearray(), bytearray(), array("Q")
        self.changed, self._stored = True, b""

    def pack(self) -> list[bytes]:
        """All columns as they are now."""
        return [bytes(getattr(self, name)) for name in _COLUMNS]

    @classmethod
    def unpack(cls, squeezed: bytes) -> Page:
        """A page as it was packed and squeezed. Where it is not that, this raises DiskFull, or a look at it does."""
        page = cls.__new__(cls)
        page._stored, page.changed = squeezed, False
        if len(squeezed) < _SIZES.size or sum(_SIZES.unpack_from(squeezed)) != len(squeezed) - _SIZES.size:
            raise _damaged("it is not whole")
        return page

    def __getattr__(self, name: str) -> Any:
        """A column that has not been looked at since the page was stored."""
        if name not in _COLUMNS:
            raise AttributeError(name)
        number, sizes = _COLUMNS.index(name), _SIZES.unpack_from(self._stored)
        start = _SIZES.size + sum(sizes[:number])
        try:
            data = zlib.decompress(memoryview(self._stored)[start : start + sizes[number]])
            column = array(_ARRAYS[name], data) if name in _ARRAYS else bytearray(data)
        except (zlib.error, ValueError) as error:
            raise _damaged(error) from None
        setattr(self, name, column)
        return column

    def unfold(self) -> None:
        """Unpack all of it, as whoever is going to change something must: halfway there could be no more of it. Raises
        DiskFull."""
        for name in _COLUMNS:
            getattr(self, name)
        self._stored = b""

    def judge(self, place: int, codes: bytes, senses: bytes) -> None:
        """Keep the verdicts on an attempt, and what its answers are compared by (eight bytes each, or none)."""
        first = self.first[place]
        self.code[first : first + len(codes)] = codes
        if senses:
            self.sense.extend([0] * (len(self.code) - len(self.sense)))
            for number in range(len(codes)):
                self.sense[first + number] = int.from_bytes(senses[8 * number : 8 * number + 8], "big")

    def senses(self, place: int) -> list[int]:
        """What the answers of an attempt are compared by; zeros where nothing ever was."""
        first, last = self.first[place], self.first[place + 1]
        known = list(self.sense[first:last])
        return known + [0] * (last - first - len(known))

    def numbers(self, start: int, stop: int, columns: Sequence[str] = COLUMNS) -> pl.DataFrame:
        """``columns`` of one number for each attempt from ``start`` to ``stop``."""
        import polars as pl

        kinds: dict[str, pl.DataType] = {"i": pl.Int32(), "q": pl.Int64(), "d": pl.Float64()}
        dtypes = {**{name: kinds[kind] for name, kind in _FIELDS}, "charge": pl.UInt8()}
        schema = {name: dtypes[name] for name in columns}
        if stop == start:
            return pl.DataFrame(schema=schema)
        rows = {name: [bytes(getattr(self, name)[start:stop])] for name in schema}
        return pl.DataFrame(rows).select(_read(name, dtype, stop - start) for name, dtype in schema.items())

    def marks(self, start: int, stop: int) -> pl.Series:
        """The mark of each prompt of the attempts from ``start`` to ``stop``."""
        import polars as pl

        keys = self.keys[self.first[start] * KEY_BYTES : self.first[stop] * KEY_BYTES]
        return series(keys, pl.UInt64(), 8).gather_every(2)

    def lines(self, start: int, stop: int, before: int) -> pl.DataFrame:
        """One line per prompt of the attempts from ``start`` to ``stop``, as ``Attempts.lines`` has them, for whose
        numbers so many attempts stand ``before`` the page."""
        import polars as pl

        first, last = self.first[start], self.first[stop]
        bounds = series(self.first[start : stop + 1].tobytes(), pl.Int64(), 8)
        among = bounds.diff().slice(1)
        attempt = pl.int_range(stop - start, dtype=pl.Int64, eager=True)
        if among.eq(1).all():  # nothing is packed
            place = pl.zeros(stop - start, dtype=pl.Int64, eager=True)
        else:
            attempt = pl.select(pl.lit(attempt).repeat_by(among)).to_series().explode().drop_nulls()
            place = pl.int_range(first, last, dtype=pl.Int64, eager=True) - bounds.gather(attempt)
            among = among.gather(attempt)
        sense = series(self.sense[first:last].tobytes(), pl.UInt64(), 8)
        return pl.DataFrame(
            {
                "key": binary(self.keys[first * KEY_BYTES : last * KEY_BYTES]),
                "attempt": attempt + (before + start),
                "place": place,
                "among": among,
                "code": series(self.code[first:last], pl.UInt8(), 1),
                "sense": sense.extend_constant(0, last - first - len(sense)),
            }
        )


def _damaged(why: object) -> DiskFull:
    return DiskFull(f"what was put aside is damaged: {why}; all replies are safe in the journal: run again")


def mark(key: bytes) -> int:
    """What a key is known by where half of it is enough: its first eight bytes, as ``marks`` has them."""
    return int.from_bytes(key[:8], sys.byteorder)


def marks(keys: pl.Series) -> pl.Series:
    """The marks (UInt64) of keys (Binary); nulls stay."""
    import polars as pl

    halves = (keys.slice(at, SIZE).bin.slice(0, 8) for at in range(0, len(keys) or 1, SIZE))  # twice the marks' room
    return pl.concat([half.bin.reinterpret(dtype=pl.UInt64, endianness=sys.byteorder) for half in halves], rechunk=True)


def numbered(keys: pl.Series) -> pl.Series:
    """Keys (Binary) as numbers (Int128), which take half the room; nulls stay."""
    import polars as pl

    return keys.bin.reinterpret(dtype=pl.Int128)


def binary(keys: bytes | bytearray) -> pl.Series:
    """Keys that stand in one row of bytes, as Binary; no key becomes an object on the way."""
    import polars as pl

    flat = series(keys, pl.UInt8(), 1).rename("key")
    return flat.reshape((len(keys) // KEY_BYTES, KEY_BYTES)).arr.to_list().cast(pl.Binary)


def series(numbers: bytes | bytearray | memoryview, dtype: pl.DataType, size: int) -> pl.Series:
    """Numbers of ``size`` bytes that stand in a row as this machine has them; none becomes an object on the way."""
    import polars as pl

    if not numbers:
        return pl.Series(dtype=dtype)
    row = pl.DataFrame({"numbers": [bytes(numbers)]})
    return row.select(_read("numbers", dtype, len(numbers) // size)).to_series()


def _read(column: str, dtype: pl.DataType, number: int) -> pl.Expr:
    """The ``number`` of numbers whose bytes a ``column`` holds in its only cell."""
    import polars as pl

    return pl.col(column).bin.reinterpret(dtype=pl.Array(dtype, number), endianness=sys.byteorder).explode()
