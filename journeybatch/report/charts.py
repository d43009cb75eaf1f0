"""Charts: Vega-Lite specs drawn without a browser and without a network, as SVG for a page and as PNG for a document.

In a page colours are variables, so that a chart follows the page into the dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import count
from typing import Any
from xml.etree import ElementTree

from journeybatch.errors import JobError

COLORS = {"accent": "#2b6a8c", "bad": "#b1432b", "quiet": "#8a9096", "ink": "#454b50", "rule": "#dfe2e4"}
"""The colours a spec may use, by the name of the page's variable (``--chart-accent``)."""
WIDE, NARROW, HEIGHT, FRONT = 620, 270, 150, 260
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SVG = "{http://www.w3.org/2000/svg}"
_TAGS = {"svg", "g", "defs", "clipPath", "path", "line", "rect", "circle", "text", "tspan"}
_DROPPED = ("class", "role", "aria-label", "aria-hidden", "aria-roledescription", "pointer-events", "version")
_NUMBERS = count()


def can_draw() -> bool:
    """Whether the library that draws is installed."""
    return find_spec("vl_convert") is not None


def check() -> None:
    """Raises JobError where nothing can draw."""
    if not can_draw():
        raise JobError("images need a library that is not installed: pip install 'journeybatch[report]'")


def svg(spec: dict[str, Any], width: int = WIDE) -> str:
    """A spec as an SVG element for a page. Raises JobError where nothing can draw."""
    check()
    import vl_convert

    text: str = vl_convert.vegalite_to_svg(_whole(spec, width), allowed_base_urls=[])
    return _inlined(text)


def png(spec: dict[str, Any]) -> bytes:
    """A spec as an image on white, at twice the size of the screen's. Raises JobError as ``svg``."""
    check()
    import vl_convert

    image: bytes = vl_convert.vegalite_to_png(
        _whole(spec, WIDE) | {"background": "white", "padding": 12}, scale=2, allowed_base_urls=[]
    )
    return image


def histogram(bins: Sequence[tuple[float, float, int]], x: str, y: str) -> dict[str, Any]:
    """Bars from one number to the next, each with a count."""
    values = [{"from": low, "to": high, "count": height} for low, high, height in bins]
    return _bars(values, x, y)


def stacked(
    bins: Sequence[tuple[float, float, dict[str, int]]], kinds: dict[str, str], x: str, y: str
) -> dict[str, Any]:
    """Bars from one number to the next, each of several ``kinds``: names and their colours, the lowest first."""
    names = list(kinds)
    values = [
        {"from": low, "to": high, "count": heights.get(kind, 0), "kind": kind, "place": place}
        for low, high, heights in bins
        for place, kind in enumerate(names)
    ]
    spec = _bars(values, x, y)
    shown = {"domain": names, "range": [COLORS[color] for color in kinds.values()]}
    legend = {"orient": "top", "title": None, "symbolType": "square"} if len(names) > 1 else None
    spec["encoding"] |= {
        "color": {"field": "kind", "type": "nominal", "scale": shown, "legend": legend},
        "order": {"field": "place", "type": "quantitative"},
    }
    return spec


def series(values: Sequence[tuple[str, float]], x: str, y: str, color: str = "accent") -> dict[str, Any]:
    """A bar for each name, in the order given."""
    return {
        "data": {"values": [{"name": name, "height": height} for name, height in values]},
        "mark": {"type": "bar", "color": COLORS[color]},
        "encoding": {
            "x": {
                "field": "name",
                "type": "ordinal",
                "sort": None,
                "axis": {"title": x, "labelAngle": 0, "labelOverlap": "greedy"},
            },
            "y": {"field": "height", "type": "quantitative", "axis": {"title": y, "tickCount": 4, "tickMinStep": 1}},
        },
    }


def whiskers(values: Sequence[tuple[str, float, float, float]], x: str) -> dict[str, Any]:
    """For each name a dot and the interval about it: (name, number, low, high), from top to bottom."""
    rows = [dict(zip(("name", "value", "low", "high"), each, strict=True)) for each in values]
    room = min(7 * max((len(name) for name, *_ in values), default=0), 120)  # a reader's font may be wider than ours
    bare = {"title": None, "ticks": False, "domain": False, "labelPadding": 6, "minExtent": room}
    name = {"field": "name", "type": "nominal", "sort": None, "axis": bare}
    axis = {"title": x, "grid": True, "tickCount": 6}
    near: dict[str, Any] = {"type": "quantitative", "scale": {"zero": False, "padding": 8}, "axis": axis}
    return {
        "height": len(values) * 28 + 40,
        "data": {"values": rows},
        "encoding": {"y": name},
        "layer": [
            {
                "mark": {"type": "rule", "color": COLORS["accent"], "strokeWidth": 2},
                "encoding": {"x": {"field": "low"} | near, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "circle", "color": COLORS["accent"], "size": 70, "opacity": 1},
                "encoding": {"x": {"field": "value"} | near},
            },
        ],
    }


def front(values: Sequence[tuple[str, float, float, bool]], x: str, y: str) -> dict[str, Any]:
    """Points with a label: (label, x, y, whether it is on the front), x from 0 on. Those on the front are filled, and
    joined by steps."""
    rows: list[dict[str, Any]] = [dict(zip(("label", "x", "y", "on"), each, strict=True)) for each in values]
    joined = sorted((row for row in rows if row["on"]), key=lambda row: row["x"])
    far = max((row["x"] for row in rows), default=0) * 1.12 or 1
    low, high = min(row["y"] for row in rows), max(row["y"] for row in rows)
    room = (high - low) * 0.12 or abs(high) * 0.05 or 1
    span = [max(0, low - room) if low >= 0 else low - room, high + room]
    axis = {"tickCount": 5, "labelOverlap": True}
    place = {
        "x": {"field": "x", "type": "quantitative", "axis": {"title": x} | axis, "scale": {"domain": [0, far]}},
        "y": {"field": "y", "type": "quantitative", "axis": {"title": y} | axis, "scale": {"domain": span}},
    }
    line = {"type": "line", "interpolate": "step-after", "color": COLORS["quiet"], "strokeDash": [3, 3]}
    dot = {"type": "point", "size": 70, "opacity": 1, "strokeWidth": 2}
    filled, hollow = {"filled": True, "color": COLORS["accent"]}, {"filled": False, "color": COLORS["quiet"]}
    return {
        "height": FRONT,
        "encoding": place,
        "layer": [
            {"data": {"values": joined}, "mark": line},
            {"data": {"values": [row for row in rows if not row["on"]]}, "mark": dot | hollow},
            {"data": {"values": joined}, "mark": dot | filled},
            *_labels(rows, far, (span[0], span[1])),
        ],
    }


def _labels(rows: list[dict[str, Any]], far: float, span: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """A text beside each point, towards the middle; lower by so much that it stands under the one before."""
    scale, free = (FRONT - 50) / (span[1] - span[0]), -99.0
    for row in sorted(rows, key=lambda row: (-row["y"], row["x"])):
        height = (span[1] - row["y"]) * scale
        free = max(free + 14, height - 1)
        left = row["x"] > far / 2
        mark = {"type": "text", "fontSize": 11, "color": COLORS["ink"], "limit": 130, "baseline": "bottom"}
        mark |= {"align": "right" if left else "left", "dx": -8 if left else 8, "dy": round(free - height) - 3}
        yield {
            "data": {"values": [row]},
            "mark": mark,
            "encoding": {"text": {"field": "label", "type": "nominal"}},
        }


def _bars(values: list[dict[str, Any]], x: str, y: str) -> dict[str, Any]:
    return {
        "data": {"values": values},
        "mark": {"type": "bar", "color": COLORS["accent"], "binSpacing": 1},
        "encoding": {
            "x": {
                "field": "from",
                "type": "quantitative",
                "bin": {"binned": True},
                "axis": {"title": x, "grid": False, "tickCount": 6, "labelOverlap": True, "labelFlush": False},
            },
            "x2": {"field": "to"},
            "y": {
                "field": "count",
                "type": "quantitative",
                "axis": {"title": y, "tickCount": 4, "tickMinStep": 1},
            },
        },
    }


def _whole(spec: dict[str, Any], width: int) -> dict[str, Any]:
    ink, rule = COLORS["ink"], COLORS["rule"]
    axis = {
        "labelColor": ink,
        "titleColor": ink,
        "domainColor": rule,
        "tickColor": rule,
        "gridColor": rule,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
    }
    config = {
        "font": _FONT,
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False},
        "axisY": {"labelLimit": round(0.45 * width)},
        "legend": {"labelColor": ink, "labelFontSize": 11},
    }
    size = {"width": width, "height": HEIGHT, "autosize": {"type": "fit", "contains": "padding"}}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        **size,
        "background": None,
        "config": config,
    } | spec


def _inlined(text: str) -> str:
    """A drawing as part of a page: only shapes and texts, colours as variables, ids of its own, and hidden from
    readers of the page that do not look: they have the table."""
    root = ElementTree.fromstring(text)  # noqa: S314  what our own library has just written
    number = next(_NUMBERS)
    colors = {value: f"var(--chart-{name})" for name, value in COLORS.items()}
    for parent in root.iter():
        for child in list(parent):
            if child.tag.removeprefix(_SVG) not in _TAGS:
                parent.remove(child)
        parent.tag = parent.tag.removeprefix(_SVG)
        kept = {name: value for name, value in parent.attrib.items() if name not in _DROPPED and "{" not in name}
        parent.attrib.clear()
        for name, value in kept.items():
            parent.set(name, colors.get(value, value).replace("url(#", f"url(#c{number}-"))
        if "id" in kept:
            parent.set("id", f"c{number}-{kept['id']}")
    root.set("aria-hidden", "true")
    root.set("focusable", "false")
    return ElementTree.tostring(root, encoding="unicode")
