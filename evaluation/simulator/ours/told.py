"""What the plugin is told of an endpoint by the configuration, and of a request by its client."""

from __future__ import annotations

from evaluation.simulator.endpoint import Spec
from evaluation.simulator.workload import Request
from slo_router.contract.model import Facts


def facts_of(spec: Spec) -> Facts:
    """What the configuration says of an endpoint."""
    return Facts(
        spec.name,
        spec.served,
        context_tokens=spec.context_tokens,
        input_usd_per_token=spec.input_usd_per_token,
        output_usd_per_token=spec.output_usd_per_token,
        quality=spec.quality,
    )


def headers_of(request: Request) -> dict[str, str]:
    """The contract as a client says it."""
    time_s, cost_per_1k_usd, min_quality = request.contract
    return {
        "x-slo-category": request.category,
        f"x-slo-{'ttft' if request.ask.stream else 'e2e'}-ms": f"{1_000 * time_s:.6f}",
        "x-slo-cost-per-1k": f"{cost_per_1k_usd:.9f}",
        "x-slo-min-quality": f"{min_quality:g}",
    }
