"""An inference engine reduced to what a client can see of it: slots, a queue and the pace of tokens.

A request waits in a FIFO queue until one of `slots` is free. Then it waits for the prefill, which computes one prompt
at a time. Then it decodes token by token, and more slowly the more requests run beside it. A router meets the same in
continuous batching (Orca, OSDI '22): TTFT grows with the queue and the prompt, TPOT with the batch.

The engine reports its load under vLLM's Prometheus names (vllm/v1/metrics/loggers.py), which routers and dashboards
read.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .spec import EndpointSpec


class Engine:
    """The state that all requests of one endpoint share. `clock` tells seconds, as the event loop counts them."""

    def __init__(self, spec: EndpointSpec, clock: Callable[[], float] = time.perf_counter) -> None:
        self.spec = spec
        self.clock = clock
        self.running = 0
        self.waiting = 0
        self.kv_tokens = 0  # prompt and completion tokens of the running requests
        self.prompt_tokens_total = 0
        self.generation_tokens_total = 0
        self.finished_total = 0
        self._slots = asyncio.Semaphore(spec.slots)
        self.prefill = asyncio.Lock()  # computes one prompt at a time
        self._rng = random.Random(f"{spec.seed}:{spec.name}")

    @asynccontextmanager
    async def admit(self, prompt_tokens: int, *, cached_tokens: int = 0, slowdown: float = 1.0) -> AsyncIterator["Run"]:
        """Wait in the queue for a slot, and hold it until the block ends; `slowdown` multiplies every latency."""
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        run = Run(self, prompt_tokens, slowdown, cached_tokens=cached_tokens)
        self.running += 1
        self.kv_tokens += prompt_tokens
        try:
            yield run
            self.finished_total += 1
        finally:
            self.running -= 1
            self.kv_tokens -= prompt_tokens + run.generated
            self._slots.release()

    def jitter(self) -> float:
        """A log-normal factor of mean 1."""
        sigma = self.spec.jitter
        return math.exp(self._rng.gauss(-sigma * sigma / 2, sigma)) if sigma else 1.0


@dataclass(slots=True)
class Run:
    """One request that holds a slot."""

    engine: Engine
    prompt_tokens: int
    slowdown: float
    generated: int = 0
    cached_tokens: int = 0  # of the prompt
    _due_s: float = 0.0  # when the next token is ready; absolute, so that timer errors do not add up

    async def prefill(self) -> None:
        """Return when the prompt is computed: a fixed time has passed, and its turn at the prefill is over."""
        spec = self.engine.spec
        await _sleep(spec.ttft_ms / 1e3 * self._factor())
        async with self.engine.prefill:
            await _sleep((self.prompt_tokens - self.cached_tokens) * spec.prefill_us_per_token / 1e6 * self._factor())
        self.engine.prompt_tokens_total += self.prompt_tokens

    async def first_token(self) -> None:
        """Return when the first token is ready."""
        await self.prefill()
        self._due_s = self.engine.clock()
        self._count(1)

    async def more_tokens(self, count: int = 1) -> None:
        """Return when `count` more tokens are ready."""
        spec = self.engine.spec
        tpot_s = spec.tpot_ms / 1e3 * (1 + spec.tpot_growth * (self.engine.running - 1))
        self._due_s += count * tpot_s * self._factor()
        await _sleep(self._due_s - self.engine.clock())
        self._count(count)

    def _factor(self) -> float:
        return self.slowdown * self.engine.jitter()

    def _count(self, tokens: int) -> None:
        self.generated += tokens
        self.engine.kv_tokens += tokens
        self.engine.generation_tokens_total += tokens


async def _sleep(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


def render(engine: Engine) -> str:
    """The endpoint's metrics in Prometheus' text format."""
    spec = engine.spec
    kv_usage = min(1.0, engine.kv_tokens / (spec.slots * spec.context_tokens))
    families: list[tuple[str, str, str, float]] = [
        ("num_requests_running", "gauge", "Requests in the batch.", engine.running),
        ("num_requests_waiting", "gauge", "Requests in the queue.", engine.waiting),
        ("kv_cache_usage_perc", "gauge", "KV-cache usage, 1 is full.", kv_usage),
        ("gpu_cache_usage_perc", "gauge", "KV-cache usage, 1 is full (the name before vLLM 0.10).", kv_usage),
        ("prompt_tokens_total", "counter", "Prefill tokens processed.", engine.prompt_tokens_total),
        ("generation_tokens_total", "counter", "Generation tokens processed.", engine.generation_tokens_total),
        ("request_success_total", "counter", "Requests that were finished.", engine.finished_total),
    ]
    label = spec.name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return "".join(
        f"# HELP vllm:{name} {text}\n# TYPE vllm:{name} {kind}\n"
        f'vllm:{name}{{engine="0",model_name="{label}"}} {float(value)}\n'
        for name, kind, text, value in families
    )
