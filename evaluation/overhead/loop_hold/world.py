"""What the worker and its peers share: the deployments, and the contents of Redis before the worker starts."""

from __future__ import annotations

import random
import time

import redis

from evaluation.shared.proxy_config import Json, deployment
from slo_router.contract.keys import metrics_key
from slo_router.contract.latency_fit import write_fit
from slo_router.contract.metrics_hash import write_metrics
from slo_router.contract.model import CATEGORIES, LatencyFit, Metrics

GROUP = "smart"
PREFIX = "hold:"


def names(deployments: int) -> list[str]:
    """The deployments' ids."""
    return [f"model-{number:03}" for number in range(deployments)]


def model_list(deployments: int, load_url: str) -> list[Json]:
    """Deployments of rising price and quality. Each one reports its load."""
    return [
        deployment(
            GROUP,
            name,
            model=f"model-{number % 7}",
            usd=(1e-7 * (number + 1), 2e-7 * (number + 1)),
            info={"max_input_tokens": 128_000},
            quality=0.5 + number / (2.1 * deployments),
            metrics_url=f"{load_url}/{name}",
        )
        for number, name in enumerate(names(deployments))
    ]


def publish(client: redis.Redis, deployments: int) -> None:
    """Writes benchmarks and sweeps of every deployment and category into Redis."""
    rng, now_s = random.Random(5), time.time()
    for name in names(deployments):
        ttft_s, tpot_s = rng.uniform(0.05, 0.4), rng.uniform(0.005, 0.03)
        fit = LatencyFit(
            *(now_s, ttft_s / 2, 2e-5, 4e-3, 8e-3, 16.0, tpot_s, 3e-4, 1.6, 1.3, 0.1, 0.05, 0.97, 0.99),
            *(400, 50.0, 8_000.0, 64.0),
        )
        for category in CATEGORIES:
            row = Metrics(
                now_s,
                ttft_s,
                ttft_s,
                1.6 * ttft_s,
                tpot_s,
                1.3 * tpot_s,
                60.0,
                1e-3,
                0.0,
                quality_score=0.8,
                samples=100,
            )
            fields: dict[str, object] = {**write_metrics(row), **write_fit(fit)}
            client.hset(metrics_key(PREFIX, name, category), mapping=fields)  # type: ignore[arg-type]
