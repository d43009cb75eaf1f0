"""The deadline everybody waits for when a server asks for patience."""

from __future__ import annotations

import random

FIRST_S, LONGEST_S = 0.5, 30.0  # where the server names no time
ABSURD_S = 900.0  # a longer wish is not believed


class Pause:
    """One shared deadline (``until``, seconds of the loop's clock, None for none): extended, never shortened.

    ``fruitless`` says that between the last two pauses nothing was answered. Stamps count attempts in the order they
    began.
    """

    def __init__(self, rng: random.Random) -> None:
        self.until: float | None = None
        self.fruitless = False
        self._rng = rng
        self._level = 0
        self._before = 0  # what began up to here was in flight when the last pause began
        self._answered = True  # something that began later was answered, or there was no pause yet

    def asked(self, now: float, wish_s: float | None, stamp: int, latest: int) -> bool:
        """The server asked attempt ``stamp`` for patience; ``latest`` is the last one that began.

        True if that is news: not from what was in flight when the pause began.
        """
        news = stamp > self._before
        if news:
            self._before = latest
            self.fruitless = not self._answered
            self._answered = False
            self._level += 1
        # Our own length is a floor under the server's wish, for one that says "at once" again and again.
        own = min(LONGEST_S, FIRST_S * 2.0 ** max(0, self._level - 1)) * (1 + self._rng.random()) / 2
        self.until = max(self.until or 0.0, now + max(own, min(wish_s or 0.0, ABSURD_S)))
        return news

    def extend(self, until: float) -> None:
        """Nobody starts before ``until``: the server said so in good time."""
        self.until = max(self.until or 0.0, until)

    def answered(self, stamp: int) -> None:
        """An attempt was answered."""
        # One level only, so that the right length for a server that names none is found and kept.
        if self._level:
            self._level -= 1
        if stamp > self._before:
            self._answered, self.fruitless = True, False

    def over(self, now: float) -> bool:
        """Whether nobody has to wait; forgets a deadline that has passed."""
        if self.until is not None and self.until <= now:
            self.until = None
        return self.until is None
