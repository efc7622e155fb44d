"""Starts each side's endpoints and proxy, plays a phase on all sides at once, and stops all of it.

Before the plugin's proxy starts for the first time, the agent measures its endpoints with training prompts
(`slo-bench run`). The measurements stay in an embedded Valkey for all repeats.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx

from evaluation.emulator import endpoint_process
from evaluation.face_off.client import open_client
from evaluation.face_off.stage import WARM_UP_AT_A_TIME, WARM_UP_REQUESTS, StageError, measure
from evaluation.headline.play import Arrival, Phase, Seen, play, send
from evaluation.headline.pools import Point, Recorded
from evaluation.headline.world import GROUP, ROUTED, SIDES, WARM_UP, document, side_endpoints
from evaluation.shared.stock_proxy import StockProxy
from slo_router.contract.redis import embedded

RUN = ("run", "--requests", "3", "--concurrency", "3", "--parallel")  # requests for each deployment and category
MAX_TOKENS = 128  # of the agent's requests: some recorded answers are very long
BUSY = re.compile(r"^vllm:num_requests_(?:running|waiting)\{.*\} [^0]", re.MULTILINE)
REST_S = 120
LAST = 20  # requests of the warm-up, one at a time
WARM_UP_TIMEOUT_S = 60.0  # the first request of a proxy is slow, because LiteLLM loads modules


class Stage:
    """The sides, each with its own endpoints. `exits` stops everything that the stage starts.

    Raises:
        StageError: the agent measured nothing, requests of the warm-up failed, or endpoints do not come to rest.
        RuntimeError: the endpoints or a proxy did not start; with the end of its log.
    """

    def __init__(self, directory: Path, world: Recorded, ttft_ms: float, exits: ExitStack) -> None:
        self._directory, self._world, self._ttft_ms, self._exits = directory, world, ttft_ms, exits
        home = directory / "valkey"
        exits.callback(embedded.stop, home)
        embedded.ensure_running(home)
        self._environment = {embedded.DIRECTORY_VARIABLE: str(home)}
        self._addresses = {side: exits.enter_context(endpoint_process(side_endpoints(world, side))) for side in SIDES}
        self._proxies: dict[str, StockProxy] = {}
        self._is_measured = False

    def configure(self, point: Point, name: str) -> None:
        """Starts a new proxy for the plugin with this operating point. The other sides keep theirs. Warms all up."""
        wanted = [side for side in SIDES if side == ROUTED or side not in self._proxies]
        with ThreadPoolExecutor() as pool:  # a start mostly uses one core
            self._proxies |= zip(wanted, pool.map(lambda side: self._started(side, point, name), wanted), strict=True)

    def _started(self, side: str, point: Point, name: str) -> StockProxy:
        if side in self._proxies:
            self._proxies[side].stop()
        place = self._directory / f"{SIDES.index(side)}-{name}"
        place.mkdir()
        made = document(self._world, side, self._addresses[side], point, self._ttft_ms)
        proxy = StockProxy(made, place, environment=self._environment)
        if side == ROUTED and not self._is_measured:
            self._measure(proxy, point)
            self._is_measured = True
        self._exits.callback(proxy.stop)  # before the start, because Ctrl-C may interrupt it
        proxy.start()
        asyncio.run(_warm_up(proxy, [self._world.prompts[row] for row in point.training[:WARM_UP_REQUESTS]]))
        return proxy

    def play(self, phase: Phase, asked: Sequence[Arrival]) -> Mapping[str, list[Seen]]:
        """Plays one phase on all sides at once."""
        return asyncio.run(self._play(phase, asked))

    async def _play(self, phase: Phase, asked: Sequence[Arrival]) -> Mapping[str, list[Seen]]:
        async def run(proxy: StockProxy) -> list[Seen]:
            async with open_client(proxy.url, proxy.auth, timeout_s=None) as client:
                return await play(client, phase, asked, self._world.prompts)

        found = await asyncio.gather(*map(run, self._proxies.values()))
        await self._rest()
        for side, proxy in self._proxies.items():
            if proxy.exit_status is not None:
                raise StageError(f"{side}: the proxy ended with exit status {proxy.exit_status}:\n{proxy.log[-2000:]}")
        return dict(zip(self._proxies, found, strict=True))

    async def _rest(self) -> None:
        """Waits until no endpoint still works for a client that hung up."""
        urls = [one.url for addresses in self._addresses.values() for one in addresses]
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(REST_S):
                texts = [(await client.get(f"{url}/metrics")).text for url in urls]
                if not any(BUSY.search(text) for text in texts):
                    return
                await asyncio.sleep(1.0)
        raise StageError(f"endpoints still work {REST_S} s after their clients hung up")

    def _measure(self, proxy: StockProxy, point: Point) -> None:
        lines = [
            {
                "category": self._world.categories[row],
                "max_tokens": MAX_TOKENS,
                "messages": [{"role": "user", "content": self._world.prompts[row]}],
            }
            for row in point.training
            if self._world.categories[row] in point.floors
        ]
        prompts = proxy.config_path.with_name("prompts.jsonl")
        prompts.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        measure(proxy, self._environment, [(*RUN, "--workload", str(prompts))])


async def _warm_up(proxy: StockProxy, prompts: Sequence[str]) -> None:
    """Warms up mostly through the unmanaged group: else the plugin would take a cold proxy for slow endpoints.

    The last LAST requests go through the managed group, one at a time.
    """
    free = asyncio.Semaphore(WARM_UP_AT_A_TIME)
    found = [Seen(row, 0.0) for row in range(len(prompts))]
    async with open_client(proxy.url, proxy.auth, WARM_UP_TIMEOUT_S) as client:

        async def one(seen: Seen, group: str) -> None:
            async with free:
                await send(client, prompts[seen.row], seen, 0.0, group=group, max_tokens=1)

        await asyncio.gather(*(one(seen, WARM_UP) for seen in found[LAST:]))
        for seen in found[:LAST]:
            await one(seen, GROUP)
    if failed := [seen.error for seen in found if seen.error]:
        raise StageError(
            f"{len(failed)} of {len(found)} requests failed in the warm-up ({failed[0]}):\n{proxy.log[-2000:]}"
        )
