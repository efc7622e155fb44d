"""How late the agent sends at a given rate, with its own client and sender, as `slo-bench run` does."""

from __future__ import annotations

from slo_bench.load.arrivals import gamma
from slo_bench.load.sending import Sender, Sent
from slo_bench.measure.client import Client
from slo_bench.measure.targets import Target
from slo_bench.prompts.workload import Prompt
from slo_bench.summary.lag import lag_of

PROMPT = Prompt("chat", ({"role": "user", "content": "Who was it, and where? " * 8},), 64)
WARMUP, WARMUP_AT_A_TIME = 200, 16


async def lag_p99_ms(api_base: str, rate: float, requests: int) -> float:
    """The p99 of the delay, in an open loop of Poisson arrivals. Raises RuntimeError if a request failed."""
    target, sent = Target("lean", "lean", f"{api_base}/chat/completions", "none"), list[Sent]()
    async with Client(60.0) as client:
        await Sender(target, client.measure, lambda _: None).closed_loop([PROMPT] * WARMUP, WARMUP_AT_A_TIME)
        arrivals = gamma(rate, 1.0, requests, seed=0)
        await Sender(target, client.measure, sent.append).open_loop([PROMPT] * requests, arrivals)
    lag = lag_of(one.lag_s for one in sent)
    if lag is None or any(one.sample.error for one in sent):
        raise RuntimeError(f"not all of {requests} requests were answered")
    return lag.p99_s * 1_000
