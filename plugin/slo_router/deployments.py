"""What the proxy's `model_list` says of a managed deployment, completed from LiteLLM's price map.

A field in `litellm_params` wins over `model_info`, which wins over the price map. What none of them knows is `None`:
a price that nobody stated is unknown, not zero.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from slo_router.domain import Facts
from slo_router.errors import SettingsError
from slo_router.validation import NotNegative, QualityTable, Strict, validate

PriceMap = Mapping[str, Mapping[str, object]]


class ModelFacts(Strict):
    """`model_info.slo_router`: facts that LiteLLM has no field for."""

    quality: QualityTable = Field({})
    gpu_usd_per_hour: NotNegative | None = None
    metrics_url: str | None = None


@dataclass(frozen=True, slots=True)
class ManagedDeployment:
    """One entry of `model_list` in a managed group, with how to reach it."""

    group: str
    facts: Facts
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    mode: str | None = None  # of the model, such as `chat` or `responses`
    params: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)  # all of `litellm_params`


def read_deployment(entry: Mapping[str, object], path: str, prices: PriceMap) -> ManagedDeployment:
    """One entry of `model_list`, from the YAML or the router. `path` is its YAML path for errors."""
    params, info = entry.get("litellm_params"), entry.get("model_info") or {}
    if not isinstance(params, Mapping) or not isinstance(params.get("model"), str):
        raise SettingsError(f"{path}.litellm_params.model: missing, expected a model name such as openai/gpt-4o")
    if not isinstance(info, Mapping) or not info.get("id"):
        raise SettingsError(
            f"{path}.model_info.id: missing, expected a stable deployment id: metrics are kept under it"
        )
    own = validate(ModelFacts, info.get("slo_router") or {}, f"{path}.model_info.slo_router")
    model = str(params["model"])
    listed = prices.get(model) or prices.get(model.partition("/")[2]) or {}
    stated = {name: value for name, value in listed.items() if value or not name.endswith("_tokens")}  # 0: not stated
    known = {**stated, **_present(info), **_present(params)}
    facts = Facts(
        deployment_id=str(info["id"]),
        model=model,
        context_tokens=_whole(known.get("max_input_tokens"), f"{path}.model_info.max_input_tokens"),
        max_output_tokens=_whole(known.get("max_output_tokens"), f"{path}.model_info.max_output_tokens"),
        input_usd_per_token=_price(known.get("input_cost_per_token"), f"{path}.litellm_params.input_cost_per_token"),
        output_usd_per_token=_price(known.get("output_cost_per_token"), f"{path}.litellm_params.output_cost_per_token"),
        cached_usd_per_token=_price(
            known.get("cache_read_input_token_cost"), f"{path}.litellm_params.cache_read_input_token_cost"
        ),
        gpu_usd_per_hour=own.gpu_usd_per_hour,
        quality=own.quality,
        unsupported=frozenset(need for need, flag in _SUPPORT_FLAGS.items() if known.get(flag) is False),
        metrics_url=own.metrics_url,
    )
    base, key = params.get("base_url") or params.get("api_base"), params.get("api_key")  # two names, as in LiteLLM
    return ManagedDeployment(
        str(entry.get("model_name")),
        facts,
        str(base) if base else None,
        str(key) if key else None,
        mode=str(known["mode"]) if known.get("mode") else None,
        params=params,
    )


def with_credential(entry: object, credentials: Mapping[str, Mapping[str, object]]) -> object:
    """An entry of `model_list` with what its `litellm_credential_name` stands for; as it is where nobody knows.

    What the entry says itself wins. `credentials` are the values of `credential_list`, by name.
    """
    params = entry.get("litellm_params") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(params, Mapping):
        return entry
    values = credentials.get(str(params.get("litellm_credential_name")))
    if values is None:
        return entry
    own = {name: value for name, value in params.items() if name != "litellm_credential_name"}
    return {**entry, "litellm_params": {**values, **own}}


def read_credentials(listed: object) -> dict[str, Mapping[str, object]]:
    """The top-level `credential_list`, by name; what has another form is left out, for LiteLLM is to judge it."""
    entries = [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
    return {
        str(entry["credential_name"]): entry["credential_values"]
        for entry in entries
        if entry.get("credential_name") and isinstance(entry.get("credential_values"), Mapping)
    }


def price_map() -> PriceMap:
    """The price map that ships inside the litellm package, read without importing it; empty without one."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).parent / "model_prices_and_context_window_backup.json"
    loaded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return loaded if isinstance(loaded, dict) else {}


_SUPPORT_FLAGS = {
    "tools": "supports_function_calling",
    "vision": "supports_vision",
    "json_schema": "supports_response_schema",
    "audio": "supports_audio_input",
}


def _present(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _price(value: object, path: str) -> float | None:
    if value is None:
        return None
    try:
        price = float(value)  # type: ignore[arg-type]  # YAML reads 1e-7 as text; LiteLLM takes both
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(f"{path}: {value!r}, expected USD per token, such as 1.0e-7") from None
    if not 0 <= price < 1:
        raise SettingsError(f"{path}: {value!r}, expected USD per token between 0 and 1")
    return price


def _whole(value: object, path: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise SettingsError(f"{path}: {value!r}, expected a whole number of tokens above 0")
    return value
