"""Contract kept against cost: one marker for each strategy and phase. Better is up and to the left."""

from __future__ import annotations

from pathlib import Path

import vl_convert

from evaluation.face_off.proxies import OURS, PEERS
from evaluation.face_off.report import ALL_TO_LARGE, OMNISCIENT, Results
from evaluation.face_off.summary import pooled

COLOURS = dict(
    zip(
        (*PEERS, OURS, OMNISCIENT, ALL_TO_LARGE),
        ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#d62728", "#999999", "#4d4d4d"),
        strict=True,
    )
)
_SHAPES = ("circle", "triangle-up", "square", "cross", "diamond", "triangle-down")
MARKERS = dict(zip(("steady", "burst", "slowdown", "outage", "mixed", "credit"), _SHAPES, strict=True))


def draw(results: Results, path: Path) -> None:
    """Writes the plot as SVG. Raises OSError if it cannot be written."""
    rows = []
    for phase, by_strategy in results.items():
        for strategy, repeats in by_strategy.items():
            row = pooled(repeats)
            cost, kept = 1_000 * row.cost_usd, 100 * row.kept
            rows.append({"phase": phase, "strategy": strategy, "cost": cost, "kept": kept})
    encoding = {
        "x": {"field": "cost", "type": "quantitative", "title": "cost, USD per 1,000 answered requests"}
        | {"scale": {"type": "log", "nice": False, "padding": 12}, "axis": {"labelOverlap": "greedy"}},
        "y": {"field": "kept", "type": "quantitative", "title": "joint contract kept, % of requests"}
        | {"scale": {"domain": [0, 103], "nice": False}},
        "color": _named("strategy", COLOURS, {name for by_strategy in results.values() for name in by_strategy}),
        "shape": _named("phase", MARKERS, set(results)),
        "size": {"condition": {"test": {"field": "strategy", "equal": OURS}, "value": 120}, "value": 70},
    }
    spec = {
        "background": "white",
        "padding": {"left": 5, "top": 5, "right": 30, "bottom": 5},  # room for a wider legend, because fonts differ
        "width": 640,
        "height": 380,
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "opacity": 0.85},
        "encoding": encoding,
    }
    path.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")


def _named(field: str, looks: dict[str, str], shown: set[str]) -> dict[str, object]:
    names = [name for name in looks if name in shown]
    scale = {"domain": names, "range": [looks[name] for name in names]}
    return {"field": field, "type": "nominal", "title": field, "scale": scale}
