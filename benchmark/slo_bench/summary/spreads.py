"""One latency over many requests: its mean and percentiles, with their intervals.

Percentile p of n sorted values: linear interpolation at rank p × (n − 1), NumPy's default. So the p95 of ten values is
between the ninth and the tenth, and says little about one request in twenty. A percentile is supported (`supports`) if
at least one value is expected beyond it, n × (1 − p) ≥ 1: the p90 needs 10 values, the p95 20, the p99 100. Intervals
need more, see `percentiles`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from types import MappingProxyType

from slo_bench.summary.percentiles import (
    grouped_mean_interval,
    grouped_percentile_interval,
    mean_interval,
    percentile,
    percentile_interval,
)
from slo_router.contract.intervals import Interval

SHARES: Mapping[str, float] = MappingProxyType({"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99})


@dataclass(frozen=True, slots=True)
class Spread:
    """One latency over a cell, seconds, of `n` values. `intervals` has "mean", "p50", … where `n` is large enough."""

    mean_s: float
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    n: int
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def value_s(self, name: str) -> float:
        """The figure called "mean", "p50", "p90", "p95" or "p99"."""
        return {"p50": self.p50_s, "p90": self.p90_s, "p95": self.p95_s, "p99": self.p99_s, "mean": self.mean_s}[name]

    def supports(self, name: str) -> bool:
        """Whether `n` values are enough for the figure of that name."""
        return self.n * (1 - SHARES.get(name, 0.0)) >= 1 - 1e-9


def spread(values: Iterable[float | None]) -> Spread | None:
    """The spread of the measured values of independent requests; `None` without any."""
    measured = sorted(value for value in values if value is not None)
    if not measured:
        return None
    intervals = {name: percentile_interval(measured, share) for name, share in SHARES.items()}
    return _spread(measured, {"mean": mean_interval(measured), **intervals})


def grouped_spread(groups: Iterable[Sequence[float]]) -> Spread | None:
    """The spread of all values of groups, one group per request; `None` without any value."""
    ordered = [sorted(group) for group in groups if group]
    measured = sorted(value for group in ordered for value in group)
    if not measured:
        return None
    intervals = {name: grouped_percentile_interval(ordered, share) for name, share in SHARES.items()}
    return _spread(measured, {"mean": grouped_mean_interval(ordered), **intervals})


def _spread(ordered: Sequence[float], intervals: Mapping[str, Interval | None]) -> Spread:
    p50_s, p90_s, p95_s, p99_s = (percentile(ordered, share) for share in SHARES.values())
    known = {name: interval for name, interval in intervals.items() if interval is not None}
    return Spread(fsum(ordered) / len(ordered), p50_s, p90_s, p95_s, p99_s, len(ordered), known)
