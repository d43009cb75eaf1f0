"""The few texts that millions of attempts share: their models, errors and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


class Words:
    """Texts by numbers, each kept once; number 0 is None."""

    def __init__(self) -> None:
        self.texts: list[str | None] = [None]
        self._numbers: dict[str | None, int] = {None: 0}
        self._column: pl.Series | None = None

    def number(self, text: str | None) -> int:
        """The number of a text, which is new or known."""
        if (found := self._numbers.get(text)) is None:
            found = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return found

    def read(self, *columns: str) -> list[pl.Expr]:
        """``columns`` of numbers as texts; null for null."""
        import polars as pl

        if self._column is None or len(self._column) < len(self.texts):
            self._column = pl.Series(self.texts, dtype=pl.String)
        texts = pl.lit(self._column)
        return [texts.gather(pl.col(name)).alias(name) for name in columns]
