"""A deployment's latency as a curve of a few coefficients and two spreads. The request path computes with it.

    TTFT = (a + b · prompt tokens + h · hidden tokens + c · in flight + k · max(0, in flight − knee)) × ratio
    TPOT = (d + e · in flight) × ratio

Hidden tokens are the reasoning that is expected before the first token, and that the client does not see. At the knee
the server's batch is full, and further requests wait. The part in brackets is the typical value for this request at
this load. The ratio, observed ÷ predicted, is a random number whose quantiles at `LEVELS` were measured. So p95 =
typical × ratio's p95, and P(TTFT ≤ limit) = P(ratio ≤ limit ÷ typical). In flight does not count the request itself.
`evidence.fit` makes the curves. Each function here takes less than a microsecond.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from slo_router.contract.model import LEVELS

P5 = LEVELS.index(0.05)
P50 = LEVELS.index(0.5)
P95 = LEVELS.index(0.95)
_LAST = len(LEVELS) - 1


class Observation(NamedTuple):
    """The measurements of one finished request. `in_flight` is the load at dispatch, without the request itself."""

    at_s: float  # Unix seconds at the end
    prompt_tokens: int
    in_flight: float
    output_tokens: float | None  # of one answer, those that the client sees
    ttft_s: float | None  # `None` where the answer was not streamed
    e2e_s: float | None
    hidden_tokens: float = 0.0  # as expected at dispatch


class Curve(NamedTuple):
    """One deployment's latency now. Coefficients are seconds, never negative. Ratios rise, one for each of `LEVELS`."""

    a_s: float
    b_s_per_token: float
    c_s_per_request: float
    d_s: float
    e_s_per_request: float
    ttft_ratios: tuple[float, ...]
    tpot_ratios: tuple[float, ...]
    weight: float = 0.0  # live samples, by their present weight; 0 is the benchmark alone
    measured_at_s: float = 0.0  # Unix seconds of the latest live sample; 0 without any
    ttft_level: float = 1.0  # the factor by which the last seconds changed the coefficients of the last minutes
    tpot_level: float = 1.0
    k_s_per_request: float = 0.0  # for each request beyond the knee, added to c
    knee: float = 0.0
    is_swept: bool = False  # the knee is the one that a sweep found
    known_tokens: float = 0.0  # hardly any prompt had more, live or in a sweep; 0: nobody knows
    thought_s_per_token: float = 0.0  # of hidden reasoning: h
    hidden_tokens: float = 0.0  # the mean that was expected of the live requests; else the benchmark's


def ttft_s(curve: Curve, prompt_tokens: float, in_flight: float, hidden_tokens: float = 0.0) -> float:
    """The typical time to the first token, in seconds."""
    typical_s = curve.a_s + curve.b_s_per_token * prompt_tokens + curve.c_s_per_request * in_flight
    if hidden_tokens:
        typical_s += curve.thought_s_per_token * hidden_tokens
    return typical_s if in_flight <= curve.knee else typical_s + curve.k_s_per_request * (in_flight - curve.knee)


def slower(curve: Curve, factor: float) -> Curve:
    """The curve with `factor` times its TTFT."""
    names = ("a_s", "b_s_per_token", "c_s_per_request", "k_s_per_request", "thought_s_per_token", "ttft_level")
    return curve._replace(**{name: getattr(curve, name) * factor for name in names})


def tpot_s(curve: Curve, in_flight: float) -> float:
    """The typical time of each further token, in seconds."""
    return curve.d_s + curve.e_s_per_request * in_flight


def probability(ratios: tuple[float, ...], limit_ratio: float) -> float:
    """P(ratio ≤ limit), interpolated. It is 0 at ratio 0, and 1 from twice the ratio of the highest level on."""
    after = bisect_left(ratios, limit_ratio)
    if after == 0:
        return LEVELS[0] * max(limit_ratio, 0.0) / ratios[0]
    if after > _LAST:
        return min(1.0, LEVELS[_LAST] + (1.0 - LEVELS[_LAST]) * (limit_ratio / ratios[_LAST] - 1.0))
    low, high = ratios[after - 1], ratios[after]
    return LEVELS[after - 1] + (LEVELS[after] - LEVELS[after - 1]) * (limit_ratio - low) / (high - low)
