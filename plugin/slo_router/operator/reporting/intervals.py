"""95 % confidence intervals in closed form, from sums that can be kept while records stream by.

A share of counts      Wilson's score interval: sensible at 0 and 1 too, and for few requests
A ratio of two sums    the delta method: with residuals c − R·b, var(R) = n/(n−1) · Σ(c − R·b)² / (Σb)²

Both take the units (requests, or hours of them) as independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Z95 = 1.959964


class Interval(NamedTuple):
    """From `low` to `high`, with 95 % confidence."""

    low: float
    high: float


def wilson(hits: float, trials: float) -> Interval | None:
    """Of a share; `None` where nothing was tried."""
    if trials <= 0:
        return None
    share, z2 = hits / trials, Z95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return Interval(max(middle - half, 0.0), min(middle + half, 1.0))


class PairSums(NamedTuple):
    """Sums over a number of pairs (c, b)."""

    pairs: int
    c: float
    b: float
    cc: float
    cb: float
    bb: float

    @staticmethod
    def of(pairs: Sequence[tuple[float, float]]) -> PairSums:
        """The sums of these pairs."""
        return PairSums(
            len(pairs),
            sum(c for c, _ in pairs),
            sum(b for _, b in pairs),
            sum(c * c for c, _ in pairs),
            sum(c * b for c, b in pairs),
            sum(b * b for _, b in pairs),
        )


def ratio(sums: PairSums) -> Interval | None:
    """Of Σc ÷ Σb; `None` below two pairs, or where Σb is 0."""
    if sums.pairs < 2 or sums.b <= 0:
        return None
    middle = sums.c / sums.b
    squares = max(sums.cc - 2 * middle * sums.cb + middle**2 * sums.bb, 0.0)
    half = Z95 * math.sqrt(squares * sums.pairs / (sums.pairs - 1)) / sums.b
    return Interval(middle - half, middle + half)
