"""Notes on settings that work but are probably mistakes. `slo-router check` and the proxy's log at its start show them.

A configuration that cannot be used is an error, see `config`. Where the plugin does not do what the file says (it is
not loaded, it cannot route a group), `check` fails. Other notes (a group has no deployment yet, a fallback leaves the
managed groups, a deployment has no own id) are only printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from slo_router.contract.model import TEXT
from slo_router.contract.settings.deployments import ManagedDeployment, group_of
from slo_router.contract.settings.environment import variables_in
from slo_router.contract.settings.yaml_document import block_of

CALLBACK = "slo_router.proxy.callback"
GROUPS_PATH = "callback_settings.slo_router.groups"

Fields = Mapping[str, object]


class Notes(NamedTuple):
    """One line each. `broken`: what the file says and the plugin does not do. `said`: the other notes."""

    broken: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


def notes_on(document: Fields, groups: Sequence[str], deployments: Sequence[ManagedDeployment]) -> Notes:
    """The notes on a usable configuration."""
    inhabited = {deployment.group for deployment in deployments}
    why = {group: unroutable(document, group) for group in groups}
    broken = [said for said in why.values() if said is not None]
    waiting = [
        f"{GROUPS_PATH}.{group}: no deployment yet in group {group}; LiteLLM's database may add one"
        for group in groups
        if group not in inhabited and why[group] is None
    ]
    said = (
        *waiting,
        *_fallbacks(document, groups),
        *_ids(document, groups, deployments),
        *_tiers(deployments),
        *_modes(deployments),
        *_credentials(document, deployments),
    )
    wrong = (*_misplaced(deployments), *_shared_ids(document, deployments), *_texts(document, deployments))
    return Notes((*_loading(document), *wrong, *broken, *_rescue(document, groups)), said)


def _loading(document: Fields) -> Iterator[str]:
    settings = _section(document, "litellm_settings")
    if CALLBACK in _names(settings.get("callbacks")):
        return
    elsewhere = [
        name
        for name in ("success_callback", "failure_callback", "service_callback")
        if CALLBACK in _names(settings.get(name))
    ]
    found = (
        f"stands under litellm_settings.{elsewhere[0]} only, which is asked nothing before a call"
        if elsewhere
        else "is missing"
    )
    yield f'litellm_settings.callbacks: {CALLBACK} {found}, so the plugin is not loaded; add callbacks: ["{CALLBACK}"]'


def _misplaced(deployments: Sequence[ManagedDeployment]) -> Iterator[str]:
    for one in deployments:
        if "slo_router" in one.params:
            yield (
                f"{one.path}.litellm_params.slo_router: is not read, and LiteLLM sends it to the provider; "
                f"it belongs in {one.path}.model_info"
            )


def _shared_ids(document: Fields, deployments: Sequence[ManagedDeployment]) -> Iterator[str]:
    """Notes on ids that an entry of an unmanaged group has, too. Between two managed deployments that is a fault."""
    managed = {one.facts.deployment_id: one.path for one in deployments if one.has_own_id}
    paths = {one.path for one in deployments}
    for index, entry in enumerate(entries_of(document)):
        name, path = _section(entry, "model_info").get("id"), f"model_list[{index}]"
        if path not in paths and str(name) in managed:
            yield (
                f"{managed[str(name)]}.model_info.id: {name!r} is {path}'s, too, and LiteLLM tells one price "
                "for an id, so decisions may count the other's"
            )


def _texts(document: Fields, deployments: Sequence[ManagedDeployment]) -> Iterator[str]:
    """Notes on numbers that are text, as all values of variables are, where LiteLLM does not convert them."""
    places: list[tuple[str, Fields, Sequence[str]]] = [
        ("router_settings", _section(document, "router_settings"), ("default_max_parallel_requests",))
    ]
    paths = {one.path for one in deployments}
    for index, entry in enumerate(entries_of(document)):
        path = f"model_list[{index}]"
        if path in paths:
            places += [
                (path, entry, ("rpm", "tpm")),
                (f"{path}.litellm_params", _section(entry, "litellm_params"), ("max_parallel_requests", "weight")),
                (f"{path}.model_info", _section(entry, "model_info"), ("rpm", "tpm")),
            ]
    for path, fields, names in places:
        for name in names:
            if isinstance(fields.get(name), str):
                yield (
                    f"{path}.{name}: text, from a variable or in quotes, and LiteLLM fails over it, at its start or at "
                    "requests; write the number itself"
                )


def _rescue(document: Fields, groups: Sequence[str]) -> Iterator[str]:
    """Notes on settings that keep every attempt from being given up."""
    plugin = _section(_section(document, "callback_settings"), "slo_router")
    sections = {group: _section(_section(plugin, "groups"), group).get("rescue") for group in groups}
    asking = [
        name for name, said in sections.items() if isinstance(said, Mapping) and said.get("deadline") is not False
    ]
    if asking and plugin.get("live_measurements") is False:
        yield f"{GROUPS_PATH}.{asking[0]}.rescue: it needs live_measurements, which are off: nobody is given up"
    for group in asking[:1]:
        for path in _without_retries(document, group):
            yield f"{GROUPS_PATH}.{group}.rescue: {path} is 0, so nobody is given up"


def _without_retries(document: Fields, group: str) -> Iterator[str]:
    """The settings by which LiteLLM asks no other deployment after a timeout."""
    router = _section(document, "router_settings")
    own = _section(_section(router, "model_group_retry_policy"), group).get(_RETRIES)  # counts before the router's
    said = {f"{place}.num_retries": _section(document, place).get("num_retries") for place in _SETTINGS}
    if own is None:
        said[f"router_settings.retry_policy.{_RETRIES}"] = _section(router, "retry_policy").get(_RETRIES)
    else:
        said[f"router_settings.model_group_retry_policy.{group}.{_RETRIES}"] = own
    return (path for path, retries in said.items() if str(retries) == "0")


_SETTINGS = ("router_settings", "litellm_settings")
_RETRIES = "TimeoutErrorRetries"


def has_database(document: Fields) -> bool:
    """Whether LiteLLM may add models from its database while it runs, or has none to start with."""
    variables = {**block_of(document), **os.environ}
    said = _section(document, "general_settings").get("store_model_in_db"), variables.get(_DATABASE)
    return any(str(one).lower() == "true" for one in said) or not document.get("model_list")


_DATABASE = "STORE_MODEL_IN_DB"  # LiteLLM's own variable


def unroutable(document: Fields, group: str) -> str | None:
    """Why the plugin cannot route a group that LiteLLM knows; `None` if it can, or if LiteLLM does not know it."""
    router, path = _section(document, "router_settings"), f"{GROUPS_PATH}.{group}"
    entries = entries_of(document)
    own = [_section(entry, "litellm_params").get("model") for entry in entries if group_of(entry, (group,)) is not None]
    if "*" in group:
        return f"{path}: a wildcard, which the plugin does not route; name a group of your own"
    if group in _section(router, "model_group_alias"):
        return f"{path}: an alias in router_settings.model_group_alias; name the group behind it"
    if own:
        is_auto = all(str(model).startswith("auto_router/") for model in own)
        return f"{path}: an auto router, which has other groups answer; name those" if is_auto else None
    parts = (one for one in _list(router.get("routing_groups")) if isinstance(one, Mapping))
    if any(one.get("group_name") == group for one in parts):
        return f"{path}: a routing group of router_settings.routing_groups, which LiteLLM routes; name those in it"
    if any(_matches(str(entry.get("model_name")), group) for entry in entries):
        return f"{path}: only a wildcard of model_list serves it, so LiteLLM alone routes it"
    return None


def _matches(pattern: str, group: str) -> bool:
    return "*" in pattern and re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), group) is not None


def _fallbacks(document: Fields, groups: Sequence[str]) -> Iterator[str]:
    for section in _SETTINGS:
        settings = _section(document, section)
        own = {kind: _chains(settings.get(kind)) for kind in _FALLBACKS}
        own["default_fallbacks"] = {_EVERY_GROUP: settings.get("default_fallbacks")}
        for kind, chains in own.items():
            for group in groups:
                has_its_own = kind == "default_fallbacks" and group in own["fallbacks"]
                targets = None if has_its_own else chains.get(group, chains.get(_EVERY_GROUP))
                left = [name for name in map(_target, _list(targets)) if name is not None and name not in groups]
                if left:
                    yield (
                        f"{section}.{kind}: {group} falls back to {', '.join(left)}, which the plugin does not "
                        "route: what is answered there follows no SLO"
                    )


_FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_EVERY_GROUP = "*"  # LiteLLM's, for a group without a chain of its own


def _chains(value: object) -> dict[str, object]:
    return {str(source): targets for one in _list(value) if isinstance(one, Mapping) for source, targets in one.items()}


def _target(one: object) -> str | None:
    """The group that a fallback names, alone or with parameters of its own."""
    named = one.get("model") if isinstance(one, Mapping) else one
    return named if isinstance(named, str) else None


def _tiers(deployments: Sequence[ManagedDeployment]) -> Iterator[str]:
    """Notes on deployments with a service tier that have the prices of the same deployment without it."""
    for one in deployments:
        facts = one.facts
        standard = replace(facts, service_tier=None, deployment_id="", in_tiers={}, quality={})
        alike = (other.facts for other in deployments if other.group == one.group and other.facts.service_tier is None)
        if facts.service_tier is not None and any(
            replace(other, deployment_id="", in_tiers={}, quality={}) == standard for other in alike
        ):
            yield (
                f"{one.path}.litellm_params.service_tier: no price of {facts.service_tier} is known for {facts.model}, "
                f"so it counts at the standard one; say input_cost_per_token_{facts.service_tier} and output_…"
            )


def _modes(deployments: Sequence[ManagedDeployment]) -> Iterator[str]:
    for one in deployments:
        if TEXT in one.facts.unsupported:
            yield f"{one.path}: {one.facts.name} has mode {one.mode}, so no chat goes there while another can answer"


def _credentials(document: Fields, deployments: Sequence[ManagedDeployment]) -> Iterator[str]:
    """Notes on names of unknown credentials. The parameters no longer have the names of known ones."""
    hope = ", unless LiteLLM's database has it" if has_database(document) else ""
    for one in deployments:
        name = one.params.get("litellm_credential_name")
        if name is not None:
            yield (
                f"{one.path}.litellm_params.litellm_credential_name: {name!r} is not in credential_list, so LiteLLM "
                f"sends what stands in litellm_params alone{hope}"
            )


def _ids(document: Fields, groups: Container[str], deployments: Sequence[ManagedDeployment]) -> Iterator[str]:
    without = [deployment for deployment in deployments if not deployment.has_own_id and "*" not in deployment.group]
    if not without:
        return
    proposed = proposed_ids(deployments)
    shown = ", ".join(f"{one.path} {one.facts.name} (say {proposed[one.path]})" for one in without)
    yield (
        "model_info.id: without one, LiteLLM's generated id is used, and measurements are lost when a parameter or a "
        f"key changes: {shown}"
    )
    for index, entry in enumerate(entries_of(document)):
        info = entry.get("model_info")
        unset = variables_in(entry.get("litellm_params"))
        if unset and group_of(entry, groups) is not None and not (isinstance(info, Mapping) and "id" in info):
            yield (
                f"model_list[{index}]: its generated id depends on {', '.join(unset)}, not set here: the proxy's may "
                "be another; set it or give model_info.id"
            )


def proposed_ids(deployments: Sequence[ManagedDeployment]) -> dict[str, str]:
    """By YAML path: a readable and unique id for each deployment without one."""
    taken = {one.facts.deployment_id for one in deployments if one.has_own_id}
    found: dict[str, str] = {}
    for one in deployments:
        if one.has_own_id:
            continue
        base = re.sub(r"[^a-z0-9.]+", "-", one.facts.model.rpartition("/")[2].lower()).strip("-.") or "deployment"
        base = base if one.facts.service_tier is None else f"{base}-{one.facts.service_tier}"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        found[one.path] = name
    return found


def entries_of(document: Fields) -> list[Fields]:
    """The entries of `model_list` that are mappings."""
    return [entry for entry in _list(document.get("model_list")) if isinstance(entry, Mapping)]


def _section(fields: Fields, name: str) -> Fields:
    found = fields.get(name)
    return found if isinstance(found, Mapping) else {}


def _names(value: object) -> Iterable[object]:
    return [value] if isinstance(value, str) else _list(value)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
