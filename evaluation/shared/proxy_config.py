"""What a study writes into a `litellm_config.yaml`: deployments, and a proxy with the plugin around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

Json = dict[str, object]
CALLBACK = "slo_router.proxy.callback"
NOWHERE = "http://127.0.0.1:9/v1"  # for requests that are decided and never sent


def deployment(
    group: str,
    name: str,
    api_base: str = NOWHERE,
    *,
    model: str = "",
    usd: tuple[float, float] | None = None,
    params: Mapping[str, object] = MappingProxyType({}),
    info: Mapping[str, object] = MappingProxyType({}),
    **known: object,
) -> Json:
    """An entry of `model_list`. `model` is the served model, by default `name`; `usd` is per prompt and output token.

    `params` and `info` are further fields of LiteLLM's. All other arguments are for the plugin.
    """
    served = {"model": f"openai/{model or name}", "api_base": api_base, "api_key": "none"}
    prices = {} if usd is None else {"input_cost_per_token": usd[0], "output_cost_per_token": usd[1]}
    own = {"slo_router": known} if known else {}
    return {
        "model_name": group,
        "litellm_params": {**served, **prices, **params},
        "model_info": {"id": name, **info, **own},
    }


def document(model_list: Sequence[Json], groups: Mapping[str, object], **plugin: object) -> Json:
    """The whole file, with the plugin for these groups."""
    return {
        "model_list": list(model_list),
        "litellm_settings": {"callbacks": [CALLBACK]},
        "callback_settings": {"slo_router": {"groups": dict(groups), **plugin}},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
