"""The candidates: deployments and models that could have answered, and their prices.

    --candidate NAME     a deployment or group of the YAML, else a model of LiteLLM's price map, or NAME=IN/OUT with
                         USD per million tokens of prompt and answer
    --config YAML        for a group that the plugin manages its own deployments, for any other all of the file's
    neither              the models that the rows themselves show

A deployment without a list price (`gpu_usd_per_hour`, or no known price) is no candidate. The estimate names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from slo_router.contract.model import Facts
from slo_router.contract.prices import rates
from slo_router.contract.settings.config import Settings, parse_settings
from slo_router.contract.settings.deployments import (
    NO_MARKUPS,
    ManagedDeployment,
    price_map,
    read_credentials,
    read_deployment,
)
from slo_router.contract.settings.group import GroupSettings
from slo_router.contract.settings.pricing.markups import Markups, markups_of
from slo_router.contract.settings.pricing.price_names import PriceMap
from slo_router.contract.settings.yaml_document import read_document
from slo_router.errors import SettingsError

_CHATS = frozenset({None, "", "chat", "completion", "responses"})
_OWN_PRICE = re.compile(r"(?P<name>[^=]+)=(?P<input>\d*\.?\d+)/(?P<output>\d*\.?\d+)")
_PER_MILLION = 1e-6


class Candidate(NamedTuple):
    """A candidate for the requests of `groups`; `None`: of every group that no candidate names."""

    facts: Facts
    groups: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """Its name for people."""
        return self.facts.name


@dataclass(frozen=True, slots=True)
class Pool:
    """The candidates, and what the YAML says of groups and deployments. `unpriced` names those without a list price."""

    candidates: tuple[Candidate, ...]
    deployments: Mapping[str, Facts]  # of the YAML, by id
    groups: Mapping[str, GroupSettings]  # that the plugin manages
    prices: PriceMap
    markups: Markups = NO_MARKUPS
    unpriced: tuple[str, ...] = ()
    settings: Settings | None = None  # of the plugin, where the YAML has some

    def of(self, group: str) -> list[Candidate]:
        """The candidates for a group's requests."""
        is_managed = any(one.groups is not None and group in one.groups for one in self.candidates)
        return [one for one in self.candidates if (group in one.groups if one.groups is not None else not is_managed)]

    def served(self, served: str, model: str) -> Facts | None:
        """The facts of the deployment that answered, from the YAML, else by its model's name; `None` if unknown."""
        known = self.deployments.get(served)
        return known if known is not None else listed(model, self.prices, self.markups)

    @property
    def edges(self) -> set[int]:
        """Prompt lengths at which a candidate's price changes or its context window ends, tokens."""
        bounds = {tier.above_tokens for one in self.candidates for tier in one.facts.tiers}
        return bounds | {one.facts.context_tokens for one in self.candidates if one.facts.context_tokens}


def read_pool(config: Path | None, named: Sequence[str]) -> Pool:
    """The pool before any row was read. Raises SettingsError."""
    prices = price_map()
    fields = {} if config is None else read_document(config).fields
    deployments, settings = ([], None) if config is None else _read_config(config, fields, prices)
    markups = markups_of(fields)
    groups = {} if settings is None else settings.plugin.groups
    known = {one.facts.deployment_id: one.facts for one in deployments}
    if named:
        found = [Candidate(facts) for name in named for facts in _named(name, deployments, prices, markups)]
    else:
        chats = [one for one in deployments if one.mode in _CHATS and not one.facts.model.endswith("*")]
        found = [Candidate(one.facts, frozenset({one.group})) for one in chats if one.group in groups]
        found += [Candidate(one.facts) for one in chats]
    return _priced(found, Pool((), known, groups, prices, markups, settings=settings))


def with_models(pool: Pool, models: Iterable[str]) -> Pool:
    """The pool; if it has no candidate yet, with the models that the rows show."""
    if pool.candidates or pool.unpriced:
        return pool
    found = {
        facts.model.rpartition("/")[2]: facts for model in models if (facts := listed(model, pool.prices, pool.markups))
    }
    return _priced([Candidate(facts) for facts in found.values()], pool)


def listed(model: str, prices: PriceMap, markups: Markups) -> Facts | None:
    """What LiteLLM's price map says of a model; `None` where it lists no price for it."""
    if not model:
        return None
    try:
        entry = {"model_name": model, "litellm_params": {"model": model}, "model_info": {"id": model}}
        facts = read_deployment(entry, model, prices, markups=markups).facts
    except SettingsError:
        return None
    return facts if has_price(facts) else None


def has_price(facts: Facts) -> bool:
    """Whether the deployment's tokens have a list price."""
    input_usd, output_usd, _ = rates(facts, 0)
    return facts.gpu_usd_per_hour is None and input_usd is not None and output_usd is not None


def _read_config(
    path: Path, fields: Mapping[str, object], prices: PriceMap
) -> tuple[list[ManagedDeployment], Settings | None]:
    entries = fields.get("model_list") or []
    if not isinstance(entries, list):
        raise SettingsError(f"{path}: model_list: {type(entries).__name__}, expected a list of deployments")
    credentials = read_credentials(fields.get("credential_list"))
    names = {str(entry.get("model_name")) for entry in entries if isinstance(entry, Mapping)}
    deployments = [
        read_deployment(entry, f"model_list[{number}]", prices, names, credentials, markups=markups_of(fields))
        for number, entry in enumerate(entries)
        if isinstance(entry, Mapping)
    ]
    callbacks = fields.get("callback_settings")
    is_ours = isinstance(callbacks, Mapping) and callbacks.get("slo_router")
    return deployments, parse_settings(fields, prices) if is_ours else None


def _named(name: str, deployments: Sequence[ManagedDeployment], prices: PriceMap, markups: Markups) -> list[Facts]:
    own = _OWN_PRICE.fullmatch(name)
    if own is not None:
        input_usd, output_usd = (float(own[side]) * _PER_MILLION for side in ("input", "output"))
        return [Facts(own["name"], own["name"], None, None, input_usd, output_usd)]
    found = [one.facts for one in deployments if name in (one.facts.deployment_id, one.group, one.facts.model)]
    facts = None if found else listed(name, prices, markups)
    if found or facts is not None:
        return found or [facts] if facts is not None else found
    raise SettingsError(
        f"--candidate {name}: no price known, expected a deployment or group of --config, a model that LiteLLM's price "
        f"map lists, or {name}=0.15/0.60 with USD per million tokens of prompt and answer"
    )


def _priced(found: Iterable[Candidate], pool: Pool) -> Pool:
    """The pool with the candidates that have a price. Replicas of a model at one price are one candidate."""
    kept: dict[object, Candidate] = {}
    unpriced = dict.fromkeys(one.name for one in found if not has_price(one.facts))
    for one in found:
        if has_price(one.facts):
            kept.setdefault((one.facts.model, rates(one.facts, 0), one.facts.tiers, one.groups), one)
    return replace(pool, candidates=tuple(kept.values()), unpriced=tuple(unpriced))
