"""Numbers of a running job; the bar, or a plain line now and then where nobody watches.

Whatever happens to the terminal, the job goes on: a stream that refuses a write is left alone from then on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import anyio
import msgspec

from journeybatch.ledger import Ledger
from journeybatch.limiter import Limiter
from journeybatch.results import ROWS

if TYPE_CHECKING:
    from tqdm import tqdm

EVERY_S = 0.25
LINE_EVERY_S = 30.0


class Numbers(msgspec.Struct):
    """What a running job has come to, in rows. ``reused`` are those answered through another row, ``refused`` those
    that the model refused or whose answer reads like a refusal; ``done_here`` and
    ``failed_here`` count what this process finished, ``invalid_here`` the replies that could not be read and were
    asked for again."""

    total: int
    answered: int = 0
    failed: int = 0
    reused: int = 0
    refused: int = 0
    done_here: int = 0
    failed_here: int = 0
    invalid_here: int = 0

    @property
    def pending(self) -> int:
        """Rows without a last word."""
        return self.total - self.answered - self.failed

    def rows(self) -> dict[str, int]:
        """The rows as summary.json has them."""
        return {name: getattr(self, name) for name in ROWS}


class Screen:
    """stderr, which may be a terminal, a log, full, or closed; with ``as_json`` each line is a JSON object."""

    def __init__(self, stream: TextIO | None, as_json: bool = False) -> None:
        self._stream, self._as_json = stream, as_json

    @property
    def is_terminal(self) -> bool:
        """Whether a person may be looking."""
        try:
            return not self._as_json and self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def line(self, text: str, level: str = "info") -> None:
        """Print one line, if that is possible."""
        if self._as_json:
            event = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "message": text}
            text = json.dumps(event, ensure_ascii=False)
        self.write(text + "\n")
        self.flush()

    def write(self, text: str) -> int:
        """What tqdm calls; never raises."""
        if self._stream is not None:
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:
                return self.write(text.encode("ascii", "replace").decode())
            except (OSError, ValueError):
                self._stream = None
        return len(text)

    def flush(self) -> None:
        """Never raises."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None


@asynccontextmanager
async def reported(
    numbers: Numbers, ledger: Ledger, limiter: Limiter, screen: Screen, keep: Callable[[], None]
) -> AsyncIterator[None]:
    """Show ``numbers`` while the body runs, on a terminal as a bar, else as a plain line every 30 s. ``keep`` is
    called about once a second: it writes the summary."""

    async def tick(bar: tqdm[Any] | None) -> None:
        began = anyio.current_time()
        next_line, next_keep = began + LINE_EVERY_S, began
        while True:
            await anyio.sleep(EVERY_S)
            now = anyio.current_time()
            if bar is not None:
                _draw(bar, numbers, ledger, limiter)
            elif now >= next_line:
                screen.line(plain_line(numbers, ledger, limiter, now - began))
                next_line = now + LINE_EVERY_S
            if now >= next_keep:
                keep()
                next_keep = now + 1.0

    bar = _bar(numbers, screen) if screen.is_terminal else None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick, bar)
            yield
            tasks.cancel_scope.cancel()
    finally:
        if bar is not None:
            _draw(bar, numbers, ledger, limiter)
            bar.close()


def _bar(numbers: Numbers, screen: Screen) -> tqdm[Any]:
    from tqdm import tqdm

    return tqdm(
        total=numbers.total,
        initial=numbers.answered + numbers.failed,
        unit="row",
        file=screen,
        dynamic_ncols=True,
        smoothing=0.1,
        mininterval=0,
    )


def _draw(bar: tqdm[Any], numbers: Numbers, ledger: Ledger, limiter: Limiter) -> None:
    bar.set_postfix_str(_facts(numbers, ledger, limiter), refresh=False)
    bar.n = numbers.answered + numbers.failed
    bar.refresh()


def plain_line(numbers: Numbers, ledger: Ledger, limiter: Limiter, seconds: float) -> str:
    """The state of a job as one line for a log."""
    done = numbers.answered + numbers.failed
    rate = numbers.done_here / seconds if seconds else 0.0
    left = f", {duration(numbers.pending / rate)} left" if rate else ""
    return f"{done}/{numbers.total} rows, {rate:.1f} rows/s{left}, {_facts(numbers, ledger, limiter)}"


def _facts(numbers: Numbers, ledger: Ledger, limiter: Limiter) -> str:
    spent = f"{ledger.spent}" + (f"+{ledger.unknown}?" if ledger.unknown else "")
    facts = [
        f"{limiter.in_flight} in flight" + (f" of {limiter.window}" if limiter.found else ""),
        f"{numbers.failed} failed",
        f"{spent} of {ledger.cap} credits" if ledger.cap is not None else f"{spent} credits",
    ]
    if limiter.open:
        facts.append("waiting: the endpoint fails")
    elif limiter.paused_until is not None and limiter.paused_until > anyio.current_time():
        facts.append("paused by the endpoint")
    return ", ".join(facts)


def duration(seconds: float) -> str:
    """A span of time, as short as people say it."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}h{m:02d}m" if hours else f"{m}m{s:02d}s" if m else f"{s}s"
