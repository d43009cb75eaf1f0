"""The account as the endpoint tells it."""

from __future__ import annotations

from typing import Any

import msgspec

from journeybatch.errors import ApiFailure
from journeybatch.excerpt import excerpt
from journeybatch.records import Completion
from journeybatch.wire import judge


def read_account(completion: Completion) -> dict[str, Any] | None:
    """What a reply tells of the account (``email``, ``credits``, ``plan``…), or None where the endpoint has none.

    Raises:
        ApiFailure: the key is refused, or what came back is no account (``malformed``).
    """
    if completion.status in (404, 405, 501) or not (completion.body or completion.status >= 300):
        return None
    if completion.status >= 300:
        judge(completion)
    try:
        data = msgspec.json.decode(completion.body)
    except (ValueError, RecursionError):  # msgspec's errors and Unicode's are ValueErrors
        data = None
    if isinstance(data, dict):
        return data
    said = f"/account answered, but with no account: {excerpt(completion.body)}"
    raise ApiFailure("malformed", said, charge="free", then="stop", status=completion.status, stopped_by="endpoint")
