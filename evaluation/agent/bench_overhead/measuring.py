"""Sends with the agent's own client and sender, as `slo-bench run` does, and reads off rate, lag and CPU time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from slo_bench.load.arrivals import gamma
from slo_bench.load.sending import Sender, Sent
from slo_bench.measure.client import Client
from slo_bench.measure.targets import Target
from slo_bench.prompts.workload import Prompt
from slo_bench.summary.lag import lag_of
from slo_bench.summary.percentiles import percentile

PROMPT = Prompt("chat", ({"role": "user", "content": "Who was it, and where? " * 8},), 64)
WARMUP = 200
LAG_LIMIT_S = 0.005
FOLLOWS = 0.98  # of the asked rate that must have been sent for it to count
MOST_S = 10.0  # of one of its loads
STEPS = 5  # of halving between the rate that was kept and the one that was not


class Run(NamedTuple):
    """One load. Rates in requests per second, times in milliseconds; `None` in a closed loop or without an answer."""

    shape: str
    requests: int
    errors: int
    rps: float
    asked_rps: float | None
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    lag_max_ms: float | None
    ttft_p50_ms: float | None
    cpu_us_per_request: float  # of this process

    @property
    def is_kept(self) -> bool:
        """The asked rate was sent, and in time."""
        follows = self.asked_rps is None or self.rps >= FOLLOWS * self.asked_rps
        return follows and not self.errors and (self.lag_p99_ms or 0.0) <= LAG_LIMIT_S * 1_000


class Bench:
    """Measures against one endpoint."""

    def __init__(self, api_base: str) -> None:
        self._target = Target("lean", "lean", api_base + "/chat/completions", "none")

    async def closed(self, concurrency: int, requests: int) -> Run:
        """As fast as `concurrency` requests at a time go."""
        sent: list[Sent] = []
        async with Client(60.0) as client:
            await Sender(self._target, client.measure, lambda _: None).closed_loop([PROMPT] * WARMUP, concurrency)
            began_s, cpu_s = time.perf_counter(), time.process_time()
            await Sender(self._target, client.measure, sent.append).closed_loop([PROMPT] * requests, concurrency)
            took_s, used_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        return _run(f"closed, {concurrency} in flight", sent, took_s, used_s, None)

    async def opened(self, rate: float, requests: int, burstiness: float = 1.0) -> Run:
        """At `rate` by the clock."""
        sent: list[Sent] = []
        arrivals = gamma(rate, burstiness, requests, seed=0)
        async with Client(60.0) as client:
            await Sender(self._target, client.measure, lambda _: None).closed_loop([PROMPT] * WARMUP, 16)
            cpu_s = time.process_time()
            await Sender(self._target, client.measure, sent.append).open_loop([PROMPT] * requests, arrivals)
            used_s = time.process_time() - cpu_s
        took_s = max(one.sent_s for one in sent) - min(one.sent_s for one in sent)
        return _run(f"open, {rate:.0f}/s", sent, took_s, used_s, requests / arrivals[-1].at_s)

    async def sustained(self, most: float, requests: int) -> list[Run]:
        """Open loops up to `most` per second, by bisection; the highest that was kept is the sustained rate."""
        low, high, runs = 0.0, most, list[Run]()
        for _ in range(STEPS):
            rate = (low + high) / 2
            run = await self.opened(rate, min(requests, max(round(rate * MOST_S), 100)))
            runs.append(run)
            low, high = (rate, high) if run.is_kept else (low, rate)
        return runs


def _run(shape: str, sent: Sequence[Sent], took_s: float, cpu_s: float, asked: float | None) -> Run:
    lag = lag_of(one.lag_s for one in sent)
    first = sorted(one.sample.ttft_s for one in sent if one.sample.ttft_s is not None)
    return Run(
        shape=shape,
        requests=len(sent),
        errors=sum(one.sample.error is not None for one in sent),
        rps=len(sent) / took_s,
        asked_rps=asked,
        lag_p50_ms=None if lag is None else lag.p50_s * 1_000,
        lag_p99_ms=None if lag is None else lag.p99_s * 1_000,
        lag_max_ms=None if lag is None else lag.max_s * 1_000,
        ttft_p50_ms=percentile(first, 0.5) * 1_000 if first else None,
        cpu_us_per_request=cpu_s / len(sent) * 1e6,
    )
