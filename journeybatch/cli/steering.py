"""tune: another concurrency or another cap for a run at work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from journeybatch import tuning
from journeybatch.cli import screen
from journeybatch.cli.looking import check_journal, directory_of
from journeybatch.cli.watching import look
from journeybatch.concurrency import LARGEST
from journeybatch.errors import OutputError
from journeybatch.tuning import Tuning

PATIENCE_S = 10.0
PAUSE_S = 0.05


@click.command()
@click.argument("target", metavar="DIR-or-JOB")
@click.option("--concurrency", type=click.IntRange(1, LARGEST), help="Requests in flight at most.")
@click.option("--max-credits", type=click.IntRange(min=0, max=10**12), help="What the run may be billed at most.")
def tune(target: str, concurrency: int | None, max_credits: int | None) -> None:
    """Change the concurrency or the cap of the run at work in DIR, for the rest of it."""
    if concurrency is None and max_credits is None:
        raise click.UsageError("say what to change: --concurrency N, --max-credits N, or both")
    directory = directory_of(target)
    check_journal(directory)
    seen = look(directory)
    if seen.state != "running":
        raise OutputError(f"{directory}: no run is at work here ({seen.state}): give the numbers to journeybatch run")
    if seen.preparing:
        raise OutputError(f"{directory}: the run is still reading its table: try again when it has begun to send")
    wish = Tuning(concurrency, max_credits)
    try:
        left = tuning.leave(directory, wish)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written: {error.strerror}") from None
    _tell(seen.summary, _answered(directory, wish, left))


def _answered(directory: Path, wish: Tuning, left: Path) -> dict[str, Any]:
    """The summary once the run has granted ``wish``, which was ``left``. Raises OutputError where it does not go by
    it."""
    until = time.monotonic() + PATIENCE_S
    while left.exists() and look(directory).state == "running" and time.monotonic() < until:
        time.sleep(PAUSE_S)
    unheard = tuning.take_back(left)
    summary = look(directory).summary
    now = (summary.get("concurrency"), summary.get("credits", {}).get("cap"))
    if any(wanted not in (None, found) for wanted, found in zip((wish.concurrency, wish.credits), now, strict=True)):
        if unheard:
            raise OutputError(f"{directory}: the run took no notice, since it is ending; nothing was changed")
        raise OutputError(f"{directory}: the run goes by what somebody else wished after you: {Tuning(*now)}")
    return summary


def _tell(before: dict[str, Any], now: dict[str, Any]) -> None:
    was, credits = before["credits"], now["credits"]
    screen.out(f"in flight at most: {now['concurrency']} (before: {before['concurrency']})")
    caps = ["no cap" if cap is None else f"{cap} credits" for cap in (credits["cap"], was["cap"])]
    screen.out(f"cap: {caps[0]} (before: {caps[1]})")
    taken = credits["spent"] + credits["unknown_max"]
    if credits["cap"] is not None and credits["cap"] <= taken:
        screen.out(f"{taken} credits are spent or in doubt: the run stops once what is in flight has ended")
