"""Asks every two seconds for the live traffic of the deployments that are being measured.

    {prefix}slo_router:workers, {prefix}slo_router:live:{worker}    requests in flight by deployment, of each worker
    `metrics_url`                                                    vLLM's gauges of running and waiting requests

The larger number is used. The first has only the proxy's traffic, but at once; the second has that of all clients. A
server also counts the agent's requests, so these are subtracted. If the agent asks through the proxy, its requests name
a deployment by its id, and no worker routes or counts them.

A value that is not a number of requests is ignored. A source that cannot be read (no Redis, no gauge, no answer) counts
as no traffic, for a broken address must not keep a run from starting.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import NamedTuple

import httpx

from slo_bench.guard.held import Own, Pause
from slo_router.contract.keys import LIVE_KEY, WORKERS_KEY
from slo_router.contract.model import Facts
from slo_router.contract.redis.link import LINK_ERRORS, AsyncClient
from slo_router.contract.vllm_gauges import MOST_REQUESTS, load_of


def in_flight(exports: Iterable[str]) -> dict[str, float]:
    """Requests by deployment over the exports of all workers."""
    total: dict[str, float] = {}
    for export in exports:
        for name, said in _object(export).items():
            count = said.get("in_flight") if isinstance(said, dict) else None
            if isinstance(count, int | float) and 0 <= count <= MOST_REQUESTS:
                total[name] = total.get(name, 0.0) + count
    return total


def live(shared: float, reported: float | None, own: int, *, server_told: bool) -> float:
    """Requests of other clients. `server_told`: the workers' count includes the server's, and so the agent's `own`."""
    others = max(shared - own, 0.0) if server_told else shared
    return others if reported is None else max(others, reported - own)


def _object(export: str) -> Mapping[str, object]:
    try:
        found = json.loads(export)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


INTERVAL_S = 2.0
TIMEOUT_S = 1.0
LAG_S = 6.0  # a count that comes through a worker and Redis may be this old

Tell = Callable[[str], None]


class _Watched(NamedTuple):
    facts: Facts
    pause: Pause
    own: Callable[[], Own]


class Watch:
    """Keeps the `Pause` of each watched deployment. `link` is `None` where there is no Redis."""

    def __init__(self, link: AsyncClient | None, prefix: str, tell: Tell, interval_s: float = INTERVAL_S) -> None:
        self._link = link
        self._prefix = prefix
        self._http: httpx.AsyncClient | None = None  # made when first needed, for that takes a while
        self._tell = tell
        self._interval_s = interval_s
        self._watched: dict[str, _Watched] = {}

    async def add(self, facts: Facts, pause: Pause, own: Callable[[], Own]) -> None:
        """Watches a deployment from now on. Returns after its first count."""
        watched = self._watched[facts.deployment_id] = _Watched(facts, pause, own)
        await self._ask(await self._shared(), watched)

    def drop(self, deployment_id: str) -> None:
        """Stops watching a deployment."""
        self._watched.pop(deployment_id, None)

    async def run(self) -> None:
        """Asks until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(self._interval_s)
                if self._watched:
                    shared = await self._shared()
                    await asyncio.gather(*(self._ask(shared, watched) for watched in self._watched.values()))
        finally:
            if self._http is not None:
                await self._http.aclose()

    async def _ask(self, shared: dict[str, float], watched: _Watched) -> None:
        facts, pause, name = watched.facts, watched.pause, watched.facts.deployment_id
        reported = None if facts.metrics_url is None else await self._reported(facts.metrics_url)
        own, now_s, was_closed = watched.own(), perf_counter(), pause.is_closed
        count = own.most if now_s - own.last_s < LAG_S else 0
        pause.heard(live(shared.get(name, 0.0), reported, count, server_told=facts.metrics_url is not None), now_s)
        if pause.is_closed and not was_closed:
            self._tell(f"{name}: paused: {pause.live:.0f} live requests")
        elif was_closed and not pause.is_closed:
            self._tell(f"{name}: goes on: {pause.live:.0f} live requests")

    async def _shared(self) -> dict[str, float]:
        if self._link is None:
            return {}
        try:
            workers = await self._link.smembers(self._prefix + WORKERS_KEY)
            pipeline = self._link.pipeline(transaction=False)
            for worker in workers:
                pipeline.get(f"{self._prefix}{LIVE_KEY}{worker!s}")
            return in_flight(map(str, await pipeline.execute()))
        except LINK_ERRORS:
            return {}

    async def _reported(self, url: str) -> float | None:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)
        try:
            answer = await self._http.get(url)
            answer.raise_for_status()
            load = load_of(answer.content)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return None
        return None if load is None else load.requests
