"""Reads how busy a model server says it is, where `metrics_url` is set: vLLM's gauges of its requests and its KV cache.

One worker, elected in Redis for a few seconds at a time, asks for all of them; without Redis each worker asks. What it
takes from the answer is the part that this proxy did not send (`foreign`): what it did send, every worker counts by
itself and knows sooner. How full the KV cache is, is shown and decides nothing: a full one makes requests wait, and
those are counted. The addresses are the operator's own, so nothing here follows a redirect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from slo_router.domain import Facts
from slo_router.live import Live
from slo_router.redis_link import AsyncClient

ELECTED_KEY = "slo_router:scraper"
TERM_S = 5
TIMEOUT_S = 1.0
MAX_REPORTED = 1e6
GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting")
CACHE_GAUGES = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")  # 0..1; the latter before vLLM 0.10

log = logging.getLogger("slo_router")


class Load(NamedTuple):
    """What a server says: its requests, and the fullest KV cache (0..1) of its engines, `None` where it says none."""

    requests: float
    cache_usage: float | None = None


class LoadSignals:
    """The scraper of one worker. Failures are told once per deployment and cost no request anything."""

    def __init__(self, prefix: str, worker: str) -> None:
        self._key = prefix + ELECTED_KEY
        self._worker = worker
        self._client: httpx.AsyncClient | None = None
        self._silent: set[str] = set()

    async def refresh(self, redis: AsyncClient | None, facts: Iterable[Facts], live: Live) -> None:
        """Asks every server that has an address, if it is this worker's turn. Raises redis errors."""
        asked = [(one.deployment_id, one.metrics_url) for one in facts if one.metrics_url is not None]
        if not asked:
            return
        if redis is not None and not await self._is_elected(redis):
            for name, _ in asked:
                live.heard_of_foreign(name, 0.0)  # the elected worker tells
            return
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)
        reported = await asyncio.gather(*(self._ask(self._client, name, url) for name, url in asked))
        for (name, _), load in zip(asked, reported, strict=True):
            if load is None:
                live.heard_of_foreign(name, 0.0)
            else:
                foreign = max(load.requests - live.in_flight_of_all(name), 0.0)
                live.heard_of_foreign(name, foreign, load.cache_usage)

    async def aclose(self) -> None:
        """Closes the kept-alive connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _is_elected(self, redis: AsyncClient) -> bool:
        if await redis.set(self._key, self._worker, nx=True, ex=TERM_S):
            return True
        if await redis.get(self._key) != self._worker:
            return False
        await redis.expire(self._key, TERM_S)
        return True

    async def _ask(self, client: httpx.AsyncClient, name: str, url: str) -> Load | None:
        try:
            answer = await client.get(url)
            answer.raise_for_status()
            load = load_of(answer.text)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self._tell(name, type(error).__name__)
            return None
        if load is None:
            self._tell(name, f"none of {', '.join(GAUGES)} in the answer")
        return load

    def _tell(self, name: str, what: str) -> None:
        if name not in self._silent:
            self._silent.add(name)
            log.warning("the load of %s cannot be read from its metrics_url (%s); own requests are counted", name, what)


def load_of(text: str) -> Load | None:
    """The load in an exposition in Prometheus' text format; `None` where it has neither gauge of requests.

    Raises ValueError where it is no such text.
    """
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = [sample.value for sample in samples if sample.name in GAUGES]
    total = sum(values)
    if not values or not 0 <= total <= MAX_REPORTED:
        return None
    usages = [sample.value for sample in samples if sample.name in CACHE_GAUGES and 0 <= sample.value <= 1]
    return Load(total, max(usages, default=None))
