"""The configuration of each strategy's proxy: same deployments, retries and context checks, its own router. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from evaluation.face_off.world import FLEETS
from evaluation.shared import proxy_config

OURS = "slo-router"
PEERS = ("simple-shuffle", "latency-based-routing", "cost-based-routing", "least-busy")
STRATEGIES = (*PEERS, OURS)
STREAM_TIMEOUT_S = 2.0  # of one attempt; longer than any contract's TTFT limit
TIMEOUT_S = 6.0  # of a whole answer; longer than nearly all of them take


def document(strategy: str, api_bases: Mapping[str, str]) -> dict[str, object]:
    """A whole `litellm_config.yaml`. `api_bases` are by deployment. Cooldowns are LiteLLM's defaults."""
    entries = [
        proxy_config.deployment(
            group_name,
            one.name,
            api_bases[one.name],
            model=one.served,
            usd=(one.input_usd, one.output_usd),
            params={"stream_timeout": STREAM_TIMEOUT_S, "timeout": TIMEOUT_S},
            info={"max_input_tokens": one.spec.context_tokens},
            quality=one.quality,
        )
        for group_name, fleet in FLEETS.items()
        for one in fleet
    ]
    made = proxy_config.document(entries, {name: {"objective": "cheapest"} for name in FLEETS}, redis_url="embedded")
    if strategy != OURS:
        del made["litellm_settings"], made["callback_settings"]
    settings: dict[str, object] = {
        "routing_strategy": PEERS[0] if strategy == OURS else strategy,
        "num_retries": 2,
        "enable_pre_call_checks": True,
    }
    return made | {"router_settings": settings}
