"""A Redis for tests of the decision page: benchmarks, a worker that is alive, and an hour of decided requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import redis

from slo_router.contract.metrics_hash import write_metrics
from slo_router.contract.model import Metrics, Slo
from slo_router.contract.redis.link import connect
from slo_router.contract.settings.config import load_settings
from slo_router.live.live import Live
from slo_router.live.picture import export
from slo_router.worker.sharing import Sharing
from tests.shared.record_builders import decide_between, line_of, write_config

GROUPS = {"smart": {"slo": {"ttft_ms": 160}, "trial_share": 0.0}}
EVERY_S = 30  # between two requests
COUNT = 100


def page_config(path: Path, redis_url: str, **plugin: object) -> Path:
    """A YAML whose group `smart` wants the first token within 160 ms. Only `small` is known to keep that."""
    return write_config(path, {"redis_url": redis_url, "groups": GROUPS, **plugin})


def fill(server_url: str, client: redis.Redis, config: Path) -> None:
    """Writes `COUNT` requests, one every 30 s. One in five went to `large`, whose TTFT was 300 ms."""
    now_s = time.time()
    for name, ttft_s, score in (("small", 0.1, 0.72), ("large", 0.2, 0.91)):
        for category, factor in (("ner", 1.0), ("summarization", 1.5)):
            measured = Metrics(
                now_s - 7_200,
                ttft_s * factor,
                ttft_p50_s=ttft_s * factor,
                ttft_p95_s=2 * ttft_s * factor,
                tpot_s=0.01,
                quality_score=score,
                quality_n=50,
                samples=200,
            )
            client.hset(f"metrics:{name}:{category}", mapping=write_metrics(measured))  # type: ignore[arg-type]
    asyncio.run(_publish(server_url, _worker(now_s)))
    policy = load_settings(config).plugin.policy
    cheap = decide_between(slo=Slo(ttft_s=0.16))._replace(policy=policy)
    dear = decide_between(slo=Slo(ttft_s=0.16, min_quality=0.8))._replace(policy=policy)
    for index in range(COUNT):
        is_dear = index % 5 == 4
        changes: Mapping[str, object] = {
            "ts": now_s - EVERY_S * (COUNT - index),
            "request_id": f"chatcmpl-{index}",
            "team_id": "blue" if index % 2 else "red",
        }
        slow = {"ttft_ms": 300.0, "slo_met": False, "cost_usd": 0.005} if is_dear else {}
        client.xadd("slo_router:requests", {"record": line_of(dear if is_dear else cheap, **changes, **slow)})


def _worker(now_s: float) -> Live:
    """A worker with two requests in flight to `small`, which answered 20 in 80 ms. `large` failed 3 times in a row."""
    live = Live()
    for _ in range(2):
        live.dispatched("small", now_s)
    for _ in range(20):
        flight = live.dispatched("small", now_s)
        live.finished(flight, "success", now_s, prompt_tokens=1_000, output_tokens=11, ttft_s=0.08, e2e_s=0.28)
    for _ in range(3):
        live.finished(live.dispatched("large", now_s), "error", now_s)
    return live


async def _publish(url: str, live: Live) -> None:
    async with connect(url) as link:
        await Sharing("", 60.0).exchange(link, msgspec.json.encode(dict(export(live, time.time()))))
