"""Quality runs for the tests of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from slo_bench.gate.entry import Entry, GateVerdict


def scored(values: Sequence[float]) -> dict[str, float]:
    """Scores of items that are named by their position."""
    return {f"item-{place}": float(value) for place, value in enumerate(values)}


def answers(items: int, wrong: int) -> dict[str, float]:
    """Scores in which the first `wrong` items are wrong and the others right."""
    return scored([0.0] * wrong + [1.0] * (items - wrong))


def quality_run(
    scores: Mapping[str, float], at_s: float = 1.0, category: str = "ner", verdict: GateVerdict | None = None
) -> Entry:
    """A run of the deployment `small` that answered each item once."""
    figures = {"quality_score": fmean(scores.values())}
    return Entry(
        "quality", at_s, "small", "openai/small", category, len(scores), figures, "suite-1", "0.1", scores, verdict
    )
