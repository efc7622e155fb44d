"""What the proxy's `model_list` says of a managed deployment, completed from LiteLLM's price map.

A field in `litellm_params` wins over `model_info`, which wins over the price map. What none of them knows is `None`:
a price that nobody stated is unknown, not zero. Numbers may be text, for `os.environ/NAME` gives nothing else.

A deployment without `model_info.id` has the id that LiteLLM generates from its group and its parameters.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from pydantic import Field

from slo_router.contract.model import NO_TIERS, Facts, Limits
from slo_router.contract.settings.deployment_ids import group_of, id_of
from slo_router.contract.settings.environment import from_environment
from slo_router.contract.settings.model_facts import Stated, read_flag, read_limit
from slo_router.contract.settings.price_names import PriceMap, listing
from slo_router.contract.settings.validation import NotNegative, QualityTable, Strict, validate
from slo_router.errors import SettingsError

Credentials = Mapping[str, Mapping[str, object]]


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
    path: str = ""  # in the YAML
    has_own_id: bool = True  # False: LiteLLM generated it


def read_deployment(
    given: Mapping[str, object],
    path: str,
    prices: PriceMap,
    groups: Container[str] = (),
    credentials: Credentials = MappingProxyType({}),
) -> ManagedDeployment:
    """One entry of `model_list`, from the YAML or the router. `path` is its YAML path for errors.

    Raises SettingsError with a line for each fault.
    """
    entry = with_credential(given, credentials)
    params, info = entry.get("litellm_params"), entry.get("model_info") or {}
    if not isinstance(params, Mapping) or not isinstance(params.get("model"), str):
        raise SettingsError(f"{path}.litellm_params.model: missing, expected a model name such as openai/gpt-4o")
    if not isinstance(info, Mapping):
        raise SettingsError(f"{path}.model_info: {info!r}, expected a mapping")
    faults: list[str] = []
    deployment_id = id_of(given, path, faults)
    own = _own(info, path, faults)
    listed = listing(prices, params, info)
    stated = Stated(params, info, listed, path, faults)
    places = (entry, params, info)  # as LiteLLM looks for limits
    facts = Facts(
        deployment_id=deployment_id,
        model=str(params["model"]),
        **stated.facts(),
        gpu_usd_per_hour=own.gpu_usd_per_hour,
        quality=own.quality,
        unsupported=frozenset(need for need, flag in _SUPPORT_FLAGS.items() if read_flag(stated.value(flag)) is False),
        metrics_url=own.metrics_url,
        limits=Limits(*(read_limit(places, name) for name in ("rpm", "tpm", "max_parallel_requests"))),
        weight=read_limit(places, "weight"),
        service_tier=str(params["service_tier"]).lower() if params.get("service_tier") else None,
        habits=_habits(params),
        thinks=read_flag(stated.value("supports_reasoning")) is True,
    )
    if facts.service_tier is None:
        tiers = {tier: Stated({**params, "service_tier": tier}, info, listed, path, []) for tier in stated.tiers()}
        facts = _with_tiers(facts, tiers)
    if faults:
        raise SettingsError("\n".join(faults))
    return ManagedDeployment(
        group_of(entry, groups) or str(entry.get("model_name")),
        facts,
        _text(params.get("base_url") or params.get("api_base")),  # two names, as in LiteLLM
        _text(params.get("api_key")),
        mode=_text(stated.value("mode")),
        params=params,
        path=path,
        has_own_id="id" in info,
    )


def _text(value: object) -> str | None:
    return str(value) if value else None


def _with_tiers(facts: Facts, tiers: Mapping[str, Stated]) -> Facts:
    """What the deployment is to requests that name a tier, too."""
    in_tiers = {tier: replace(facts, **one.facts(), service_tier=tier) for tier, one in tiers.items()}
    return replace(facts, in_tiers=in_tiers or NO_TIERS)


def same_accounts(deployments: Iterable[ManagedDeployment]) -> dict[str, frozenset[str]]:
    """By deployment id: the others with the same key, of the same provider, at the same address."""
    accounts: dict[object, set[str]] = {}
    for one in deployments:
        if one.api_key:
            account = one.facts.model.partition("/")[0], one.api_base, one.api_key
            accounts.setdefault(account, set()).add(one.facts.deployment_id)
    return {name: frozenset(names - {name}) for names in accounts.values() for name in names}


def _habits(params: Mapping[str, object]) -> str:
    """What LiteLLM adds to each request of this deployment that makes its answers longer or shorter."""
    return ", ".join([f"{name}={params[name]}" for name in _LENGTHENING if params.get(name) is not None])


def _own(info: Mapping[str, object], path: str, faults: list[str]) -> ModelFacts:
    try:
        return validate(ModelFacts, from_environment(info.get("slo_router") or {}), f"{path}.model_info.slo_router")
    except SettingsError as error:
        faults.append(str(error))
        return ModelFacts()


def with_credential(entry: Mapping[str, object], credentials: Credentials) -> Mapping[str, object]:
    """An entry of `model_list` with what its `litellm_credential_name` stands for; as it is where nobody knows.

    What the entry says itself wins. `credentials` are the values of `credential_list`, by name.
    """
    params = entry.get("litellm_params")
    if not isinstance(params, Mapping):
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


_LENGTHENING = ("max_tokens", "max_completion_tokens", "reasoning_effort", "thinking", "verbosity")
_SUPPORT_FLAGS = {
    "tools": "supports_function_calling",
    "vision": "supports_vision",
    "json_schema": "supports_response_schema",
    "audio": "supports_audio_input",
    "pdf": "supports_pdf_input",
    "video": "supports_video_input",
}
