"""Journal, ledger and results checked against each other: what ``verify`` does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journeybatch.archive import read_history
from journeybatch.asking import climbs
from journeybatch.attempts import BORROWED, SETTLED, request_name
from journeybatch.errors import OutputError
from journeybatch.history import History
from journeybatch.journal import NAME
from journeybatch.lock import locked
from journeybatch.results import RESULTS
from journeybatch.statement import REQUESTS
from journeybatch.summary import read_summary
from journeybatch.tally import MICRO, tally, total
from journeybatch.verdict import READABLE

if TYPE_CHECKING:
    import polars as pl

_VIEWS_WAIT = (None, 130, 143)
"""Exit codes in a summary whose run left its views to `export` or the next run; None: it was killed."""


def audit(directory: Path) -> list[str]:
    """Everything that does not agree in ``directory``, as sentences; none if all does. Changes nothing.

    A run that is at work, was killed or was ended by a signal is behind with its views: that is no damage, and only
    its journal is checked then.

    Raises:
        OutputError: there is no journal of ours.
    """
    journal = directory / NAME
    if not journal.exists():
        raise OutputError(f"{directory}: there is no journal here; nothing ever ran in this directory")
    history = read_history(journal, anew=True)
    found = [
        f"journal: bytes {gap.start} to {gap.end} are damaged, {gap.lost} entries are lost; all others are in use"
        for gap in history.gaps
    ]
    if locked(journal):
        return found
    if (tail := torn(history)) is not None:
        found.append(tail)
    found += _check_credits(history)
    summary = read_summary(directory)
    if summary is None and history.run:
        found.append("summary.json is missing or cannot be read; run again to renew it")
    if summary is not None and views_wait(summary):
        return found
    departed = (summary or {}).get("credits", {}).get("departed", 0)
    found += _check_results(directory / RESULTS, history, departed)
    found += _check_requests(directory / REQUESTS, history)
    return found + _check_summary(summary, history)


def torn(history: History) -> str | None:
    """A sentence about the end of a journal that a killed process left torn; None where it is whole."""
    if history.size == history.end:
        return None
    return f"journal: the last {history.size - history.end} bytes are torn; the next run cuts them off"


def views_wait(summary: dict[str, Any]) -> bool:
    """Whether the run that left this summary is behind with its views."""
    return summary.get("exit_code") in _VIEWS_WAIT


def _check_credits(history: History) -> list[str]:
    keys = tally(history)
    a = history.attempts
    unkeyed = sum(a.credits[i] for i in range(len(a)) if not a.prompts(i))
    shared = total(keys["credits"]) + unkeyed * MICRO
    if shared != history.spent * MICRO:
        return [f"ledger: shares come to {shared / MICRO} credits, charges to {history.spent}"]
    return []


def _check_results(path: Path, history: History, departed: float) -> list[str]:
    """The results' rows count up, their answers are in the journal, and their credits are the keys' shares."""
    import polars as pl

    if not path.exists():
        return [f"{path.name} is missing; `journeybatch export` writes it"] if history.run else []
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        return [f"{path.name} cannot be read: {error}; `journeybatch export` writes it anew"]
    prefix = next((name.removesuffix("jb_key") for name in reversed(frame.columns) if name.endswith("jb_key")), "")
    rows = frame.select(
        pl.col(f"{prefix}jb_row").alias("row"),
        pl.col(f"{prefix}jb_key").str.decode("hex").alias("key"),
        pl.col(f"{prefix}jb_status").alias("status"),
        pl.col(f"{prefix}jb_request").alias("request"),
        (pl.col(f"{prefix}jb_credits") * MICRO).cast(pl.Int64).alias("credits"),
    )
    found = []
    beside = [name for name in (f"{prefix}jb_variant", f"{prefix}jb_sample") if name in frame.columns]
    width = max(1, math.prod(frame[name].n_unique() for name in beside))
    if rows["row"].to_list() != [place // width for place in range(rows.height)]:
        found.append(f"{path.name}: jb_row does not count from 0 without gaps")
    cascade = history.began is not None and climbs(history.began.ask)
    return found + (_check_climb(path, rows, history, departed) if cascade else _check_keys(path, rows, history))


def _check_climb(path: Path, rows: pl.DataFrame, history: History, departed: float) -> list[str]:
    """A cascade's rows name only the key they were first asked under: their answers are looked for by request, and
    their credits in all, with those ``departed``."""
    import polars as pl

    a = history.attempts
    whole = (i for i in range(len(a)) if a.charge[i] == SETTLED and a.offset[i] >= 0 and a.error[i] != BORROWED)
    answering = [request_name(a.request[i]) for i in whole if not set(READABLE).isdisjoint(a.codes(i))]
    known = pl.col("request").is_in(pl.Series(answering, dtype=pl.String).implode())
    found = _phantoms(path, rows.filter(pl.col("status") == "answered", ~known).height)
    shared = total(rows["credits"]) + round(departed * MICRO)
    if shared != history.spent * MICRO:
        found.append(f"{path.name}: says {shared / MICRO} credits, the journal {history.spent}; `export` mends that")
    return found


def _check_keys(path: Path, rows: pl.DataFrame, history: History) -> list[str]:
    """What each key has come to is what its rows say: its answer, and its credits."""
    import polars as pl

    a, keys = history.attempts, tally(history)
    joined = rows.join(keys, on="key", how="left", maintain_order="left")
    found = _phantoms(path, joined.filter(pl.col("status") == "answered", pl.col("answer").is_null()).height)
    run = history.run.number if history.run else 0
    latest = next(
        (i for i in range(len(a)) if a.run[i] == run), len(a)
    )  # an earlier answer may be too old, by `max_age`
    stale = joined.filter(pl.col("status") == "pending", pl.col("answer") >= latest).height
    if stale:
        found.append(f"{path.name}: {stale} rows are pending, but answered in the journal; `export` brings them in")
    sums = rows.group_by("key").agg(pl.col("credits").sum()).join(keys, on="key", how="left")
    wrong = sums.filter(pl.col("credits") != pl.col("credits_right").fill_null(0)).height
    if wrong:
        found.append(f"{path.name}: the credits of {wrong} keys differ from the journal's; `export` mends that")
    return found


def _phantoms(path: Path, number: int) -> list[str]:
    return [f"{path.name}: {number} rows are answered, but the journal has no answer for them"] if number else []


def _check_requests(path: Path, history: History) -> list[str]:
    import polars as pl

    if history.run is None:
        return []
    if not path.exists():
        return [f"{path.name} is missing; `journeybatch export` writes it"]
    try:
        spent = int(pl.read_parquet(path, columns=["credits"])["credits"].sum())
    except (pl.exceptions.PolarsError, OSError) as error:
        return [f"{path.name} cannot be read: {error}; `journeybatch export` writes it anew"]
    if spent != history.run.spent:
        return [f"{path.name}: says {spent} credits, the journal {history.run.spent}; `export` writes it anew"]
    return []


def _check_summary(summary: dict[str, Any] | None, history: History) -> list[str]:
    if summary is None:
        return []
    said = summary.get("credits", {}).get("spent_total")
    if said != history.spent:
        return [f"summary.json: says {said} credits in all, the journal {history.spent}; run again to renew it"]
    return []
