"""What a new run is compared with: the good runs since the last one that started afresh.

The baseline is the item-wise mean of the first five good runs since one that set a new level: the first of its suite,
one that was better beyond chance, or one that the operator accepted. A bad run never enters it.

Five runs, for a single lucky reference would raise alarms as long as it stands. The first five, for the latest would
let a deployment that loses a point a week drag its reference along.
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
    """From the quality entries of one deployment and category, oldest first; `None` where no good one fits."""
    good = [entry for entry in history if entry.fingerprint == fingerprint and entry.verdict in _GOOD]
    starts = [place for place, entry in enumerate(good) if entry.verdict in _FRESH_START]
    used = good[starts[-1] if starts else 0 :][:RUNS]
    return Baseline(mean_scores(used), len(used), used[-1].at_s) if used else None


def mean_scores(entries: Sequence[Entry]) -> dict[str, float]:
    """Of each item over all of its answers: a run that asked each item three times counts three times."""
    totals: dict[str, float] = defaultdict(float)
    answers: dict[str, float] = defaultdict(float)
    for entry in entries:
        for item, score in entry.scores.items():
            weight = entry.n / len(entry.scores)
            totals[item] += weight * score
            answers[item] += weight
    return {item: totals[item] / answers[item] for item in totals}
