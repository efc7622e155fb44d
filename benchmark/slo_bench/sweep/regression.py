"""The latency fit of a sweep: least squares on relative errors, without negative coefficients. Pure.

    TTFT = a + b · prompt tokens + c · in flight + k · max(0, in flight − knee)
    TPOT = d + e · in flight

TTFT uses the load when the request was sent, as the router knows it. TPOT uses the mean load while the answer was
written. Requests above the knee are left out of TPOT, for there the batch is full and the pace constant. Each line is
scaled so that the median of observed ÷ fitted is 1.

Errors are relative, and large errors count less (Huber), so that one slow connection does not bend the line. The weight
of a step with the mean load n is 1 / (1 + n)²: the router sends at low loads, so the fit must be right there. A step
whose time ran out has no TPOT. The knee is the one of `KNEES` that explains most (`find_knee`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from statistics import fmean, median
from typing import NamedTuple

from slo_bench.sweep.overlap import mean_load
from slo_bench.sweep.step import Step
from slo_router.contract.least_squares import find_knee, non_negative
from slo_router.contract.model import KNEES, LatencyFit

LEAST_SAMPLES = 20
LEAST_SPREAD = 1.5  # longest ÷ shortest prompt; with less, the effect of length can't be separated from the constant
ROUNDS = 6
HUBER = 1.5  # standard deviations; larger errors count less
LOAD_POWER = 2.0  # see the module
MOST_RATIO = 50.0
_LEAST_S = 1e-9


class Seen(NamedTuple):
    """One observation: its features, seconds and weight."""

    row: tuple[float, ...]
    y_s: float
    weight: float


class Line(NamedTuple):
    """One fitted quantity. The ratio is observed ÷ fitted. The error is the median of |ratio − 1|."""

    coefficients: tuple[float, ...]
    p95_ratio: float
    error: float
    r2: float


def fit_sweep(steps: Sequence[Step], measured_at_s: float) -> LatencyFit | None:
    """The fit over all steps of one deployment; `None` with too few samples. `measured_at_s` is Unix seconds."""
    weights = _weights(steps)
    plain = [one for step, weight in zip(steps, weights, strict=True) for one in _first_tokens(step, weight)]
    tokens = [one.row[1] for one in plain]
    if len(plain) < LEAST_SAMPLES or max(tokens) < LEAST_SPREAD * max(min(tokens), 1.0):
        return None
    knee = _knee(plain)
    first = _line(_beyond(plain, knee or math.inf))
    limit = knee or math.inf
    pace = [one for step, weight in zip(steps, weights, strict=True) for one in _further_tokens(step, weight, limit)]
    if len(pace) < LEAST_SAMPLES:
        return None
    if max(one.row[1] for one in pace) < 1:
        pace = [one._replace(row=(1.0, 0.0)) for one in pace]  # too little load: its fitted effect would be noise
    further = _line(pace)
    (a, b, c, k), (d, e) = first.coefficients, further.coefficients
    if a + b <= 0 or d <= 0:
        return None
    quality = first.p95_ratio, further.p95_ratio, first.error, further.error, first.r2, further.r2
    extent = len(plain), min(tokens), max(tokens), max(one.row[2] for one in plain)
    return LatencyFit(measured_at_s, a, b, c, k, knee if k > 0 else 0.0, d, e, *quality, *extent)


def _weights(steps: Sequence[Step]) -> list[float]:
    """The weight of one request of each step, see the module."""
    loads = [fmean(one.in_flight for one in step.sent) if step.sent else 0.0 for step in steps]
    return [(1 + load) ** -LOAD_POWER / max(len(step.sent), 1) for step, load in zip(steps, loads, strict=True)]


def _first_tokens(step: Step, weight: float) -> list[Seen]:
    """TTFT by (1, prompt tokens, in flight)."""
    return [
        Seen((1.0, float(one.sample.prompt_tokens), float(one.in_flight)), one.sample.ttft_s, weight)
        for one in step.sent
        if one.sample.prompt_tokens is not None and one.sample.ttft_s is not None and one.sample.ttft_s > 0
    ]


def _further_tokens(step: Step, weight: float, knee: float) -> list[Seen]:
    """TPOT by (1, mean load), below the knee."""
    if len(step.sent) < step.planned:
        return []  # cut
    return [
        Seen((1.0, load), tpot_s, weight)
        for one, load in zip(step.sent, mean_load(step.sent), strict=True)
        if load is not None and load <= knee and (tpot_s := one.sample.tpot_s) is not None and tpot_s > 0
    ]


def _beyond(seen: Sequence[Seen], knee: float) -> list[Seen]:
    """The observations with the load beyond the knee as a further feature."""
    return [one._replace(row=(*one.row, max(0.0, one.row[2] - knee))) for one in seen]


def _knee(seen: Sequence[Seen]) -> float:
    """The load beyond which requests queue, 0 where there is none."""
    highest = max(one.row[2] for one in seen)
    tried = ((knee, _loss(_beyond(seen, knee))) for knee in KNEES if knee < highest)
    return find_knee(_loss(seen), tried, len(seen)) or 0.0


def _loss(seen: Sequence[Seen]) -> float:
    """The weighted sum of squared ln(observed ÷ fitted), each logarithm cut at 1."""
    line = _robust(seen, rounds=2)
    return sum(one.weight * min(abs(math.log(one.y_s / _value(line, one.row))), 1.0) ** 2 for one in seen)


def _line(seen: Sequence[Seen]) -> Line:
    line = _robust(seen)
    typical = _quantile([(one.y_s / _value(line, one.row), one.weight) for one in seen], 0.5)
    line = [value * typical for value in line]
    ratios = [(one.y_s / _value(line, one.row), one.weight) for one in seen]
    mean_s = sum(one.weight * one.y_s for one in seen) / sum(one.weight for one in seen)
    whole = sum(one.weight * (one.y_s - mean_s) ** 2 for one in seen)
    left = sum(one.weight * (one.y_s - _value(line, one.row)) ** 2 for one in seen)
    return Line(
        tuple(line),
        p95_ratio=min(max(_quantile(ratios, 0.95), 1.0), MOST_RATIO),
        error=_quantile([(abs(ratio - 1), weight) for ratio, weight in ratios], 0.5),
        r2=max(0.0, 1 - left / whole) if whole > 0 else 0.0,
    )


def _robust(seen: Sequence[Seen], rounds: int = ROUNDS) -> list[float]:
    """Iteratively reweighted least squares: errors relative to the last fit, at first to the observed value."""
    line = _regress([one._replace(weight=one.weight / one.y_s**2) for one in seen])
    for _ in range(rounds):
        fitted = [min(max(_value(line, one.row), one.y_s / 10), one.y_s * 10) for one in seen]
        errors = [abs(one.y_s / scale - 1) for one, scale in zip(seen, fitted, strict=True)]
        limit = HUBER * 1.4826 * median(errors)  # for normal errors 1.4826 × their median is the standard deviation
        huber = [1.0 if error <= limit else limit / error for error in errors]
        line = _regress(
            [
                one._replace(weight=one.weight * part / scale**2)
                for one, part, scale in zip(seen, huber, fitted, strict=True)
            ]
        )
    return line


def _regress(seen: Sequence[Seen]) -> list[float]:
    seconds, weights = [one.y_s for one in seen], [one.weight for one in seen]
    columns = list(zip(*(one.row for one in seen), strict=True))
    weighted = [list(map(mul, weights, column)) for column in columns]
    xx = [[sum(map(mul, one, other)) for other in columns] for one in weighted]
    return non_negative(xx, [sum(map(mul, one, seconds)) for one in weighted])


def _value(line: Sequence[float], row: Sequence[float]) -> float:
    return max(math.fsum(map(mul, line, row)), _LEAST_S)


def _quantile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    """The weighted quantile at `share` (0..1)."""
    ordered = sorted(weighted)
    whole, below = sum(weight for _, weight in ordered), 0.0
    for value, weight in ordered:
        below += weight
        if below >= share * whole:
            return value
    return ordered[-1][0]
