"""What the configuration tells the plugin about an endpoint, and what the client tells it about a request."""

from __future__ import annotations

from evaluation.simulator.endpoint import Spec
from evaluation.simulator.workload import Request
from slo_router.contract.model import Facts


def facts_of(spec: Spec) -> Facts:
    """What the configuration says about an endpoint."""
    return Facts(
        spec.name,
        spec.served,
        context_tokens=spec.context_tokens,
        input_usd_per_token=spec.input_usd_per_token,
        output_usd_per_token=spec.output_usd_per_token,
        quality=spec.quality,
    )


def headers_of(request: Request) -> dict[str, str]:
    """The headers in which the client states the contract."""
    time_s, cost_per_1k_usd, min_quality = request.contract
    return {
        "x-slo-category": request.category,
        f"x-slo-{'ttft' if request.ask.stream else 'e2e'}-ms": f"{1_000 * time_s:.6f}",
        "x-slo-cost-per-1k": f"{cost_per_1k_usd:.9f}",
        "x-slo-min-quality": f"{min_quality:g}",
    }
