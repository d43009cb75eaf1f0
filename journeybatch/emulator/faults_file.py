"""Faults from a file: YAML or JSON with the fields of ``Faults`` as keys.

::

    seed: 7
    statuses: {429: 0.05, 503: 0.02}
    retry_after_s: 1
    cut: 0.01
    latency: {lognormal: {median: 0.2, sigma: 0.5}}     # or 0.05, or {uniform: [0.01, 0.1]}
    outages: [[10, 25, 503], [60, 70, refuse]]
    pack_drop: 0.1
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from journeybatch.emulator.faults import FIELDS, KINDS, Faults, FaultsError, Lognormal, Outage, Uniform


def read_faults(path: str | os.PathLike[str]) -> Faults:
    """The faults a file describes. FaultsError names the file and the key; OSError if it cannot be read."""
    try:
        content = yaml.safe_load(Path(path).read_bytes())
    except yaml.YAMLError as error:
        raise FaultsError(f"{path}: neither YAML nor JSON: {error}") from error
    try:
        return parse_faults({} if content is None else content)
    except FaultsError as error:
        raise FaultsError(f"{path}: {error}") from None


def parse_faults(content: object) -> Faults:
    """The faults a mapping describes. FaultsError names the key that is wrong and, if need be, the nearest one."""
    if not isinstance(content, dict):
        raise FaultsError("a faults file holds a mapping such as `cut: 0.05`")
    values = {}
    for key, value in content.items():
        if key not in FIELDS:
            near = difflib.get_close_matches(str(key), FIELDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FIELDS)}"
            raise FaultsError(f"unknown key {key!r}; {hint}")
        values[key] = _READ.get(key, _number)(key, value)
    return Faults(**values)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FaultsError(f"{key}: a number is expected, not {value!r}")
    return float(value)


def _whole(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FaultsError(f"{key}: a whole number is expected, not {value!r}")
    return value


def _switch(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise FaultsError(f"{key}: true or false is expected, not {value!r}")
    return value


def _optional(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda key, value: None if value is None else read(key, value)


def _statuses(key: str, value: object) -> dict[int, float]:
    if not isinstance(value, dict):
        raise FaultsError(f"{key}: a mapping of status to rate is expected, such as {{429: 0.05}}")
    # JSON knows only text as a key
    numbered = {int(status) if str(status).isdecimal() else status: rate for status, rate in value.items()}
    return {status: _number(f"{key}.{status}", rate) for status, rate in numbered.items()}


def _latency(key: str, value: object) -> Uniform | Lognormal | None:
    match value:
        case None:
            return None
        case {"uniform": [least, most], **rest} if not rest:
            return Uniform(_number(key, least), _number(key, most))
        case {"lognormal": {"median": median, "sigma": sigma, **more}, **rest} if not rest and not more:
            return Lognormal(_number(key, median), _number(key, sigma))
        case int() | float():
            seconds = _number(key, value)
            return Uniform(seconds, seconds)
    forms = "seconds, {uniform: [least, most]} or {lognormal: {median: …, sigma: …}}"
    raise FaultsError(f"{key}: {forms} is expected, not {value!r}")


def _outages(key: str, value: object) -> tuple[Outage, ...]:
    if not isinstance(value, list):
        raise FaultsError(f"{key}: a list of [start, end, how] is expected, not {value!r}")
    outages = []
    for window in value:
        match window:
            case [start, end]:
                outages.append(Outage(_number(key, start), _number(key, end)))
            case [start, end, how]:
                outages.append(Outage(_number(key, start), _number(key, end), how))
            case _:
                raise FaultsError(f"{key}: [start, end, how] is expected, how being a status, refuse or reset")
    return tuple(outages)


_READ: dict[str, Callable[[str, Any], Any]] = {
    "seed": _whole,
    "statuses": _statuses,
    "latency": _latency,
    "outages": _outages,
    "bills_errors": _switch,
    "bills_cut": _switch,
    **dict.fromkeys(("cut_at", "reset_at", "requests_per_minute"), _optional(_whole)),
    **dict.fromkeys(("retry_after_s", "hang_s"), _optional(_number)),
    **dict.fromkeys(KINDS, _number),
}
