"""The configuration of each strategy's proxy: the same deployments, retries and context checks, a router each. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from evaluation.face_off.world import FLEETS

OURS = "slo-router"
PEERS = ("simple-shuffle", "latency-based-routing", "cost-based-routing", "least-busy")
STRATEGIES = (*PEERS, OURS)
STREAM_TIMEOUT_S = 2.0  # of one attempt: longer than any contract's limit on the first token
TIMEOUT_S = 6.0  # likewise of a whole answer: longer than nearly all of them take


def document(strategy: str, api_bases: Mapping[str, str]) -> dict[str, object]:
    """A whole `litellm_config.yaml`. `api_bases` are the endpoints' by deployment. Cooldowns are LiteLLM's defaults."""
    groups = {group: {"objective": "cheapest"} for group in FLEETS}
    plugin = {"slo_router": {"redis_url": "embedded", "groups": groups}}
    ours: dict[str, object] = {
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": plugin,
    }
    return {
        "model_list": [
            {
                "model_name": group,
                "litellm_params": {
                    "model": f"openai/{deployment.served}",
                    "api_base": api_bases[deployment.name],
                    "api_key": "none",
                    "input_cost_per_token": deployment.input_usd,
                    "output_cost_per_token": deployment.output_usd,
                    "stream_timeout": STREAM_TIMEOUT_S,
                    "timeout": TIMEOUT_S,
                },
                "model_info": {
                    "id": deployment.name,
                    "max_input_tokens": deployment.spec.context_tokens,
                    "slo_router": {"quality": deployment.quality},
                },
            }
            for group, fleet in FLEETS.items()
            for deployment in fleet
        ],
        **(ours if strategy == OURS else {}),
        "router_settings": {
            "routing_strategy": PEERS[0] if strategy == OURS else strategy,
            "num_retries": 2,
            "enable_pre_call_checks": True,
        },
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
