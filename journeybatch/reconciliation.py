"""What the account lost between two readings of its balance, against what the ledger says it should have.

The ledger gives an interval: what was certainly charged, and what may have been besides (attempts in doubt, and
prices known as an interval only). The account gives one number. Balances may have fractions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec

Credits = int | float
Verdict = Literal["agrees", "in doubt", "more", "less", "unknown"]


class Reconciliation(msgspec.Struct, frozen=True):
    """The account's loss beside the ledger's ``least`` and ``most``, all in credits.

    ``lost`` is None where a balance is missing, and below 0 where the account gained. ``difference`` is how far
    ``lost`` lies beyond ``most`` (above 0) or short of ``least`` (below 0); 0 between them, None without ``lost``.
    """

    lost: Credits | None
    least: int
    most: int
    verdict: Verdict
    difference: Credits | None
    message: str


def reconcile(
    balance_before: Credits | None,
    balance_after: Credits | None,
    spent: int,
    unknown_max: int,
    *,
    models: Sequence[str] = ("MODEL",),
    free: int = 0,
) -> Reconciliation:
    """Compare two readings of the balance with what this process did between them.

    ``spent`` credits were certainly charged, at most ``unknown_max`` besides. For a price known as an interval its
    lower end belongs to ``spent`` and the rest to ``unknown_max``. ``models`` are named in what to do next, and so are
    ``free`` attempts that the endpoint answered with an error, which the ledger takes for not charged.
    """
    least, most = spent, spent + unknown_max
    lost = lost_between(balance_before, balance_after)
    if lost is None:
        message = _missing(balance_before, balance_after, _range(least, most))
        return Reconciliation(None, least, most, "unknown", None, message)
    if lost > most:
        over = difference_of(lost, most)
        message = (
            f"the account lost {credits_text(lost)}, {number(over)} more than the ledger's {_range(least, most)}: "
            f"somebody else uses the account at the same time, or a price is wrong{_billed_after_all(free)}; "
            f"{_next_step(models)}"
        )
        return Reconciliation(lost, least, most, "more", over, message)
    if lost < least:
        short = difference_of(lost, least)
        message = (
            f"the account {_change(lost)}, {number(-short)} less than the ledger's {_range(least, most)}: a price in "
            f"the ledger is too high, or the account was topped up or refunded meanwhile; {_next_step(models)}"
        )
        return Reconciliation(lost, least, most, "less", short, message)
    if lost == least:
        none = f"; none of the {unknown_max} in doubt was charged" if unknown_max else ""
        message = f"the account lost {credits_text(lost)}, as the ledger says{none}"
        return Reconciliation(lost, least, most, "agrees", 0, message)
    charged = number(difference_of(lost, least))
    verb = "was" if charged == "1" else "were"
    doubt = f"of {unknown_max} in doubt {charged} {verb} charged"
    message = f"the account lost {credits_text(lost)}: {least} certainly, and {doubt}"
    return Reconciliation(lost, least, most, "in doubt", 0, message)


def lost_between(before: Credits | None, after: Credits | None) -> Credits | None:
    """Credits that went from the account between two readings, exactly; None where one is missing or no number."""
    if before is None or after is None or not (math.isfinite(before) and math.isfinite(after)):
        return None
    return difference_of(before, after)


def difference_of(one: Credits, other: Credits) -> Credits:
    """``one - other`` as people count: 0.3 - 0.1 is 0.2, and a whole result is an int."""
    if isinstance(one, int) and isinstance(other, int):
        return one - other
    exact = Decimal(str(one)) - Decimal(str(other))
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def number(credits: Credits) -> str:
    """A number of credits as text: 2.5, and 3 rather than 3.0."""
    return str(int(credits)) if credits == int(credits) else str(credits)


def credits_text(credits: Credits) -> str:
    """A number of credits with its unit."""
    return f"{number(credits)} credit" + ("" if credits == 1 else "s")


def _range(least: int, most: int) -> str:
    return credits_text(least) if least == most else f"{least} to {credits_text(most)}"


def _change(lost: Credits) -> str:
    return f"lost {credits_text(lost)}" if lost >= 0 else f"gained {credits_text(-lost)}"


def _billed_after_all(free: int) -> str:
    if not free:
        return ""
    return f", or errors are billed ({free} were counted as free: set `api: {{bills_errors: true}}` if so)"


def _next_step(models: Sequence[str]) -> str:
    by_hand = ", ".join(f"{model}: N" for model in models)
    if len(models) == 1:
        return f"measure the price with `models --measure {models[0]}`, or give it with `credits: {{{by_hand}}}`"
    each = ", ".join(f"`models --measure {model}`" for model in models)
    return f"measure the prices with {each}, or give them with `credits: {{{by_hand}}}`"


def _missing(before: Credits | None, after: Credits | None, ledger: str) -> str:
    which = "before and after" if before is after is None else "before" if before is None else "after"
    return f"the account's balance {which} is not known, so the ledger's {ledger} cannot be compared with it"
