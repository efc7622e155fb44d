"""Fits coefficients and a spread to fading sums, for one quantity (TTFT or TPOT) of one deployment.

The sums come in several memories, the longest first. The coefficients come from the longest. The benchmark counts like
a few more observations. Without a sweep it gives only a mean, and slopes are drawn towards 0. A sweep gives a line, and
slopes are drawn towards the slopes of that line. Where no live request shows a slope, such as that of the queue beyond
the knee, the sweep's slope is taken.

The shorter memories correct the level, each as far as its surprise exceeds its noise (positive-part James-Stein). So a
steady deployment learns from minutes, and a sixfold slowdown shows in seconds. As far as a shorter memory changes the
level, its spread replaces that of the longer memories. Otherwise its spread is ignored, for the longer memories hold
the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import add, mul
from statistics import NormalDist
from typing import NamedTuple

from slo_router.contract.least_squares import SURPRISE, find_knee, non_negative
from slo_router.contract.model import KNEES, LEVELS
from slo_router.latency.sums import BINS, LN_RATIOS, MAX_RATIO, MIN_RATIO, Sums, bin_of, quantiles, square

# Each weight is a number of observations.
PRIOR_WEIGHT = 5.0  # of the benchmark's mean
SLOPE_WEIGHT = 4.0  # of the prior that length and load change nothing
SWEPT_WEIGHT = 20.0  # of the slopes that a sweep found
SPREAD_WEIGHT = 2.0  # of the benchmark's spread; over all prompts it is wider than for one
NOISE_WEIGHT = 5.0  # of the long memory's noise, in a shorter memory
LEVEL_WEIGHT = 1.0  # of an unchanged level
BEYOND = 1.0  # (load beyond the knee)²; below it the benchmark's slope weighs as if it were this
WIDE = 0.5  # standard deviation of ln(ratio) where the benchmark gives none: p95 is 2.3 × the median
LEAST_NOISE, LEAST_SPREAD, MOST_SPREAD = 0.05, 0.05, 1.2
NO_EVIDENCE = 1e-6
_TINY = 1e-15
MAX_S = 3_600.0
_NORMAL = NormalDist()
_SCORES = tuple(_NORMAL.inv_cdf(level) for level in LEVELS)
_P95_SCORE = _NORMAL.inv_cdf(0.95)
_PRIOR_SCORES = tuple(_NORMAL.inv_cdf((i + 0.5) / 40) for i in range(40))


class Expected(NamedTuple):
    """The benchmark's prior for one quantity. `line` is empty where the benchmark has none."""

    line: tuple[float, ...] = ()  # coefficients of the typical value, in seconds
    beyond_s: float = 0.0  # seconds per request beyond the knee, added
    knee: float = 0.0
    sigma: float = WIDE  # standard deviation of ln(ratio)
    slope_weight: float = SLOPE_WEIGHT

    @property
    def alternative(self) -> int | None:
        """The position of the knee among KNEES."""
        return min(range(len(KNEES)), key=lambda i: abs(KNEES[i] - self.knee)) if self.beyond_s > 0 else None

    def of(self, size: int) -> list[float]:
        """The coefficients of `size` features; 0 where nothing is known."""
        known = [*self.line, self.beyond_s][:size]
        return known + [0.0] * (size - len(known))


def expected(mean_s: float | None, p95_s: float | None, size: int) -> Expected:
    """The prior from a mean and a 95th percentile in seconds, for a line of `size` coefficients."""
    mean_s, p95_s = _positive(mean_s), _positive(p95_s)
    if mean_s is None:
        return Expected()
    return Expected((mean_s, *[0.0] * (size - 1)), sigma=WIDE if p95_s is None else sigma_of(p95_s / mean_s))


def sigma_of(p95_ratio: float) -> float:
    """The standard deviation of ln(ratio), from the ratio's 95th percentile, for a lognormal ratio."""
    return math.log(p95_ratio) / _P95_SCORE


def fit_quantity(
    memories: list[Sums], size: int, prior: Expected, knees: tuple[float, ...] = ()
) -> tuple[list[float], float, tuple[float, ...], float] | None:
    """Coefficients (seconds), knee, ratio quantiles at `LEVELS`, and level.

    `memories` come longest first; their rows have `size` numbers. Returns `None` without benchmark and live samples.
    """
    long, *shorter = memories
    coefficients, alternative = _choose(long, size, prior, len(knees))
    if sum(coefficients) <= 0:
        if not prior.line:
            return None
        return prior.of(size if knees else size - 1), prior.knee, _spread_of((), prior.sigma), 1.0
    scatter = _level(square(long.products, size, alternative), coefficients)[1]
    noise, bins, level = min(scatter, WIDE**2), _centred(long.bins, scatter), 1.0
    for sums in shorter:
        matrix = square(sums.products, size, alternative)
        surplus, noise_here = _level(matrix, coefficients)
        noise_here = (sums.count * noise_here + NOISE_WEIGHT * noise) / (sums.count + NOISE_WEIGHT)
        moved = _moved(sums.count, surplus, noise_here)
        coefficients = [value * surplus**moved for value in coefficients]
        level *= surplus**moved
        if moved:
            bins = _mixed(bins, _centred(sums.bins, noise_here), moved)
    knee = 0.0 if alternative is None else knees[alternative]
    return coefficients, knee, _spread_of(bins, prior.sigma), level


def _choose(sums: Sums, size: int, prior: Expected, knees: int) -> tuple[list[float], int | None]:
    """The coefficients with the benchmark's knee, or with another that explains more than noise would."""
    chosen = prior.alternative
    matrix = square(sums.products, size, chosen)
    best = _regress(matrix, prior, None if chosen is None else size - 1)
    if sums.count < NO_EVIDENCE or sum(best) <= 0:
        return [], None
    if chosen is not None and _is_unseen(matrix, prior):
        return best, chosen

    def others() -> Iterator[tuple[tuple[list[float], int], float]]:
        for alternative in range(knees):
            matrix = square(sums.products, size, alternative)
            if matrix[-1][-1] <= 0:
                return  # no load was beyond this knee, nor beyond the higher ones
            coefficients = _regress(matrix, prior, size - 1)
            yield (coefficients, alternative), _loss(matrix, coefficients)

    return find_knee(_loss(matrix, best), others(), sums.count) or (best, chosen)


def _is_unseen(matrix: list[list[float]], prior: Expected) -> bool:
    """Whether the benchmark knows more of the queue beyond its knee than live requests: hardly any came that far."""
    mean_s = matrix[0][1] / matrix[1][1]
    return matrix[-1][-1] * mean_s**2 < prior.slope_weight * BEYOND


def _loss(matrix: list[list[float]], coefficients: list[float]) -> float:
    """The sum of squared relative errors."""
    weights = [-1.0, *coefficients]
    return sum(w * v * x for w, row in zip(weights, matrix, strict=True) for v, x in zip(weights, row, strict=True))


def _regress(matrix: list[list[float]], prior: Expected, queue: int | None = None) -> list[float]:
    """Coefficients from the rows' products. The benchmark counts as observed at the average length and load.

    `queue` is the position of the load beyond the knee. A few answers just beyond the knee must not make that slope so
    steep that no further request is sent there. So its prior weighs as at `BEYOND` at least.
    """
    weight = matrix[1][1]
    if weight < _TINY or matrix[0][1] < _TINY:
        return []
    at = [value / weight for value in matrix[1][1:]]
    size = len(at)
    line = prior.of(size)
    mean_s = sum(value * x for value, x in zip(line, at, strict=True)) or matrix[0][1] / weight
    xx = [[matrix[i + 1][j + 1] + PRIOR_WEIGHT * at[i] * at[j] / mean_s**2 for j in range(size)] for i in range(size)]
    xy = [matrix[0][i + 1] + PRIOR_WEIGHT * at[i] / mean_s for i in range(size)]
    for i in range(1, size):
        squared = matrix[i + 1][i + 1] / weight
        inertia = prior.slope_weight * (max(squared, BEYOND) if i == queue else squared) / mean_s**2
        xx[i][i] += inertia
        xy[i] += inertia * line[i]
    found = [min(value, MAX_S) for value in non_negative(xx, xy)]
    return [value if xx[i][i] > 0 else line[i] for i, value in enumerate(found)]


def _level(matrix: list[list[float]], coefficients: list[float]) -> tuple[float, float]:
    """Observed ÷ fitted over the rows of `matrix`, and the squared relative noise around that level."""
    rows = range(len(coefficients))
    both = sum(coefficients[i] * matrix[0][i + 1] for i in rows)
    fitted = sum(coefficients[i] * coefficients[j] * matrix[i + 1][j + 1] for i in rows for j in rows)
    if both < _TINY or fitted < _TINY:
        return 1.0, 1.0
    level = min(max(both / fitted, MIN_RATIO), MAX_RATIO)
    return level, max(matrix[0][0] / both / level - 1, LEAST_NOISE**2)


def _moved(count: float, level: float, noise: float) -> float:
    """How far a memory's `level` is believed, 0..1."""
    surprise = count * math.log(level) ** 2 / noise
    return 0.0 if surprise <= SURPRISE else (1 - SURPRISE / surprise) * count / (count + LEVEL_WEIGHT)


def _centred(bins: Sequence[float], noise: float) -> Sequence[float]:
    """The ratios' counts, as far as they agree with the present fit; else counts of the fit's own noise.

    A ratio compares what came with what was predicted then. If the prediction was wrong and the fit has learned it, the
    ratio would count the same error again. The fit is of means. So for a steady deployment the mean of ln(ratio) lies
    between 0 and minus half the variance.
    """
    count = sum(bins)
    if count < NO_EVIDENCE:
        return bins
    mean, variance = sum(map(mul, bins, LN_RATIOS)) / count, math.log1p(noise)
    off = max(mean, 0.0) + min(mean + variance / 2, 0.0)
    surprise = count * off**2 / noise
    if surprise <= SURPRISE:
        return bins
    own = _prior_bins(round(min(math.sqrt(variance), MOST_SPREAD), 2))
    return _mixed(bins, [value * count / SPREAD_WEIGHT for value in own], 1 - SURPRISE / surprise)


def _mixed(bins: Sequence[float], others: Sequence[float], share: float) -> list[float]:
    return [held * (1 - share) + new * share for held, new in zip(bins, others, strict=True)]


def _spread_of(bins: Sequence[float], sigma: float) -> tuple[float, ...]:
    """The ratios' quantiles at `LEVELS`. The benchmark's lognormal spread counts like `SPREAD_WEIGHT` observations."""
    sigma = min(max(sigma, LEAST_SPREAD), MOST_SPREAD)
    if sum(bins) < NO_EVIDENCE:
        return tuple(math.exp(sigma * score) for score in _SCORES)
    return quantiles(list(map(add, bins, _prior_bins(sigma))), LEVELS)


@lru_cache(maxsize=256)
def _prior_bins(sigma: float) -> tuple[float, ...]:
    bins = [0.0] * BINS
    for score in _PRIOR_SCORES:
        bins[bin_of(math.exp(sigma * score))] += SPREAD_WEIGHT / len(_PRIOR_SCORES)
    return tuple(bins)


def _positive(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 < seconds <= MAX_S else None
