"""95 % confidence intervals of a mean or a percentile of latencies, without assuming a distribution.

    mean, values          mean ± t × s/√n (Student; from five values on)
    mean, gaps            the same of Σ sums ÷ Σ counts over the requests, by the delta method
    percentile, values    from one order statistic to another: of n values, the number below the percentile p is
                          binomial (n, p); its 2.5 % and 97.5 % points are the ranks
    percentile, gaps      Woodruff (1952): the interval of the share of gaps up to the percentile, read back as gaps

The gaps of one request resemble each other, so for gaps the requests are the units. Requests count as independent. If
they queue behind each other, the true interval is wider. With too few values the interval is `None`: the p50 needs 6
values, the p90 36, the p95 72 and the p99 368.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import ceil, exp, floor, fsum, lgamma, log, sqrt

from slo_router.contract.intervals import FEWEST, Z95, Interval, student

TAIL = 0.025
_EXACT_UP_TO = 2_000  # values; beyond, the binomial's normal approximation is off by less than a rank in a hundred


def percentile(ordered: Sequence[float], share: float) -> float:
    """The percentile at `share` (0..1) of values in ascending order, by linear interpolation."""
    rank = share * (len(ordered) - 1)
    below = floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The interval of the mean of independent values."""
    return student(values, 1 - 2 * TAIL) if len(values) >= FEWEST else None


def percentile_interval(ordered: Sequence[float], share: float) -> Interval | None:
    """The interval of the percentile at `share` (0..1) of independent values in ascending order."""
    n = len(ordered)
    low, high = _exact_ranks(n, share) if n <= _EXACT_UP_TO else _normal_ranks(n, share)
    return Interval(ordered[low - 1], ordered[high - 1]) if low >= 1 and high <= n else None


def grouped_mean_interval(groups: Sequence[Sequence[float]]) -> Interval | None:
    """The interval of the mean of all values, for independent groups of dependent values."""
    return _ratio([(fsum(group), len(group)) for group in groups if group])


def grouped_percentile_interval(groups: Sequence[Sequence[float]], share: float) -> Interval | None:
    """The interval of the percentile at `share` (0..1) of all values, for such groups, each in ascending order."""
    everything = sorted(value for group in groups for value in group)
    if not everything:
        return None
    found = percentile(everything, share)
    shares = _ratio([(bisect_right(group, found), len(group)) for group in groups if group])
    if shares is None:
        return None
    half = (shares.high - shares.low) / 2
    if half <= 0 or share - half <= 0 or share + half >= 1:
        return None
    return Interval(percentile(everything, share - half), percentile(everything, share + half))


def _ratio(pairs: Sequence[tuple[float, float]]) -> Interval | None:
    """The interval of Σ sums ÷ Σ counts, from that of the mean of the residuals sum − ratio × count, which is 0."""
    if len(pairs) < FEWEST:
        return None
    total = fsum(count for _, count in pairs)
    ratio = fsum(value for value, _ in pairs) / total
    around = student([value - ratio * count for value, count in pairs], 1 - 2 * TAIL)
    scale = len(pairs) / total
    return Interval(ratio + around.low * scale, ratio + around.high * scale)


def _exact_ranks(n: int, share: float) -> tuple[int, int]:
    """The order statistics (from 1) that enclose the percentile; 0 or n + 1 where there is none."""
    low, high, below = 0, n + 1, 0.0
    for k in range(n + 1):  # `below` is P(fewer than k values lie below the percentile)
        if below <= TAIL:
            low = k
        elif below >= 1 - TAIL:
            high = k
            break
        below += exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(share) + (n - k) * log(1 - share))
    return low, high


def _normal_ranks(n: int, share: float) -> tuple[int, int]:
    half = Z95 * sqrt(n * share * (1 - share))
    return floor(n * share - half), ceil(n * share + half) + 1
