"""The endpoints of the headline and the two configurations: plain LiteLLM with the largest, and the plugin. Pure.

The speeds are assumed: they are those of the demo's small, middle and large endpoint, for the smallest, the middle and
the largest model. Answers have the mean and the spread of the same model's recorded answers. Cost and worth of an
answer are those recorded for the prompt and the model that answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from evaluation.demo.endpoints import SPECS
from evaluation.emulator import EndpointSpec
from evaluation.emulator.server import Address
from evaluation.headline.pools import Point, Recorded
from evaluation.shared import proxy_config

GROUP, WARM_UP = "smart", "warm-up"  # WARM_UP has the same endpoints, but the plugin does not manage it
ONE, REPLICAS, ROUTED = "largest", "largest, replicas", "routed"
SIDES = (ONE, REPLICAS, ROUTED)
TOKENS_PER_CHUNK = 64  # few chunks: each costs the proxy CPU, but makes no answer longer
CONTEXT_TOKENS = 32_768


def endpoints(world: Recorded) -> list[EndpointSpec]:
    """The endpoint of each model."""
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
    """The endpoints of one side. Routing has one of each size, and REPLICAS as many of the largest; ONE has one."""
    every = endpoints(world)
    if side == ROUTED:
        return every
    count = len(every) if side == REPLICAS else 1
    return [EndpointSpec(**{**asdict(every[-1]), "name": f"{every[-1].name}-{i + 1}"}) for i in range(count)]


def capacity_per_s(spec: EndpointSpec) -> float:
    """Requests that the endpoint finishes in a second while all its slots are taken."""
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
