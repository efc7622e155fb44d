"""The send times of an open loop, in seconds from its start, computed beforehand from a seed. Pure.

An open loop sends by the clock, whether or not earlier requests were answered. A closed loop sends less to a slow
server, which hides the server's queue.

The gaps are independent and gamma-distributed with mean 1/rate. `burstiness` is the shape, as in vLLM's benchmark: 1 is
a Poisson process, 0.25 sends in bursts, large values approach equal gaps.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple


class Arrival(NamedTuple):
    """One request of an open loop. Sizes in tokens; `None` leaves them to the workload."""

    at_s: float
    prompt_tokens: int | None = None
    output_tokens: int | None = None


def gamma(rate_per_s: float, burstiness: float, count: int, seed: int) -> tuple[Arrival, ...]:
    """`count` arrivals, the first after one gap. `rate_per_s` and `burstiness` are above 0."""
    rng = random.Random(f"arrivals:{seed}")  # noqa: S311  # no secret: the same seed sends at the same times
    scale_s = 1 / (rate_per_s * burstiness)
    gaps_s = (rng.gammavariate(burstiness, scale_s) for _ in range(count))
    return tuple(Arrival(at_s) for at_s in accumulate(gaps_s))


def replay(trace: Sequence[Arrival], speed: float, count: int) -> tuple[Arrival, ...]:
    """The first `count` arrivals of a recorded trace, the first at 0, `speed` times as fast as recorded."""
    begun_s = trace[0].at_s if trace else 0.0
    return tuple(one._replace(at_s=(one.at_s - begun_s) / speed) for one in trace[:count])


def rate_of(arrivals: Sequence[Arrival]) -> float | None:
    """Requests per second from the start to the last arrival; `None` where all arrive at the start."""
    return len(arrivals) / arrivals[-1].at_s if arrivals and arrivals[-1].at_s > 0 else None
