"""The endpoints of the headline and the two configurations: plain LiteLLM with the largest, and the plugin. Pure.

The speeds are the demo's, by size: its small, middle and large endpoint serve the smallest, the middle and the largest
model. They are assumed. Answers are as long as the recorded ones of the same model, in the mean and in their spread.
What a request costs and what its answer is worth is recorded for the prompt and the model that answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from evaluation.demo.endpoints import SPECS
from evaluation.emulator import EndpointSpec
from evaluation.emulator.server import Address
from evaluation.headline.pools import Point, Recorded
from evaluation.shared import proxy_config

GROUP, WARM_UP = "smart", "warm-up"  # the second is the same endpoints, of which the plugin learns nothing
ONE, REPLICAS, ROUTED = "largest", "largest, replicas", "routed"
SIDES = (ONE, REPLICAS, ROUTED)
TOKENS_PER_CHUNK = 64  # a chunk costs the proxy CPU, and no answer gets longer by it
CONTEXT_TOKENS = 32_768


def endpoints(world: Recorded) -> list[EndpointSpec]:
    """One for each model."""
    return [
        EndpointSpec(
            **{
                **asdict(speed),
                "name": model.name,
                "output_tokens": round(model.output_tokens),
                "output_sigma": model.output_sigma,
                "context_tokens": CONTEXT_TOKENS,
                "tokens_per_chunk": TOKENS_PER_CHUNK,
            }
        )
        for model, speed in zip(world.models, SPECS, strict=True)
    ]


def side_endpoints(world: Recorded, side: str) -> list[EndpointSpec]:
    """Whom one side may ask: routing has one of each size, the replicas are as many."""
    every = endpoints(world)
    if side == ROUTED:
        return every
    count = len(every) if side == REPLICAS else 1
    return [EndpointSpec(**{**asdict(every[-1]), "name": f"{every[-1].name}-{i + 1}"}) for i in range(count)]


def capacity_per_s(spec: EndpointSpec) -> float:
    """Requests that it finishes in a second when all its slots are taken."""
    tpot_s = spec.tpot_ms / 1e3 * (1 + spec.tpot_growth * (spec.slots - 1))
    return spec.slots / (spec.ttft_ms / 1e3 + spec.output_tokens * tpot_s)


def document(
    world: Recorded, side: str, addresses: Sequence[Address], point: Point, ttft_ms: float
) -> dict[str, object]:
    """A whole `litellm_config.yaml`. Without the plugin the router is LiteLLM's default."""
    models = world.models if side == ROUTED else [world.models[-1]] * len(addresses)
    served = list(zip(addresses, models, strict=True))
    entries = [
        proxy_config.deployment(
            GROUP,
            address.name,
            address.api_base,
            model=model.name,
            usd=model.usd,
            info={"max_input_tokens": CONTEXT_TOKENS},
            quality=dict(point.qualities[model.name]),
            metrics_url=f"{address.url}/metrics",
        )
        for address, model in served
    ]
    entries += [
        proxy_config.deployment(WARM_UP, f"{address.name}-{WARM_UP}", address.api_base, model=model.name, usd=model.usd)
        for address, model in served
    ]
    group: Mapping[str, object] = {
        "objective": "cheapest",
        "slo": {"ttft_ms": ttft_ms},
        "min_quality": dict(point.floors),
    }
    made = proxy_config.document(entries, {GROUP: group}, redis_url="embedded")
    if side != ROUTED:
        del made["litellm_settings"], made["callback_settings"]
    return made


def model_of(world: Recorded, deployment: str) -> int:
    """The column of the model that a deployment serves."""
    names = [one.name for one in world.models]
    return names.index(deployment) if deployment in names else len(names) - 1
