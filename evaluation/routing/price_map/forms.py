"""Prices that do not follow from a model's name: LiteLLM's `Router` bills mocked answers as it bills real ones."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import litellm

from evaluation.routing.price_map.answers import Asked, response_of, usages
from evaluation.routing.price_map.sides import Compared, finish, ours
from slo_router.contract.settings.deployments import read_deployment
from slo_router.gateway.billing import as_billed
from slo_router.gateway.config import markups

OWN = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
OWN_FLEX = {"input_cost_per_token_flex": 5e-7, "output_cost_per_token_flex": 1e-6}
OWN_ABOVE = {"input_cost_per_token_above_200k_tokens": 3e-6, "output_cost_per_token_above_200k_tokens": 5e-6}
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "bedrock/arn:aws:bedrock:us-east-1:000000000000"
AT_AWS = {"aws_region_name": "us-east-1"}
FORMS: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
    ("openai/gpt-5", {"service_tier": "flex"}, {}),
    ("openai/gpt-5", {"service_tier": "auto"}, {}),
    ("openai/gpt-4o-mini", OWN, {}),
    ("openai/gpt-4o-mini", {}, OWN),
    ("openai/gpt-4o-mini", {"input_cost_per_token": "1e-6", "output_cost_per_token": "2e-6"}, {}),
    ("openai/gpt-5", {**OWN, "service_tier": "flex"}, {}),
    ("openai/own", {**OWN, "cache_read_input_token_cost": 1e-7}, {}),
    ("openai/own", {**OWN, **OWN_FLEX, "service_tier": "flex"}, {}),
    ("openai/own", {**OWN, **OWN_ABOVE}, {}),
    ("openai/own", {}, {"base_model": "gpt-4o"}),
    ("openai/own", {}, {}),
    ("openai/free", {"input_cost_per_token": 0, "output_cost_per_token": 0}, {}),
    ("azure/our-name", {"api_base": "http://h", "base_model": "azure/gpt-4o"}, {}),
    ("azure/our-name", {"api_base": "http://h"}, {"base_model": "azure/gpt-5"}),
    ("azure/our-name", {"api_base": "http://h"}, {}),
    ("azure/gpt-4o", {"api_base": "http://h"}, {}),
    ("anthropic/claude-sonnet-4-5", {}, {}),
    ("gemini/gemini-2.5-pro", {}, {}),
    ("gemini/gemini-2.5-pro", OWN, {}),
    ("vertex_ai/gemini-2.5-flash", {"vertex_location": "europe-west4"}, {}),
    (f"bedrock/{CLAUDE}", AT_AWS, {}),
    (f"{ARN}:inference-profile/{CLAUDE}", AT_AWS, {}),
    (f"{ARN}:application-inference-profile/abc", AT_AWS, {"base_model": CLAUDE}),
    ("openrouter/anthropic/claude-sonnet-4.5", {}, {}),
    ("gpt-4o", {}, {}),
    ("gemini-2.5-pro", {}, {}),
    ("azure_ai/gpt-4o", {"api_base": "http://h"}, {}),
    ("anything", {**OWN, "custom_llm_provider": "openai"}, {}),
    ("ollama/own", {**OWN, "api_base": "http://h"}, {}),
    ("nvidia_nim/own", {"api_base": "http://h"}, {}),
)  # fmt: skip
ADDED: tuple[tuple[str, Mapping[str, object]], ...] = (
    (
        "cost_discount_config",
        {"openai": 0.1, "anthropic": 0.2, "vertex_ai": 0.15, "openai/gpt-4o": 0.3, "azure/gpt-4*": 0.25},
    ),
    ("cost_margin_config", {"global": 0.05, "openai": {"percentage": 0.1, "fixed_amount": 0.002}}),
)


async def of_forms(per_form: int, seed: int) -> list[Compared]:
    """Compares every form, first without and then with each of LiteLLM's discounts and margins."""
    rng, found = random.Random(seed), list[Compared]()
    for name, value in ((None, None), *ADDED):
        if name is not None:
            setattr(litellm, name, value)
        for number, (model, params, info) in enumerate(FORMS):
            known = {"model": model, "api_key": "none", **params}
            entry = {"model_name": "g", "litellm_params": known, "model_info": {"id": f"{name}-{number}", **info}}
            found += [one async for one in _billed(entry, usages(rng, [200_000, 272_000], per_form), name or "")]
        if name is not None:
            setattr(litellm, name, {})
    return found


async def _billed(entry: dict[str, Any], asked: Sequence[Asked], under: str) -> AsyncIterator[Compared]:
    router = litellm.Router(model_list=[entry], num_retries=0)
    held = router.model_list[0]
    of_commands = read_deployment(entry, "model_list[0]", litellm.model_cost, markups=markups()).facts
    of_proxy = finish(as_billed(held, of_commands))
    params = {name: value for name, value in entry["litellm_params"].items() if name not in ("model", "api_key")}
    shown = " ".join([entry["litellm_params"]["model"], *map(str, params.items()), under]).strip()
    for one in asked:
        mock = response_of(held["litellm_params"]["model"].partition("/")[2], one)
        made = await router.acompletion("g", [{"role": "user", "content": "hi"}], mock_response=mock)
        usd = made._hidden_params.get("response_cost")  # noqa: SLF001
        yield Compared(shown, params.get("service_tier"), one, usd, ours(of_proxy, one), ours(of_commands, one))
