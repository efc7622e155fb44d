"""How many live requests a deployment has: what the proxy's workers share in Redis, and what the model server says.

    {prefix}slo_router:workers, {prefix}slo_router:live:{worker}    requests in flight by deployment, of each worker
    `metrics_url`                                                    vLLM's gauges of running and waiting requests

The larger of the two counts, for the first knows the proxy's own traffic at once and the second everybody's. A server
counts the agent's requests as well, so those are taken off. Requests that name a deployment by its id, as the agent's
through the proxy do, are routed by nobody and in no worker's count. Nothing that is read is trusted: what is no number
of requests is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families

WORKERS_KEY = "slo_router:workers"
LIVE_KEY = "slo_router:live:"
GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting")
MOST_REQUESTS = 1e6


def in_flight(exports: Iterable[str]) -> dict[str, float]:
    """Requests by deployment over the exports of all workers."""
    total: dict[str, float] = {}
    for export in exports:
        for name, said in _object(export).items():
            count = said.get("in_flight") if isinstance(said, dict) else None
            if isinstance(count, int | float) and 0 <= count <= MOST_REQUESTS:
                total[name] = total.get(name, 0.0) + count
    return total


def running_and_waiting(text: str) -> float | None:
    """Requests in a model server's exposition; `None` where it has neither gauge, or is no exposition."""
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError:
        return None
    values = [sample.value for sample in samples if sample.name in GAUGES]
    return sum(values) if values and 0 <= sum(values) <= MOST_REQUESTS else None


def live(shared: float, reported: float | None, own: int, *, server_told: bool) -> float:
    """Requests of others. `server_told`: what the workers share has the server's own count in it, and so `own`."""
    others = max(shared - own, 0.0) if server_told else shared
    return others if reported is None else max(others, reported - own)


def _object(export: str) -> Mapping[str, object]:
    try:
        found = json.loads(export)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
