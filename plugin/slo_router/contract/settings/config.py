"""The plugin's part of `litellm_config.yaml`, read once and strictly.

    callback_settings.slo_router        → PluginSettings (what to do)
    model_list[*] of a managed group    → ManagedDeployment with its Facts (what there is to choose from)

LiteLLM is not imported here: the proxy, the benchmark agent and the command line read the same file alike. An unknown
key, a wrong type, a limit that makes no sense or a group that is not in `model_list` raises `SettingsError` with the
YAML path, the value and what was expected, all faults at once. What works and is probably not meant is a note.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from slo_router.contract.model import CATEGORIES
from slo_router.contract.redis.link import FORMS, is_usable, masked
from slo_router.contract.settings.config_faults import duplicates, missing_groups, unknown_categories
from slo_router.contract.settings.config_notes import notes_on
from slo_router.contract.settings.deployment_ids import group_of
from slo_router.contract.settings.deployments import ManagedDeployment, price_map, read_credentials, read_deployment
from slo_router.contract.settings.environment import ENV_PREFIX, resolve_environment
from slo_router.contract.settings.litellm_redis import find_redis
from slo_router.contract.settings.price_names import PriceMap
from slo_router.contract.settings.validation import Count, NotNegative, Positive, QualityTable, Share, Strict, validate
from slo_router.contract.settings.yaml_document import block_of, read_document
from slo_router.errors import SettingsError

CONFIDENCES = (0.5, 0.65, 0.8, 0.9, 0.95, 0.975, 0.99)  # of `latency.LEVELS`, the quantiles that are kept
PLUGIN_PATH = "callback_settings.slo_router"

Category = Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")]  # what a client can name in `x-slo-category`
Keyword = Annotated[str, Field(pattern=r"\S")]
Read = TypeVar("Read")


def _from_percent(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"\d{1,3}(\.\d+)? ?%", value):
        return float(value.rstrip("% ")) / 100
    return value


class SloSettings(Strict):
    """The SLO of a group where a request, key or team says nothing."""

    ttft_ms: Positive | None = Field(None, description="time to the first token, milliseconds")
    tpot_ms: Positive | None = Field(None, description="time per output token after the first, milliseconds")
    e2e_ms: Positive | None = Field(None, description="time to the last token, milliseconds")
    cost_per_1k: NotNegative | None = Field(None, description="USD per 1,000 tokens, prompt and completion together")


class Weights(Strict):
    """Weights of the `weighted` objective; only their ratios matter."""

    quality: NotNegative = 0.5
    cost: NotNegative = 0.3
    latency: NotNegative = 0.2

    @model_validator(mode="after")
    def _not_all_zero(self) -> Weights:
        if self.quality + self.cost + self.latency == 0:
            raise ValueError("at least one weight above 0")
        return self


def _mode(value: object) -> object:
    """One clear error instead of one for each kind."""
    if isinstance(value, Mapping):
        return Canary.model_validate(value)
    if value not in ("route", "shadow") and not isinstance(value, Canary):
        raise ValueError("`route`, `shadow` or {canary: 5%}")
    return value


class Canary(Strict):
    """A part of the traffic is routed; of the rest the decision is recorded, and LiteLLM routes it."""

    canary: Annotated[Share, BeforeValidator(_from_percent)] = Field(description="0.05 or 5%")
    by: Literal["request", "key"] = Field("request", description="what is drawn for: each request, or each virtual key")


class GroupSettings(Strict):
    """How one group of `model_list` is routed."""

    mode: Annotated[Literal["route", "shadow"] | Canary, BeforeValidator(_mode)] = Field(
        "route", description="`shadow`: decide and record, and let LiteLLM route; `{canary: 5%}`: route a part only"
    )

    slo: SloSettings = SloSettings()
    min_quality: QualityTable = Field({}, description="one number, or one per category")
    objective: Literal["cheapest", "weighted"] = "cheapest"
    weights: Weights | None = None
    categorizer: Literal["rules", "article"] = "rules"
    categories: dict[Category, list[Keyword]] = Field(
        {}, description="further categories, each with the words that name it"
    )
    max_error_rate: Share = Field(0.5, description="a deployment that failed more often than this is left out")

    trial_share: Share = Field(
        0.02,
        description="of the requests, to a cheaper deployment that was never measured, was slow a while ago, or that a "
        "benchmark's findings alone rule out",
    )
    confidence: float = Field(
        0.9, description="the probability with which an SLO must be expected to hold, where live traffic tells it"
    )
    stickiness: bool = Field(
        default=False, strict=True, description="prices the prefix cache of the deployment that a conversation was on"
    )
    tie_band: Share = Field(0.05, description="costs this close to the lowest count as equal: the earlier finish wins")

    @field_validator("confidence")
    @classmethod
    def _is_a_level(cls, value: float) -> float:
        if value not in CONFIDENCES:
            raise ValueError(f"one of {', '.join(map(str, CONFIDENCES))}")
        return value

    @model_validator(mode="after")
    def _weights_need_weighted(self) -> GroupSettings:
        if self.weights is not None and self.objective != "weighted":
            raise ValueError("objective: weighted where weights are given")
        return self

    @property
    def known_categories(self) -> tuple[str, ...]:
        """Every category that a request of this group can have."""
        return (*CATEGORIES, *(name for name in self.categories if name not in CATEGORIES))

    def quality_floor(self, category: str) -> float | None:
        """The minimum quality (0..1) for a category, `None` where there is none."""
        return self.min_quality.get(category, self.min_quality.get("default"))


class LogSettings(Strict):
    """Where each request's record goes beside LiteLLM's own sinks."""

    stream_maxlen: Count = Field(100_000, description="entries kept in the Redis stream, about")
    jsonl_path: str | None = Field(None, description="a rotating file of the same records; each worker adds its pid")
    jsonl_max_mb: Count = 64
    jsonl_backups: Count = 5
    queue_size: Count = Field(10_000, description="records that may wait for the writer; more are dropped and counted")
    log_prompts: bool = Field(default=False, strict=True, description="puts prompt and answer text into the record")


class MetricSettings(Strict):
    """Whose attainment and spend LiteLLM's /metrics shows; each name is some ten series, and is told to who scrapes."""

    teams: Annotated[int, Field(ge=0, le=1_000, strict=True)] = Field(
        0, description="so many teams get a label of their own, the rest is `other`; 0: no metrics by team"
    )
    keys: Annotated[int, Field(ge=0, le=1_000, strict=True)] = Field(0, description="likewise for virtual keys")


class PluginSettings(Strict):
    """`callback_settings.slo_router`."""

    redis_url: str | None = None
    key_prefix: str = ""
    live_measurements: bool = Field(
        default=True,
        strict=True,
        description="learn latency, load and failures from the traffic; off: the benchmark alone",
    )
    health_probes: bool = Field(
        default=True,
        strict=True,
        description="ask a deployment that failed, by LiteLLM's health check, if it is back; off: a request finds out",
    )
    refresh_interval_s: Annotated[float, Field(gt=0, le=60, strict=True)] = 1.0
    freeze_heap: bool = Field(
        default=True, strict=True, description="collect the garbage of the proxy's start once, and never scan the rest"
    )
    groups: dict[str, GroupSettings]
    log: LogSettings = LogSettings()
    metrics: MetricSettings = MetricSettings()

    @field_validator("redis_url")
    @classmethod
    def _from_environment(cls, value: str | None) -> str | None:
        url = resolve_environment(value)
        if url is not None and not is_usable(url):
            shown = "empty" if not url.strip() else masked(url)
            named = f"{value}, {shown}" if value is not None and value.startswith(ENV_PREFIX) else shown
            raise PydanticCustomError("secret", "{forms}", {"forms": FORMS, "shown": named})
        return url

    @property
    def policy(self) -> str:
        """A short fingerprint of everything that decides; stamped on every decision."""
        return hashlib.sha256(self.model_dump_json(include={"groups"}).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the plugin, the agent and the command line take from one YAML file.

    `broken`: what it says and the plugin does not do. `notes`: all that is odd about it, those lines first.
    """

    plugin: PluginSettings
    deployments: tuple[ManagedDeployment, ...]
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


def load_settings(path: Path) -> Settings:
    """Reads a LiteLLM proxy configuration file as the proxy does. Raises SettingsError naming the file."""
    document = read_document(path)
    try:
        settings = parse_settings(document.fields, price_map())
    except SettingsError as error:
        raise SettingsError("\n".join((str(error), *document.remarks))) from None
    environment = {**block_of(document.fields), **os.environ}
    return with_remarks(with_litellm_redis(settings, document.fields, environment), document.remarks)


def with_remarks(settings: Settings, remarks: Sequence[str]) -> Settings:
    """The settings with what of the file does not count, which `remarks` say, before their own."""
    return replace(settings, notes=(*remarks, *settings.notes), broken=(*remarks, *settings.broken))


def with_litellm_redis(settings: Settings, document: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """The settings with LiteLLM's own Redis where they name none."""
    if settings.plugin.redis_url is not None:
        return settings
    found = find_redis(document, environment)
    plugin = settings.plugin.model_copy(update={"redis_url": found.url})
    return replace(settings, plugin=plugin, notes=(*settings.notes, *found.notes))


def parse_settings(document: Mapping[str, object], prices: PriceMap) -> Settings:
    """Validates a whole proxy configuration. `prices` is LiteLLM's, for what YAML leaves out.

    Raises SettingsError with a line for each fault, whichever part it is in.
    """
    faults: list[str] = []
    section = _plugin_section(document, faults)
    named = section.get("groups")
    plugin = _unless(faults, lambda: validate(PluginSettings, section, PLUGIN_PATH)) if section else None
    groups: Mapping[str, object] = named if isinstance(named, Mapping) else {}
    deployments = _deployments(document, groups, prices, faults)
    if not isinstance(document.get("model_list") or [], list) or plugin is None:
        raise SettingsError("\n".join(faults))
    faults += missing_groups(document, plugin.groups)
    faults += duplicates(deployments)
    faults += unknown_categories(plugin.groups, deployments)
    if faults:
        raise SettingsError("\n".join(faults))
    broken, said = notes_on(document, list(plugin.groups), deployments)
    return Settings(plugin, tuple(deployments), (*broken, *said), broken)


def _plugin_section(document: Mapping[str, object], faults: list[str]) -> Mapping[str, object]:
    settings = document.get("callback_settings")
    section = settings.get("slo_router") if isinstance(settings, Mapping) else None
    if isinstance(section, Mapping) and section:
        return section
    faults.append(f"{PLUGIN_PATH}: {section!r}, expected a mapping with at least `groups`")
    return {}


def _unless(faults: list[str], read: Callable[[], Read]) -> Read | None:
    """What is read, or `None` and the fault."""
    try:
        return read()
    except SettingsError as error:
        faults.append(str(error))
        return None


def _deployments(
    document: Mapping[str, object], groups: Mapping[str, object], prices: PriceMap, faults: list[str]
) -> list[ManagedDeployment]:
    entries = document.get("model_list") or []
    if not isinstance(entries, list):
        faults.append(f"model_list: {type(entries).__name__}, expected a list of deployments")
        return []
    credentials = read_credentials(document.get("credential_list"))
    found = (
        _unless(faults, partial(read_deployment, entry, f"model_list[{index}]", prices, groups, credentials))
        for index, entry in enumerate(entries)
        if isinstance(entry, Mapping) and group_of(entry, groups) is not None
    )
    return [deployment for deployment in found if deployment is not None]
