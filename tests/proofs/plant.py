"""A plant: one mistake that is made on purpose, and the proof that has to see it."""

from __future__ import annotations

from typing import NamedTuple


class Plant(NamedTuple):
    """What is wrong, in which ``module`` of the package, as ``old`` text and ``new``; and the ``proof`` that sees it:
    a module here, and how much of it. ``also`` are more changes, where the product sees one alone."""

    what: str
    module: str
    old: str
    new: str
    proof: str
    size: float
    also: tuple[tuple[str, str, str], ...] = ()

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """Module, old text and new text of each change."""
        return [(self.module, self.old, self.new), *self.also]
