"""Reads a managed deployment from the proxy's `model_list`, completed from LiteLLM's price map.

A field in `litellm_params` wins over `model_info`, which wins over the price map. A field that none of them has is
`None`: a missing price is unknown, not zero. Numbers may be text, for `os.environ/NAME` always gives text.

A deployment without `model_info.id` has the id that LiteLLM generates from its group and its parameters.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from pydantic import Field, field_validator

from slo_router.contract.model import NOTHING, TEXT, Facts, Limits
from slo_router.contract.settings.environment import as_litellm_reads, from_environment
from slo_router.contract.settings.pricing.markups import Markups
from slo_router.contract.settings.pricing.model_facts import Stated, read_flag, read_limit
from slo_router.contract.settings.pricing.price_names import PriceMap, listing
from slo_router.contract.settings.validation import NotNegative, QualityTable, Strict, validate
from slo_router.errors import SettingsError

Credentials = Mapping[str, Mapping[str, object]]
NO_MARKUPS = Markups()


class ModelFacts(Strict):
    """`model_info.slo_router`: facts for which LiteLLM has no field."""

    quality: QualityTable = Field({})
    gpu_usd_per_hour: NotNegative | None = None
    metrics_url: str | None = None

    @field_validator("metrics_url")
    @classmethod
    def _can_be_asked(cls, value: str | None) -> str | None:
        if value is not None and re.match(r"https?://[^/]", value) is None:
            raise ValueError("an address such as http://qwen-7b:8000/metrics")
        return value


@dataclass(frozen=True, slots=True)
class ManagedDeployment:
    """One entry of `model_list` in a managed group: its facts, address and key."""

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
    *,
    markups: Markups = NO_MARKUPS,
) -> ManagedDeployment:
    """One entry of `model_list`, from the YAML or the router. `path` is its YAML path for errors.

    Raises SettingsError with a line for each fault.
    """
    entry = with_credential(given, credentials)
    params, info = _parts(entry, path)
    faults: list[str] = []
    deployment_id = id_of(given, path, faults)
    own = _own(info, path, faults)
    listed = listing(prices, params, info)
    stated = Stated(params, info, listed, path, faults)
    places = (entry, params, info)  # LiteLLM's order of search for limits
    facts = Facts(
        deployment_id=deployment_id,
        model=str(params["model"]),
        **stated.facts(),
        gpu_usd_per_hour=own.gpu_usd_per_hour,
        quality=own.quality,
        unsupported=_unsupported(stated),
        metrics_url=own.metrics_url,
        limits=Limits(*(read_limit(places, name) for name in ("rpm", "tpm", "max_parallel_requests"))),
        weight=read_limit(places, "weight"),
        service_tier=str(params["service_tier"]).lower() if params.get("service_tier") else None,
        habits=_habits(params),
        thinks=read_flag(stated.value("supports_reasoning")) is True,
    )
    facts = markups.applied(_with_tiers(facts, stated), params, info, listed)
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


def _parts(entry: Mapping[str, object], path: str) -> tuple[Mapping[str, object], Mapping[str, object]]:
    params, info = entry.get("litellm_params"), entry.get("model_info") or {}
    if not isinstance(params, Mapping) or not isinstance(params.get("model"), str):
        raise SettingsError(f"{path}.litellm_params.model: missing, expected a model name such as openai/gpt-4o")
    if not isinstance(info, Mapping):
        raise SettingsError(f"{path}.model_info: {info!r}, expected a mapping")
    return params, info


def _text(value: object) -> str | None:
    return str(value) if value else None


def _with_tiers(facts: Facts, stated: Stated) -> Facts:
    """The facts, with `in_tiers` for requests that name a service tier, if the deployment itself has none."""
    if facts.service_tier is not None:
        return facts
    in_tiers = {tier: replace(facts, **stated.in_tier(tier).facts(), service_tier=tier) for tier in stated.tiers()}
    return replace(facts, in_tiers=in_tiers or NOTHING)


def same_accounts(deployments: Iterable[ManagedDeployment]) -> dict[str, frozenset[str]]:
    """By deployment id: the ids of other deployments with the same key, provider and address."""
    return _alike(
        (one.facts.deployment_id, (one.facts.model.partition("/")[0], one.api_base, one.api_key))
        for one in deployments
        if one.api_key
    )


def same_servers(deployments: Iterable[ManagedDeployment]) -> dict[str, frozenset[str]]:
    """By deployment id: the ids of other deployments with the same `api_base`.

    Deployments without one, at their provider's own address, count as separate servers.
    """
    return _alike(
        (one.facts.deployment_id, one.api_base.lower().rstrip("/")) for one in deployments if one.api_base is not None
    )


def _alike(keys: Iterable[tuple[str, object]]) -> dict[str, frozenset[str]]:
    """By id: the other ids that have the same key."""
    found: dict[object, set[str]] = {}
    for name, key in keys:
        found.setdefault(key, set()).add(name)
    return {name: frozenset(names - {name}) for names in found.values() for name in names}


def _habits(params: Mapping[str, object]) -> str:
    """The parameters of this deployment that make its answers longer or shorter, as text."""
    return ", ".join([f"{name}={params[name]}" for name in _LENGTHENING if params.get(name) is not None])


def _own(info: Mapping[str, object], path: str, faults: list[str]) -> ModelFacts:
    try:
        return validate(ModelFacts, from_environment(info.get("slo_router") or {}), f"{path}.model_info.slo_router")
    except SettingsError as error:
        faults.append(str(error))
        return ModelFacts()


def with_credential(entry: Mapping[str, object], credentials: Credentials) -> Mapping[str, object]:
    """An entry of `model_list` with the values of its `litellm_credential_name`; unchanged if that name is unknown.

    The entry's own values win. `credentials` are the values of `credential_list`, by name.
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
    """The values of the top-level `credential_list`, by name. Malformed entries are left out: LiteLLM reports them."""
    entries = [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
    return {
        str(entry["credential_name"]): entry["credential_values"]
        for entry in entries
        if entry.get("credential_name") and isinstance(entry.get("credential_values"), Mapping)
    }


def price_map() -> PriceMap:
    """The price map inside the litellm package, read without importing it; empty where LiteLLM is not installed."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    return _read_price_map(Path(spec.origin).parent / "model_prices_and_context_window_backup.json")


def _read_price_map(path: Path) -> PriceMap:
    loaded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return loaded if isinstance(loaded, dict) else {}


def _unsupported(stated: Stated) -> frozenset[str]:
    found = {need for need, flag in _SUPPORT_FLAGS.items() if read_flag(stated.value(flag)) is False}
    endpoints = stated.value("supported_endpoints")  # some models that make images also take chats
    if stated.value("mode") in _NO_TEXT_MODES and not (isinstance(endpoints, list) and _CHAT_PATH in endpoints):
        found.add(TEXT)
    return frozenset(found)


_CHAT_PATH = "/v1/chat/completions"
_NO_TEXT_MODES = frozenset(
    {
        "audio_speech",
        "audio_transcription",
        "batch",
        "embedding",
        "evaluation",
        "extraction",
        "guardrail",
        "image_edit",
        "image_generation",
        "moderation",
        "ocr",
        "realtime",
        "rerank",
        "search",
        "vector_store",
        "video_generation",
    }
)
_LENGTHENING = ("max_tokens", "max_completion_tokens", "reasoning_effort", "thinking", "verbosity")
_SUPPORT_FLAGS = {
    "tools": "supports_function_calling",
    "vision": "supports_vision",
    "json_schema": "supports_response_schema",
    "audio": "supports_audio_input",
    "audio_output": "supports_audio_output",
    "pdf": "supports_pdf_input",
    "video": "supports_video_input",
}


def group_of(entry: Mapping[str, object], groups: Container[str]) -> str | None:
    """The managed group of an entry, `None` for none. A team's model is in the group by which its team calls it."""
    info = entry.get("model_info")
    public = info.get("team_public_model_name") if isinstance(info, Mapping) else None
    for name in (entry.get("model_name"), public):
        if isinstance(name, str) and name in groups:
            return str(name)
    return None


def generated_id(group: str, params: Mapping[str, object]) -> str:
    """The id that LiteLLM gives a deployment without one. It stays the same until a parameter changes.

    LiteLLM's own function would cost the command line six seconds of import. A test compares the two.
    """
    parts = [group]
    for name, given in params.items():
        value = as_litellm_reads(given)
        if not isinstance(value, str):
            value = json.dumps(value) if isinstance(value, dict) else str(value)
        parts += [name, value]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def id_of(entry: Mapping[str, object], path: str, faults: list[str]) -> str:
    """The configured id, else LiteLLM's. An empty id is a fault: LiteLLM would make a new one at every start."""
    info, params = entry.get("model_info"), entry.get("litellm_params")
    if not isinstance(info, Mapping) or "id" not in info:
        return generated_id(str(entry.get("model_name")), params if isinstance(params, Mapping) else {})
    given = info["id"]
    if given is None or given == "" or str(given).startswith("os.environ/"):
        shown = "empty" if given in (None, "") else repr(given)
        faults.append(
            f"{path}.model_info.id: {shown}, expected a name, or no such line: LiteLLM then makes one that lasts"
        )
    return str(given)
