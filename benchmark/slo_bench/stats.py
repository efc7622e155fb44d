"""Summaries of the samples of one cell (a deployment in a category).

Definitions
- Latencies (TTFT, TPOT, E2E) are taken over successful requests only.
- Percentile p of n sorted values: linear interpolation at rank p × (n − 1), NumPy's default. The p95 of ten values
  therefore lies between the ninth and the tenth.
- Error rate: failed ÷ finished requests.
- Throughput: tokens of successful requests ÷ wall time of the cell, all streams together; `throughput_tps` counts
  completion tokens, `total_tps` prompt tokens too. Unknown where a success came without usage: a sum that leaves some
  out would be too low.

`None` where nothing was measured; an average of nothing is not 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor

from slo_bench.stream import Sample


@dataclass(frozen=True, slots=True)
class Spread:
    """One latency over a cell, seconds."""

    mean_s: float
    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class CellStats:
    """What a cell's samples say together."""

    requests: int  # finished ones
    errors: Mapping[str, int]  # by class
    ttft: Spread | None
    tpot: Spread | None
    e2e: Spread | None
    prompt_tokens: int | None  # of all successes
    completion_tokens: int | None
    wall_s: float

    @property
    def succeeded(self) -> int:
        """Requests that were answered; what the latencies rest on."""
        return self.requests - sum(self.errors.values())

    @property
    def error_rate(self) -> float | None:
        """Failed ÷ finished requests, 0..1."""
        return sum(self.errors.values()) / self.requests if self.requests else None

    @property
    def output_tokens_mean(self) -> float | None:
        """Completion tokens per success."""
        return None if self.completion_tokens is None else self.completion_tokens / self.succeeded

    @property
    def throughput_tps(self) -> float | None:
        """Completion tokens per second of the cell."""
        return _rate(self.completion_tokens, self.wall_s)

    @property
    def total_tps(self) -> float | None:
        """Prompt and completion tokens per second of the cell."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return _rate(self.prompt_tokens + self.completion_tokens, self.wall_s)


def summarize(samples: Sequence[Sample], wall_s: float) -> CellStats:
    """Summarizes a cell. `wall_s` is the time from its first send to its last answer."""
    successes = [sample for sample in samples if sample.error is None]
    return CellStats(
        requests=len(samples),
        errors=dict(sorted(Counter(sample.error for sample in samples if sample.error is not None).items())),
        ttft=spread(sample.ttft_s for sample in successes),
        tpot=spread(sample.tpot_s for sample in successes),
        e2e=spread(sample.e2e_s for sample in successes),
        prompt_tokens=_sum([sample.prompt_tokens for sample in successes]),
        completion_tokens=_sum([sample.completion_tokens for sample in successes]),
        wall_s=wall_s,
    )


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and percentiles of the measured values, `None` where there is none."""
    measured = sorted(value for value in values if value is not None)
    if not measured:
        return None
    return Spread(sum(measured) / len(measured), percentile(measured, 0.50), percentile(measured, 0.95))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The percentile at `share` (0..1) of values in ascending order, by linear interpolation."""
    rank = share * (len(ordered) - 1)
    below = floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _rate(tokens: int | None, wall_s: float) -> float | None:
    return tokens / wall_s if tokens is not None and wall_s > 0 else None
