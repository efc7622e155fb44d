"""A deployment's price and window are found under LiteLLM's own name for its model, however the YAML writes it."""

from __future__ import annotations

import os
import warnings

import pytest

from slo_router.contract.prices import cost_usd
from slo_router.contract.settings.deployments import price_map, read_deployment
from slo_router.contract.settings.pricing.price_names import PriceMap, listing, names

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download of the price map
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # LiteLLM's own
    import litellm

    litellm.suppress_debug_info = True

pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM's own

MAP: PriceMap = {
    "azure/gpt-4o": {"litellm_provider": "azure", "max_input_tokens": 1},
    "gpt-4o": {"litellm_provider": "openai", "max_input_tokens": 2},
    "ollama/llama3.1": {"litellm_provider": "ollama", "max_input_tokens": 3},
    "us.anthropic.claude-x-v1:0": {"litellm_provider": "bedrock_converse", "max_input_tokens": 4},
    "anthropic.claude-x-v1:0": {"litellm_provider": "bedrock_converse", "max_input_tokens": 5},
    "bedrock/us-west-2/anthropic.claude-x-v1:0": {"litellm_provider": "bedrock", "max_input_tokens": 6},
    "deepseek-chat": {"litellm_provider": "deepseek", "max_input_tokens": 7},
}


@pytest.mark.parametrize(
    ("model", "more", "found"),
    [
        ("azure/our-name", {"base_model": "azure/gpt-4o"}, 1),
        ("azure/our-name", {}, None),
        ("azure/gpt-4o", {"base_model": "azure/not-listed"}, None),  # its real model is unknown
        ("azure/responses/gpt-4o", {}, 1),
        ("openai/responses/gpt-4o", {}, 2),
        ("openai/gpt-4o", {}, 2),
        ("gpt-4o", {}, 2),
        ("gpt-4o", {"custom_llm_provider": "azure"}, 1),
        ("gpt-4o-2031-08-06", {}, 2),
        ("ollama_chat/llama3.1", {}, 3),
        ("bedrock/us.anthropic.claude-x-v1:0", {}, 4),
        ("bedrock/converse/us.anthropic.claude-x-v1:0", {}, 4),
        ("bedrock/us.anthropic.claude-x-v1:0[1m]", {}, 4),
        ("bedrock/eu.anthropic.claude-x-v1:0", {}, 5),
        ("bedrock/us-west-2/anthropic.claude-x-v1:0", {}, 6),
        ("bedrock/us-east-1/anthropic.claude-x-v1:0", {}, 5),
        ("bedrock/arn:aws:bedrock:us-west-2:000000000000:inference-profile/us.anthropic.claude-x-v1:0", {}, 4),
        ("bedrock/arn:aws:bedrock:x:0:inference-profile/a", {"base_model": "us.anthropic.claude-x-v1:0"}, 4),
        ("deepseek-chat", {}, 7),
        ("nvidia_nim/deepseek-chat", {}, None),  # another provider's price is not this one's
        ("openai/own-model", {}, None),
    ],
)  # fmt: skip
def test_the_listing_of_a_model(model: str, more: dict[str, object], found: int | None) -> None:
    base = more.get("base_model")
    assert listing(MAP, {"model": model, **more}, {}).get("max_input_tokens") == found
    if base is not None:
        assert listing(MAP, {"model": model}, {"base_model": base}).get("max_input_tokens") == found


def test_every_chat_model_is_found_where_litellm_finds_it() -> None:
    """For the installed LiteLLM. Its own function asks Ollama and others over the network, so those are left out."""
    prices, differing = price_map(), []
    for model, known in prices.items():
        provider = str(known.get("litellm_provider"))
        asks = provider.startswith(("ollama", "huggingface", "lemonade", "gigachat"))
        if known.get("mode") != "chat" or model == "sample_spec" or asks:
            continue
        own = {"bedrock_converse": "bedrock"}.get(provider, provider.partition("-")[0])
        for name in (model, model if model.startswith(f"{own}/") else f"{own}/{model}"):
            try:
                theirs = litellm.model_cost[litellm.get_model_info(name)["key"]].get("input_cost_per_token")
            except Exception:  # noqa: BLE001, S112  # LiteLLM raises a plain Exception if it finds nothing
                continue
            if listing(prices, {"model": name}, {}).get("input_cost_per_token") != theirs:
                differing.append(name)
    assert len(differing) < 12, differing  # providers with own names in the listing


def test_a_name_is_tried_with_its_provider_first() -> None:
    assert next(iter(names("azure/responses/gpt-4o", "azure"))) == "azure/responses/gpt-4o"


async def test_what_is_predicted_is_what_litellm_books() -> None:
    """It is so with own prices, with the base model's prices, and above a tier."""
    cases: list[tuple[str, dict[str, object], dict[str, object]]] = [
        ("openai/gpt-4o-mini", {}, {}),
        ("openai/gpt-4o-mini", {"input_cost_per_token": 1e-3, "output_cost_per_token": 2e-3}, {}),
        ("openai/gpt-4o-mini", {}, {"input_cost_per_token": 1e-3, "output_cost_per_token": 2e-3}),
        ("openai/own-name", {}, {"base_model": "gpt-4o"}),
        ("azure/own-name", {"api_base": "http://h", "base_model": "azure/gpt-4o"}, {}),
        ("gemini/gemini-2.5-pro", {"api_base": "http://h"}, {}),
    ]
    for number, (model, params, info) in enumerate(cases):
        usage = {"prompt_tokens": 250_000, "completion_tokens": 1_000, "total_tokens": 251_000}
        mock = litellm.ModelResponse(usage=litellm.Usage(**usage), choices=[{"message": {"content": "x"}}])
        known = {"model": model, "api_key": "none", **params}
        entry = {"model_name": "g", "litellm_params": known, "model_info": {"id": f"booked-{number}", **info}}
        router = litellm.Router(model_list=[entry])
        booked = await router.acompletion("g", [{"role": "user", "content": "hi"}], mock_response=mock)
        predicted = cost_usd(read_deployment(entry, "model_list[0]", price_map()).facts, 250_000, 1_000)
        assert booked._hidden_params["response_cost"] == pytest.approx(predicted), model
