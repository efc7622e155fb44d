"""Contract kept against cost: one marker for each strategy and phase. Better is up and to the left."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from evaluation.face_off.proxies import OURS, PEERS
from evaluation.face_off.report import ALL_TO_LARGE, OMNISCIENT, Results
from evaluation.face_off.summary import pooled

COLOURS = dict(zip((*PEERS, OURS, OMNISCIENT, ALL_TO_LARGE), ("C0", "C1", "C2", "C4", "C3", "0.6", "0.3"), strict=True))
MARKERS = {"steady": "o", "burst": "^", "slowdown": "s", "outage": "X", "mixed": "D", "credit": "P"}


def draw(results: Results, path: Path) -> None:
    """Writes the plot in the format of the path's suffix. Raises OSError where it cannot be written."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for phase, by_strategy in results.items():
        for strategy, repeats in by_strategy.items():
            row = pooled(repeats)
            axes.plot(
                1_000 * row.cost_usd,
                100 * row.kept,
                MARKERS[phase],
                color=COLOURS[strategy],
                markersize=11 if strategy == OURS else 8,
                alpha=0.85,
            )
    axes.set_xscale("log")
    axes.set_xlabel("cost, USD per 1,000 answered requests")
    axes.set_ylabel("joint contract kept, % of requests")
    axes.set_ylim(0, 103)
    axes.grid(visible=True, which="both", alpha=0.25)
    strategies = {strategy: None for by_strategy in results.values() for strategy in by_strategy}
    figure.legend(
        handles=[
            *(Line2D([], [], marker="o", linestyle="", color=COLOURS[name], label=name) for name in strategies),
            *(Line2D([], [], marker=MARKERS[name], linestyle="", color="0.2", label=name) for name in results),
        ],
        fontsize="small",
        loc="outside right upper",
    )
    with mpl.rc_context({"svg.hashsalt": "face-off"}):  # the same picture is the same file
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
