"""How long a server wishes to be left alone, by the headers of its reply."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DATE = re.compile(
    r"[A-Z][a-z]+, [0-9]{2}[ -][A-Z][a-z]{2}[ -](?:[1-9][0-9])?[0-9]{2} [0-9:]{8} GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9 ][0-9] [0-9:]{8} [1-9][0-9]{3}"  # asctime's, obsolete and still valid
)

LEFT = ("x-ratelimit-remaining-requests", "ratelimit-remaining")
RESET = ("x-ratelimit-reset-requests", "ratelimit-reset")
_LEFT = frozenset(LEFT)
_LIMITS = tuple(zip(LEFT, RESET, strict=True))
WISHES = ("retry-after", "retry-after-ms", *LEFT, *RESET)
"""All headers that are looked at here."""

_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_SPAN = re.compile(rf"(?=.)(?:(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?|{_NUMBER})")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The server's wish in seconds: ``retry-after-ms``, else ``Retry-After`` (RFC 9110, 10.2.3: seconds, or an
    HTTP date, read against the reply's own ``Date``). None for anything that is not strictly one of these."""
    milliseconds = headers.get("retry-after-ms", "").strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", milliseconds):
        return float(milliseconds) / 1000
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", value):
        return float(value)
    at = _date(value)
    if at is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (at - now).total_seconds())


def exhausted_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until the endpoint may be asked again, where it says that no request is left until then: in OpenAI's
    headers (`x-ratelimit-remaining-requests: 0`, `x-ratelimit-reset-requests: 6m0s`) or the IETF's draft
    (`ratelimit-remaining: 0`, `ratelimit-reset: 30`). None where some are left, or nothing is said."""
    if _LEFT.isdisjoint(headers):  # as a rule
        return None
    for left, reset in _LIMITS:
        if left not in headers or headers[left].strip() != "0":
            continue
        if match := _SPAN.fullmatch(headers.get(reset, "").strip()):
            numbers = (float(each or 0) for each in match.groups())
            return sum(number * unit for number, unit in zip(numbers, (3600, 60, 1, 0.001, 1), strict=True))
    return None


def _date(value: str) -> datetime | None:
    if not _DATE.fullmatch(value):
        return None
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
