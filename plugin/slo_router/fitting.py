"""From fading sums to coefficients and a spread, for one quantity (TTFT or TPOT) of one deployment.

The sums come in several memories, the longest first. Of that come the coefficients, drawn towards the benchmark as if
it were a few observations. The shorter ones correct the level, each as far as its surprise exceeds its noise
(positive-part James-Stein). A steady deployment thus learns from minutes, and a sixfold slowdown shows in seconds.
Where a shorter memory found another level, what the longer ones saw of the spread no longer counts.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

from slo_router.latency import LEVELS
from slo_router.least_squares import non_negative
from slo_router.sums import MAX_RATIO, MIN_RATIO, Sums, bin_of, quantiles, square

PRIOR_WEIGHT = 5.0  # observations that the benchmark is worth
SLOPE_WEIGHT = 1.0  # likewise, that length and load change nothing
SPREAD_WEIGHT = 2.0  # likewise, its spread: over all prompts it is wider than for one
SURPRISE = 4.0  # squared standard errors that a level must differ by before it moves
NOISE_WEIGHT = 5.0  # observations that the long memory's noise is worth in a shorter one
LEVEL_WEIGHT = 1.0  # observation that an unchanged level is worth
WIDE = 0.5  # standard deviation of ln(ratio) where the benchmark tells none: p95 is 2.3 × the median
LEAST_NOISE, LEAST_SPREAD, MOST_SPREAD = 0.05, 0.05, 1.2
NO_EVIDENCE = 1e-6
_TINY = 1e-15
MAX_S = 3_600.0
KNEES = (2.0, 4.0, 8.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0)  # loads at which a batch may be full
_NORMAL = NormalDist()
_SCORES = tuple(_NORMAL.inv_cdf(level) for level in LEVELS)
_P95_SCORE = _NORMAL.inv_cdf(0.95)
_PRIOR_SCORES = tuple(_NORMAL.inv_cdf((i + 0.5) / 40) for i in range(40))


def fit_quantity(
    memories: list[Sums], size: int, mean_s: float | None, p95_s: float | None, knees: tuple[float, ...] = ()
) -> tuple[list[float], float, tuple[float, ...], float] | None:
    """Coefficients, knee, ratio quantiles and level from the memories, longest first, whose rows have `size` numbers.

    `mean_s` and `p95_s` are the benchmark's; `None` comes back where neither it nor a live sample tells anything.
    """
    long, *shorter = memories
    mean_s, p95_s = _positive(mean_s), _positive(p95_s)
    coefficients, alternative = _choose(long, size, mean_s, len(knees))
    if sum(coefficients) <= 0:
        if mean_s is None:
            return None
        return [mean_s, *[0.0] * (size - 2)], 0.0, _spread_of({}, mean_s, p95_s), 1.0
    noise = min(_level(square(long.products, size, alternative), coefficients)[1], WIDE**2)
    bins, level = dict(long.bins), 1.0
    for sums in shorter:
        matrix = square(sums.products, size, alternative)
        surplus, noise_here = _level(matrix, coefficients)
        noise_here = (sums.count * noise_here + NOISE_WEIGHT * noise) / (sums.count + NOISE_WEIGHT)
        moved = _moved(sums.count, surplus, noise_here)
        coefficients = [value * surplus**moved for value in coefficients]
        level *= surplus**moved
        bins = {key: value * (1 - moved) for key, value in bins.items()}
        for key, value in sums.bins.items():
            bins[key] = bins.get(key, 0.0) + value
    knee = 0.0 if alternative is None else knees[alternative]
    return coefficients, knee, _spread_of(bins, mean_s, p95_s), level


def _choose(sums: Sums, size: int, mean_s: float | None, knees: int) -> tuple[list[float], int | None]:
    """The coefficients without a knee or with the one that explains most, if that is more than noise would."""
    matrix = square(sums.products, size)
    best, chosen = _regress(matrix, mean_s), None
    if sums.count < NO_EVIDENCE or sum(best) <= 0:
        return [], None
    least = _loss(matrix, best)
    least -= SURPRISE * least / max(sums.count, 1.0)
    for alternative in range(knees):
        matrix = square(sums.products, size, alternative)
        if matrix[-1][-1] <= 0:
            break  # no load was beyond this knee, nor beyond the higher ones
        coefficients = _regress(matrix, mean_s)
        if (loss := _loss(matrix, coefficients)) < least:
            best, chosen, least = coefficients, alternative, loss
    return best, chosen


def _loss(matrix: list[list[float]], coefficients: list[float]) -> float:
    """The squared relative errors' sum."""
    weights = [-1.0, *coefficients]
    return sum(w * v * x for w, row in zip(weights, matrix, strict=True) for v, x in zip(weights, row, strict=True))


def _regress(matrix: list[list[float]], mean_s: float | None) -> list[float]:
    """Coefficients from the rows' products. The benchmark's mean counts as seen at the average length and load."""
    weight = matrix[1][1]
    if weight < _TINY or matrix[0][1] < _TINY:
        return []
    at = [value / weight for value in matrix[1][1:]]
    mean_s = matrix[0][1] / weight if mean_s is None else mean_s
    size = len(at)
    xx = [[matrix[i + 1][j + 1] + PRIOR_WEIGHT * at[i] * at[j] / mean_s**2 for j in range(size)] for i in range(size)]
    xy = [matrix[0][i + 1] + PRIOR_WEIGHT * at[i] / mean_s for i in range(size)]
    for i in range(1, size):
        xx[i][i] += SLOPE_WEIGHT * matrix[i + 1][i + 1] / weight / mean_s**2
    return [min(value, MAX_S) for value in non_negative(xx, xy)]


def _level(matrix: list[list[float]], coefficients: list[float]) -> tuple[float, float]:
    """Observed ÷ fitted over the rows of `matrix`, and the squared relative noise about it."""
    rows = range(len(coefficients))
    both = sum(coefficients[i] * matrix[0][i + 1] for i in rows)
    fitted = sum(coefficients[i] * coefficients[j] * matrix[i + 1][j + 1] for i in rows for j in rows)
    if both < _TINY or fitted < _TINY:
        return 1.0, 1.0
    level = min(max(both / fitted, MIN_RATIO), MAX_RATIO)
    return level, max(matrix[0][0] / both / level - 1, LEAST_NOISE**2)


def _moved(count: float, level: float, noise: float) -> float:
    """How far to believe a memory's `level`, 0..1."""
    surprise = count * math.log(level) ** 2 / noise
    return 0.0 if surprise <= SURPRISE else (1 - SURPRISE / surprise) * count / (count + LEVEL_WEIGHT)


def _spread_of(bins: dict[int, float], mean_s: float | None, p95_s: float | None) -> tuple[float, ...]:
    """The ratios' quantiles: the benchmark's spread, lognormal, counts as a few observations. Alone it is exact."""
    sigma = math.log(p95_s / mean_s) / _P95_SCORE if mean_s and p95_s else WIDE
    sigma = min(max(sigma, LEAST_SPREAD), MOST_SPREAD)
    if sum(bins.values()) < NO_EVIDENCE:
        return tuple(math.exp(sigma * score) for score in _SCORES)
    bins = dict(bins)
    for key in _prior_bins(sigma):
        bins[key] = bins.get(key, 0.0) + SPREAD_WEIGHT / len(_PRIOR_SCORES)
    return quantiles(bins, LEVELS)


@lru_cache(maxsize=256)
def _prior_bins(sigma: float) -> tuple[int, ...]:
    return tuple(bin_of(math.exp(sigma * score)) for score in _PRIOR_SCORES)


def _positive(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 < seconds <= MAX_S else None
