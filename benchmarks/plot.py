"""Draws what benchmarks kept: ``python benchmarks/plot.py MEASURES.parquet docs`` writes peers.svg, growth.svg there.

A figure is the median of its rounds, of the newest commit that was measured for it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import polars as pl
import vl_convert
from measures import OURS, RAW

from journeybatch.report.charts import COLORS

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
WIDTH, BAR = 270, 24
CONFIG = {
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": COLORS["ink"],
        "titleColor": COLORS["ink"],
        "domainColor": COLORS["rule"],
        "tickColor": COLORS["rule"],
        "gridColor": COLORS["rule"],
        "titleFontWeight": "normal",
    },
    "title": {"color": COLORS["ink"], "fontWeight": "normal", "fontSize": 12, "anchor": "start"},
    "legend": {"labelColor": COLORS["ink"], "orient": "top", "title": None},
    "concat": {"spacing": 30},
}


def medians(measures: pl.DataFrame) -> pl.DataFrame:
    """One line per benchmark, name, rows, latency and concurrency: rows a second, µs of processor time per row."""
    same = ["benchmark", "name", "rows", "latency_s", "concurrency", "tls"]
    newest = measures.filter(pl.col("date") == pl.col("date").max().over(same))
    return newest.group_by(same, maintain_order=True).agg(
        rows_s=pl.col("rows").first() / pl.col("wall_s").median(),
        cpu_us=pl.col("cpu_s").median() / pl.col("rows").first() * 1e6,
        version=pl.col("version").last(),
    )


def peers(found: pl.DataFrame) -> dict[str, Any] | None:
    """Two panels: rows a second and processor time per row of each contestant, the quickest at the top."""
    waiting = found.filter(pl.col("benchmark").is_in(["bench-peers"]) & (pl.col("latency_s") > 0))
    if waiting.is_empty():
        return None
    rows = [
        {"name": f"{row['name']} {row['version']}", "rows_s": row["rows_s"], "cpu_us": row["cpu_us"]}
        | {"color": COLORS["accent" if row["name"] == OURS else "rule" if row["name"] == RAW else "quiet"]}
        for row in waiting.sort("rows_s", descending=True).to_dicts()
    ]
    names = [row["name"] for row in rows]
    panels = [_bars(rows, names, "rows_s", "rows a second", named=True)]
    panels.append(_bars(rows, names, "cpu_us", "µs of processor time per row", named=False))
    return {"hconcat": panels}


def _bars(rows: list[dict[str, Any]], names: list[str], field: str, title: str, *, named: bool) -> dict[str, Any]:
    most = max(row[field] for row in rows)
    place = {"field": "name", "type": "nominal", "sort": names}
    axis = {"title": None, "ticks": False, "domain": False, "labelPadding": 6, "labels": named}
    length = {
        "field": field,
        "type": "quantitative",
        "scale": {"type": "log", "domain": [10, most * 3]},
        "axis": None,
    }
    figure = {"field": field, "type": "quantitative", "format": ",.0f"}
    return {
        "title": f"{title} (logarithmic)",
        "width": WIDTH,
        "height": len(rows) * BAR,
        "data": {"values": [{key: row[key] for key in ("name", field, "color")} for row in rows]},
        "encoding": {"y": place | {"axis": axis}, "x": length},
        "layer": [
            {
                "mark": {"type": "bar", "height": 14},
                "encoding": {"color": {"field": "color", "scale": None}, "x2": {"datum": 10}},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "color": COLORS["ink"]},
                "encoding": {"text": figure},
            },
        ],
    }


def growth(found: pl.DataFrame) -> dict[str, Any] | None:
    """Two panels: processor time per row against the rows, and against what is in flight."""
    found = found.filter(~pl.col("name").str.contains("without syncs"))
    runs = found.filter(pl.col("benchmark") == "sending")
    kinds = pl.when(pl.col("benchmark") == "sending").then(pl.lit("a whole run, 0 ms"))
    by_rows = found.filter(
        ((pl.col("benchmark") == "sending") & (pl.col("latency_s") == 0))
        | ((pl.col("benchmark") == "scale") & ~pl.col("name").str.contains("until|rows known"))
    ).with_columns(kind=kinds.otherwise(pl.col("name").str.replace(r",.*", "")))
    by_c = runs.filter((pl.col("rows") == 100_000) & (pl.col("latency_s") > 0)).with_columns(
        kind=pl.when("tls").then(pl.lit("over TLS")).otherwise(pl.lit("100,000 rows, 50 ms"))
    )
    panels = [
        _lines(frame.sort(x).select(x, "cpu_us", "kind").to_dicts(), x, title)
        for frame, x, title in (
            (by_rows, "rows", "rows (logarithmic)"),
            (by_c, "concurrency", "in flight (logarithmic)"),
        )
        if not frame.is_empty()
    ]
    return {"hconcat": panels, "resolve": {"scale": {"color": "independent"}}} if panels else None


def _lines(values: list[dict[str, Any]], x: str, title: str) -> dict[str, Any]:
    palette = [COLORS["accent"], COLORS["bad"], COLORS["quiet"]]
    kinds = list(dict.fromkeys(row["kind"] for row in values))
    return {
        "title": "µs of processor time per row",
        "width": WIDTH,
        "height": 170,
        "data": {"values": values},
        "mark": {"type": "line", "point": {"size": 40}},
        "encoding": {
            "x": {
                "field": x,
                "type": "quantitative",
                "scale": {"type": "log", "nice": False, "padding": 12},
                "axis": {"title": title, "grid": False, "format": "~s", "values": sorted({row[x] for row in values})},
            },
            "y": {"field": "cpu_us", "type": "quantitative", "axis": {"title": None, "tickCount": 5}},
            "color": {"field": "kind", "type": "nominal", "scale": {"domain": kinds, "range": palette[: len(kinds)]}},
        },
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("measures", type=Path, nargs="+", help="what --to kept")
    options.add_argument("folder", type=Path)
    given = options.parse_args()
    found = medians(pl.concat([pl.read_parquet(path) for path in given.measures]))
    for name, spec in (("peers", peers(found)), ("growth", growth(found))):
        if spec is None:
            print(f"{name}.svg: nothing of it was measured")
            continue
        whole = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "background": "white", "padding": 10}
        svg = vl_convert.vegalite_to_svg(whole | {"config": CONFIG} | spec, allowed_base_urls=[])
        (given.folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        print(f"{given.folder / name}.svg: {len(svg.encode()):,} bytes")


if __name__ == "__main__":
    main()
