"""The endpoints, the groups, and each way's proxy. Pure.

quota     capped (cheapest; takes a tenth of the traffic in each window, then HTTP 429 with Retry-After), middle, dear
account   a group of two endpoints for each status: the cheaper one is out of credit, and says so with this status

Every request streams a few tokens. Its contract: a limit on TTFT, a quality floor and a cost limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from evaluation.emulator import EndpointSpec

OURS, USAGE, SHUFFLE = "slo-router", "usage-based-routing-v2", "simple-shuffle"
WAYS = (OURS, USAGE, SHUFFLE)
WORDS = {  # by status: what providers say if an account is out of credit or a key is wrong
    400: "Your credit balance is too low to access the API. Please go to Plans & Billing.",
    401: "Incorrect API key provided: sk-none.",
    402: "Insufficient Balance",
    403: "Forbidden",
}
STATUSES = tuple(WORDS)
CAPPED = "capped"
TTFT_MS, COST_PER_1K, QUALITY = 1_000, 0.02, 0.7
WORKERS = 2
MINUTE_S = 60.0


class Endpoint(NamedTuple):
    """One endpoint: its group, its price in USD per token, its quality."""

    group: str
    spec: EndpointSpec
    usd: float
    quality: float


def endpoints(per_window: int, window_s: float) -> list[Endpoint]:
    """All endpoints of all groups."""
    capped = replace(_usual(CAPPED), per_window=per_window, window_s=window_s)
    found = [
        Endpoint("quota", capped, 2e-7, 0.8),
        Endpoint("quota", _usual("middle"), 1e-6, 0.8),
        Endpoint("quota", _usual("dear"), 5e-6, 0.9),
    ]
    for status in STATUSES:
        group = f"account-{status}"
        found.append(Endpoint(group, _usual(f"broke-{status}"), 2e-7, 0.8))
        found.append(Endpoint(group, _usual(f"paid-{status}"), 1e-6, 0.8))
    return found


def _usual(name: str) -> EndpointSpec:
    return EndpointSpec(name=name, ttft_ms=30, tpot_ms=2, output_tokens=8, slots=64)


def document(
    way: str, known: list[Endpoint], api_bases: Mapping[str, str], per_window: int, window_s: float
) -> dict[str, object]:
    """The proxy's configuration. Only usage-based routing is told the limit, because it cannot work without."""
    rpm = {"rpm": round(per_window * MINUTE_S / window_s)} if way == USAGE else {}
    groups: dict[str, object] = {one.group: {} for one in known}
    ours: dict[str, object] = {
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": {"slo_router": {"redis_url": "embedded", "groups": groups}},
    }
    return {
        "model_list": [
            {
                "model_name": one.group,
                "litellm_params": {
                    "model": f"openai/{one.spec.name}",
                    "api_base": api_bases[one.spec.name],
                    "api_key": "none",
                    "input_cost_per_token": one.usd,
                    "output_cost_per_token": one.usd,
                    **(rpm if one.spec.name == CAPPED else {}),
                },
                "model_info": {"id": one.spec.name, "slo_router": {"quality": one.quality}},
            }
            for one in known
        ],
        **(ours if way == OURS else {}),
        "router_settings": {"routing_strategy": way if way == USAGE else SHUFFLE, "num_retries": 2},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
