"""What LiteLLM bills and what the plugin takes a request to cost, side by side, for every model of the price map."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import litellm
from litellm.litellm_core_utils.litellm_logging import Logging

from evaluation.routing.price_map.answers import Asked, response_of, usages
from slo_router.contract.model import Facts
from slo_router.contract.prices import cost_usd
from slo_router.contract.settings.deployments import price_map, read_deployment
from slo_router.contract.settings.pricing.model_facts import has_price
from slo_router.contract.settings.pricing.price_names import PriceMap
from slo_router.gateway.billing import UNASKED, as_billed

NEAR_USD = 1e-9
TIERS = (None, "flex", "priority", "batch")
CALLED_AS = {"bedrock_converse": "bedrock"}  # provider in the map → prefix of a deployment's model, if they differ


class Compared(NamedTuple):
    """One usage of one deployment, as each side bills it. `None`: the side has no price."""

    model: str
    tier: str | None
    asked: Asked
    litellm_usd: float | None
    proxy_usd: float | None
    commands_usd: float | None

    def verdict(self, ours_usd: float | None) -> str:
        """How our cost compares with LiteLLM's."""
        theirs_usd = self.litellm_usd
        if ours_usd is None:
            return BOTH_UNKNOWN if not theirs_usd else "unknown, LiteLLM bills"
        if theirs_usd is not None and abs(ours_usd - theirs_usd) <= NEAR_USD:
            return EQUAL
        return "differs" if theirs_usd else "ours alone"


EQUAL, BOTH_UNKNOWN = "equal", "unknown, as LiteLLM's"
GOOD = {EQUAL, BOTH_UNKNOWN}
VERDICTS = (EQUAL, BOTH_UNKNOWN, "differs", "unknown, LiteLLM bills", "ours alone")


def listed(map_of: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, str, str, Mapping[str, object]]]:
    """The name in a deployment, the bare name, the provider and the listing of each model that is compared."""
    for model, known in sorted(map_of.items()):
        provider = str(known.get("litellm_provider"))
        own = CALLED_AS.get(provider, provider.partition("-")[0])
        if known.get("mode") not in {"chat", "responses"} or own in UNASKED or not has_price(known):
            continue
        bare = model.removeprefix(f"{own}/")
        try:
            called, provider, _, _ = litellm.get_llm_provider(f"{own}/{bare}")
        except litellm.BadRequestError:  # no deployment can call this model
            continue
        yield f"{own}/{bare}", called, provider, known


def compare(
    prices: PriceMap, model: tuple[str, str, str], tier: str | None, asked: Sequence[Asked]
) -> Iterator[Compared]:
    """Our costs and LiteLLM's for one model at one tier."""
    name, bare, provider = model
    params = {"model": name, **({} if tier is None else {"service_tier": tier})}
    entry = {"model_name": "g", "litellm_params": params, "model_info": {"id": name}}
    of_commands = read_deployment(entry, "model_list[0]", prices).facts
    of_proxy = finish(as_billed(entry, of_commands))
    its = Logging(
        model=bare,
        messages=[],
        stream=False,
        call_type="acompletion",
        start_time=datetime.now(UTC),
        litellm_call_id="",
        function_id="",
    )
    of_call = {"model": bare, "user": None, "custom_llm_provider": provider}
    optional = {} if tier is None else {"service_tier": tier}
    its.update_environment_variables(**of_call, optional_params=optional, litellm_params=params)
    for one in asked:
        usd = its._response_cost_calculator(result=response_of(bare, one))  # noqa: SLF001
        yield Compared(name, tier, one, usd, ours(of_proxy, one), ours(of_commands, one))


def finish(work: Generator[None, None, Facts]) -> Facts:
    """Runs a generator to its end and returns its result."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # mypy knows no type of it


def ours(facts: Facts, one: Asked) -> float | None:
    """What the plugin takes the answer to cost."""
    return cost_usd(facts, one.prompt_tokens, one.output_tokens, one.cached_tokens, one.seconds, kinds=one.kinds)


def of_map(per_model: int, seed: int, every: int = 1) -> Iterator[Compared]:
    """Compares every model of the map at each tier with a price; if it has no tier, at a random one too."""
    rng, prices = random.Random(seed), price_map()
    for name, bare, provider, known in islice(listed(prices), 0, None, every):
        bounds = bounds_of(known)
        tiers = [tier for tier in TIERS if tier is None or any(key.endswith(f"_{tier}") for key in known)]
        tiers = tiers if len(tiers) > 1 else [None, rng.choice(TIERS[1:])]
        found = usages(rng, bounds, per_model)
        for number, tier in enumerate(tiers):
            yield from compare(prices, (name, bare, provider), tier, found[number :: len(tiers)])


def bounds_of(known: Mapping[str, object]) -> list[int]:
    """The prompt lengths at which a listing's price may change."""
    ranges = known.get("tiered_pricing")
    starts = [one["range"][0] for one in ranges if one.get("range")] if isinstance(ranges, list) else []
    named = [part.partition("_tokens")[0] for key in known for part in key.split("_above_")[1:]]
    steps = [int(one.rstrip("k")) * (1_000 if one.endswith("k") else 1) for one in named if one.rstrip("k").isdigit()]
    return sorted({int(start) for start in starts if start} | set(steps))
