"""Confidence intervals in closed form, of a share, a mean, a difference or a ratio. Pure.

    share of counts     Wilson's score interval, which also holds near 0 and 1 and for few trials
    ratio of two sums   the delta method: with residuals c − R·b, var(R) = n/(n−1) · Σ(c − R·b)² / (Σb)²; it needs
                        only sums, which can be kept while records stream

The mean of scores:

    0/1 scores          Wilson's, of their share
    fractional scores   mean ± t × s/√n, cut to 0..1; t by its expansion in 1/(n − 1), within 1 % from n = 5 on

The difference of two deployments is taken item by item, so the difficulty of the items cancels out:

    0/1 scores          Bonett and Price (2012): as if two more items had been asked, one won by each side; unlike the
                        plain formula its coverage holds where few items differ
    fractional scores   mean ± t × s/√n of the differences

Requests, hours and items count as independent of each other. Fewer than `FEWEST` items have no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist, fmean, variance
from typing import NamedTuple

FEWEST = 5  # items
CONFIDENCE = 0.95
Z95 = NormalDist().inv_cdf(0.975)


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0


def mean_interval(scores: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The interval of the mean of scores in 0..1; `None` below `FEWEST` scores."""
    if len(scores) < FEWEST:
        return None
    if set(scores) <= {0.0, 1.0}:
        return wilson(sum(scores), len(scores), confidence)
    around = student(scores, confidence)
    return Interval(max(around.low, 0.0), min(around.high, 1.0))


def difference_interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The interval of the mean difference (−1..1) of pairs; `None` below `FEWEST` pairs."""
    n = len(differences)
    if n < FEWEST:
        return None
    if not set(differences) <= {-1.0, 0.0, 1.0}:
        return student(differences, confidence)
    middle = sum(differences) / (n + 2)
    spread = sqrt(((sum(d * d for d in differences) + 2) / (n + 2) - middle**2) / (n + 2))
    half = _z(confidence) * spread
    return Interval(max(middle - half, -1.0), min(middle + half, 1.0))


def wilson(hits: float, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """The interval (0..1) of the share `hits` ÷ `trials`, for `trials` > 0."""
    share, z = hits / trials, _z(confidence)
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return Interval(max(middle - half, 0.0), min(middle + half, 1.0))


def student(values: Sequence[float], confidence: float) -> Interval:
    """The interval of the mean of at least two values of any size, in their unit."""
    mean, n = fmean(values), len(values)
    half = _t(confidence, n - 1) * sqrt(variance(values, mean) / n)
    return Interval(mean - half, mean + half)


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
    """The interval of Σc ÷ Σb; `None` below two pairs, or where Σb is not above 0."""
    if sums.pairs < 2 or sums.b <= 0:
        return None
    middle = sums.c / sums.b
    squares = max(sums.cc - 2 * middle * sums.cb + middle**2 * sums.bb, 0.0)
    half = Z95 * sqrt(squares * sums.pairs / (sums.pairs - 1)) / sums.b
    return Interval(middle - half, middle + half)


def _t(confidence: float, freedom: int) -> float:
    """Student's t by its Cornish-Fisher expansion around the normal quantile."""
    z = _z(confidence)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)
