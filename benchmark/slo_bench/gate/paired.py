"""The difference between two runs of one suite, item by item, so that the difficulty of the items cancels out.

Suppose that both scores are 0.8, and that 4 % of the answers change either way by chance. Then 600 items give the
difference to ±2.3 points. Without pairs it would be ±4.5.

The standard error adds two items, one whose score fell by 1 and one whose score rose by 1 (Bonett and Price, 2012).
Without them four changed answers of a hundred would look certain, and no change would look exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import NamedTuple

LEAST_ITEMS = 5
CONFIDENCE = 0.95
_ADDED = 2
_NORMAL = NormalDist()


class Change(NamedTuple):
    """After minus before, in the unit of the score: negative is a drop. `items` counts those that both runs have."""

    mean: float
    standard_error: float
    items: int

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The lower and upper bound of the mean change."""
        half = _NORMAL.inv_cdf((1 + confidence) / 2) * self.standard_error
        return self.mean - half, self.mean + half

    @property
    def chance(self) -> float:
        """The one-sided p-value: how often an unchanged deployment seems to drop as much or more."""
        return _NORMAL.cdf(self.mean / self.standard_error)


def paired(before: Mapping[str, float], after: Mapping[str, float]) -> Change | None:
    """The change over the common items; `None` below `LEAST_ITEMS`."""
    return difference(after[item] - score for item, score in before.items() if item in after)


def difference(changes: Iterable[float]) -> Change | None:
    """The change from the items' differences; `None` below `LEAST_ITEMS`."""
    found = list(changes)
    if len(found) < LEAST_ITEMS:
        return None
    count, total = len(found) + _ADDED, math.fsum(found)
    squares = math.fsum(change * change for change in found) + _ADDED
    variance = squares / count - (total / count) ** 2
    return Change(total / len(found), math.sqrt(variance / count), len(found))
