"""Reads how busy a model server says it is, where `metrics_url` is set: vLLM's gauges of its requests and its KV cache.

One worker, elected in Redis for a few seconds at a time, asks for all workers. If Redis is absent or does not answer,
each worker asks. Only the requests that this proxy did not send are learned from the answer (`foreign`): the workers
count those that it sent, and know them sooner. The fill of the KV cache is shown and decides nothing: a full cache
makes requests wait, and waiting requests are counted. The addresses are the operator's own, so no redirect is followed.
An answer that is too long, or takes too long as a whole, does not count.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterable, Mapping

import httpx

from slo_router.contract.keys import SCRAPER_KEY
from slo_router.contract.model import Facts
from slo_router.contract.redis.link import AsyncClient
from slo_router.contract.vllm_gauges import GAUGES, load_of
from slo_router.live.live import Live
from slo_router.worker.tasks.aside import Names, start_aside
from slo_router.worker.tasks.jobs import ToldError
from slo_router.worker.tasks.turns import give_way

TERM_S = 5
TIMEOUT_S = 1.0  # for the whole answer
MAX_BYTES = 2_000_000  # vLLM's page has a twentieth of that

log = logging.getLogger("slo_router")


class LoadSignals:
    """The scraper of one worker. A failure is logged once per deployment, and delays no request."""

    def __init__(self, prefix: str, worker: str, names: Names) -> None:
        self._key = prefix + SCRAPER_KEY
        self._worker = worker
        self._names = names
        self._tls: ssl.SSLContext | None = None
        self._clients: dict[str, httpx.AsyncClient] = {}  # each its own, for a common pool searches all connections
        self._silent: frozenset[str] = frozenset()  # deployments that did not answer, as was logged
        self._others_until_s = 0.0  # on the monotonic clock: until then another worker asks

    async def stand(self, redis: AsyncClient, facts: Iterable[Facts], every_s: float) -> None:
        """Stands for election if there are servers to ask. Call it every `every_s` seconds. Raises redis errors."""
        if any(one.metrics_url is not None for one in facts):
            lost = not await self._is_elected(redis)
            self._others_until_s = time.monotonic() + max(TERM_S, 2 * every_s) if lost else 0.0

    async def ask(self, facts: Iterable[Facts], live: Live, spread_s: float = 0.0) -> None:
        """Asks every server that has an address, if it is this worker's turn. Raises ToldError if no server answers.

        The questions are spread over `spread_s`, so that the answers do not come all at once. None waits for another.
        """
        asked = {one.deployment_id: one.metrics_url for one in facts if one.metrics_url is not None}
        if not asked:
            return
        if time.monotonic() < self._others_until_s:
            for name in asked:
                live.heard_of_foreign(name, 0.0)  # the elected worker shares what it hears
            return
        await self._make_clients(asked)
        tasks = {}
        try:
            for name, url in asked.items():
                tasks[name] = asyncio.create_task(self._hear(name, url, live), name="slo_router load")
                await asyncio.sleep(spread_s / len(asked))
            silent = [name for name, task in tasks.items() if not await task]
        finally:
            for task in tasks.values():
                task.cancel()
        self._silent = frozenset(silent)
        if len(silent) == len(asked):
            raise ToldError

    async def aclose(self) -> None:
        """Closes the kept-alive connections."""
        await self._make_clients({})

    async def _make_clients(self, asked: Mapping[str, str]) -> None:
        """Makes a client for each server that is asked, and closes all others."""
        for gone in [name for name in self._clients if name not in asked]:
            await self._clients.pop(gone).aclose()
        if self._tls is None:
            self._tls = await start_aside(httpx.create_ssl_context)  # it reads a file of a thousand lines
        for name in asked:
            if name not in self._clients:
                as_it_is = {"accept-encoding": "identity"}
                self._clients[name] = httpx.AsyncClient(verify=self._tls, timeout=TIMEOUT_S, headers=as_it_is)
                await give_way()

    async def _is_elected(self, redis: AsyncClient) -> bool:
        if await redis.set(self._key, self._worker, nx=True, ex=TERM_S):
            return True
        if await redis.get(self._key) != self._worker:
            return False
        await redis.expire(self._key, TERM_S)
        return True

    async def _hear(self, name: str, url: str, live: Live) -> bool:
        """Asks one server. Returns whether it told its load."""
        load, why = None, f"none of {', '.join(GAUGES)} in the answer"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                load = load_of(await self._page(self._clients[name], url))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            why = type(error).__name__
        if load is not None:
            foreign = max(load.requests - live.state(name).in_flight_by_proxy, 0.0)
            live.heard_of_foreign(name, foreign, load.cache_usage)
            return True
        live.heard_of_foreign(name, 0.0)
        if name not in self._silent:
            log.warning("the load of %s cannot be read from its metrics_url (%s); own requests are counted", name, why)
        return False

    async def _page(self, client: httpx.AsyncClient, url: str) -> bytes:
        page = bytearray()
        async with client.stream("GET", url, extensions={"trace": self._look_up_first}) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_raw():
                page += part
                if len(page) > MAX_BYTES:
                    raise ValueError("the answer is too long")
        return bytes(page)

    async def _look_up_first(self, event: str, info: Mapping[str, object]) -> None:
        """httpx calls this before it connects. Looks the name up aside, for one that hangs blocks the pool."""
        if event.endswith("connect_tcp.started"):
            await self._names.look_up(str(info["host"]))
