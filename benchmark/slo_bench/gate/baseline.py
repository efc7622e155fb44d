"""The baseline of a new run: the mean over good runs, item by item.

It starts at the last run that set a new level, and takes the first five good runs from there on. A run sets a new level
if it is the first of its suite, if it is better beyond chance, or if the operator accepted it. A bad run is never in
the baseline.

It takes five runs, for a single lucky run would raise alarms as long as it is the reference. It takes the first five,
for the latest five would follow a deployment that loses a point every week.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from slo_bench.gate.entry import Entry

RUNS = 5
_GOOD = frozenset({"first", "good", "better", "accepted"})
_FRESH_START = _GOOD - {"good"}


class Baseline(NamedTuple):
    """The mean score of each item over `runs` good runs, the last of them at `at_s` (Unix seconds)."""

    scores: Mapping[str, float]
    runs: int
    at_s: float


def baseline(history: Sequence[Entry], fingerprint: str) -> Baseline | None:
    """The baseline from one cell's quality entries, oldest first; `None` without a good run of the same suite."""
    good = [entry for entry in history if entry.fingerprint == fingerprint and entry.verdict in _GOOD]
    starts = [place for place, entry in enumerate(good) if entry.verdict in _FRESH_START]
    used = good[starts[-1] if starts else 0 :][:RUNS]
    return Baseline(mean_scores(used), len(used), used[-1].at_s) if used else None


def mean_scores(entries: Sequence[Entry]) -> dict[str, float]:
    """The mean score (0..1) of each item over all its answers: a run with three answers per item counts three times."""
    totals: dict[str, float] = defaultdict(float)
    answers: dict[str, float] = defaultdict(float)
    for entry in entries:
        for item, score in entry.scores.items():
            weight = entry.n / len(entry.scores)
            totals[item] += weight * score
            answers[item] += weight
    return {item: totals[item] / answers[item] for item in totals}
