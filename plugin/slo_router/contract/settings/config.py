"""The plugin's part of `litellm_config.yaml`, read once and strictly.

    callback_settings.slo_router        → PluginSettings (what to do)
    model_list[*] of a managed group    → ManagedDeployment with its Facts (the candidates)

LiteLLM is not imported, so the proxy, the benchmark agent and the command line read the file alike. An unknown key, a
wrong type, an absurd limit or a group that is not in `model_list` raises `SettingsError`. It reports all faults at
once, each with the YAML path, the value and what was expected. What works but is probably a mistake is a note.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from slo_router.contract.redis.link import FORMS, is_usable, masked
from slo_router.contract.settings.config_faults import faults_by_name, faults_of, unusable_classifiers
from slo_router.contract.settings.config_notes import notes_on
from slo_router.contract.settings.deployments import (
    ManagedDeployment,
    group_of,
    price_map,
    read_credentials,
    read_deployment,
)
from slo_router.contract.settings.environment import ENV_PREFIX, resolve_environment
from slo_router.contract.settings.group import GroupSettings
from slo_router.contract.settings.litellm_redis import find_redis
from slo_router.contract.settings.pricing.markups import markups_of
from slo_router.contract.settings.pricing.price_names import PriceMap
from slo_router.contract.settings.validation import Count, Strict, noting, validate
from slo_router.contract.settings.yaml_document import block_of, read_document
from slo_router.errors import SettingsError

PLUGIN_PATH = "callback_settings.slo_router"


class LogSettings(Strict):
    """Where each request's record is written, besides LiteLLM's own logs."""

    stream_maxlen: Count = Field(100_000, description="records kept in the Redis stream, about")
    jsonl_path: str | None = Field(None, description="a rotating file of the same records; its name gets the pid")
    jsonl_max_mb: Count = 64
    jsonl_backups: Count = 5
    queue_size: Count = Field(10_000, description="records that may wait for the writer; more are dropped and counted")
    log_prompts: bool = Field(default=False, strict=True, description="adds prompt and answer text to the record")


class MetricSettings(Strict):
    """Attainment and spend by team and key in LiteLLM's /metrics. Each name adds up to eight series, for all to see."""

    teams: Annotated[int, Field(ge=0, le=1_000, strict=True)] = Field(
        0, description="so many teams get their own label, the rest is `other`; 0: no metrics by team"
    )
    keys: Annotated[int, Field(ge=0, le=1_000, strict=True)] = Field(0, description="likewise for virtual keys")


class PluginSettings(Strict):
    """`callback_settings.slo_router`."""

    redis_url: str | None = None
    key_prefix: str = ""
    live_measurements: bool = Field(
        default=True,
        strict=True,
        description="learns latency, load and failures from the traffic; off: uses only the benchmark",
    )
    health_probes: bool = Field(
        default=True,
        strict=True,
        description="asks a failed deployment by LiteLLM's health check whether it is back; off: tries it by a request",
    )
    refresh_interval_s: Annotated[float, Field(gt=0, le=60, strict=True)] = 1.0
    freeze_heap: bool = Field(
        default=True,
        strict=True,
        description="collects the garbage of the proxy's start once, and never scans the rest again",
    )
    feedback: bool = Field(
        default=False,
        strict=True,
        description="lets each key rate its own requests, at `POST /slo-router/feedback`, and counts what they say",
    )
    groups: dict[str, GroupSettings]
    log: LogSettings = LogSettings()
    metrics: MetricSettings = MetricSettings()

    @field_validator("groups", mode="before")
    @classmethod
    def _named_alone(cls, groups: object) -> object:
        named = groups.items() if isinstance(groups, Mapping) else ()
        return {name: {} if said is None else said for name, said in named} or groups

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
        """A short fingerprint of the groups' settings and classifiers. Every decision carries it."""
        classifiers = [one.trained.sha256 for one in self.groups.values() if one.trained is not None]
        text = self.model_dump_json(include={"groups"}) + "".join(classifiers)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the plugin, the agent and the command line take from one YAML file.

    `broken`: what the file says and the plugin does not do. `notes`: all probable mistakes, those of `broken` first.
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
    """The settings with the file's `remarks` (on lines that do not count) before their own notes."""
    return replace(settings, notes=(*remarks, *settings.notes), broken=(*remarks, *settings.broken))


def with_litellm_redis(settings: Settings, document: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """The settings with LiteLLM's own Redis if they name none."""
    if settings.plugin.redis_url is not None:
        return settings
    found = find_redis(document, environment)
    plugin = settings.plugin.model_copy(update={"redis_url": found.url})
    return replace(settings, plugin=plugin, notes=(*settings.notes, *found.notes))


def parse_settings(document: Mapping[str, object], prices: PriceMap) -> Settings:
    """Validates a whole proxy configuration. `prices` is LiteLLM's price map, for facts that the YAML leaves out.

    Raises SettingsError with a line for each fault in any part.
    """
    faults: list[str] = []
    section = _plugin_section(document, faults)
    named = section.get("groups")
    plugin = noting(faults, lambda: validate(PluginSettings, section, PLUGIN_PATH)) if section else None
    groups: Mapping[str, object] = named if isinstance(named, Mapping) else {}
    deployments = _deployments(document, groups, prices, faults)
    if isinstance(document.get("model_list") or [], list):
        faults += faults_by_name(document, [name for name in groups if isinstance(name, str)], deployments)
    if plugin is not None:
        faults += faults_of(document, plugin.groups, deployments)
    if faults or plugin is None:
        raise SettingsError("\n".join(faults))
    broken, said = notes_on(document, list(plugin.groups), deployments)
    broken = (*broken, *unusable_classifiers(plugin.groups))
    return Settings(plugin, tuple(deployments), (*broken, *said), broken)


def _plugin_section(document: Mapping[str, object], faults: list[str]) -> Mapping[str, object]:
    settings = document.get("callback_settings")
    section = settings.get("slo_router") if isinstance(settings, Mapping) else None
    if isinstance(section, Mapping) and section:
        return section
    faults.append(f"{PLUGIN_PATH}: {section!r}, expected a mapping with at least `groups`")
    return {}


def _deployments(
    document: Mapping[str, object], groups: Mapping[str, object], prices: PriceMap, faults: list[str]
) -> list[ManagedDeployment]:
    entries = document.get("model_list") or []
    if not isinstance(entries, list):
        faults.append(f"model_list: {type(entries).__name__}, expected a list of deployments")
        return []
    credentials, markups = read_credentials(document.get("credential_list")), markups_of(document)
    read = partial(read_deployment, prices=prices, groups=groups, credentials=credentials, markups=markups)
    found = (
        noting(faults, partial(read, entry, f"model_list[{index}]"))
        for index, entry in enumerate(entries)
        if isinstance(entry, Mapping) and group_of(entry, groups) is not None
    )
    return [deployment for deployment in found if deployment is not None]
