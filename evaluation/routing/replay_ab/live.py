"""One live run: sends the arrivals at their instants to every arm, and returns the records that each arm left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import cast

import httpx
import redis

from evaluation.routing.replay_ab.world import Arrival
from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.traffic import PATHS, body
from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.operator.replay.recorded import decode

WITHIN_S = 30.0  # the longest wait for the last record


def run(
    proxy: StockProxy, client: redis.Redis, arms: Sequence[str], requests: Sequence[Arrival]
) -> Mapping[str, list[str]]:
    """The records as JSON lines, by arm. A request whose client left has no record, or one that says so."""
    client.delete(REQUESTS_STREAM)
    asyncio.run(_send_all(proxy, arms, requests))
    deadline_s, expected = time.monotonic() + WITHIN_S, len(arms) * len(requests)
    while int(client.xlen(REQUESTS_STREAM)) < expected and time.monotonic() < deadline_s:
        time.sleep(0.2)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for _, fields in cast("list[tuple[str, dict[str, str]]]", client.xrange(REQUESTS_STREAM)):
        found[decode(fields["record"]).model_group or ""].append(fields["record"])
    return found


async def _send_all(proxy: StockProxy, arms: Sequence[str], requests: Sequence[Arrival]) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)  # the server may close an idle connection
    async with httpx.AsyncClient(base_url=proxy.url, headers=proxy.auth, timeout=120, limits=limits) as client:
        began_s = time.perf_counter()

        async def send(arrival: Arrival, arm: str) -> None:
            await asyncio.sleep(began_s + arrival.at_s - time.perf_counter())
            sent, path = body(arrival.ask, arm, arrival.prompt), PATHS[arrival.ask.route]
            with contextlib.suppress(httpx.HTTPError, TimeoutError):
                async with (
                    asyncio.timeout(arrival.ask.leaves_after_s),
                    client.stream("POST", path, json=sent, headers=arrival.headers) as answer,
                ):
                    async for _ in answer.aiter_bytes():
                        pass

        await asyncio.gather(*(send(arrival, arm) for arrival in requests for arm in arms))
