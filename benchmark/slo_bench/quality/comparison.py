"""Which deployments of a category can be told apart.

Two deployments are compared on the items that both have a score for, item by item. All pairs of a category are looked
at, and among many pairs some differ by chance: each interval therefore has the confidence 1 − 0.05/pairs (Bonferroni),
so that all intervals of a category hold together with at least 95 %. Told apart: the interval leaves out zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from slo_bench.quality.intervals import CONFIDENCE, Interval, difference_interval
from slo_bench.quality.scores import CellScores


class Difference(NamedTuple):
    """`first` − `second` on their `n` common items, −1..1; `interval` is `None` where they are too few."""

    category: str
    first: str
    second: str
    n: int
    mean: float
    interval: Interval | None

    @property
    def told_apart(self) -> bool:
        """The difference is not plausibly zero."""
        return self.interval is not None and self.interval.excludes_zero


def compare(cells: Sequence[CellScores]) -> list[Difference]:
    """All pairs of each category, the better deployment first."""
    categories = dict.fromkeys(cell.category for cell in cells)
    return [one for category in categories for one in _of_category([c for c in cells if c.category == category])]


def _of_category(cells: Sequence[CellScores]) -> list[Difference]:
    ranked = sorted((cell for cell in cells if cell.scores), key=lambda cell: -(cell.mean or 0.0))
    pairs = list(combinations(ranked, 2))
    return [_difference(*pair, confidence=1 - (1 - CONFIDENCE) / len(pairs)) for pair in pairs]


def _difference(first: CellScores, second: CellScores, *, confidence: float) -> Difference:
    common = [item for item in first.scores if item in second.scores]
    differences = [first.scores[item] - second.scores[item] for item in common]
    mean = fmean(differences) if differences else 0.0
    interval = difference_interval(differences, confidence)
    return Difference(first.category, first.deployment_id, second.deployment_id, len(common), mean, interval)
