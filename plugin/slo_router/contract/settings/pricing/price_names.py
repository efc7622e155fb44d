"""Finds a deployment's model in LiteLLM's price map. Prefix, region, route, version and date of the names vary.

The rules are those of LiteLLM's `get_model_info`, applied only to its map. LiteLLM's import takes the command line six
seconds of CPU, and its function asks some providers over the network. `test_price_names.py`
compares the two.

    base_model                        names the model of a deployment with a free name (Azure, Bedrock profiles)
    azure/responses/gpt-5             the route is no part of the name
    bedrock/converse/us.x, bedrock/us-west-2/x, …arn…/x     route, region and ARN are no part of it
    ollama_chat/x                     listed as ollama/x
    x[1m], x-2025-08-07, ft:x:org::id a longer window, a snapshot's date, a fine-tuned model
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

PriceMap = Mapping[str, Mapping[str, object]]

_ROUTES = ("responses/", "chat_completions/", "converse/", "invoke/", "openai/", "mantle/", "nova-2/", "nova/")
_ALSO_LISTED = {"ollama_chat": "ollama", "azure_text": "azure", "vertex_ai_beta": "vertex_ai"}
_REGION = re.compile(r"^[a-z]{2}(-[a-z]+)+-\d+/")
_CROSS_REGION = re.compile(r"^(us|eu|apac|au|jp|ca|sa|us-gov|global)\.")
_ANY_LISTING = frozenset({"litellm_proxy", "github"})  # these resell models of other providers
_BEDROCK_VERSION = re.compile(r"(:\d+)(:\d+k)?$")


def listing(prices: PriceMap, params: Mapping[str, object], info: Mapping[str, object]) -> Mapping[str, object]:
    """The map's entry for a deployment's model, empty where it has none."""
    base = info.get("base_model") or params.get("base_model")
    if base:
        return _find(prices, str(base), _provider(str(base)), is_own=False)
    model, named = str(params["model"]), params.get("custom_llm_provider")
    provider = str(named) if named else _provider(model)
    return _find(prices, model, provider, is_own=True)


def _find(prices: PriceMap, model: str, provider: str, *, is_own: bool) -> Mapping[str, object]:
    for name in names(model, provider):
        found = prices.get(name)
        if found is not None and (not is_own or _is_of(provider, found.get("litellm_provider"))):
            return found
    return {}


def names(model: str, provider: str) -> Iterator[str]:
    """The names under which a model may be listed, the most specific first."""
    model = re.sub(r"\[\w+\]$", "", model)
    bare = model.removeprefix(f"{provider}/") if provider else model
    if provider:
        yield f"{provider}/{bare}"
    yield model
    also = _ALSO_LISTED.get(provider, provider)
    for shorter in (bare, *_shortened(bare, provider)):
        if also:
            yield f"{also}/{shorter}"
        yield shorter
    if provider:
        yield f"{provider}/{model}"


def _shortened(bare: str, provider: str) -> Iterator[str]:
    for route in _ROUTES if provider.startswith(("bedrock", "azure", "openai")) else ():
        if bare.startswith(route):
            bare = bare.removeprefix(route)
            yield bare
    if provider.startswith("bedrock"):
        yield from _on_bedrock(bare)
    elif provider in {"vertex_ai", "vertex_ai_beta", "gemini", "databricks"}:
        yield re.sub(r"-\d+$", "", bare)
    elif bare.startswith("ft:"):
        yield re.sub(r"(:[^:]*){3}$", "", bare)
    else:
        yield re.sub(r"-\d{4}-\d{2}-\d{2}$", "", bare)


def _on_bedrock(bare: str) -> Iterator[str]:
    bare = _REGION.sub("", bare)
    yield bare
    if bare.startswith("arn:"):
        bare = bare.rpartition("/")[2]
        yield bare
    bare = _BEDROCK_VERSION.sub(r"\1", bare)
    yield bare
    bare = _CROSS_REGION.sub("", bare)
    yield bare
    yield re.sub(r":\d+$", "", bare)


def _provider(model: str) -> str:
    """The provider in a model's name, the part before the first `/`; empty without one."""
    return model.partition("/")[0] if "/" in model else ""


def _is_of(provider: str, listed: object) -> bool:
    """Whether an entry belongs to this provider, for prices of the same name differ between providers."""
    if not provider or not isinstance(listed, str) or provider in _ANY_LISTING:
        return True
    if provider == "azure_ai" and listed in {"azure", "openai"}:
        return True
    for family in ("vertex_ai", "fireworks_ai", "bedrock"):
        if provider.startswith(family):
            return listed.startswith(family)
    return listed in {provider, _ALSO_LISTED.get(provider)} or listed.removeprefix("text-completion-") == provider
